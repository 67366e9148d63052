"""How many channels stay: from a budget and scores to a choice of channels."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from tfcompress.core import numbers
from tfcompress.models import channels as channels_lib

_LEAST_SHARE = 0.25  # of a group stays where the least of all groups go
Measure = Callable[[np.ndarray], float]


@dataclasses.dataclass(frozen=True)
class Choice:
  """From a level, the share of channels that go, to channels.

  Attributes:
    groups: of the channels that may go.
    scores: importance by channel id.
    count: of ids.
    round_to: a group's count is a multiple of this.
    uniform: the same share of every group, or the least of all groups.
    whole: channels that each group had before it was ever cut; None for those
      that it has. Levels are shares of them.
  """

  groups: Sequence[channels_lib.Group]
  scores: np.ndarray
  count: int
  round_to: int
  uniform: bool
  whole: Sequence[int] | None = None

  @property
  def highest(self) -> float:
    """The level at which all is gone that may go."""
    if self.uniform:
      return 1.0
    least = sum(self._least(group) for group in self.groups)
    return 1 - least / sum(self.sizes)

  @property
  def sizes(self) -> Sequence[int]:
    """Channels of each group that are the whole."""
    return self.whole or [len(group.ids) for group in self.groups]

  @property
  def least(self) -> str:
    """What of each group stays in any case."""
    count = f'{self.round_to} channel' + 's' * (self.round_to > 1)
    return count if self.uniform else f'{count} or {_LEAST_SHARE:.0%}'

  def kept(self, level: float) -> np.ndarray:
    """Returns which ids stay at a level, bool (count,)."""
    kept = np.ones(self.count, bool)
    wanted = self._uniform(level) if self.uniform else self._by_rank(level)
    for group, count in zip(self.groups, wanted):
      left = rounded(count, len(group.ids), self.round_to)
      order = np.argsort(-self.scores[group.ids], kind='stable')
      kept[group.ids[order[max(left, self._least(group)) :]]] = False
    return kept

  def _uniform(self, level: float) -> list[float]:
    return [size * (1 - level) for size in self.sizes]

  def _by_rank(self, level: float) -> list[int]:
    """Counts if the least important of all groups go, save each one's best."""
    owners, scores = [], []
    for index, group in enumerate(self.groups):
      mine = np.sort(self.scores[group.ids])
      scores.append(mine[: len(mine) - self._least(group)])
      owners.append(np.full(len(scores[-1]), index))
    order = np.argsort(np.concatenate(scores), kind='stable')
    gone = sum(self.sizes) - sum(len(group.ids) for group in self.groups)
    more = max(0, math.floor(level * sum(self.sizes) + 1e-9) - gone)
    removed = np.bincount(
      np.concatenate(owners)[order[:more]], minlength=len(self.groups)
    )
    return [len(g.ids) - int(n) for g, n in zip(self.groups, removed)]

  def _least(self, group: channels_lib.Group) -> int:
    size = len(group.ids)
    share = 0 if self.uniform else math.ceil(_LEAST_SHARE * size)
    return min(size, max(1, self.round_to, share))


def rounded(wanted: float, size: int, multiple: int) -> int:
  """Returns the multiple nearest to `wanted`, at most `size`; halves go up."""
  if wanted >= size:
    return size
  return min(size, multiple * math.floor(wanted / multiple + 0.5))


def at_ratio(choice: Choice, ratio: float) -> np.ndarray:
  """Returns the channels that stay if this share goes.

  Raises:
    ValueError: a group would be left without channels, or with fewer than must
      stay.
  """
  if ratio > choice.highest:
    raise ValueError(
      f'--channel_ratio={ratio:g} is out of reach: {choice.least} of each group '
      f'stay, so at most {choice.highest:.3f} can go'
    )
  for group, size in zip(choice.groups, choice.sizes):
    if choice.uniform and rounded(size * (1 - ratio), size, 1) < 1:
      raise ValueError(
        f'--channel_ratio={ratio:g} would leave {group.name}, of {size} '
        f'channels, without any; lower it, or --exclude={group.layers[0]}'
      )
  return choice.kept(ratio)


def within(choice: Choice, measure: Measure, target: float, what: str, *,
           tolerance: float) -> np.ndarray:  # fmt: skip
  """Returns the most channels with which a figure is within its target.

  Args:
    choice: of channels by level.
    measure: the figure that a choice of channels has.
    target: the most it may be.
    what: the figure and its unit, for the message.
    tolerance: of the level; the search ends there.

  Raises:
    ValueError: even the fewest channels allowed are above the target.
  """
  low, high = 0.0, choice.highest
  if measure(choice.kept(low)) <= target:
    return choice.kept(low)
  if (least := measure(choice.kept(high))) > target:
    raise ValueError(
      f'a target of {numbers.plain(target)} {what} is out of reach: the smallest network '
      f'allowed, {choice.least} of each group, has '
      f'{numbers.plain(least)}; raise the target, or leave more layers to be cut'
    )
  while high - low > tolerance:
    middle = (low + high) / 2
    if measure(choice.kept(middle)) <= target:
      high = middle
    else:
      low = middle
  return choice.kept(high)


def target_of(text: str, whole: float, progress: float) -> float:
  """Returns what a target such as '50%' or '9e8' is of the whole figure.

  Raises:
    ValueError: neither a positive number nor a share of at most 100 %.
  """
  try:
    number = float(text.removesuffix('%'))
  except ValueError:
    number = math.nan
  percent = text.endswith('%')
  if not number > 0 or not math.isfinite(number) or (percent and number > 100):
    raise ValueError(
      f'target {text!r}: expected a number above 0, or a share of the '
      "parent's such as 50%"
    )
  if percent:
    return whole * number / 100
  return whole * (min(number, whole) / whole) ** progress
