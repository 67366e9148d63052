"""Files that are opened as the evaluator does, in processes that may hang."""

import dataclasses
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from multiprocessing import connection

import numpy as np
import tqdm

from tfcompress.core import measurements, types
from tfcompress.measurement import opened
from tfcompress.runtimes import load

OPENED, REFUSED, CRASHED, FAILED = ENDS = (
  'opened', 'refused', 'crashes contained', 'failures'
)  # fmt: skip
_LIMITS = measurements.Limits(time_limit=60, memory_limit=4096)
_LONGEST_SECONDS, _LONGEST_SENTENCE = 90, 600
_IMAGES = 2
_CONTAINED = 'crashed; the file is damaged'
_fork = multiprocessing.get_context('fork')


@dataclasses.dataclass(frozen=True)
class Case:
  """A file to open.

  Attributes:
    number: that the damage is made from.
    format: of the file before that.
    mutation: the damage, in words.
    file: how to open it.
  """

  number: int
  format: str
  mutation: str
  file: measurements.OpenConfig


def ends(
  cases: Iterable[Case], count: int, title: str
) -> Iterator[tuple[Case, tuple[str, str]]]:
  """Opens as many files at once as there are cores.

  Args:
    cases: are taken as there is room for them.
    count: of them, and `title`: for a progress bar.

  Yields:
    Cases as they end, how they do, one of ENDS, and a message.
  """
  cases, running = iter(cases), {}
  with tqdm.tqdm(total=count, desc=title, unit='file') as progress:
    while True:
      while len(running) < len(os.sched_getaffinity(0)):
        if (case := next(cases, None)) is None:
          break
        running[case.number] = _Opening(case)
      if not running:
        return
      waited = [one.channel for one in running.values()]
      connection.wait(waited, timeout=1)
      for number, one in list(running.items()):
        if (end := one.end()) is not None:
          del running[number]
          progress.update()
          yield one.case, end


class _Opening:
  """A process that opens a file as the evaluator does.

  Attributes:
    case: the file.
    channel: where its end comes from.
  """

  def __init__(self, case: Case):
    self.case = case
    self.channel, theirs = _fork.Pipe(duplex=False)
    self._process = _fork.Process(target=_open, args=(case, theirs))
    self._process.start()
    theirs.close()
    self._started = time.monotonic()

  def end(self) -> tuple[str, str] | None:
    """Returns how it ended and with what message; None if it has not yet."""
    late = time.monotonic() - self._started > _LONGEST_SECONDS
    if not self.channel.poll() and not late:
      return None
    try:
      found = self.channel.recv() if self.channel.poll() else None
    except EOFError:
      self._process.join()
      found = FAILED, f'the evaluator ended with {self._process.exitcode}'
    self._process.kill()
    self._process.join()
    self.channel.close()
    return found or (FAILED, f'hung for {_LONGEST_SECONDS} s')


def _open(case: Case, channel: connection.Connection) -> None:
  """Opens a file and has it classify images; sends how that ended."""
  path = case.file.model
  try:
    load.runtime_of(path, None)  # What the evaluator's own process reads.
    with opened.Opened(case.file, _LIMITS) as model:
      slots = model.share(_IMAGES)
      slots[0] = np.arange(slots[0].size).reshape(slots[0].shape) % 256
      model.begin_predict(0, _IMAGES, types.Preprocessing())
      scores, _ = model.scores(0, _IMAGES)
    channel.send((OPENED, str(scores.shape)))
  except ValueError as error:
    channel.send(_judged(str(error), path, type(error)))
  except Exception as error:  # Whatever else it is, it is a failure.
    channel.send((FAILED, f'{type(error).__name__}: {error}'))


def _judged(message: str, path: str, kind: type) -> tuple[str, str]:
  """How a refusal counts, and what is wrong with its message if anything is."""
  wrong = [
    what
    for what, is_so in (
      (f'a {kind.__name__}', kind not in (ValueError, opened.ModelError)),
      ('several lines', len(message.splitlines()) != 1),
      ('no name of the file', path not in message),
      (f'{len(message)} characters', len(message) > _LONGEST_SENTENCE),
    )
    if is_so
  ]
  if wrong:
    return FAILED, f'{", ".join(wrong)}: {message}'
  return CRASHED if _CONTAINED in message else REFUSED, message
