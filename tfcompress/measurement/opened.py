"""A model file, opened in a process of its own that may crash, hang or lie."""

import contextlib
import dataclasses
import fcntl
import json
import math
import mmap
import os
import select
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping

import numpy as np

from tfcompress.core import (
  errors,
  measurements,
  numbers,
  processes,
  records,
  types,
)
from tfcompress.measurement import family, replies, sandbox, syscalls
from tfcompress.runtimes import interface

_WORKER = 'tfcompress.measurement.worker'
_LONGEST_ANSWER = 2**26
_LOOK_SECONDS = 0.2
_SIGNALLED = 128  # and the signal's number: how bubblewrap reports one
_OWN_PROCESSES = {measurements.Isolation.BUBBLEWRAP: 2}  # beside the model's
_LARGEST_SIDE, _MOST_OUTPUTS, _LARGEST_FIGURE = 4096, 10**6, 1e9
_LARGEST_INPUT = 2**31  # bytes
_LAST_WORDS, _LONGEST_REASON = 300, 1000
_MARK = 'TFCOMPRESS_PROCESS'
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
# Between what a process says its runs took and what our clock saw: others that
# keep its core busy take from both.
_SHARE_BETWEEN, _SECONDS_BETWEEN, _SECONDS_A_RUN = 0.5, 0.05, 30e-6


class ModelError(ValueError):
  """A model that cannot be opened or run, or does what it may not."""


class Opened:
  """An opened model. A context manager: at its end the process is gone.

  Every method raises ModelError, with one sentence that names the file, where
  the model cannot do it, its process crashes, or uses more than its limits.

  Attributes:
    path: of the model, as the user gave it.
    about: what the process says of the model.
    level: of isolation.
  """

  def __init__(
    self,
    file: measurements.OpenConfig,
    limits: measurements.Limits,
    *,
    cores: tuple[int, ...] = (),
    copies: int = 1,
  ):
    """Opens a model.

    Args:
      file: how.
      limits: on its process.
      cores: to pin it to; () for none.
      copies: of the model in the process, for images at the same time.
    """
    self._file, self._limits = file, limits
    self.path = file.model
    if (folder := interface.file_of(file.model)).is_dir():
      try:
        sandbox.require_own_files(folder)
      except ValueError as error:
        raise ModelError(str(error)) from error
    self.level = sandbox.level_of(limits.isolation)
    self._exceeded, self._buffer = '', b''
    self._claimed, self._waited, self._runs = 0.0, 0.0, 0
    self._absolute = _absolute(file)
    self._start()
    with contextlib.ExitStack() as stack:
      stack.callback(self.close)
      contained = self.level is not measurements.Isolation.NONE
      self.about = self._ask(
        replies.Opened,
        'open',
        file=records.to_json(self._absolute),
        copies=copies,
        cores=list(cores),
        file_mib=limits.file_limit if contained else None,
      )
      self._require_sane(self.about)
      stack.pop_all()  # It stays open.

  def __enter__(self) -> 'Opened':
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def close(self) -> None:
    """Ends the process and what it started, whatever they do."""
    self._done.set()
    self._watcher.join()
    processes_of = self._family()
    self._kill()
    self._process.wait()
    for pid in processes_of[1:]:
      with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    self._channel.close()
    self._log.close()
    os.close(self._memory)

  def share(self, count: int) -> np.ndarray:
    """Returns slots for images, uint8 (slots, count, S, S, 3), to be filled.

    To be called once.
    """
    size, outputs = self.about.image_size, self.about.num_outputs
    images, scores = (count, size, size, 3), (count, outputs)
    given = self._given_bytes()
    pixels = replies.NUM_SLOTS * math.prod(images)
    pixels += -pixels % replies.ALIGNED
    behind = pixels + given + -given % replies.ALIGNED
    mapped = self._mapped(behind + 4 * replies.NUM_SLOTS * math.prod(scores))
    shape = (replies.NUM_SLOTS, *images)
    slots = np.frombuffer(mapped, np.uint8, math.prod(shape)).reshape(shape)
    self._given = np.frombuffer(mapped, np.uint8, given, offset=pixels)
    shape = (replies.NUM_SLOTS, *scores)
    self._scores = np.frombuffer(
      mapped, np.float32, math.prod(shape), offset=behind
    ).reshape(shape)
    self._ask(
      None,
      'share',
      slots=replies.NUM_SLOTS,
      images=list(images),
      scores=list(scores),
      given=[pixels, given],
      behind=behind,
    )
    return slots

  def _given_bytes(self) -> int:
    """The size of what one inference takes."""
    info = self.about.inputs[0]
    try:
      item = np.dtype(info.dtype).itemsize
    except TypeError as error:
      raise self._nonsense(f'inputs of type {info.dtype}') from error
    size = math.prod(interface.shape_of(info, self.about.image_size)) * item
    if not 0 < size <= _LARGEST_INPUT:
      raise self._nonsense(f'an input of {size} bytes')
    return size

  def _mapped(self, total: int) -> mmap.mmap:
    """The memory that both processes see, of so many bytes."""
    try:
      os.ftruncate(self._memory, total)
      # Or the other process could cut it short under our hands.
      fcntl.fcntl(self._memory, fcntl.F_ADD_SEALS, _SEALS)
      return mmap.mmap(self._memory, total)
    except (OSError, ValueError) as error:
      raise self._nonsense(f'by changing shared memory ({error})') from error

  def begin_predict(
    self, slot: int, count: int, scaling: types.Preprocessing
  ) -> None:
    """Has the first `count` images of a slot classified; `scores` waits."""
    scaling = records.to_json(scaling)
    self._send('predict', slot=slot, count=count, scaling=scaling)

  def scores(self, slot: int, count: int) -> tuple[np.ndarray, int]:
    """Returns float32 scores (count, C) and how many images went in at once."""
    batch_size = self._receive(replies.Predicted).batch_size
    scores = self._scores[slot, :count].copy()
    if not np.isfinite(scores).all():
      raise ModelError(
        f'{self._file.model}: the model gives outputs that are not finite'
      )
    return scores, batch_size

  def prepare(self, count: int, scaling: types.Preprocessing) -> None:
    """Takes the first images of the first slot as what is timed."""
    scaling = records.to_json(scaling)
    self._ask(None, 'prepare', count=count, scaling=scaling)

  def warm(self, runs: int | None) -> replies.Warmed:
    """Runs untimed inferences: so many, or until the times are steady."""
    return self._ask(replies.Warmed, 'warm', runs=runs)

  def time(
    self,
    runs: int,
    fresh: bool = True,
    witnesses: Mapping[int, int] | None = None,
  ) -> list[float]:
    """Returns the milliseconds of single inferences, by the process's clock.

    Args:
      runs: how many.
      fresh: whether each sees other pixels, or all the first image.
      witnesses: by the number of a run, ascending, the image of the first slot
        that it is to see as it is; `witnessed` has what it answers.
    """
    start = time.perf_counter()
    timed = self._ask(
      replies.Timed,
      'time',
      runs=runs,
      fresh=fresh,
      witnesses=[list(pair) for pair in (witnesses or {}).items()],
    )
    self._waited += time.perf_counter() - start
    self._claimed += sum(timed.ms) / 1e3
    self._runs += runs
    if len(timed.ms) != runs or min(timed.ms) <= 0:
      raise self._nonsense(f'{len(timed.ms)} times for {runs} runs')
    return list(timed.ms)

  def witnessed(self, count: int) -> np.ndarray:
    """Returns the scores (count, C) that the witnesses were given last."""
    return self._scores[0, :count].copy()

  def answer(self, encoded: np.ndarray) -> tuple[np.ndarray, float]:
    """Runs one inference by our own clock.

    Args:
      encoded: what the model takes, (B, S, S, 3) or (B, 3, S, S).

    Returns:
      Scores (C,) of the first image, and the milliseconds from the request to the answer.
    """
    batch = self._given.view(encoded.dtype).reshape(-1, *encoded.shape[1:])
    start = time.perf_counter()  # From when on the image can be seen.
    batch[:] = encoded
    self._ask(None, 'answer')
    elapsed = time.perf_counter() - start
    return self._scores[0, 0].copy(), 1e3 * elapsed

  def cpu_seconds(self) -> float:
    """Returns the CPU time of the process and of what it started."""
    return family.cpu_seconds(self._family())

  def require_honest_times(self) -> None:
    """Raises ModelError if all the times together miss what our clock saw."""
    most = _SECONDS_BETWEEN + _SECONDS_A_RUN * self._runs
    most += _SHARE_BETWEEN * self._waited
    if not 0 <= self._waited - self._claimed <= most:
      raise self._nonsense(
        f'times of {self._claimed:.3f} s together, where {self._waited:.3f} s '
        'passed'
      )

  def throughput(self, batch_size: int, seconds: float) -> float:
    """Returns images a second in batches of one size."""
    rate = self._ask(
      replies.Rate, 'throughput', batch_size=batch_size, seconds=seconds
    )
    if rate.seconds <= 0:
      raise self._nonsense(f'{rate.images} images in {rate.seconds:g} s')
    return rate.images / rate.seconds

  def parameters(self) -> replies.Parameters:
    counted = self._ask(replies.Parameters, 'parameters')
    if counted.total is not None and not (
      0 <= (counted.nonzero or 0) <= counted.total
    ):
      raise self._nonsense(f'{counted.nonzero} of {counted.total} parameters')
    return counted

  def profile(self) -> measurements.ProfileRecord:
    return self._ask(measurements.ProfileRecord, 'profile')

  def _start(self) -> None:
    self._due = 0  # requests without an answer yet
    self._channel, theirs = socket.socketpair()
    self._memory = os.memfd_create('images', os.MFD_ALLOW_SEALING)
    self._log = os.fdopen(os.memfd_create('log'), 'w+b')
    self._mark = uuid.uuid4().hex
    syscalls_file = syscalls.file(sandbox.on_gpu(self._file))
    with theirs, os.fdopen(syscalls_file):
      self._process = subprocess.Popen(
        [
          *sandbox.command(
            self.level, self._absolute, self._limits, _WORKER, syscalls_file
          ),
          *map(str, (theirs.fileno(), self._memory)),
        ],
        env=sandbox.environment(self.level, self._absolute)
        | {_MARK: self._mark},
        pass_fds=(theirs.fileno(), self._memory, syscalls_file),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=self._log,
        start_new_session=True,
      )
    self._done = threading.Event()
    self._watcher = threading.Thread(target=self._watch, daemon=True)
    self._watcher.start()

  def _watch(self) -> None:
    """Kills the process when it uses more than its limits."""
    if self.level is measurements.Isolation.NONE:
      return
    limits, own = self._limits, _OWN_PROCESSES.get(self.level, 0)
    while not self._done.wait(_LOOK_SECONDS):
      tree = self._family()
      used, count = family.memory_mib(tree), len(tree) - own
      if used > limits.memory_limit:
        self._exceeded = (
          f'took {used:.0f} MiB of memory, limit {limits.memory_limit} '
          '(--memory_limit)'
        )
      elif count > limits.process_limit:
        self._exceeded = (
          f'started {count} processes, limit {limits.process_limit} '
          '(--process_limit)'
        )
      if self._exceeded:
        self._kill()
        return

  def _family(self) -> list[int]:
    """The process, all that it started, and what hid from it but not its mark."""
    found = family.descendants(self._process.pid)
    if self.level is not measurements.Isolation.BUBBLEWRAP:
      marked = family.with_variable(f'{_MARK}={self._mark}')
      found += [pid for pid in marked if pid not in found]
    return found

  def _require_sane(self, about: replies.Opened) -> None:
    """Raises ModelError for figures that cannot be, of a process that lies."""
    times = (about.load_ms, about.first_ms, about.peak_mib)
    if not (
      0 < about.image_size <= _LARGEST_SIDE
      and 0 < about.num_outputs <= _MOST_OUTPUTS
      and all(0 <= figure < _LARGEST_FIGURE for figure in times)
      and abs(about.grown_mib) < _LARGEST_FIGURE
      and about.inputs
      and about.batch_size == max((1, *about.inputs[0].shape[:1]))
      and _is_usable(about.preprocessing)
    ):
      raise self._nonsense(
        f'images of {about.image_size} pixels, {about.num_outputs} outputs and '
        f'{", ".join(f"{figure:.4g}" for figure in times)} ms and MiB'
      )

  def _kill(self) -> None:
    if self._process.poll() is None:
      os.killpg(self._process.pid, signal.SIGKILL)

  def _ask(self, kind: type | None, do: str, **arguments):
    self._send(do, **arguments)
    return self._receive(kind)

  def _send(self, do: str, **arguments) -> None:
    if not self._due and (self._buffer or self._has_spoken()):
      raise self._nonsense('before it was asked')
    self._due += 1
    request = json.dumps({'do': do, **arguments}).encode() + b'\n'
    try:
      self._channel.sendall(request)
    except (BrokenPipeError, ConnectionResetError):
      raise self._ended() from None

  def _has_spoken(self) -> bool:
    """Whether there is something to read, where nothing is due."""
    try:
      return bool(self._channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except (BlockingIOError, ConnectionResetError):
      return False

  def _receive(self, kind: type | None):
    """The answer to the last request, as a dataclass; None takes any."""
    line = self._line()
    self._due -= 1
    try:
      answer = json.loads(line, parse_constant=_refuse_constant)
      refused = answer.get('error')
      done = None
      if refused is None and kind:
        done = records.from_json(kind, answer['done'])
    except (
      ValueError, KeyError, TypeError, AttributeError, RecursionError
    ) as error:  # fmt: skip
      raise self._nonsense(f'nonsense ({error})') from error
    if refused is not None:
      raise ModelError(self._renamed(str(refused)))
    return done

  def _line(self) -> bytes:
    deadline = time.monotonic() + self._limits.time_limit
    while b'\n' not in self._buffer:
      ready, _, _ = select.select(
        [self._channel], [], [], max(0.0, deadline - time.monotonic())
      )
      if not ready:
        self._kill()
        raise ModelError(
          f'{self._file.model}: no answer within {numbers.plain(self._limits.time_limit)} s '
          '(--time_limit): the model hangs, or is too slow for this machine'
        )
      try:
        received = self._channel.recv(2**20)
      except ConnectionResetError:
        received = b''
      self._buffer += received
      if not received:
        raise self._ended()
      if len(self._buffer) > _LONGEST_ANSWER:
        raise self._nonsense('an answer without end')
    line, _, self._buffer = self._buffer.partition(b'\n')
    return line

  def _ended(self) -> ModelError:
    """What to raise where the process is gone."""
    try:
      code = self._process.wait(timeout=5)
    except subprocess.TimeoutExpired:
      self._kill()
      code = self._process.wait()
    path = self._file.model
    if self._exceeded:
      return ModelError(f'{path}: the model {self._exceeded}')
    number = -code if code < 0 else code - _SIGNALLED
    if number in signal.valid_signals():
      crash = (
        'the process that opened it crashed; the file is damaged, or too large '
        'for this machine'
      )
      return ModelError(f'{path}: {processes.ended_by(number, crash)}')
    return ModelError(
      f'{path}: the process that opened it ended by itself, exit code {code}'
      f'{self._last_words()}'
    )

  def _last_words(self) -> str:
    """The last line that the process wrote to stderr, with a colon."""
    self._log.seek(0)
    lines = self._log.read()[-4096:].decode(errors='replace').split('\n')
    words = [line.strip() for line in lines if line.strip()]
    return f': {self._renamed(words[-1])[:_LAST_WORDS]}' if words else ''

  def _nonsense(self, what: str) -> ModelError:
    return ModelError(
      f'{self._file.model}: the process that opened it answered {what}; the '
      'figures cannot be trusted'
    )

  def _renamed(self, message: str) -> str:
    """A message with the path as the user gave it, and at its beginning."""
    given, absolute = self._file.model, self._absolute.model
    message = errors.printable(' '.join(message.split())[:_LONGEST_REASON])
    message = message.replace(absolute, given)
    return message if given in message else f'{given}: {message}'


def _absolute(file: measurements.OpenConfig) -> measurements.OpenConfig:
  """What the process opens: the file itself, by paths that hold anywhere."""
  absolute = lambda path: os.path.abspath(path) if path else ''
  custom = file.custom_objects
  return dataclasses.replace(
    file,
    model=absolute(str(interface.file_of(file.model))),
    loader=absolute(file.loader),
    custom_objects=absolute(custom) if custom.endswith('.py') else custom,
    environment=absolute(file.environment),
  )


def _is_usable(told: types.Preprocessing | None) -> bool:
  """Whether pixels can become that, which a file may say."""
  if told is None:
    return True
  return len(told.mean) == len(told.std) == 3 and all(told.std)


def _refuse_constant(name: str) -> None:
  raise ValueError(f'{name} is no number')
