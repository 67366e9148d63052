"""Whether shares of right answers are more than luck, against scipy and papers."""

import numpy as np
import pytest
import scipy.stats

from tfcompress.core import chance


def right(count: int, of: int = 100, first: int = 0) -> np.ndarray:
  """So many images from the first on."""
  hits = np.zeros(of, bool)
  hits[first : first + count] = True
  return hits


def test_wilson_interval_against_published_values():
  # Newcombe 1998, table I: 81/263 and 15/148.
  np.testing.assert_allclose(
    chance.wilson_interval(81, 263), (0.2553, 0.3662), atol=5e-5
  )
  np.testing.assert_allclose(
    chance.wilson_interval(15, 148), (0.0624, 0.1605), atol=5e-5
  )
  assert chance.wilson_interval(0, 20)[0] == 0
  assert chance.wilson_interval(20, 20)[1] == 1


@pytest.mark.parametrize(('gained', 'lost'), [(5, 0), (6, 0), (30, 16), (9, 2)])
def test_the_sign_test_against_scipy(gained, lost):
  one = np.concatenate([right(gained, gained), right(0, lost), right(9, 20)])
  other = np.concatenate([right(0, gained), right(lost, lost), right(9, 20)])
  p = scipy.stats.binomtest(gained, gained + lost).pvalue
  assert chance.better(one, other) == (p <= 0.05)
  assert not chance.better(other, one)


@pytest.mark.parametrize(
  ('total', 'classes'), [(200, 2), (200, 10), (200, 100), (60, 3)]
)
def test_luck_is_what_guessing_does_most_often(total, classes):
  most = max(n for n in range(total) if chance.is_luck(n, total, classes))
  beyond = scipy.stats.binom.sf(most, total, 1 / classes)
  assert 0.01 < beyond < 0.06


def test_rivals_are_those_that_may_be_as_good():
  ninety, as_good = right(90), np.roll(right(90), 1)
  found = chance.rivals(
    {'a': ninety, 'the same': ninety, 'b': as_good, 'c': right(50)}, 'a'
  )
  assert found == ['b']
