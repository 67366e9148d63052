"""The leaderboard of a challenge and its documents, in Markdown and text."""

import dataclasses
import re
from collections.abc import Sequence

from tfcompress.core import challenges, measurements, numbers, types
from tfcompress.reports import (
  figures,
  markup,
  names,
  notes,
  places,
  results,
  sections,
  tables,
)

PAGE = 'leaderboard.html'
_HEADER = (
  'rank', 'participant', 'team', 'format', 'size, MiB (x smaller)',
  'latency, ms (x faster)', 'top-1, %', 'score', 'submitted',
)  # fmt: skip
_SHORT_HEADER = (
  'rank', 'participant', 'team', 'format', 'MiB', 'ms', 'top-1 %', 'score',
)  # fmt: skip
_NAMED = 4
_SCORES = ('', 'submission', 'baseline', 'score', 'weight', 'counts')
_MAX_UNRANKED = 100
_NAME_CHARACTERS = 60
_CELL_CHARACTERS = 24
_NO_LOADER = challenges.ModelFormat.TFLITE  # is opened as it is
_ANY = '*'  # among the packages of a challenge
_SAFE_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,99}')

Challenge = challenges.Challenge
Standings = Sequence[challenges.Standing]


def markdown(
  challenge: Challenge,
  standings: Standings,
  entries: Sequence[challenges.Entry],
  notes: Sequence[str] = (),
) -> str:
  """Returns LEADERBOARD.md.

  Args:
    challenge: its rules.
    standings: in their order.
    entries: the whole history.
    notes: on the leaderboard itself, a sentence each.
  """
  lines = [
    results.window(challenge.window),
    results.baseline(challenge, standings),
  ]
  paragraphs = [
    f'# {markup.escaped(challenge.title)}: leaderboard',
    '\n'.join(f'**Note:** {markup.escaped(note)}\n' for note in notes).strip(),
    '\n\n'.join(map(markup.escaped, lines)),
    _table(standings),
    '\n'.join(f'- {line}' for line in _captions(standings)),
    _unranked(results.unranked(entries)),
  ]
  return '\n\n'.join(filter(None, paragraphs)) + '\n'


def _table(standings: Standings) -> str:
  if not standings:
    return 'No result is ranked yet.'
  rows = [
    [
      results.rank(standing),
      *map(_name, _who(standing.entry)),
      *_figures(standing.entry.record),
      results.when(standing.entry.submitted),
    ]
    for standing in standings
  ]
  return markup.table(_HEADER, rows, _NAMED)


def _who(entry: challenges.Entry) -> tuple[str, str, str]:
  return entry.username, entry.teamname, entry.model_format or results.NONE


def _name(text: str) -> str:
  return markup.escaped(text, _NAME_CHARACTERS)


def _figures(record: measurements.Measurement | None) -> list[str]:
  """The cells of a row that are numbers."""
  ways = (results.size, results.latency, results.top1, results.score)
  return [way(record) for way in ways]


def _captions(standings: Standings) -> list[str]:
  if not standings:
    return []
  lines = [
    f"Each participant's best result; {PAGE} has pictures and every other one.",
    'Latency: mean of one image; x smaller and x faster: than the baseline; '
    'in brackets: with 95 % confidence.',
  ]
  if any(standing.level_with for standing in standings):
    lines.append(f'{results.LEVEL_CAPTION}.')
  if machines := results.machines(standings):
    lines.append(f'Measured on: {"; ".join(machines)}.')
  return list(map(markup.escaped, lines))


def _unranked(entries: Sequence[challenges.Entry]) -> str:
  """What failed or is void, a line each."""
  if not entries:
    return ''
  lines = [
    f'- {results.when(entry.submitted)}, **{_name(entry.username)}**, '
    f'{entry.status.value}: {markup.escaped(entry.reason)}'
    for entry in entries[:_MAX_UNRANKED]
  ]
  if older := len(entries) - len(lines):
    lines.append(f'- {older} older ones are in {challenges.HISTORY}')
  return '\n'.join(['## Not ranked, the newest first', '', *lines])


def text(standings: Standings) -> str:
  """Returns the leaderboard for a terminal."""
  if not standings:
    return 'no result is ranked yet'
  rows = [
    [
      results.rank(standing),
      *(names.shortened(one, _CELL_CHARACTERS) for one in _who(standing.entry)),
      *_figures(standing.entry.record),
    ]
    for standing in standings
  ]
  lines = [tables.table(_SHORT_HEADER, rows, _NAMED)]
  if any(standing.level_with for standing in standings):
    lines += ['', results.LEVEL_CAPTION]
  return '\n'.join(lines)


def comment(
  challenge: Challenge, entry: challenges.Entry, standings: Standings
) -> str:
  """Returns what the pull request of a submission is told.

  Args:
    challenge: its rules.
    entry: the result, which may be among the standings or not.
    standings: in their order.
  """
  return (
    markup.environment()
    .get_template('leaderboard_comment.md')
    .render(
      challenge=challenge,
      entry=entry,
      ranked=entry.status is challenges.Status.RANKED,
      void=entry.status is challenges.Status.VOID,
      place=places.sentence(entry, standings),
      scores=_scores(challenge, entry.record),
      others=[results.device(other) for other in entry.others],
      warnings=notes.warnings(entry.record) if entry.record else [],
      runtime=notes.runtime(entry.record.runtime) if entry.record else '',
      window=results.window(challenge.window),
      folder=f'{challenges.SUBMISSIONS}/{_safe(entry.username)}',
    )
  )


def _safe(username: str) -> str:
  """A name for a command to copy, which a stranger's own must not complete."""
  return username if _SAFE_NAME.fullmatch(username) else 'USERNAME'


def _scores(
  challenge: Challenge, record: measurements.Measurement | None
) -> str:
  """The three scores and their sum, as a table."""
  parts = results.parts(challenge.weights, record)
  if not parts:
    return ''
  rows = [
    [
      part.name,
      part.figure,
      part.baseline,
      _with_interval(part.score, part.score_ci95),
      f'{part.weight:g}',
      figures.number(part.counts, '.3f') or results.NONE,
    ]
    for part in parts
  ]
  total = _with_interval(results.final(record), record.score.final_ci95)
  rows.append(['**score**', '', '', '', '', f'**{total}**'])
  return markup.table(_SCORES, rows, 1)


def _with_interval(
  value: float | None, bounds: measurements.Interval | None
) -> str:
  if value is None:
    return results.NONE
  around = figures.interval(bounds, '.3f')
  return f'{value:.3f} ({around})' if around else f'{value:.3f}'


def baseline(challenge: Challenge, record: measurements.Measurement) -> str:
  """Returns BASELINE.md, from the measurement of the baseline."""
  header = ('figure', 'value', '95 % interval')
  rows = [
    [row.name.strip(), row.figure, row.interval] for row in figures.of(record)
  ]
  return (
    markup.environment()
    .get_template('leaderboard_baseline.md')
    .render(
      challenge=challenge,
      plain=challenge.baseline.model == challenges.PLAIN,
      record=record,
      figures=markup.table(
        header, [list(map(markup.escaped, row)) for row in rows], 1
      ),
      notes=notes.of(dataclasses.replace(record, score=None)),
      warnings=notes.warnings(record),
      failure=notes.failure(record),
      environment=sections.environment(record),
    )
  )


def readme(challenge: Challenge) -> str:
  """Returns README.md of a challenge's repository: its rules, how it runs."""
  formats = [one for one in _LAYOUTS if one[0] in challenge.formats]
  source = challenge.data.source
  return (
    markup.environment()
    .get_template('leaderboard_readme.md')
    .render(
      challenge=challenge,
      plain=challenge.baseline.model == challenges.PLAIN,
      window=results.window(challenge.window),
      formats=[(kind.value, files, what) for kind, files, what in formats],
      size=challenge.image_size,
      weights=challenge.weights,
      transform=_transform(challenge),
      limits=_limits(challenge.limits),
      count=_count,
      loads=any(kind is not _NO_LOADER for kind in challenge.formats),
      scalings=[scaling.value for scaling in types.Normalization],
      any_package=_ANY in challenge.packages,
      source=source,
      kaggle=source.startswith('kaggle:'),
    )
  )


def _limits(limits: challenges.Limits) -> list[tuple[str, str]]:
  least = limits.top1_percent
  return [
    *([('top-1 accuracy', f'at least {least:g} %')] if least else []),
    (
      'size of the model, with its loader',
      f'{numbers.plain(limits.model_mib)} MiB',
    ),
    ('to open it, and for any answer', f'{numbers.plain(limits.seconds)} s'),
    ('memory while it runs', f'{limits.memory_mib:,} MiB'),
    ('processes at once', f'{limits.processes:,}'),
    ('to install its packages', f'{numbers.plain(limits.install_seconds)} s'),
    ('size of its packages', f'{numbers.plain(limits.environment_mib)} MiB'),
  ]


def _transform(challenge: Challenge) -> str:
  """How an image is brought to size."""
  size = challenge.image_size
  if challenge.data.transform is types.EvaluationTransform.CHALLENGE:
    return f'An image is resized to {size}x{size}, and nothing else.'
  short = round(size * 256 / 224)
  return (
    f'An image is resized until its short side is {short}, and the center is '
    'cropped.'
  )


def _count(number: int, what: str) -> str:
  plural = 'es' if what.endswith('s') else 's'
  return f'{number:,} {what}{"" if number == 1 else plural}'


_LAYOUTS = (
  (
    challenges.ModelFormat.TFLITE,
    ('model.tflite',),
    'a TFLite file',
  ),
  (
    challenges.ModelFormat.TENSORFLOW,
    ('model.h5', 'model.keras', 'model.pb', 'model.saved_model/'),
    'a Keras file, a frozen graph or a SavedModel',
  ),
  (
    challenges.ModelFormat.PYTORCH,
    ('model.pt', 'model.pth'),
    'a TorchScript file, or the weights alone beside a loader',
  ),
)
