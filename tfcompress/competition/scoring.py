"""The score of the ResNet-18 Model Compression Challenge, as pure functions.

Size counts 30 %, latency 30 %, accuracy 40 %; each is a ratio to a baseline,
better than 1 where the model is better.
"""

from tfcompress.core import measurements

SIZE_WEIGHT = 0.3
LATENCY_WEIGHT = 0.3
ACCURACY_WEIGHT = 0.4

# "MB" in the challenge's documents is 2^20 bytes.
CHALLENGE_BASELINE = measurements.BaselineRecord(
  size_mib=44.7, latency_ms=23.5, top1_percent=69.76, source='challenge'
)


def score(
  *,
  size_mib: float | None,
  latency_ms: float | None,
  top1_percent: float | None,
  baseline: measurements.BaselineRecord,
  latency_ratio: float | None = None,
) -> measurements.ScoreRecord:
  """Scores a model against a baseline.

  Args:
    size_mib: bytes / 2^20; None if it was not measured, as all below.
    latency_ms: mean latency of one image in milliseconds.
    top1_percent: top-1 accuracy in percent.
    baseline: what to compare with.
    latency_ratio: baseline latency / latency where both were timed in turns,
      which takes the place of the ratio of the two figures.

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
      SIZE_WEIGHT * size + LATENCY_WEIGHT * latency + ACCURACY_WEIGHT * accuracy
    )
  return measurements.ScoreRecord(size, latency, accuracy, final, baseline)


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
  if numerator is None or denominator is None:
    return None
  return numerator / denominator
