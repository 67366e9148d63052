"""Measurements as tables of text."""

import dataclasses
from collections.abc import Sequence

from tfcompress.core import measurements
from tfcompress.reports import figures, names, notes

_HEADER = ('', 'figure', '95 % interval', 'baseline', 'ratio')


def table(
  header: Sequence[str], rows: Sequence[Sequence[str]], named: int = 1
) -> str:
  """Returns an aligned table, a line a row.

  All but the first `named` columns are figures, which stand to the right.
  """
  lines = [[names.printable(cell) for cell in row] for row in (header, *rows)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  lines.insert(1, ['-' * width for width in widths])
  return '\n'.join(
    '  '.join(
      cell.ljust(width) if i < named else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(line, widths))
    ).rstrip()
    for line in lines
  )


def markdown(
  header: Sequence[str], rows: Sequence[Sequence[str]], named: int
) -> str:
  """Returns a table in Markdown; all but the first `named` columns are figures."""
  rule = ['---'] * named + ['---:'] * (len(header) - named)
  lines = [map(escaped, row) for row in (header, rule, *rows)]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def escaped(text: str) -> str:
  """Returns `text` so that Markdown takes it for no markup or new column."""
  plain = names.printable(text).replace('&', '&amp;').replace('<', '&lt;')
  return plain.replace('|', '\\|')


def without_empty(
  header: Sequence[str], rows: Sequence[Sequence[str]], empty: str = ''
) -> tuple[list[str], list[list[str]]]:
  """Returns a table without the columns that are empty in every row."""
  kept = [i for i in range(len(header)) if any(row[i] != empty for row in rows)]
  pick = lambda row: [row[i] for i in kept]
  return pick(header), [pick(row) for row in rows]


def measurement(record: measurements.Measurement) -> str:
  """Returns one measurement, beside its baseline where it was scored."""
  lines = [names.printable(record.model.path)]
  rows = [dataclasses.astuple(row) for row in figures.of(record)]
  if rows:
    lines += ['', table(*without_empty(_HEADER, rows))]
  found = notes.of(record)
  width = max(map(len, found), default=0)
  lines.append('')
  lines += [f'{name.ljust(width)}  {text}' for name, text in found.items()]
  lines += [f'WARNING: {text}' for text in notes.warnings(record)]
  if record.failure:
    lines.append(f'FAILED: {notes.failure(record)}')
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
