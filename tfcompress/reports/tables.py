"""Measurements as tables of text."""

from collections.abc import Sequence

from tfcompress.core import measurements


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Returns an aligned table, a line a row; figures stand to the right."""
  lines = [header, *rows]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  rule = ['-' * width for width in widths]
  return '\n'.join(
    '  '.join(
      cell.ljust(width) if i == 0 else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(line, widths))
    ).rstrip()
    for line in (header, rule, *rows)
  )


def markdown(
  header: Sequence[str], rows: Sequence[Sequence[str]], named: int
) -> str:
  """Returns a table in Markdown; all but the first `named` columns are figures."""
  rule = ['---'] * named + ['---:'] * (len(header) - named)
  return '\n'.join(f'| {" | ".join(row)} |' for row in (header, rule, *rows))


def measurement(record: measurements.Measurement) -> str:
  """Returns one measurement, beside its baseline where it was scored."""
  score = record.score
  if score is None:
    rows = [row[:2] for row in _rows(record, None)]
    return table(('', record.model.path), rows)
  header = ('', record.model.path, 'baseline', 'ratio')
  lines = [table(header, _rows(record, score))]
  if score.final is not None:
    lines.append(
      f'score {score.final:.3f} = 0.3 x size {score.size:.2f} + 0.3 x latency '
      f'{score.latency:.2f} + 0.4 x accuracy {score.accuracy:.3f}'
    )
  lines.append(f'baseline: {score.baseline.source}')
  return '\n'.join(lines)


def profile(record: measurements.ProfileRecord) -> str:
  """Returns a line an operator, and what they come to."""
  total = sum(operator.ms for operator in record.operators)
  rows = [
    (
      operator.operator,
      operator.name,
      'x'.join(map(str, operator.shape)),
      operator.dtype,
      f'{operator.ms:.3f}',
      f'{100 * operator.ms / total:.1f} %',
    )
    for operator in record.operators
  ]
  header = ('operator', 'writes', 'shape', 'dtype', 'ms', 'share')
  return (
    f'{table(header, rows)}\n{len(rows)} operators, each alone {total:.3f} ms, '
    f'the file {record.whole_ms:.3f} ms, one thread'
  )


def _rows(record, score) -> list[tuple[str, str, str, str]]:
  """Name, figure, the baseline's, and the ratio, of every part there is."""
  rows = []
  baseline = score.baseline if score else None
  if size := record.size:
    rows.append(
      (
        'size, MiB',
        f'{size.mib:.3f}',
        _figure(baseline and baseline.size_mib, '.3f'),
        _figure(score and score.size, '.1f', ' x smaller'),
      )
    )
    rows.append(('gzipped, MiB', f'{size.gzip_bytes / 2**20:.3f}', '', ''))
    rows.append(('parameters', _figure(size.parameters, ','), '', ''))
  if latency := record.latency_ms:
    rows.append(
      (
        'latency, ms, mean',
        f'{latency.mean:.3f}',
        _figure(baseline and baseline.latency_ms, '.3f'),
        _figure(score and score.latency, '.1f', ' x faster'),
      )
    )
    for name in ('median', 'p90', 'p99'):
      figure = f'{getattr(latency, name):.3f}'
      rows.append((f'latency, ms, {name}', figure, '', ''))
  if memory := record.memory_mib:
    rows.append(('peak memory, MiB', f'{memory.peak:.1f}', '', ''))
    rows.append(('  of the model', f'{memory.model:.1f}', '', ''))
  if accuracy := record.accuracy:
    low, high = accuracy.top1_ci95_percent
    top1 = baseline.top1_percent if baseline else None
    change = None if top1 is None else accuracy.top1_percent - top1
    rows.append(
      (
        'top-1, %',
        f'{accuracy.top1_percent:.2f}',
        _figure(top1, '.2f'),
        _figure(change, '+.2f', ' points'),
      )
    )
    rows.append(('  95 % interval', f'{low:.2f} to {high:.2f}', '', ''))
    rows.append(('top-5, %', f'{accuracy.top5_percent:.2f}', '', ''))
    rows.append(('images', f'{accuracy.num_examples:,}', '', ''))
    rows.append(('  of', record.dataset.name, '', ''))
    rows.append(('  transform', record.dataset.transform, '', ''))
  return rows


def _figure(value: float | None, form: str, unit: str = '') -> str:
  """A number, or nothing where there is none."""
  return '' if value is None else f'{value:{form}}{unit}'
