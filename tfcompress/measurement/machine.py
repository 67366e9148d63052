"""The machine around a measurement: its cores, and who else uses them."""

import os
import pathlib
import time

from tfcompress.core import measurements

_STAT = pathlib.Path('/proc/stat')
_GOVERNOR = pathlib.Path(
  '/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor'
)
_IDLE = slice(3, 5)  # of a core's line: idle, and waiting for a disk
_COUNTED = 8  # user to steal; guests are counted in user already
_LOOK_SECONDS = 0.1
_BUSY_CORES = 0.25


def idlest_cores(count: int) -> tuple[int, ...]:
  """Returns the cores to pin `count` threads to; () where pinning is no use.

  That is where the process has no more cores than that, or the system does not
  tell how busy they are.
  """
  cores = sorted(os.sched_getaffinity(0))
  if count >= len(cores) or not _STAT.is_file():
    return ()
  before = _busy_seconds()
  time.sleep(_LOOK_SECONDS)
  after = _busy_seconds()
  busy = {core: after[core] - before[core] for core in cores}
  # Among equals the last: the first serves interrupts.
  return tuple(sorted(cores, key=lambda core: (busy[core], -core))[:count])


class Watch:
  """Adds up what other processes compute while the machine is watched."""

  def __init__(self):
    self._load = os.getloadavg()[0]
    self._start = time.monotonic()
    self._busy = self._all_busy()
    self._own = _own_seconds()

  def record(
    self, cores: tuple[int, ...], children_seconds: float
  ) -> measurements.MachineRecord:
    """Returns what happened since the watch began.

    Args:
      cores: that timed processes were pinned to.
      children_seconds: CPU time of the processes that were measured.
    """
    others = None
    if self._busy is not None:
      busy = self._all_busy() - self._busy
      own = _own_seconds() - self._own + children_seconds
      elapsed = time.monotonic() - self._start
      others = max(0.0, (busy - own) / elapsed)
    return measurements.MachineRecord(
      cores=cores,
      governor=_GOVERNOR.read_text().strip() if _GOVERNOR.is_file() else None,
      load_before=self._load,
      load_after=os.getloadavg()[0],
      others_cores=others,
      busy=others is not None and others > _BUSY_CORES,
    )

  def _all_busy(self) -> float | None:
    if not _STAT.is_file():
      return None
    busy = _busy_seconds()
    return sum(busy[core] for core in os.sched_getaffinity(0))


def _busy_seconds() -> dict[int, float]:
  """CPU time of every core that was not idle, since the system started."""
  busy, ticks = {}, os.sysconf('SC_CLK_TCK')
  for line in _STAT.read_text().splitlines():
    name, *times = line.split()
    if name.startswith('cpu') and name != 'cpu':
      counted = [int(text) for text in times[:_COUNTED]]
      busy[int(name[3:])] = (sum(counted) - sum(counted[_IDLE])) / ticks
  return busy


def _own_seconds() -> float:
  """CPU time of this process, without its children."""
  times = os.times()
  return times.user + times.system
