"""One file in every runtime that opens it."""

from collections.abc import Mapping, Sequence

from tfcompress.core import measurements
from tfcompress.reports import figures, names, notes, tables

_NONE = '-'
_HEADER = (
  'runtime', 'version', 'device', 'ms', 'p90', 'top-1 %', 'same top-1 %'
)  # fmt: skip
_NAMED = 3


def text(
  records: Sequence[measurements.Measurement], missing: Mapping[str, str]
) -> str:
  """Returns a line a runtime, in the order given.

  Args:
    records: of the same file.
    missing: why a runtime is not among them, by its name.
  """
  if not records:
    return '\n'.join(_missing(missing))
  table = tables.table(
    *tables.without_empty(_HEADER, list(map(_row, records)), _NONE), _NAMED
  )
  return '\n'.join(
    [
      names.printable(records[0].model.path),
      '',
      table,
      '',
      *_captions(records),
      *(
        f'WARNING: {_name(record)}: {line}'
        for record in records
        for line in notes.warnings(record)
      ),
      *(
        f'{_name(record)} failed: {notes.failure(record)}'
        for record in records
        if record.failure
      ),
      *_missing(missing),
    ]
  )


def _missing(missing: Mapping[str, str]) -> list[str]:
  return [
    f'{name} not measured: {names.printable(why)}'
    for name, why in missing.items()
  ]


def _name(record: measurements.Measurement) -> str:
  return record.runtime.name if record.runtime else _NONE


def _row(record: measurements.Measurement) -> list[str]:
  runtime, latency, accuracy = (
    record.runtime, record.latency_ms, record.accuracy,
  )  # fmt: skip
  cells = [
    runtime and runtime.name,
    runtime and runtime.version,
    runtime and ' '.join(filter(None, (runtime.device, runtime.precision))),
    latency and figures.with_half(latency.mean, latency.mean_ci95, '.3f'),
    figures.number(latency and latency.p90, '.3f'),
    figures.number(accuracy and accuracy.top1_percent, '.2f'),
    figures.number(accuracy and accuracy.agreement_percent, '.2f'),
  ]
  return [cell or _NONE for cell in cells]


def _captions(records: Sequence[measurements.Measurement]) -> list[str]:
  lines = []
  if any(record.latency_ms for record in records):
    lines.append('ms: mean of one image ± half its 95 % interval')
  classified = [record for record in records if record.accuracy]
  agrees = lambda record: record.accuracy.agreement_percent is not None
  if any(map(agrees, classified)):
    lines.append(
      f'same top-1: images with the same answer as in {_name(classified[0])}'
    )
  return lines
