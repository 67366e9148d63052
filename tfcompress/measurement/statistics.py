"""Confidence of what was measured. Pure functions, 95 % where not said.

scipy.stats is imported where it is used, for it takes longer than the rest of a
command that computes nothing.
"""

import math
from collections.abc import Sequence

import numpy as np

from tfcompress.core import measurements

_LOW, _HIGH = 0.025, 0.975
_BINS = 15
_ROUNDED, _LOST = 0.01, 0.6


def mean_interval(values: Sequence[float]) -> measurements.Interval | None:
  """Returns Student's interval of the mean of independent values (N,).

  None of fewer than two values.
  """
  if len(values) < 2:
    return None
  from scipy import stats

  half = stats.t.ppf(_HIGH, len(values) - 1) * stats.sem(values)
  mean = float(np.mean(values))
  return mean - float(half), mean + float(half)


def mean_time_interval(values: Sequence[float]) -> measurements.Interval | None:
  """Returns `mean_interval` of times (N,), none of which is below zero."""
  interval = mean_interval(values)
  return interval and (max(0.0, interval[0]), interval[1])


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
  from scipy import stats

  count = len(samples)
  quantiles = stats.binom.ppf((_LOW, _HIGH), count, percent / 100)
  below, above = int(quantiles[0]), int(quantiles[1]) + 1
  if below < 1 or above > count:
    return None
  ordered = np.sort(samples)
  return float(ordered[below - 1]), float(ordered[above - 1])


def calibration_error(probabilities: np.ndarray, correct: np.ndarray) -> float:
  """Returns the expected calibration error, 0 to 1 (Guo 2017, equation 3).

  Args:
    probabilities: (N, C), rows sum to one.
    correct: bool (N,), whether the likeliest class is right.
  """
  confidence = probabilities.max(axis=1)
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
