"""When the times of a model have stopped falling."""

import math
from collections.abc import Callable

import numpy as np

from tfcompress.measurement import replies

_WINDOW_MS, _LEAST_RUNS = 20.0, 3
_STEADY_WINDOWS = 3  # in a row
_FALL = 0.02  # What is less is noise.
_MOST_MS, _MOST_WINDOWS = 3000.0, 100


def until_steady(
  times: Callable[[int], np.ndarray], runs: int | None = None
) -> replies.Warmed:
  """Runs a model until the median of a window no longer falls.

  Args:
    times: runs so many inferences and returns their milliseconds.
    runs: of which the warm-up is to be, whatever their times; None ends it
      once three windows are no faster than the best before by over
      2 %, and no later than after 3 s or four windows.
  """
  if runs is not None:
    taken = times(runs) if runs else np.zeros(1)
    return replies.Warmed(runs, float(np.median(taken)), steady=True)
  first = times(_LEAST_RUNS)
  window = max(_LEAST_RUNS, math.ceil(_WINDOW_MS / np.median(first)))
  total, spent, best, still = len(first), first.sum(), math.inf, 0
  for done in range(_MOST_WINDOWS):
    taken = times(window)
    total, spent, median = total + window, spent + taken.sum(), np.median(taken)
    still = still + 1 if median >= (1 - _FALL) * best else 0
    best = min(best, median)
    too_long = spent > _MOST_MS and done > _STEADY_WINDOWS
    if still == _STEADY_WINDOWS or too_long:
      break
  return replies.Warmed(total, float(median), still == _STEADY_WINDOWS)
