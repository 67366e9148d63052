import dataclasses

import pytest

from tests.reports import sample_records
from tfcompress.competition import scoring
from tfcompress.core import challenges, measurements


def test_the_baseline_scores_one():
  score = scoring.score(
    size_mib=44.7,
    latency_ms=23.5,
    top1_percent=69.76,
    baseline=scoring.CHALLENGE_BASELINE,
  )
  assert score.final == pytest.approx(1)


def test_a_score_by_hand():
  score = scoring.score(
    size_mib=4.47,
    latency_ms=4.7,
    top1_percent=34.88,
    baseline=scoring.CHALLENGE_BASELINE,
  )
  assert score.size == pytest.approx(10)
  assert score.latency == pytest.approx(5)
  assert score.accuracy == pytest.approx(0.5)
  assert score.final == pytest.approx(0.3 * 10 + 0.3 * 5 + 0.4 * 0.5)


@pytest.mark.parametrize(
  'size_mib, latency_ms, top1_percent, parts, final',
  [
    # 44.7 / 11.175 = 4, 23.5 / 5.875 = 4, 52.32 / 69.76 = 0.75
    (11.175, 5.875, 52.32, (4, 4, 0.75), 0.3 * 4 + 0.3 * 4 + 0.4 * 0.75),
    # 44.7 / 0.75 = 59.6, 23.5 / 0.4 = 58.75, 71.504 / 69.76 = 1.025
    (0.75, 0.4, 71.504, (59.6, 58.75, 1.025), 17.88 + 17.625 + 0.41),
    # 44.7 / 89.4 = 0.5, 23.5 / 47 = 0.5, 69.76 / 69.76 = 1
    (89.4, 47.0, 69.76, (0.5, 0.5, 1), 0.15 + 0.15 + 0.4),
  ],
)
def test_three_submissions_by_hand(
  size_mib, latency_ms, top1_percent, parts, final
):
  score = scoring.score(
    size_mib=size_mib,
    latency_ms=latency_ms,
    top1_percent=top1_percent,
    baseline=scoring.CHALLENGE_BASELINE,
  )
  got = (score.size, score.latency, score.accuracy)
  assert got == pytest.approx(parts, rel=0, abs=1e-9)
  assert score.final == pytest.approx(final, rel=0, abs=1e-9)


def test_other_weights():
  score = scoring.score(
    size_mib=4.47,
    latency_ms=4.7,
    top1_percent=34.88,
    baseline=scoring.CHALLENGE_BASELINE,
    weights=challenges.Weights(size=0.1, latency=0.2, accuracy=0.7),
  )
  assert score.final == pytest.approx(0.1 * 10 + 0.2 * 5 + 0.7 * 0.5)


def test_the_interval_of_a_score_by_hand():
  """Half of it: the root of the sum of the weighted halves, squared."""
  record = dataclasses.replace(
    sample_records.four()[0],
    ratio=measurements.RatioRecord('base', 5.0, (4.9, 5.2)),
    size=measurements.SizeRecord(2**20, 1.0, 1, None, None),
    accuracy=measurements.AccuracyRecord(60.0, 80.0, (57.0, 64.0), 100),
  )
  baseline = measurements.BaselineRecord(10.0, 1.0, 50.0, 'base')
  score = scoring.scored(record, baseline).score
  assert score.final == pytest.approx(0.3 * 10 + 0.3 * 5 + 0.4 * 1.2)
  low = (0.3 * 0.1) ** 2 + (0.4 * 0.06) ** 2
  high = (0.3 * 0.2) ** 2 + (0.4 * 0.08) ** 2
  assert score.final_ci95 == pytest.approx(
    (score.final - low**0.5, score.final + high**0.5)
  )


def test_what_was_not_measured_is_not_scored():
  score = scoring.score(
    size_mib=44.7,
    latency_ms=None,
    top1_percent=None,
    baseline=scoring.CHALLENGE_BASELINE,
  )
  assert score.size == 1
  assert score.latency is score.accuracy is score.final is None


@pytest.mark.parametrize('name', ['size_mib', 'latency_ms', 'top1_percent'])
def test_a_baseline_of_zero_is_refused(name):
  figures = {'size_mib': 1.0, 'latency_ms': 1.0, 'top1_percent': 1.0, name: 0.0}
  with pytest.raises(ValueError, match='expected a number above zero'):
    scoring.score(
      size_mib=1.0,
      latency_ms=1.0,
      top1_percent=1.0,
      baseline=measurements.BaselineRecord(source='test', **figures),
    )
