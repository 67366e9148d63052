"""Whether a classifier is right more often than another, or than by luck.

Pure functions. scipy.stats is imported where it is used, for it takes longer than
the rest of a command that computes nothing.
"""

import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

_LEVEL = 0.05  # of a test, two-sided
_ALIKE = 0.01  # the share of images that two may differ on and be the same

Key = TypeVar('Key')


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
  """Returns the 95 % interval of a share (Wilson 1927), within 0..1."""
  from scipy import stats

  found = stats.binomtest(correct, total).proportion_ci(method='wilson')
  return float(found.low), float(found.high)


def is_luck(correct: int, total: int, num_classes: int) -> bool:
  """Whether guessing may be right as often, by the interval of the share.

  Args:
    correct: images that are classified rightly.
    total: images.
    num_classes: of them, equally frequent.
  """
  return wilson_interval(correct, total)[0] <= 1 / num_classes


def better(one: np.ndarray, other: np.ndarray) -> bool:
  """Whether one is right more often than by luck, by the sign test.

  Of the images that only one of them classifies rightly, each should have about
  half: McNemar's test, exact.

  Args:
    one: whether it classifies each image rightly, bool (N,).
    other: likewise, the same images.
  """
  gained, lost = int((one & ~other).sum()), int((other & ~one).sum())
  total = gained + lost
  tail = sum(math.comb(total, k) for k in range(gained, total + 1))
  return 2 * tail <= _LEVEL * 2**total


def rivals(right: Mapping[Key, np.ndarray], chosen: Key) -> list[Key]:
  """Returns those that the chosen one is not clearly better than, best first.

  Args:
    right: whether each candidate classifies each image rightly, bool (N,).
    chosen: the one that does so most often.
  """
  return [
    other
    for other in sorted(right, key=lambda one: -right[one].sum())
    if other is not chosen
    and _differ(right[chosen], right[other])
    and not better(right[chosen], right[other])
  ]


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
  """Whether there is much to lose by taking one of two for the other."""
  return (one != other).mean() > _ALIKE
