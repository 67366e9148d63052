"""How many channels stay: from a budget and scores to a choice of channels."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from tfcompress.models import channels as channels_lib

_LEAST_SHARE = 0.25  # of a group stays where the least of all groups go
Measure = Callable[[np.ndarray], float]


@dataclasses.dataclass(frozen=True)
class Choice:
  """From a level of 0, all channels, to 1, the fewest allowed, to channels.

  Attributes:
    groups: of the channels that may go.
    scores: importance by channel id.
    count: of ids.
    round_to: a group's count is a multiple of this.
    uniform: the same share of every group, or the least of all groups.
  """

  groups: Sequence[channels_lib.Group]
  scores: np.ndarray
  count: int
  round_to: int
  uniform: bool

  def kept(self, level: float) -> np.ndarray:
    """Returns which ids stay at a level, bool (count,)."""
    kept = np.ones(self.count, bool)
    for group, count in zip(self.groups, self._counts(level)):
      order = np.argsort(-self.scores[group.ids], kind='stable')
      kept[group.ids[order[count:]]] = False
    return kept

  @property
  def least(self) -> str:
    """What of each group stays in any case."""
    count = f'{self.round_to} channel' + 's' * (self.round_to > 1)
    return count if self.uniform else f'{count} or {_LEAST_SHARE:.0%}'

  def _counts(self, level: float) -> list[int]:
    if self.uniform:
      wanted = [len(group.ids) * (1 - level) for group in self.groups]
    else:
      wanted = self._counts_by_rank(level)
    return [
      max(self._least(group), rounded(count, len(group.ids), self.round_to))
      for group, count in zip(self.groups, wanted)
    ]

  def _counts_by_rank(self, level: float) -> list[int]:
    """Counts if the least important of all groups go, save each one's best."""
    ranked = []
    for group in self.groups:
      best_last = np.sort(self.scores[group.ids])
      ranked.append(best_last[: len(best_last) - self._least(group)])
    everything = np.sort(np.concatenate(ranked))
    removed = math.floor(level * len(everything))
    if not removed:
      return [len(group.ids) for group in self.groups]
    threshold = everything[removed - 1]
    return [
      len(group.ids) - int((scores <= threshold).sum())
      for group, scores in zip(self.groups, ranked)
    ]

  def _least(self, group: channels_lib.Group) -> int:
    size = len(group.ids)
    share = 0 if self.uniform else math.ceil(_LEAST_SHARE * size)
    return min(size, max(1, self.round_to, share))


def rounded(wanted: float, size: int, multiple: int) -> int:
  """Returns the multiple nearest to `wanted`, at most `size`; halves go up."""
  return min(size, multiple * math.floor(wanted / multiple + 0.5))


def at_ratio(choice: Choice, ratio: float) -> np.ndarray:
  """Returns the channels that stay if this share goes.

  Raises:
    ValueError: a group would be left without channels.
  """
  if choice.uniform:
    for group in choice.groups:
      size = len(group.ids)
      if rounded(size * (1 - ratio), size, choice.round_to) < 1:
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
  low, high = 0.0, 1.0
  if measure(choice.kept(low)) <= target:
    return choice.kept(low)
  if (least := measure(choice.kept(high))) > target:
    raise ValueError(
      f'a target of {target:.4g} {what} is out of reach: the smallest network '
      f'allowed, {choice.least} of each group, has '
      f'{least:.4g}; raise the target, or leave more layers to be cut'
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
