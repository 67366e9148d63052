"""The score of a model-compression challenge, as pure functions.

Size, latency and accuracy are ratios to a baseline, better than 1 where the
model is better; the score is their weighted sum. In the ResNet-18 Model
Compression Challenge size counts 30 %, latency 30 %, accuracy 40 %.
"""

import dataclasses
import math

from tfcompress.core import challenges, measurements

# "MB" in the challenge's documents is 2^20 bytes.
CHALLENGE_BASELINE = measurements.BaselineRecord(
  size_mib=44.7, latency_ms=23.5, top1_percent=69.76, source='challenge'
)
_WEIGHTS = challenges.Weights()


def score(
  *,
  size_mib: float | None,
  latency_ms: float | None,
  top1_percent: float | None,
  baseline: measurements.BaselineRecord,
  latency_ratio: float | None = None,
  weights: challenges.Weights = _WEIGHTS,
) -> measurements.ScoreRecord:
  """Scores a model against a baseline.

  Args:
    size_mib: bytes / 2^20; None if it was not measured, as all below.
    latency_ms: mean latency of one image in milliseconds.
    top1_percent: top-1 accuracy in percent.
    baseline: what to compare with.
    latency_ratio: baseline latency / latency where both were timed in turns,
      which takes the place of the ratio of the two figures.
    weights: of the three.

  Returns:
    baseline size / size, baseline latency / latency, top-1 / baseline top-1
    and their weighted sum, which is None if one of them is.

  Raises:
    ValueError: a size or latency that is not above zero, or a baseline top-1
      that is not.
  """
  for name, value in (
    ('size', size_mib),
    ('latency', latency_ms),
    ('baseline size', baseline.size_mib),
    ('baseline latency', baseline.latency_ms),
    ('baseline accuracy', baseline.top1_percent),
    ('latency ratio', latency_ratio),
  ):
    if value is not None and value <= 0:
      raise ValueError(f'{name} {value:g}: expected a number above zero')
  size = _ratio(baseline.size_mib, size_mib)
  latency = latency_ratio or _ratio(baseline.latency_ms, latency_ms)
  accuracy = _ratio(top1_percent, baseline.top1_percent)
  final = None
  if None not in (size, latency, accuracy):
    final = (
      weights.size * size
      + weights.latency * latency
      + weights.accuracy * accuracy
    )
  return measurements.ScoreRecord(
    size,
    latency,
    accuracy,
    final,
    baseline,
    weights=dataclasses.astuple(weights),
  )


def scored(
  record: measurements.Measurement,
  baseline: measurements.BaselineRecord,
  weights: challenges.Weights = _WEIGHTS,
) -> measurements.Measurement:
  """Returns a measurement with its score.

  Latency that was timed in turns with the baseline counts by that ratio, and
  then the score has an interval.

  Raises:
    ValueError: as `score`.
  """
  mine = figures_of(record, record.model.path)
  ratio = record.ratio
  in_turns = ratio and ratio.reference == baseline.source
  found = score(
    size_mib=mine.size_mib,
    latency_ms=mine.latency_ms,
    top1_percent=mine.top1_percent,
    baseline=baseline,
    latency_ratio=ratio.latency if in_turns else None,
    weights=weights,
  )
  if in_turns and found.final is not None and ratio.latency_ci95:
    interval = _interval(found, record, weights)
    found = dataclasses.replace(found, final_ci95=interval)
  return dataclasses.replace(record, score=found)


def figures_of(
  record: measurements.Measurement, source: str
) -> measurements.BaselineRecord:
  """Returns the figures that count of a measurement; `source` names it."""
  return measurements.BaselineRecord(
    size_mib=record.size.mib if record.size else None,
    latency_ms=record.latency_ms.mean if record.latency_ms else None,
    top1_percent=record.accuracy.top1_percent if record.accuracy else None,
    source=source,
  )


def _interval(
  found: measurements.ScoreRecord,
  record: measurements.Measurement,
  weights: challenges.Weights,
) -> measurements.Interval:
  """95 % of the weighted sum, its parts being independent; size is exact."""
  accuracy = [
    bound / found.baseline.top1_percent
    for bound in record.accuracy.top1_ci95_percent
  ]
  low, high = (
    math.hypot(
      weights.latency * (record.ratio.latency_ci95[side] - found.latency),
      weights.accuracy * (accuracy[side] - found.accuracy),
    )
    for side in (0, 1)
  )
  return found.final - low, found.final + high


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
  if numerator is None or denominator is None:
    return None
  return numerator / denominator
