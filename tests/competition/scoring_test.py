import pytest

from tfcompress.competition import scoring
from tfcompress.core import measurements


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
