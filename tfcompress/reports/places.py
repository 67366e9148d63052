"""Where a result stands in a challenge, in words."""

import datetime
import math
from collections.abc import Sequence

from tfcompress.core import challenges
from tfcompress.reports import results

Standings = Sequence[challenges.Standing]


def key(
  entry: challenges.Entry,
) -> tuple[float, float, datetime.datetime]:
  """Returns what is less for a better one: by score, then top-1, then time.

  A score counts as it is shown.
  """
  record = entry.record
  accuracy = record.accuracy.top1_percent if record and record.accuracy else 0.0
  return (
    -round(results.final(record) or 0.0, 3),
    -accuracy,
    results.moment(entry),
  )


def sentence(entry: challenges.Entry, standings: Standings) -> str:
  """Returns the rank it has, or would have, and with whom it is level.

  '' if it is not ranked.
  """
  score = results.final(entry.record)
  if entry.status is not challenges.Status.RANKED or score is None:
    return ''
  name = entry.username.casefold()
  mine = [one for one in standings if one.entry.username.casefold() == name]
  if mine and mine[0].entry.id == entry.id:
    place = f'Rank {mine[0].rank} of {len(standings)}.'
    return place + _level(_neighbours(mine[0], standings))
  if mine and key(mine[0].entry) <= key(entry):
    best = mine[0]
    return (
      f'Your result of {results.when(best.entry.submitted)} stays your best: '
      f'rank {best.rank} of {len(standings)}, score '
      f'{results.final(best.entry.record):.3f}.'
    )
  others = [one.entry for one in standings if one not in mine]
  rank = 1 + sum(key(other) < key(entry) for other in others)
  return f'This would be rank {rank} of {len(others) + 1}.' + _level(
    [other.username for other in others if _is_level(other, entry)]
  )


def _neighbours(
  standing: challenges.Standing, standings: Standings
) -> list[str]:
  """Those before and after it that it is level with."""
  name = standing.entry.username
  before = [s.entry.username for s in standings if s.level_with == name]
  return before + [standing.level_with] * bool(standing.level_with)


def _is_level(one: challenges.Entry, other: challenges.Entry) -> bool:
  """Whether their difference lies within its 95 % interval."""
  scores = [entry.record.score for entry in (one, other)]
  if None in (scores[0].final_ci95, scores[1].final_ci95):
    return False
  halves = ((high - low) / 2 for low, high in (s.final_ci95 for s in scores))
  return abs(scores[0].final - scores[1].final) <= math.hypot(*halves)


def _level(usernames: Sequence[str]) -> str:
  if not usernames:
    return ''
  return f' The difference to {" and ".join(usernames)} may be chance.'
