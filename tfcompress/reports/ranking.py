"""Several models beside each other, the best first."""

import dataclasses
from collections.abc import Callable, Sequence

from tfcompress.core import measurements
from tfcompress.reports import figures, names, notes, pareto, tables

NONE = '-'  # a figure that was not measured
FRONT = '*'
_RANK, _FRONT, _RATIO = 'rank', 'front', 'x faster'
WORDS = (_RANK, _FRONT, 'model', 'format', 'runtime')  # columns of no figures

Measurement = measurements.Measurement


@dataclasses.dataclass(frozen=True)
class Ranking:
  """Models in order, as text.

  Attributes:
    header: a title a column; those that would be empty are left out.
    rows: a row a model, as long as the header.
    order: of the rows: where each model is among those given.
    captions: what the columns say, a sentence each.
    warnings: a line each.
    failures: a line for every model that failed.
  """

  header: tuple[str, ...]
  rows: tuple[tuple[str, ...], ...]
  order: tuple[int, ...]
  captions: tuple[str, ...]
  warnings: tuple[str, ...]
  failures: tuple[str, ...]


def rank(records: Sequence[Measurement]) -> Ranking:
  """Ranks by score if there is one, else by latency, accuracy or size.

  Models without it come after the others, those that failed last. Those that no
  other beats are marked; without a score all are compared with the first.
  """
  criterion, key = _criterion(records)
  front = pareto.front(records)
  first = _first(records)
  order = sorted(range(len(records)), key=lambda i: _place(records[i], key))
  called = names.short(records)
  rows, place = [], 0
  for i in order:
    ranked = not records[i].failure and key(records[i]) is not None
    place += ranked
    mark = FRONT if i in front else NONE
    cells = [cell(records[i], first) or NONE for _, cell in _COLUMNS]
    if notes.is_reference(records[i], records):
      cells[_RATIO_COLUMN] = 'reference'
    rows.append((str(place) if ranked else NONE, mark, called[i], *cells))
  header = (_RANK, _FRONT, 'model', *(title for title, _ in _COLUMNS))
  header, rows = tables.without_empty(header, rows, NONE)
  return Ranking(
    tuple(header),
    tuple(map(tuple, rows)),
    tuple(order),
    tuple(_captions(criterion, records, called)),
    tuple(
      f'{name}: {text}'
      for name, record in zip(called, records)
      for text in notes.warnings(record)
    ),
    tuple(
      f'{name} failed: {notes.failure(record)}'
      for name, record in zip(called, records)
      if record.failure
    ),
  )


def text(records: Sequence[Measurement]) -> str:
  """Returns the ranking for a terminal."""
  ranking = rank(records)
  named = sum(title in WORDS for title in ranking.header)
  return '\n'.join(
    [
      tables.table(ranking.header, ranking.rows, named),
      '',
      *ranking.captions,
      *(f'WARNING: {line}' for line in ranking.warnings),
      *ranking.failures,
    ]
  )


def markdown(records: Sequence[Measurement]) -> str:
  """Returns the ranking as a page."""
  ranking = rank(records)
  named = sum(title in WORDS for title in ranking.header)
  escape = tables.escaped
  bad = [f'**Warning:** {escape(line)}' for line in ranking.warnings]
  bad += [escape(line) for line in ranking.failures]
  paragraphs = [
    '# Measured models',
    tables.markdown(ranking.header, ranking.rows, named),
    '\n'.join(f'- {escape(line)}' for line in ranking.captions),
    '\n'.join(f'- {line}' for line in bad),
  ]
  return '\n\n'.join(filter(None, paragraphs)) + '\n'


def _criterion(
  records: Sequence[Measurement],
) -> tuple[str, Callable[[Measurement], float | None]]:
  """What to rank by, and the figure that is less for a better model."""
  for name, key in _CRITERIA.items():
    if any(key(record) is not None for record in records):
      return name, key
  return '', lambda record: None


def _place(record: Measurement, key) -> tuple[bool, bool, float]:
  figure = key(record)
  return bool(record.failure), figure is None, figure or 0.0


def _score(record: Measurement) -> float | None:
  if record.score is None or record.score.final is None:
    return None
  return -record.score.final


_CRITERIA = {
  'score': _score,
  'latency': lambda r: r.latency_ms and r.latency_ms.mean,
  'top-1': lambda r: r.accuracy and -r.accuracy.top1_percent,
  'size': lambda r: r.size and r.size.mib,
}


def _first(records: Sequence[Measurement]) -> Measurement | None:
  """The model that the others are compared with; None where a baseline is."""
  if any(record.score for record in records):
    return None
  path = next((r.ratio.reference for r in records if r.ratio), None)
  sound = [record for record in records if not record.failure]
  if path is None:
    return sound[0] if sound else None
  return next((one for one in sound if one.model.path == path), None)


def _smaller(record: Measurement, first: Measurement | None) -> str:
  if not (first and first.size and record.size):
    return ''
  return f'{first.size.mib / record.size.mib:.2f}'


def _points(record: Measurement, first: Measurement | None) -> str:
  """Points of top-1 more than the first."""
  if not (first and first.accuracy and record.accuracy):
    return ''
  points = record.accuracy.top1_percent - first.accuracy.top1_percent
  return f'{points:+.2f}'


def _ms(record: Measurement) -> str:
  latency = record.latency_ms
  return latency and figures.with_half(latency.mean, latency.mean_ci95, '.3f')


def _ratio(record: Measurement) -> str:
  ratio = record.ratio
  if ratio is None:
    return ''
  if ratio.latency_ci95 is None:
    return f'{ratio.latency:.2f}'
  mark = '' if notes.distinguishable(ratio) else '~'
  bounds = figures.interval(ratio.latency_ci95, '.2f')
  return f'{mark}{ratio.latency:.2f} ({bounds})'


def _top1(record: Measurement) -> str:
  accuracy = record.accuracy
  if accuracy is None:
    return ''
  bounds = figures.interval(accuracy.top1_ci95_percent, '.1f')
  return f'{accuracy.top1_percent:.2f} ({bounds})'


def _balanced(record: Measurement) -> str:
  """Balanced accuracy, where classes of other sizes make it another figure."""
  accuracy = record.accuracy
  if accuracy is None or accuracy.balanced_percent is None:
    return ''
  text = f'{accuracy.balanced_percent:.2f}'
  return '' if text == f'{accuracy.top1_percent:.2f}' else text


def _agreement(record: Measurement) -> str:
  accuracy = record.accuracy
  return figures.number(accuracy and accuracy.agreement_percent, '.1f')


_Cell = Callable[[Measurement, Measurement | None], str | None]
_COLUMNS: tuple[tuple[str, _Cell], ...] = (
  ('format', lambda r, _: r.model.format),
  ('runtime', lambda r, _: r.runtime and r.runtime.name),
  ('MiB', lambda r, _: figures.number(r.size and r.size.mib, '.3f')),
  ('x smaller', _smaller),
  ('ms', lambda r, _: _ms(r)),
  (_RATIO, lambda r, _: _ratio(r)),
  ('top-1 %', lambda r, _: _top1(r)),
  ('points', _points),
  ('balanced %', lambda r, _: _balanced(r)),
  ('same top-1 %', lambda r, _: _agreement(r)),
  ('score', lambda r, _: figures.number(r.score and r.score.final, '.3f')),
)
_RATIO_COLUMN = [title for title, _ in _COLUMNS].index(_RATIO)


def _captions(
  criterion: str, records: Sequence[Measurement], called: Sequence[str]
) -> list[str]:
  lines = [f'ranked by {criterion}'] if criterion else []
  if pareto.front(records):
    lines.append(
      f'{FRONT}: on the Pareto front: no other is at least as good in '
      f'{pareto.measured(records)}, and better in one of them'
    )
  if any(record.latency_ms for record in records):
    lines.append('ms: mean of one image; ± and ranges: 95 % confidence')
  ratios = [record.ratio for record in records if record.ratio]
  if ratios:
    reference = _called(ratios[0].reference, records, called)
    lines.append(
      f'x faster: than {reference}, by medians, timed in turns with it'
    )
    known = [ratio for ratio in ratios if ratio.latency_ci95]
    if not all(map(notes.distinguishable, known)):
      lines.append('~: no difference shown, as the range has 1 in it')
  first = _first(records)
  if first and (first.size or first.accuracy):
    name = _called(first.model.path, records, called)
    lines.append(f'x smaller, points of top-1: against {name}')
  if any(map(_agreement, records)):
    agreed = _agreed_with(records, called)
    lines.append(f'same top-1: images with the same answer as {agreed}')
  sources = {r.score.baseline.source for r in records if r.score}
  lines += [f'baseline of the score: {source}' for source in sorted(sources)]
  if any(map(_balanced, records)):
    lines.append("balanced: the mean of the classes' own top-1")
  return [names.printable(line) for line in lines]


def _agreed_with(records: Sequence[Measurement], called: Sequence[str]) -> str:
  """Whose answers those of the others are compared with: it has no such figure."""
  for record, name in zip(records, called):
    if record.accuracy and record.accuracy.agreement_percent is None:
      return name
  ratio = next((record.ratio for record in records if record.ratio), None)
  return _called(ratio.reference, records, called) if ratio else 'the baseline'


def _called(
  path: str, records: Sequence[Measurement], called: Sequence[str]
) -> str:
  """What the model of a path is called here."""
  return {r.model.path: name for r, name in zip(records, called)}.get(
    path, path
  )
