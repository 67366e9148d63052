import numpy as np
import pytest
from scipy import stats

from tfcompress.measurement import statistics


@pytest.mark.parametrize('count', [2, 5, 20, 31, 32, 100])
def test_mean_interval_against_scipy(count):
  values = np.random.RandomState(count).gamma(2, 1, count)
  expected = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
  np.testing.assert_allclose(statistics.mean_interval(values), expected)


def test_mean_interval_against_published_values():
  # Student's t for 31 and 60 degrees of freedom: 2.0395 and 2.0003.
  for count, student in ((32, 2.0395), (61, 2.0003)):
    values = np.random.RandomState(count).rand(count)
    half = student * values.std(ddof=1) / np.sqrt(count)
    low, high = statistics.mean_interval(values)
    assert (high - low) / 2 == pytest.approx(half, rel=1e-4)


def test_an_interval_of_times_does_not_go_below_zero():
  low, high = statistics.mean_interval([1.0, 3.0])
  assert low < 0
  assert statistics.mean_time_interval([1.0, 3.0]) == (0.0, high)
  assert statistics.mean_time_interval([2.0, 2.1]) == pytest.approx(
    statistics.mean_interval([2.0, 2.1])
  )
  assert statistics.mean_time_interval([1.0]) is None


def test_a_mean_of_one_value_has_no_interval():
  assert statistics.mean_interval([1.0]) is None


def test_a_ratio_of_pairs_by_hand():
  # Each pair is 2 : 1, whatever the machine did meanwhile.
  ratio, (low, high) = statistics.ratio([2.0, 4.0, 20.0], [1.0, 2.0, 10.0])
  assert ratio == pytest.approx(2)
  assert (low, high) == pytest.approx((2, 2))
  # The logarithms are 0 and log 4: mean log 2, standard error log 2.
  ratio, (low, high) = statistics.ratio([1.0, 4.0], [1.0, 1.0])
  assert ratio == pytest.approx(2)
  student = np.tan(np.pi * 0.475)  # Of one degree of freedom: Cauchy's.
  assert high == pytest.approx(2 * 2**student)
  assert low == pytest.approx(2 / 2**student)


@pytest.mark.parametrize(('percent', 'least'), [(50, 6), (90, 36), (99, 368)])
def test_percentiles_need_samples(percent, least):
  samples = np.random.RandomState(0).rand(least)
  assert statistics.percentile_interval(samples, percent) is not None
  assert statistics.percentile_interval(samples[1:], percent) is None


@pytest.mark.parametrize(
  ('percent', 'count'), [(50, 101), (90, 500), (99, 2000)]
)
def test_percentile_interval_against_scipy(percent, count):
  samples = np.random.RandomState(1).gamma(2, 1, count)
  low, high = statistics.percentile_interval(samples, percent)
  ordered = sorted(samples)
  below, above = stats.binom.ppf([0.025, 0.975], count, percent / 100)
  assert low == ordered[int(below) - 1]
  assert high == ordered[int(above)]


def test_percentile_intervals_hold_the_percentile_as_often_as_they_say():
  rng = np.random.RandomState(2)
  held = 0
  for _ in range(400):
    low, high = statistics.percentile_interval(rng.exponential(size=200), 90)
    held += low <= np.log(10) <= high  # of the distribution itself
  assert held / 400 > 0.93


def test_calibration_error_by_hand():
  # Confidence 0.9 and right once of twice; 0.6 and right.
  probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
  correct = np.array([True, False, True])
  expected = 2 / 3 * abs(0.5 - 0.9) + 1 / 3 * abs(1 - 0.6)
  assert statistics.calibration_error(probabilities, correct) == pytest.approx(
    expected
  )


def test_a_perfectly_calibrated_model_has_no_error():
  probabilities = np.full((10, 2), [0.7, 0.3])
  correct = np.array([True] * 7 + [False] * 3)
  assert statistics.calibration_error(probabilities, correct) < 1e-9


def test_logits_become_probabilities_and_probabilities_stay():
  logits = np.array([[0.0, np.log(3.0)], [1000.0, 1000.0]])
  np.testing.assert_allclose(
    statistics.probabilities(logits), [[0.25, 0.75], [0.5, 0.5]]
  )
  rounded = np.array([[0.5, 0.25, 0.0], [0.99, 0.0, 0.0]])
  assert statistics.probabilities(rounded) is rounded
