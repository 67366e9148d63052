"""Measurements in a file, whose name says how: .json, .csv, .md or .html."""

import os
import pathlib
from collections.abc import Callable, Sequence

from tfcompress.core import measurements, records
from tfcompress.reports import columns, ranking

Measurements = Sequence[measurements.Measurement]


def check(path: str | os.PathLike) -> None:
  """Raises ValueError if `write` could not write to `path`; writes nothing.

  Measuring takes hours, which a mistyped name must not cost.
  """
  path = pathlib.Path(path)
  _writer(path)
  if path.is_dir():
    raise ValueError(f'{path}: a folder; expected the name of a file')
  records.require_writable(path.parent)


def write(path: str | os.PathLike, measured: Measurements) -> None:
  """Writes measurements in one step.

  A single one as `.json` is a record by itself; of several, the file has
  them in `measurements`.

  Raises:
    ValueError: the name ends in no known suffix.
  """
  _writer(pathlib.Path(path))(path, measured)


def _writer(path: pathlib.Path) -> Callable[[os.PathLike, Measurements], None]:
  if path.suffix.lower() not in _WRITERS:
    raise ValueError(
      f'{path}: files end in {", ".join(_WRITERS)}; name it such as '
      f'{path.stem or "report"}.html'
    )
  return _WRITERS[path.suffix.lower()]


def _write_json(path, measured) -> None:
  if len(measured) == 1:
    records.write_json(path, measured[0])
    return
  version = measurements.Measurement.schema_version
  content = {'schema_version': version, 'measurements': list(measured)}
  records.write_json(path, content)


def _write_text(path, text: str) -> None:
  # A stranger's file name may hold bytes that are no text.
  records.write_bytes(path, text.encode(errors='backslashreplace'))


def _write_html(path, measured) -> None:
  from tfcompress.reports import html

  _write_text(path, html.page(measured))


_WRITERS = {
  '.json': _write_json,
  '.csv': lambda path, many: _write_text(path, columns.as_csv(many)),
  '.md': lambda path, many: _write_text(path, ranking.markdown(many)),
  '.html': _write_html,
}
