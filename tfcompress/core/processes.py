"""What keeps processes out of each other's way."""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import signal
from collections.abc import Iterator

_SET_PARENT_DEATH_SIGNAL = 1  # of Linux's prctl


@contextlib.contextmanager
def alone(folder: str | os.PathLike, others: str) -> Iterator[None]:
  """Raises ValueError if another process is alone in a folder.

  The system frees the lock of a process that was killed.

  Args:
    folder: is made, and removed if it is empty afterwards.
    others: what the other process does, for the message.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise ValueError(
        f'{folder}: another process {others}; wait for it or choose another '
        '--output_dir'
      ) from error
    try:
      yield
    finally:
      if not any(folder.iterdir()):
        folder.rmdir()
  finally:
    os.close(descriptor)


def die_with_parent() -> None:
  """Has the system kill this process when the one that started it ends.

  A child that goes on would hold its folder, or disturb a measurement.
  """
  ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
