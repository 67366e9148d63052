"""Who stands where in a challenge.

A participant stands with their best result among those that are ranked; upper
and lower case are the same in a username. What is better is told by, in turn:

- the final score, as it is shown: rounded to 3 decimals
- the top-1 accuracy
- the time of submission: the earlier one
- the place in the history: the earlier one

Two neighbours are level if the difference of their scores may be chance: it
lies within its 95 % interval, whose half is the root of the sum of the squares
of the two scores' halves, as of two independent measurements. They keep their
ranks, which come of the figures alone.

Results that were measured by other rules, for the host has changed them since,
count as all others do; `by_other_rules` names them.
"""

import datetime
import math
from collections.abc import Iterable

from tfcompress.core import challenges

DECIMALS = 3  # of a score, as it is shown and compared

_Place = tuple[float, float, datetime.datetime]


def standings(
  entries: Iterable[challenges.Entry],
) -> tuple[challenges.Standing, ...]:
  """Returns each participant's best result, the best of all first.

  Args:
    entries: in the order of the history. Those that are not ranked, or have no
      final score, do not count.

  Raises:
    ValueError: a time of submission is none.
  """
  best: dict[str, challenges.Entry] = {}
  for entry in sorted(filter(_counts, entries), key=_place):
    best.setdefault(entry.username.casefold(), entry)
  order = tuple(best.values())
  return tuple(
    challenges.Standing(rank, entry, _level_with(entry, order[rank:]))
    for rank, entry in enumerate(order, 1)
  )


def best_so_far(
  entries: Iterable[challenges.Entry],
) -> tuple[challenges.Entry, ...]:
  """Returns the results that were better than all that were handed in before.

  They are in order of time; the last one is the first of `standings`.

  Args:
    entries: as in `standings`.

  Raises:
    ValueError: a time of submission is none.
  """
  found = []
  for entry in sorted(filter(_counts, entries), key=_moment):
    if not found or _place(entry) < _place(found[-1]):
      found.append(entry)
  return tuple(found)


def by_other_rules(
  entries: Iterable[challenges.Entry], challenge_sha256: str
) -> tuple[challenges.Entry, ...]:
  """Returns the ranked results that were measured by other rules.

  Args:
    entries: in the order of the history, which they keep.
    challenge_sha256: of the rules that hold now.
  """
  return tuple(
    entry
    for entry in entries
    if _counts(entry) and entry.challenge_sha256 != challenge_sha256
  )


def _counts(entry: challenges.Entry) -> bool:
  return (
    entry.status is challenges.Status.RANKED
    and entry.record is not None
    and entry.record.score is not None
    and entry.record.score.final is not None
  )


def _place(entry: challenges.Entry) -> _Place:
  """What is less for a better result; equal ones stay in their order."""
  record = entry.record
  top1_percent = record.accuracy.top1_percent if record.accuracy else 0.0
  final = round(record.score.final, DECIMALS)
  return -final, -top1_percent, _moment(entry)


def _moment(entry: challenges.Entry) -> datetime.datetime:
  """When a result was handed in; a time without a zone is in UTC."""
  try:
    moment = datetime.datetime.fromisoformat(entry.submitted)
  except ValueError as error:
    raise ValueError(
      f'entry {entry.id}: submitted {entry.submitted!r}, expected a time in '
      'ISO 8601, such as 2025-05-01T12:00:00+00:00'
    ) from error
  return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _level_with(
  entry: challenges.Entry, below: tuple[challenges.Entry, ...]
) -> str:
  """The username of the next one, if their difference may be chance."""
  if not below:
    return ''
  scores = entry.record.score, below[0].record.score
  if None in (scores[0].final_ci95, scores[1].final_ci95):
    return ''
  halves = ((high - low) / 2 for low, high in (s.final_ci95 for s in scores))
  difference = abs(scores[0].final - scores[1].final)
  return below[0].username if difference <= math.hypot(*halves) else ''
