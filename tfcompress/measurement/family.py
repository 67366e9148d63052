"""A process and all that it started, as /proc shows them."""

import mmap
import os
import pathlib
from collections.abc import Iterable, Iterator

_TICK_SECONDS = 1 / os.sysconf('SC_CLK_TCK')
# Of /proc/PID/stat behind the name: user and system time, and those of
# children that have ended.
_TIMES = slice(11, 15)


def descendants(pid: int) -> list[int]:
  """Returns a process and all that it started."""
  found = [pid]
  for one in found:  # Grows on the way.
    try:
      for task in pathlib.Path(f'/proc/{one}/task').iterdir():
        found += map(int, (task / 'children').read_text().split())
    except OSError:  # It has ended meanwhile.
      continue
  return found


def with_variable(variable: str) -> Iterator[int]:
  """Yields processes that were started with `NAME=VALUE`."""
  wanted = variable.encode()
  for process in pathlib.Path('/proc').glob('[0-9]*'):
    try:
      if wanted in (process / 'environ').read_bytes().split(b'\0'):
        yield int(process.name)
    except OSError:  # Of another user, or it has ended meanwhile.
      continue


def memory_mib(pids: Iterable[int]) -> float:
  """Returns memory that processes hold: resident, or in files without name."""
  pages, unnamed = 0, {}
  for pid in pids:
    process = pathlib.Path(f'/proc/{pid}')
    try:
      pages += int((process / 'statm').read_text().split()[1])
      for file in (process / 'fd').iterdir():
        if os.readlink(file).startswith('/memfd:'):
          status = os.stat(file)
          unnamed[status.st_ino] = status.st_blocks
    except (OSError, IndexError):  # It has ended meanwhile.
      continue
  return (pages * mmap.PAGESIZE + 512 * sum(unnamed.values())) / 2**20


def cpu_seconds(pids: Iterable[int]) -> float:
  """Returns the CPU time of processes and of their children that have ended."""
  ticks = 0
  for pid in pids:
    try:
      text = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:  # It has ended meanwhile; its parent has its time.
      continue
    ticks += sum(map(int, text.rpartition(')')[2].split()[_TIMES]))
  return ticks * _TICK_SECONDS
