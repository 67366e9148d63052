"""A result of a challenge in figures, as its tables have them."""

import dataclasses
import datetime
from collections.abc import Iterable, Sequence

from tfcompress.core import challenges, measurements
from tfcompress.reports import figures, notes

NONE = '-'  # a figure that was not measured
LEVEL = '≈'
LEVEL_CAPTION = (
  f'{LEVEL}: the difference to the next one may be chance: it lies within its '
  '95 % interval'
)

Measurement = measurements.Measurement


@dataclasses.dataclass(frozen=True)
class Part:
  """One of the three scores, and what it adds to the final one.

  Attributes:
    name: size, latency or accuracy.
    figure: of the submission, with its unit; NONE where it was not measured.
    baseline: of the baseline, likewise.
    score: their ratio.
    score_ci95: of that, where it is known.
    weight: that it counts with.
  """

  name: str
  figure: str
  baseline: str
  score: float | None
  score_ci95: measurements.Interval | None
  weight: float

  @property
  def counts(self) -> float | None:
    """What it adds to the final score."""
    return None if self.score is None else self.weight * self.score


def parts(
  weights: challenges.Weights, record: Measurement | None
) -> tuple[Part, ...]:
  """Returns what the score of a measurement is the sum of; () without one."""
  if record is None or record.score is None:
    return ()
  score, base = record.score, record.score.baseline
  size = record.size and record.size.mib
  latency = record.latency_ms and record.latency_ms.mean
  top1 = record.accuracy and record.accuracy.top1_percent
  return (
    Part(
      'size', _figure(size, '.3f', 'MiB'), _figure(base.size_mib, '.3f', 'MiB'),
      score.size, None, weights.size,
    ),
    Part(
      'latency', _figure(latency, '.3f', 'ms'),
      _figure(base.latency_ms, '.3f', 'ms'), score.latency,
      ratio_ci95(record), weights.latency,
    ),
    Part(
      'accuracy', _figure(top1, '.2f', '%'),
      _figure(base.top1_percent, '.2f', '%'), score.accuracy,
      _accuracy_ci95(record), weights.accuracy,
    ),
  )  # fmt: skip


def _figure(value: float | None, form: str, unit: str) -> str:
  return figures.number(value, form, f' {unit}') or NONE


def ratio_ci95(record: Measurement) -> measurements.Interval | None:
  """Returns the interval of the latency score, if it is that of the ratio."""
  ratio, score = record.ratio, record.score
  counts = ratio and score and ratio.latency == score.latency
  return ratio.latency_ci95 if counts else None


def _accuracy_ci95(record: Measurement) -> measurements.Interval | None:
  base = record.score.baseline.top1_percent
  if record.accuracy is None or not base:
    return None
  low, high = record.accuracy.top1_ci95_percent
  return low / base, high / base


def final(record: Measurement | None) -> float | None:
  """Returns the score that is ranked."""
  return record.score.final if record and record.score else None


def size(record: Measurement | None) -> str:
  """Returns such as '2.770 (16.14 x)', smaller than the baseline."""
  if record is None or record.size is None:
    return NONE
  ratio = record.score and record.score.size
  return _beside(f'{record.size.mib:.3f}', _times(ratio))


def latency(record: Measurement | None) -> str:
  """Returns such as '0.512 (12.16 x, 11.91 to 12.40)', faster."""
  if record is None or record.latency_ms is None:
    return NONE
  ratio = record.score and record.score.latency
  bounds = figures.interval(ratio_ci95(record), '.2f')
  return _beside(f'{record.latency_ms.mean:.3f}', _times(ratio), bounds)


def top1(record: Measurement | None) -> str:
  """Returns such as '77.60 (76.42 to 78.73)'."""
  if record is None or record.accuracy is None:
    return NONE
  bounds = figures.interval(record.accuracy.top1_ci95_percent, '.2f')
  return _beside(f'{record.accuracy.top1_percent:.2f}', bounds)


def score(record: Measurement | None) -> str:
  """Returns such as '8.712 (8.601 to 8.822)'."""
  if final(record) is None:
    return NONE
  bounds = figures.interval(record.score.final_ci95, '.3f')
  return _beside(f'{final(record):.3f}', bounds)


def device(record: Measurement) -> str:
  """Returns what was measured on a device that is not the ranking one."""
  where = notes.runtime(record.runtime) or record.model.path
  if record.failure:
    return f'{where}: failed, {notes.failure(record)}'
  return (
    f'{where}: {latency(record)} ms, {top1(record)} % top-1, '
    f'score {score(record)}'
  )


def _times(ratio: float | None) -> str:
  return figures.number(ratio, '.2f', ' x')


def _beside(figure: str, *more: str) -> str:
  """A figure with what there is of more in brackets."""
  found = ', '.join(filter(None, more))
  return f'{figure} ({found})' if found else figure


def rank(standing: challenges.Standing) -> str:
  """Returns its rank, marked where it may as well be that of the next one."""
  return f'{standing.rank}{f" {LEVEL}" if standing.level_with else ""}'


def moment(entry: challenges.Entry) -> datetime.datetime:
  """Returns when a result was handed in; a time without a zone is in UTC."""
  return _utc(entry.submitted)


def when(time: str) -> str:
  """Returns an entry's time as '2026-05-03 14:05 UTC'."""
  return f'{_utc(time):%Y-%m-%d %H:%M} UTC'


def _utc(time: str) -> datetime.datetime:
  found = datetime.datetime.fromisoformat(time)
  zone = found.tzinfo or datetime.UTC
  return found.replace(tzinfo=zone).astimezone(datetime.UTC)


def newest_first(
  entries: Iterable[challenges.Entry],
) -> list[challenges.Entry]:
  """Returns results by when they were handed in, the last one first."""
  return sorted(entries, key=moment, reverse=True)


def unranked(entries: Iterable[challenges.Entry]) -> list[challenges.Entry]:
  """Returns what failed or is void, the newest first."""
  ranked = challenges.Status.RANKED
  return [one for one in newest_first(entries) if one.status is not ranked]


def window(window: challenges.Window) -> str:
  """Returns when submissions count, as a sentence with the time zone."""
  opens, closes = map(_moment, (window.opens, window.closes))
  if not opens and not closes:
    return 'Submissions count at any time.'
  if not closes:
    return f'Submissions count from {opens} on.'
  if not opens:
    return f'Submissions count until {closes}.'
  return f'Submissions count from {opens} until {closes}, both included.'


def _moment(time: datetime.datetime | None) -> str:
  if time is None:
    return ''
  seconds = f':{time:%S}' if time.second else ''
  offset = f'{time:%z}'
  zone = 'UTC' if offset in ('+0000', '') else f'UTC{offset[:3]}:{offset[3:5]}'
  place = getattr(time.tzinfo, 'key', zone)
  named = '' if place in (zone, 'Etc/UTC') else f' ({place})'
  return f'{time:%Y-%m-%d %H:%M}{seconds} {zone}{named}'


def baseline(
  challenge: challenges.Challenge, standings: Sequence[challenges.Standing]
) -> str:
  """Returns what the baseline is, with its figures where there are any."""
  model = challenge.baseline.model
  what = (
    'a plain ResNet-18 in float32'
    if model == challenges.PLAIN
    else f'{model} of this repository'
  )
  found = [s.entry.record.score.baseline for s in standings if _scored(s)]
  facts = [
    _span([one.size_mib for one in found], '.3f', ' MiB'),
    _span([one.latency_ms for one in found], '.3f', ' ms'),
    _span(
      [one.top1_percent for one in found] or [challenge.baseline.top1_percent],
      '.2f', ' % top-1',
    ),
  ]  # fmt: skip
  known = ', '.join(filter(None, facts))
  beside = '; it is timed anew beside every submission' if found else ''
  return f'Baseline: {what}{": " * bool(known)}{known}{beside}.'


def _scored(standing: challenges.Standing) -> bool:
  return final(standing.entry.record) is not None


def _span(values: Sequence[float | None], form: str, unit: str) -> str:
  """A figure, or from the lowest to the highest where they differ."""
  known = [value for value in values if value is not None]
  texts = list(dict.fromkeys(f'{value:{form}}' for value in sorted(known)))
  ends = texts if len(texts) < 2 else [texts[0], texts[-1]]
  return f'{" to ".join(ends)}{unit}' if ends else ''


def machines(standings: Sequence[challenges.Standing]) -> list[str]:
  """Returns what the results were measured on, each machine once."""
  found = [s.entry.record.runtime for s in standings if s.entry.record]
  return list(dict.fromkeys(runtime.device for runtime in found if runtime))
