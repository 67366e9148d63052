"""Several files beside the one they are compared with: text, Markdown, CSV."""

import csv
import dataclasses
import io
import os
from collections.abc import Callable, Mapping, Sequence

from tfcompress.core import measurements, records
from tfcompress.reports import tables


@dataclasses.dataclass(frozen=True)
class Row:
  """One file.

  Attributes:
    name: what it is called.
    stages: those that its network went through.
    variant: what its numbers are.
    record: its measurement; None where there is no file or no measurement.
    failure: why not.
    is_baseline: whether the others are compared with it.
    agreement_percent: share of held-out images with the top-1 of the artifact
      that it was exported from.
    weights: how many layers have weights of a number type, by its name.
  """

  name: str
  stages: tuple[str, ...]
  variant: str
  record: measurements.Measurement | None = None
  failure: str = ''
  is_baseline: bool = False
  agreement_percent: float | None = None
  weights: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Figures:
  """What a row says in numbers; None where nothing was measured.

  The ratios, the points and the score are those of the record; the baseline's
  own are 1, 0 and 1.
  """

  size_bytes: int | None = None
  size_mib: float | None = None
  gzip_bytes: int | None = None
  size_ratio: float | None = None
  latency_ms: float | None = None
  latency_median_ms: float | None = None
  latency_ratio: float | None = None
  peak_memory_mib: float | None = None
  model_memory_mib: float | None = None
  top1_percent: float | None = None
  top1_low_percent: float | None = None
  top1_high_percent: float | None = None
  balanced_percent: float | None = None
  top5_percent: float | None = None
  points_lost: float | None = None
  agreement_percent: float | None = None
  score: float | None = None


def figures(row: Row) -> Figures:
  """Returns the numbers of a row."""
  record = row.record
  if record is None:
    return Figures()
  result = Figures(agreement_percent=row.agreement_percent)
  if size := record.size:
    result = dataclasses.replace(
      result,
      size_bytes=size.bytes,
      size_mib=size.mib,
      gzip_bytes=size.gzip_bytes,
    )
  if latency := record.latency_ms:
    result = dataclasses.replace(
      result, latency_ms=latency.mean, latency_median_ms=latency.median
    )
  if memory := record.memory_mib:
    result = dataclasses.replace(
      result, peak_memory_mib=memory.peak, model_memory_mib=memory.model
    )
  if accuracy := record.accuracy:
    low, high = accuracy.top1_ci95_percent
    result = dataclasses.replace(
      result,
      top1_percent=accuracy.top1_percent,
      top1_low_percent=low,
      top1_high_percent=high,
      balanced_percent=accuracy.balanced_percent,
      top5_percent=accuracy.top5_percent,
    )
  return dataclasses.replace(result, **_against_baseline(row))


def _against_baseline(row: Row) -> dict[str, float | None]:
  if row.is_baseline:
    return {
      'size_ratio': 1.0, 'latency_ratio': 1.0, 'points_lost': 0.0, 'score': 1.0
    }  # fmt: skip
  score, accuracy = row.record.score, row.record.accuracy
  if score is None:
    return {}
  top1 = score.baseline.top1_percent
  known = accuracy is not None and top1 is not None
  return {
    'size_ratio': score.size,
    'latency_ratio': score.latency,
    'points_lost': top1 - accuracy.top1_percent if known else None,
    'score': score.final,
  }


_MIB = 2**20
_number = lambda name, form: (
  lambda f: '' if getattr(f, name) is None else format(getattr(f, name), form)
)
_GZIPPED = lambda f: (
  '' if f.gzip_bytes is None else f'{f.gzip_bytes / _MIB:.3f}'
)

# What people read: the column's title and how it is written.
_COLUMNS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
  ('MiB', _number('size_mib', '.3f')),
  ('gzipped', _GZIPPED),
  ('x smaller', _number('size_ratio', '.1f')),
  ('ms', _number('latency_ms', '.3f')),
  ('x faster', _number('latency_ratio', '.2f')),
  ('peak MiB', _number('peak_memory_mib', '.1f')),
  ('top-1 %', _number('top1_percent', '.2f')),
  ('points lost', _number('points_lost', '.2f')),
  ('as parent %', _number('agreement_percent', '.1f')),
  ('score', _number('score', '.3f')),
)


def text(rows: Sequence[Row]) -> str:
  """Returns the table for a terminal, with the failures below."""
  header = ('', *(title for title, _ in _COLUMNS))
  table = tables.table(header, [(row.name, *_cells(row)) for row in rows])
  return '\n'.join([table, *_failures(rows), *_notes(rows)])


def markdown(rows: Sequence[Row], title: str, picture: str) -> str:
  """Returns the same as a page.

  Args:
    rows: the files.
    title: its heading.
    picture: the image file beside it.
  """
  named = ('file', 'stages', 'variant', 'weights')
  header = (*named, *(title for title, _ in _COLUMNS))
  lines = [
    (row.name, ', '.join(row.stages), row.variant, _weights(row), *_cells(row))
    for row in rows
  ]
  table = tables.markdown(header, lines, len(named))
  failures = '\n'.join(f'- {line}' for line in _failures(rows))
  paragraphs = [
    f'# {title}', table, failures, '\n'.join(_notes(rows)),
    f'![Accuracy over latency; the area of a circle is its size.]({picture})',
  ]  # fmt: skip
  return '\n\n'.join(part for part in paragraphs if part) + '\n'


def as_csv(rows: Sequence[Row]) -> str:
  """Returns every figure in full precision, a line a file."""
  names = [field.name for field in dataclasses.fields(Figures)]
  out = io.StringIO()
  writer = csv.writer(out, lineterminator='\n')
  named = ['name', 'stages', 'variant', 'weights']
  writer.writerow([*named, *names, 'model', 'failure'])
  for row in rows:
    values = dataclasses.astuple(figures(row))
    model = row.record.model.path if row.record else ''
    stages = '+'.join(row.stages)
    writer.writerow(
      [
        row.name,
        stages,
        row.variant,
        _weights(row),
        *values,
        model,
        row.failure,
      ]
    )
  return out.getvalue()


def write(path: str | os.PathLike, content: str) -> None:
  """Writes one of the above in one step."""
  records.write_bytes(path, content.encode())


def _cells(row: Row) -> list[str]:
  if row.record is None:
    return ['failed', *[''] * (len(_COLUMNS) - 1)]
  return [cell(figures(row)) for _, cell in _COLUMNS]


def _weights(row: Row) -> str:
  """Layers by the number type of their weights, such as 'int4 20, int8 1'."""
  return ', '.join(f'{dtype} {count}' for dtype, count in row.weights.items())


def _failures(rows: Sequence[Row]) -> list[str]:
  return [f'{row.name} failed: {row.failure}' for row in rows if row.failure]


def _notes(rows: Sequence[Row]) -> list[str]:
  """What the figures are of: everything that all files have in common."""
  baseline = next((row for row in rows if row.is_baseline), None)
  if baseline is None or baseline.record is None:
    return []
  record = baseline.record
  parts = [f'baseline: {baseline.name}']
  if latency := record.latency_ms:
    runtime = record.runtime
    parts.append(
      f'latency: mean of {latency.runs} runs of one image, {runtime.name} '
      f'{runtime.version}, {runtime.num_threads} '
      f'thread{"s" if runtime.num_threads > 1 else ""}, '
      f'{record.environment.get("cpu", runtime.device)}'
    )
  if dataset := record.dataset:
    parts.append(f'top-1: {dataset.num_examples:,} images of {dataset.name}')
  return ['; '.join(parts)]
