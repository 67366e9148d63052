"""From a budget to a choice of channels, counted by hand."""

import dataclasses

import numpy as np
import pytest

from tfcompress.models import channels as channels_lib
from tfcompress.training import budget


def choice(*sizes, uniform=True, round_to=1, scores=None) -> budget.Choice:
  starts = np.cumsum([0, *sizes])
  groups = [
    channels_lib.Group((f'conv{i}',), np.arange(start, start + size))
    for i, (start, size) in enumerate(zip(starts, sizes))
  ]
  count = int(starts[-1])
  scores = np.arange(count, 0, -1.0) if scores is None else np.array(scores)
  return budget.Choice(groups, scores, count, round_to, uniform)


def counts(some: budget.Choice, kept: np.ndarray) -> list[int]:
  return [int(kept[group.ids].sum()) for group in some.groups]


def test_a_ratio_is_taken_of_every_group_rounded():
  some = choice(64, 128, 10)
  # 44.8, 89.6 and 7.
  assert counts(some, budget.at_ratio(some, 0.3)) == [45, 90, 7]


def test_the_least_important_go():
  some = choice(4, scores=[0.5, 3.0, 0.1, 2.0])
  assert budget.at_ratio(some, 0.5).tolist() == [False, True, False, True]


def test_counts_are_multiples_but_never_more_than_there_are():
  some = choice(64, 24, 6, round_to=8)
  # 45 + 17 + 4 stay of single ones; 48 + 16 + 6 would be 4 too many.
  assert counts(some, budget.at_ratio(some, 0.3)) == [40, 16, 6]


def test_a_group_is_not_left_without_channels():
  some = choice(64, 3)
  with pytest.raises(ValueError, match='leave conv1, of 3 channels, without'):
    budget.at_ratio(some, 0.9)


def test_a_ranking_takes_from_all_groups_but_leaves_a_quarter():
  scores = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0.5] + [0.1] * 10
  some = choice(10, 10, uniform=False, scores=scores)
  # Half of 20 go: the 7 of the second that may, then the least of the first.
  assert counts(some, budget.at_ratio(some, 0.5)) == [7, 3]
  assert some.highest == pytest.approx(0.7)
  assert counts(some, some.kept(0.7)) == [3, 3]
  with pytest.raises(
    ValueError, match=r'1 channel or 25% .* at most 0.700 can'
  ):
    budget.at_ratio(some, 0.71)


def test_equally_important_channels_go_one_by_one():
  some = choice(10, 10, uniform=False, scores=[1.0] * 20)
  assert sum(counts(some, budget.at_ratio(some, 0.1))) == 18


def test_nothing_goes_at_level_0_whatever_the_multiple():
  some = choice(10, 20, 45, round_to=8)
  assert some.kept(0.0).all()


def test_a_ratio_of_the_whole_is_reached_from_anywhere_on_the_way():
  """64 channels to 0.7 of them in five steps, as in one."""
  left = [64, 512]
  for step in range(1, 6):
    some = dataclasses.replace(choice(*left, round_to=8), whole=[64, 512])
    left = counts(some, budget.at_ratio(some, 1 - 0.7 ** (step / 5)))
  one = choice(64, 512, round_to=8)
  # 45 + 358 at most, which 48 + 360 are not.
  assert left == counts(one, budget.at_ratio(one, 0.3)) == [48, 352]


@pytest.mark.parametrize('uniform', [True, False])
@pytest.mark.parametrize('round_to', [2, 8, 16, 24])
@pytest.mark.parametrize('ratio', [0.1, 0.25, 0.3, 0.5, 0.6])
def test_multiples_stay_within_a_ratio(ratio, round_to, uniform, rng):
  sizes = [64, 64, 128, 96, 256]
  some = choice(*sizes, scores=rng.rand(608), uniform=uniform,
                round_to=round_to)  # fmt: skip
  left = counts(some, budget.at_ratio(some, ratio))
  assert sum(left) <= 608 * (1 - ratio) + len(sizes) / 2  # each one's half
  assert all(
    count % round_to == 0 or count == size for count, size in zip(left, sizes)
  )
  # Not more go than the next multiples take.
  assert sum(left) > 608 * (1 - ratio) - len(sizes) * round_to


def test_multiples_that_no_group_can_have_are_refused():
  with pytest.raises(
    ValueError,
    match=r'--channel_ratio=0.5 is out of reach: with --round_to=16, 16 '
    'channels of each group stay, so at most 0 of 14 channels',
  ):
    budget.at_ratio(choice(8, 6, round_to=16), 0.5)


def test_the_largest_choice_within_a_target():
  some = choice(100)
  measure = lambda kept: float(kept.sum())
  kept = budget.within(some, measure, 60.4, 'channels', tolerance=1e-4)
  assert kept.sum() == 60
  everything = budget.within(some, measure, 100, 'channels', tolerance=1e-4)
  assert everything.all()


def test_a_target_out_of_reach_says_what_the_least_is():
  some = choice(100, round_to=4)
  measure = lambda kept: float(kept.sum())
  with pytest.raises(ValueError, match='of 3 channels is out of reach.* has 4'):
    budget.within(some, measure, 3, 'channels', tolerance=1e-4)


@pytest.mark.parametrize(
  ('text', 'progress', 'expected'),
  [('50%', 1, 400), ('200', 1, 200), ('2e2', 0.5, 400), ('1600', 1, 800)],
)
def test_targets(text, progress, expected):
  assert budget.target_of(text, 800, progress) == pytest.approx(expected)


@pytest.mark.parametrize('text', ['half', '-3', '0', '120%', 'nan', 'inf', '%'])
def test_targets_that_are_none(text):
  with pytest.raises(ValueError, match='expected a number above 0, or a share'):
    budget.target_of(text, 800, 1)
