"""Confidence of what was measured. Pure functions, 95 % where not said."""

import math
from collections.abc import Sequence

import numpy as np

from tfcompress.core import measurements

_Z = 1.959964
# Two-sided 95 % of Student's t, by degrees of freedom from 1 on.
_STUDENT = (
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201,
  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074,
  2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_BINS = 15
_ROUNDED, _LOST = 0.01, 0.6


def mean_interval(values: Sequence[float]) -> measurements.Interval | None:
  """Returns Student's interval of the mean of independent values (N,).

  None of fewer than two values.
  """
  if len(values) < 2:
    return None
  freedom = len(values) - 1
  student = _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else _Z
  half = student * np.std(values, ddof=1) / math.sqrt(len(values))
  mean = float(np.mean(values))
  return mean - float(half), mean + float(half)


def ratio(
  numerators: Sequence[float], denominators: Sequence[float]
) -> tuple[float, measurements.Interval | None]:
  """Returns the geometric mean of paired ratios (N,) and its interval.

  Student's, of their logarithms: of a pair, both are of one time, so that what
  slowed the machine down has slowed both (Kalibera and Jones 2013, on processes
  as the unit that repeats).
  """
  logarithms = np.log(np.divide(numerators, denominators))
  interval = mean_interval(logarithms)
  bounds = interval and tuple(math.exp(bound) for bound in interval)
  return math.exp(logarithms.mean()), bounds


def percentile_interval(
  samples: np.ndarray, percent: float
) -> measurements.Interval | None:
  """Returns the interval of a percentile by the ranks around it.

  No distribution is assumed: how many of N samples lie below the percentile is
  binomial (Conover 1999, 3.2). None where N samples have no rank above or below
  the interval's ends: 6 samples give a median, 36 a p90, 368 a p99.

  Args:
    samples: float64 (N,).
    percent: above 0 and below 100.
  """
  count, share = len(samples), percent / 100
  below = _binomial_quantile(count, share, 0.025)
  above = _binomial_quantile(count, share, 0.975) + 1
  if below < 1 or above > count:
    return None
  ordered = np.sort(samples)
  return float(ordered[below - 1]), float(ordered[above - 1])


def wilson_interval(
  correct: int, total: int, z: float = _Z
) -> measurements.Interval:
  """Returns the interval of a share (Wilson 1927), within 0..1."""
  share = correct / total
  center = share + z * z / (2 * total)
  half = z * math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
  scale = 1 + z * z / total
  return max(0.0, (center - half) / scale), min(1.0, (center + half) / scale)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
  """Returns the expected calibration error, 0 to 1 (Guo 2017, equation 3).

  Args:
    probabilities: (N, C), rows sum to one.
    labels: (N,).
  """
  confidence = probabilities.max(axis=1)
  correct = probabilities.argmax(axis=1) == labels
  bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
  error = 0.0
  for index in np.unique(bins):
    inside = bins == index
    gap = correct[inside].mean() - confidence[inside].mean()
    error += inside.mean() * abs(gap)
  return float(error)


def probabilities(scores: np.ndarray) -> np.ndarray:
  """Returns scores (N, C) as they are if they are probabilities, else softmax.

  Those of a quantized output are rounded, the smallest to zero: their sum may
  be far from one.
  """
  sums = scores.sum(axis=1)
  bounded = scores.min() >= 0 and scores.max() <= 1 + _ROUNDED
  if bounded and sums.min() > 1 - _LOST and sums.max() < 1 + _LOST:
    return scores
  shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
  return shifted / shifted.sum(axis=1, keepdims=True)


def _binomial_quantile(count: int, share: float, level: float) -> int:
  """The least k of which P(X <= k) is at least `level`."""
  k = np.arange(count + 1)
  # Through logarithms: the binomials themselves overflow.
  choose = _log_factorials(count)
  logarithm = (
    choose[count] - choose[k] - choose[count - k]
    + k * math.log(share) + (count - k) * math.log1p(-share)
  )  # fmt: skip
  return int(np.searchsorted(np.cumsum(np.exp(logarithm)), level))


def _log_factorials(count: int) -> np.ndarray:
  """Logarithms of 0!, 1!, ... count!."""
  return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
