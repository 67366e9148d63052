"""The process that opens a model and does what it is told over a socket.

  python -m tfcompress.measurement.worker SOCKET MEMORY

Both arguments are file descriptors. The model's own code may run in here, so
this process knows images, and no labels.
"""

import contextlib
import json
import math
import mmap
import os
import pathlib
import queue
import resource
import socket
import sys
import time
from concurrent import futures

import numpy as np

from tfcompress.core import measurements, processes, records, types
from tfcompress.measurement import replies, warmup
from tfcompress.runtimes import interface, load

_SEED = 0
_DYNAMIC_BATCH = 8
_STEP = 192  # numbers: whole pixels, and all types stay aligned
_MIB_PER_KIB, _MIB = 1 / 1024, 2**20
_TOLERANCE = (
  1e-3  # of scores in a batch to those alone, relative to the largest
)


class Worker:
  """What can be asked of this process; every public method is a request."""

  def __init__(self, memory: int):
    self._memory = memory
    self._backends: list[interface.Backend] = []
    self._batch_size = 0

  def open(self, file: dict, copies: int, cores: list, file_mib: int | None):
    """Opens a model so many times, and runs it once."""
    if cores:
      os.sched_setaffinity(0, cores)
    if file_mib is not None:
      resource.setrlimit(resource.RLIMIT_FSIZE, (file_mib * _MIB,) * 2)
      resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    self._config = records.from_json(measurements.OpenConfig, file)
    self._import_runtime()
    before = _status_mib('VmRSS')
    start = time.perf_counter()
    self._backends.append(load.open_file(self._config))
    opened = time.perf_counter()
    size = interface.image_size(self.backend, self._config)
    pixels = np.random.RandomState(_SEED).randint(0, 256, (1, size, size, 3))
    batch = self._encoded(pixels.astype(np.uint8), types.Preprocessing())
    begun = time.perf_counter()
    raw = self.backend.predict(batch)
    ended = time.perf_counter()
    grown = _status_mib('VmRSS') - before
    peak = _status_mib('VmHWM')
    for _ in range(copies - 1):
      self._backends.append(load.open_file(self._config))
    return replies.Opened(
      inputs=self.backend.inputs,
      outputs=self.backend.outputs,
      runtime=self.backend.info(),
      image_size=size,
      num_outputs=raw.size // len(batch),
      load_ms=1e3 * (opened - start),
      first_ms=1e3 * (ended - begun),
      grown_mib=grown,
      peak_mib=peak,
      size_told=bool(
        interface.side_of(self.backend.inputs[0]) or self._config.image_size
      ),
      batch_size=len(batch),
      preprocessing=load.told_preprocessing(self._config.model),
    )

  @property
  def backend(self) -> interface.Backend:
    return self._backends[0]

  def share(
    self, slots: int, images: list, scores: list, given: list, behind: int
  ):
    """Maps the shared memory: images uint8, an input, then scores float32.

    Args:
      slots: of images and of scores.
      images: the shape of a slot.
      scores: likewise.
      given: where one encoded input begins, and its bytes.
      behind: where the scores begin.
    """
    mapped = mmap.mmap(self._memory, 0)
    # Or a graph that reads files could see images before they are due.
    _forget(self._memory)
    shape = (slots, *images)
    self._images = np.frombuffer(mapped, np.uint8, math.prod(shape)).reshape(
      shape
    )
    start, size = given
    self._given = np.frombuffer(mapped, np.uint8, size, offset=start)
    shape = (slots, *scores)
    self._scores = np.frombuffer(
      mapped, np.float32, math.prod(shape), offset=behind
    ).reshape(shape)
    self._pool = futures.ThreadPoolExecutor(len(self._backends))
    self._free = queue.SimpleQueue()
    for backend in self._backends:
      self._free.put(backend)

  def predict(self, slot: int, count: int, scaling: dict):
    """Writes the scores of a slot's first images beside them."""
    scaling = records.from_json(types.Preprocessing, scaling)
    images, scores = self._images[slot, :count], self._scores[slot]
    if not self._batch_size:
      self._batch_size = self._found_batch_size(images, scaling)

    def run(start: int) -> None:
      part = images[start : start + self._batch_size]
      scores[start : start + len(part)] = self._scores_of(part, scaling)

    list(self._pool.map(run, range(0, count, self._batch_size)))
    return replies.Predicted(self._batch_size)

  def prepare(self, count: int, scaling: dict):
    """Takes a slot's first images as what others to be timed are made of."""
    self._scaling = records.from_json(types.Preprocessing, scaling)
    self._timed = [
      self._filled(self._images[0, :count], first) for first in range(count)
    ]
    # Twice in a row: an image begins anywhere in it.
    self._doubled = [np.tile(image.reshape(-1), 2) for image in self._timed]
    self._random = np.random.RandomState(_SEED)

  def warm(self, runs: int | None):
    """Runs untimed inferences: so many, or until the times are steady."""
    return warmup.until_steady(self._times, runs)

  def time(self, runs: int, fresh: bool, witnesses: list):
    """Times single inferences: input in, invoke, output out.

    Args:
      runs: how many.
      fresh: whether each sees pixels that none before it did, so that a model
        which remembers images does not look fast.
      witnesses: pairs of a run and the image of the first slot that it sees as
        it is; their scores are written to that slot, in this order.
    """
    kept = []
    ms = tuple(self._times(runs, fresh, dict(witnesses), kept))
    for row, raw in enumerate(kept):
      scores = interface.decode(raw, self.backend.outputs[0])
      self._scores[0, row] = scores[0]
    return replies.Timed(ms)

  def answer(self):
    """Runs the encoded input of the shared memory; its scores are the first."""
    info = self.backend.inputs[0]
    batch = self._given.view(info.dtype).reshape(
      interface.shape_of(info, self._images.shape[2])
    )
    raw = self.backend.predict(batch)
    self._scores[0, 0] = interface.decode(raw, self.backend.outputs[0])[0]

  def throughput(self, batch_size: int, seconds: float):
    """Runs batches, every copy of the model at work."""
    shape = self.backend.inputs[0].shape
    if shape[0] not in (-1, batch_size):
      raise ValueError(
        f'{self._config.model}: made for batches of {shape[0]}, got '
        f'--batch_sizes={batch_size}'
      )
    image = self._timed[0]
    batch = np.concatenate([image] * (batch_size // len(image)))
    self.backend.predict(batch)
    start, images = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
      self.backend.predict(batch)
      images += batch_size
    return replies.Rate(images, elapsed)

  def parameters(self):
    """Counts the numbers in the weights."""
    from tfcompress.measurement import size

    return replies.Parameters(*size.parameters(self._config))

  def profile(self):
    """Times every operator of a `.tflite`."""
    from tfcompress.measurement import profile

    size = interface.image_size(self.backend, self._config)
    return profile.profile(self._config.model, size)

  def _times(
    self, runs: int, fresh: bool = True, witnesses=(), kept=None
  ) -> np.ndarray:
    """Milliseconds (N,) of single inferences; `kept` gets witnesses' outputs."""
    predict, clock = self.backend.predict, time.perf_counter_ns
    samples = np.empty(runs, np.int64)
    for run in range(runs):
      if run in witnesses:
        batch = self._filled(self._images[0], witnesses[run])
      else:
        batch = self._stirred(run) if fresh else self._timed[0]
      start = clock()
      raw = predict(batch)
      samples[run] = clock() - start
      if run in witnesses:
        kept.append(raw)
    return samples / 1e6

  def _stirred(self, run: int) -> np.ndarray:
    """An image that begins elsewhere, with two numbers in each other's place."""
    which = run % len(self._timed)
    doubled, shape = self._doubled[which], self._timed[which].shape
    half = doubled.size // 2
    places = self._random.randint(0, half, 2)
    doubled[places] = doubled[places[::-1]]
    start = self._random.randint(0, max(1, half // _STEP)) * _STEP
    return doubled[start : start + half].reshape(shape)

  def _filled(self, images: np.ndarray, first: int) -> np.ndarray:
    """One inference's input: an image, and those behind it where it takes more.

    All the same would be less work for a file that sees it.
    """
    places = range(first, first + max(1, self.backend.inputs[0].shape[0]))
    batch = np.take(images, places, axis=0, mode='wrap')
    return self._encoded(batch, self._scaling)

  def _import_runtime(self) -> None:
    """Imports what opening needs, so that it does not count as the model's."""
    runtime = load.import_runtime(self._config)
    if runtime is measurements.Runtime.TENSORFLOW:
      import tf_keras  # noqa: F401

  def _encoded(self, images: np.ndarray, scaling) -> np.ndarray:
    """Images as the model takes them, as many as its batch has."""
    encoded = interface.encode(images, self.backend.inputs[0], scaling)
    missing = self.backend.inputs[0].shape[0] - len(encoded)
    if missing > 0:
      encoded = np.concatenate([encoded, *[encoded[-1:]] * missing])
    return encoded

  def _scores_of(self, images: np.ndarray, scaling) -> np.ndarray:
    """Scores (B, C) of images (B, S, S, 3), by whichever copy is free."""
    encoded = self._encoded(images, scaling)
    backend = self._free.get()
    try:
      raw = backend.predict(encoded)
    finally:
      self._free.put(backend)
    return interface.decode(raw, backend.outputs[0])[: len(images)]

  def _found_batch_size(self, images: np.ndarray, scaling) -> int:
    """The file's own, or the largest that gives what single images give."""
    fixed = self.backend.inputs[0].shape[0]
    if fixed > 0:
      return fixed
    images = images[:_DYNAMIC_BATCH]
    try:
      together = self._scores_of(images, scaling)
    except ValueError:  # Free outside, and inside made for one.
      return 1
    alone = [self._scores_of(image[None], scaling) for image in images]
    largest = max(1e-9, float(np.abs(alone).max()))
    difference = np.abs(together - np.concatenate(alone)).max()
    return _DYNAMIC_BATCH if difference <= _TOLERANCE * largest else 1


def _status_mib(field: str) -> float:
  """A figure of this process in /proc, in MiB."""
  for line in pathlib.Path('/proc/self/status').read_text().splitlines():
    if line.startswith(f'{field}:'):
      return int(line.split()[1]) * _MIB_PER_KIB
  raise ValueError(f'/proc/self/status has no {field}')


def _forget(file: int) -> None:
  """Puts nothing in the place of a file, and of what mmap keeps of it."""
  wanted = os.fstat(file)
  with open(os.devnull, 'rb') as nothing:
    for name in os.listdir('/proc/self/fd'):
      with contextlib.suppress(OSError):  # The list itself was one.
        if os.path.samestat(os.fstat(int(name)), wanted):
          os.dup2(nothing.fileno(), int(name))


def main() -> None:
  """Answers requests until the other end is closed."""
  processes.die_with_parent()
  channel = socket.socket(fileno=int(sys.argv[1]))
  worker = Worker(int(sys.argv[2]))
  with channel, channel.makefile('rb') as lines:
    for line in lines:
      request = json.loads(line)
      try:
        done = getattr(worker, request.pop('do'))(**request)
        answer = {'done': records.to_json(done)}
      except (ValueError, OSError, MemoryError) as error:
        answer = {'error': str(error) or type(error).__name__}
      channel.sendall(json.dumps(answer).encode() + b'\n')


if __name__ == '__main__':
  main()
