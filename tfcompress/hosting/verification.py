"""Measures the best results of a challenge again, and compares."""

import dataclasses
import datetime
import math
import pathlib

from tfcompress.competition import board, history, submission
from tfcompress.core import challenges, measurements
from tfcompress.hosting import evaluation, hosts, repository

_POINTS = 0.05  # of top-1: batches of another size may round otherwise
# Of a ratio of latencies: its interval knows nothing of another hour, in which
# a frozen graph was 1.95 times as fast as a baseline that it was 2.49 times.
_SHARE = 0.25


@dataclasses.dataclass(frozen=True)
class Check:
  """A result, and what came of it now.

  Attributes:
    standing: the result.
    score: now; None where it could not be measured.
    difference: a sentence on what is not as it was; '' if all is.
  """

  standing: challenges.Standing
  score: measurements.ScoreRecord | None
  difference: str = ''


def verify(
  host: hosts.Host, figures: measurements.BaselineRecord, count: int
) -> list[Check]:
  """Measures the first `count` of the standings again.

  Raises:
    ValueError: the history, or a record of it, was changed, or the host's side
      is not as it should be.
  """
  found = history.read(host.repository / challenges.HISTORY)
  if found.damage:
    raise ValueError(found.damage)
  for entry in found.entries:
    repository.record_of(host.repository, entry)  # Raises if it was changed.
  standings = board.standings(found.entries)[:count]
  if not standings:
    raise ValueError(
      f'{host.repository / challenges.HISTORY}: no ranked result in it, so '
      'there is nothing to verify'
    )
  return [_check(host, standing, figures) for standing in standings]


def _check(host, standing, figures) -> Check:
  entry = standing.entry
  folder = host.repository / challenges.SUBMISSIONS / entry.username
  try:
    there = submission.read(folder, host.challenge)
  except ValueError as error:
    return Check(standing, None, str(error))
  if submission.sha256(there)[0] != entry.sha256:
    return Check(
      standing, None, f'{folder}: another model than the one that is ranked'
    )
  now = _again(host, folder, entry, figures)
  if not now.record:
    return Check(standing, None, now.reason)
  return Check(
    standing, now.record.score, _difference(entry.record, now.record)
  )


def _again(host, folder: pathlib.Path, entry, figures) -> challenges.Entry:
  handed_in = evaluation.HandedIn(
    folder, datetime.datetime.fromisoformat(entry.submitted)
  )
  return evaluation.evaluate(host, handed_in, figures).entry


def _difference(
  then: measurements.Measurement, now: measurements.Measurement
) -> str:
  """What two measurements of one model differ in by more than chance."""
  if then.size.bytes != now.size.bytes:
    return f'{now.size.bytes} bytes, was {then.size.bytes}'
  before, after = then.accuracy.top1_percent, now.accuracy.top1_percent
  if abs(before - after) > _POINTS:
    return f'top-1 {after:.2f} %, was {before:.2f} %'
  ratios = [then.ratio, now.ratio]
  if all(ratio and ratio.latency_ci95 for ratio in ratios):
    halves = [
      (high - low) / 2 for low, high in (r.latency_ci95 for r in ratios)
    ]
    most = math.hypot(*halves) + _SHARE * then.ratio.latency
    if abs(then.ratio.latency - now.ratio.latency) > most:
      return (
        f'{now.ratio.latency:.2f} times as fast as the baseline, was '
        f'{then.ratio.latency:.2f}, which is more than their intervals'
      )
  return ''
