"""What keeps processes out of each other's way."""

import contextlib
import ctypes
import errno
import fcntl
import os
import pathlib
import signal
import sys
from collections.abc import Iterator

_SET_PARENT_DEATH_SIGNAL = 1  # of Linux's prctl
_ENDING = (signal.SIGINT, signal.SIGTERM)


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
      with contextlib.suppress(OSError):  # Something is in it, most often.
        folder.rmdir()
  finally:
    os.close(descriptor)


@contextlib.contextmanager
def in_turn(folder: str | os.PathLike) -> Iterator[None]:
  """Waits until no other process is in its turn in a folder that is there."""
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
  finally:
    os.close(descriptor)


def go_on_watched(hint: str) -> None:
  """Returns in a child process; this one only waits, and ends as that does.

  So that a crash of native code ends as a sentence. To be called before any
  library has started threads.

  Args:
    hint: what to do when it crashed.

  Raises:
    ValueError: a signal ended the child.
    OSError: the signal was that of a system whose memory ran out.
  """
  sys.stdout.flush()
  # One that comes while hooks of the fork run would be lost.
  before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
  child = os.fork()
  if not child:
    die_with_parent()
    os.setpgid(0, 0)  # A Ctrl-C comes from its parent alone.
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return
  for number in _ENDING:
    if signal.getsignal(number) is not signal.SIG_IGN:
      signal.signal(number, lambda number, _: os.kill(child, number))
  signal.pthread_sigmask(signal.SIG_SETMASK, before)
  code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
  if code >= 0:
    sys.exit(code)
  raise ended_by(-code, f'a library crashed on this network; {hint}')


def ended_by(number: int, crash: str) -> Exception:
  """Returns what to raise where a signal has ended a child.

  Args:
    number: of the signal.
    crash: what its native code crashing means.
  """
  if number == signal.SIGKILL:
    return OSError(errno.ENOMEM, 'killed, as a system does without memory')
  return ValueError(f'{signal.Signals(number).name}: {crash}')


def die_with_parent() -> None:
  """Has the system kill this process when the one that started it ends.

  A child that goes on would hold its folder, or disturb a measurement.
  """
  ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
