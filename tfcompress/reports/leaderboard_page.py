"""The leaderboard of a challenge as pages that open from disk.

There is one of all, and one of each submission; none needs a network.
"""

import base64
import dataclasses
import hashlib
import importlib.resources
import urllib.parse
from collections.abc import Sequence

from tfcompress.core import challenges, measurements
from tfcompress.reports import (
  distributions,
  figures,
  html,
  leaderboard_pictures,
  notes,
  results,
  sections,
)

FOLDER = 'leaderboard'  # of the submissions' pages
_SCRIPT = 'leaderboard.js'
_MAX_OPEN = 20  # results that the page shows without being asked


@dataclasses.dataclass(frozen=True)
class Cell:
  """One cell of the table.

  Attributes:
    text: such as '2.770 (16.14 x)'; what is in brackets is written smaller.
    key: that the table is sorted by: the figure in full; '' where there is
      none.
  """

  text: str
  key: object


@dataclasses.dataclass(frozen=True)
class Segment:
  """A part of a bar: what one score adds to the final one.

  Attributes:
    name: of the score.
    counts: what it adds.
    percent: of the whole width.
  """

  name: str
  counts: float
  percent: float


@dataclasses.dataclass(frozen=True)
class Row:
  """One participant's best result.

  Attributes:
    standing: it, and where it stands.
    url: of its page.
    cells: by the title of their column.
    bar: of its score; the longest is that of the first.
  """

  standing: challenges.Standing
  url: str
  cells: dict[str, Cell]
  bar: Sequence[Segment]


def page(
  challenge: challenges.Challenge,
  standings: Sequence[challenges.Standing],
  entries: Sequence[challenges.Entry],
  best: Sequence[challenges.Entry],
) -> str:
  """Returns leaderboard.html.

  Args:
    challenge: its rules.
    standings: in their order.
    entries: the whole history.
    best: those of them that were the best so far, in order of time.
  """
  import markupsafe

  script = _script()
  urls = {s.entry.username: _url(s.entry) for s in standings}
  return (
    html.environment()
    .get_template('leaderboard.html')
    .render(
      challenge=challenge,
      facts=[
        results.window(challenge.window),
        results.baseline(challenge, standings),
      ],
      formula=_formula(challenge.weights),
      rows=_rows(challenge, standings),
      level=any(standing.level_with for standing in standings),
      level_caption=results.LEVEL_CAPTION,
      machines=results.machines(standings),
      tradeoff=leaderboard_pictures.tradeoff(standings, urls),
      colors=leaderboard_pictures.COLORS,
      history=leaderboard_pictures.history(entries, best),
      entries=results.newest_first(entries),
      url=_url,
      when=results.when,
      score=results.score,
      ranked=challenges.Status.RANKED,
      bests={standing.entry.id for standing in standings},
      max_open=_MAX_OPEN,
      svg=markupsafe.Markup,  # Its text is escaped as it is made.
      script=markupsafe.Markup(script),
      script_hash=_hash(script),
    )
  )


def submission(
  challenge: challenges.Challenge,
  entry: challenges.Entry,
  record: measurements.Measurement | None,
) -> str:
  """Returns the page of one submission.

  Args:
    challenge: its rules.
    entry: the result.
    record: its measurement, with the single times; None where there is none.
  """
  import markupsafe

  parts = results.parts(challenge.weights, record)
  return (
    html.environment()
    .get_template('leaderboard_submission.html')
    .render(
      challenge=challenge,
      entry=entry,
      ranked=entry.status is challenges.Status.RANKED,
      void=entry.status is challenges.Status.VOID,
      window=results.window(challenge.window),
      record=record,
      submitted=results.when(entry.submitted),
      evaluated=results.when(entry.evaluated),
      parts=parts,
      final=results.score(record),
      formula=_formula(challenge.weights),
      bar=_bar(parts, results.final(record)),
      rows=figures.of(record) if record else [],
      has_baseline=bool(record and record.score),
      interval=lambda bounds: figures.interval(bounds, '.3f'),
      others=[results.device(other) for other in entry.others],
      latency=_latency(record),
      warnings=notes.warnings(record) if record else [],
      failure=notes.failure(record) if record else '',
      notes=_notes(record),
      environment=sections.environment(record) if record else {},
      svg=markupsafe.Markup,
    )
  )


def _url(entry: challenges.Entry) -> str:
  return f'{FOLDER}/{urllib.parse.quote(entry.id, safe="")}.html'


def _script() -> str:
  folder = importlib.resources.files('tfcompress.reports') / 'templates'
  return (folder / _SCRIPT).read_text()


def _hash(script: str) -> str:
  """What the page's policy calls the one script that may run."""
  digest = hashlib.sha256(script.encode()).digest()
  return f'sha256-{base64.b64encode(digest).decode()}'


def _formula(weights: challenges.Weights) -> str:
  return (
    f'score = {weights.size:g} x size + {weights.latency:g} x latency '
    f'+ {weights.accuracy:g} x accuracy, each a ratio to the baseline'
  )


def _rows(
  challenge: challenges.Challenge, standings: Sequence[challenges.Standing]
) -> list[Row]:
  highest = max(
    (results.final(standing.entry.record) or 0.0 for standing in standings),
    default=0.0,
  )
  return [
    Row(
      standing,
      _url(standing.entry),
      _cells(standing.entry),
      _bar(results.parts(challenge.weights, standing.entry.record), highest),
    )
    for standing in standings
  ]


def _cells(entry: challenges.Entry) -> dict[str, Cell]:
  record = entry.record
  size = record and record.size
  latency = record and record.latency_ms
  accuracy = record and record.accuracy
  return {
    'size, MiB': Cell(results.size(record), _key(size and size.mib)),
    'latency, ms': Cell(
      results.latency(record), _key(latency and latency.mean)
    ),
    'top-1, %': Cell(
      results.top1(record), _key(accuracy and accuracy.top1_percent)
    ),
    'score': Cell(results.score(record), _key(results.final(record))),
  }


def _key(value: float | None) -> object:
  return '' if value is None else value


def _bar(parts: Sequence[results.Part], whole: float | None) -> list[Segment]:
  """The contributions to a score, in percent of a whole."""
  if not whole or any(part.counts is None for part in parts):
    return []
  return [
    Segment(part.name, part.counts, 100 * part.counts / whole) for part in parts
  ]


def _latency(record: measurements.Measurement | None) -> str:
  """How the times are spread, if there are any."""
  if record is None or not record.latency_ms or not record.latency_ms.samples:
    return ''
  return distributions.alone(record.latency_ms, 1, 'latency')


def _notes(record: measurements.Measurement | None) -> dict[str, str]:
  """How it was measured; the score has a table of its own."""
  if record is None:
    return {}
  found = notes.of(record)
  if record.isolation and record.isolation.contained:
    found['contained'] = ', '.join(record.isolation.contained)
  return {name: text for name, text in found.items() if name != 'score'}
