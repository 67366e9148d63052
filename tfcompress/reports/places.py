"""Where a result stands in a challenge, in words."""

from collections.abc import Sequence

from tfcompress.core import challenges
from tfcompress.reports import results

Standings = Sequence[challenges.Standing]


def sentence(entry: challenges.Entry, standings: Standings) -> str:
  """Returns the rank of a result, or that of the participant's best one.

  '' if it is not ranked.

  Args:
    entry: of the history.
    standings: of the same, in their order.
  """
  name = entry.username.casefold()
  mine = [one for one in standings if one.entry.username.casefold() == name]
  if entry.status is not challenges.Status.RANKED or not mine:
    return ''
  [best] = mine
  place = f'{best.rank} of {len(standings)}'
  if best.entry.id == entry.id:
    return f'Rank {place}.{_level(best, standings)}'
  return (
    f'Your result of {results.when(best.entry.submitted)} stays your best: '
    f'rank {place}, score {results.final(best.entry.record):.3f}.'
  )


def _level(standing: challenges.Standing, standings: Standings) -> str:
  """Those before and after it that it is level with, as a sentence."""
  name = standing.entry.username
  names = [one.entry.username for one in standings if one.level_with == name]
  names += [standing.level_with] * bool(standing.level_with)
  if not names:
    return ''
  return f' The difference to {" and ".join(names)} may be chance.'
