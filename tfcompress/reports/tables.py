"""Measurements as tables of text."""

from collections.abc import Sequence

from tfcompress.core import types


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


def measurement(record: types.Measurement) -> str:
  """Returns one measurement, beside its baseline where it was scored."""
  score = record.score
  if score is None:
    rows = [(name, mine) for name, mine, _, _ in _rows(record, None)]
    return table(('', record.model.path), rows)
  rows = _rows(record, score.baseline)
  header = ('', record.model.path, 'baseline', 'ratio')
  lines = [table(header, rows)]
  if score.final is not None:
    lines.append(
      f'score {score.final:.3f} = 0.3 x size {score.size:.2f} + 0.3 x latency '
      f'{score.latency:.2f} + 0.4 x accuracy {score.accuracy:.3f}'
    )
  lines.append(f'baseline: {score.baseline.source}')
  return '\n'.join(lines)


def _rows(record, baseline) -> list[tuple[str, str, str, str]]:
  """Name, figure, the baseline's, and the ratio, of every part there is."""
  rows = []
  score = record.score
  if record.size:
    rows.append(
      (
        'size, MiB',
        f'{record.size.mib:.3f}',
        f'{baseline.size_mib:.3f}' if baseline else '',
        f'{score.size:.1f} x smaller' if baseline else '',
      )
    )
    rows.append(
      ('gzipped, MiB', f'{record.size.gzip_bytes / 2**20:.3f}', '', '')
    )
    if record.size.parameters is not None:
      rows.append(('parameters', f'{record.size.parameters:,}', '', ''))
  if latency := record.latency_ms:
    rows.append(
      (
        'latency, ms, mean',
        f'{latency.mean:.3f}',
        f'{baseline.latency_ms:.3f}' if baseline else '',
        f'{score.latency:.1f} x faster' if baseline else '',
      )
    )
    for name in ('median', 'p90', 'p99'):
      rows.append(
        (f'latency, ms, {name}', f'{getattr(latency, name):.3f}', '', '')
      )
  if record.memory_mib:
    rows.append(('peak memory, MiB', f'{record.memory_mib.peak:.1f}', '', ''))
    rows.append(('  of the model', f'{record.memory_mib.model:.1f}', '', ''))
  if accuracy := record.accuracy:
    low, high = accuracy.top1_ci95_percent
    change = ''
    if baseline:
      change = f'{accuracy.top1_percent - baseline.top1_percent:+.2f} points'
    rows.append(
      (
        'top-1, %',
        f'{accuracy.top1_percent:.2f}',
        f'{baseline.top1_percent:.2f}' if baseline else '',
        change,
      )
    )
    rows.append(('  95 % interval', f'{low:.2f} to {high:.2f}', '', ''))
    rows.append(('top-5, %', f'{accuracy.top5_percent:.2f}', '', ''))
    rows.append(('images', f'{accuracy.num_examples:,}', '', ''))
  return rows
