"""The sensitivity of layers as a table, in text, Markdown and CSV."""

import csv
import io
import os
import pathlib
from collections.abc import Sequence

from tfcompress.core import records, types
from tfcompress.reports import sensitivity_plot, tables

_HEADER = ('layer', 'operator', 'weights', 'bits', 'SNR, dB', 'top-1 lost')
_COLUMNS = (
  'layer',
  'operator',
  'parameters',
  'bits',
  'snr_db',
  'top1_drop',
  'examples',
)


def table(layers: Sequence[types.LayerSensitivity]) -> str:
  """Returns a line a layer, in the order given, and what the figures mean."""
  return f'{tables.table(_HEADER, _rows(layers))}\n{_caption(layers)}'


def write(
  folder: str | os.PathLike,
  layers: Sequence[types.LayerSensitivity],
  variant: types.Variant,
) -> None:
  """Writes sensitivity.csv, sensitivity.md and sensitivity.png."""
  target = pathlib.Path(folder) / 'sensitivity'
  records.write_bytes(target.with_suffix('.csv'), _csv(layers).encode())
  text = f'# {variant.value}, layer by layer\n\n{_markdown(layers)}'
  records.write_bytes(target.with_suffix('.md'), text.encode())
  sensitivity_plot.write(target.with_suffix('.png'), layers, variant)


def _rows(
  layers: Sequence[types.LayerSensitivity],
) -> list[tuple[str, ...]]:
  return [
    (
      layer.layer,
      layer.operator,
      f'{layer.parameters:,}',
      str(layer.bits),
      f'{layer.snr_db:.1f}',
      f'{layer.top1_drop:+.2f}',
    )
    for layer in layers
  ]


def _caption(layers: Sequence[types.LayerSensitivity]) -> str:
  return (
    'Only that layer quantized, all others in float32: signal-to-noise of the '
    'probabilities and points of top-1 lost against the float parent, on '
    f'{layers[0].examples} held-out images; the most sensitive layer first.'
  )


def _markdown(layers: Sequence[types.LayerSensitivity]) -> str:
  body = tables.markdown(_HEADER, _rows(layers), named=2)
  return f'{_caption(layers)}\n\n{body}\n'


def _csv(layers: Sequence[types.LayerSensitivity]) -> str:
  text = io.StringIO()
  writer = csv.DictWriter(text, _COLUMNS, lineterminator='\n')
  writer.writeheader()
  writer.writerows(records.to_json(layer) for layer in layers)
  return text.getvalue()
