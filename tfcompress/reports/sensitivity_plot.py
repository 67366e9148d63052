"""The sensitivity of layers as a picture: a bar a layer, twice."""

import io
import os
from collections.abc import Sequence

from tfcompress.core import records, types

_DPI = 100
_WIDTH_INCHES = 10.0
_INCHES_A_LAYER = 0.24
_MARGIN_INCHES = 1.5
_FONT_POINTS = 9.0
_SNR_COLOR, _DROP_COLOR, _GAIN_COLOR = '#0072b2', '#d55e00', '#009e73'
_ROOM = 0.14  # of the axis, for figures beyond the longest bars


def write(
  path: str | os.PathLike,
  layers: Sequence[types.LayerSensitivity],
  variant: types.Variant,
) -> None:
  """Writes the picture as a PNG, in one step."""
  buffer = io.BytesIO()
  draw(layers, variant).savefig(buffer, format='png', dpi=_DPI)
  records.write_bytes(path, buffer.getvalue())


def draw(layers: Sequence[types.LayerSensitivity], variant: types.Variant):
  """Returns the picture as a matplotlib Figure, the first layer on top."""
  from matplotlib import figure
  from matplotlib.backends import backend_agg

  height = _MARGIN_INCHES + _INCHES_A_LAYER * len(layers)
  picture = figure.Figure((_WIDTH_INCHES, height), layout='constrained')
  backend_agg.FigureCanvasAgg(picture)
  picture.suptitle(
    f'{variant.value}, one layer at a time: what it costs to quantize that '
    f'layer only\n{layers[0].examples} held-out images, against the float '
    'parent; the most sensitive layer on top',
    fontsize=_FONT_POINTS + 1,
  )
  snr, drop = picture.subplots(1, 2, sharey=True)
  places = range(len(layers))
  _bars(snr, [layer.snr_db for layer in layers], '{:.1f}')
  _bars(drop, [layer.top1_drop for layer in layers], '{:+.2f}')
  snr.set_xlabel('signal-to-noise of the probabilities, dB')
  drop.set_xlabel('top-1 lost, points')
  labels = [f'{layer.layer}  int{layer.bits}' for layer in layers]
  snr.set_yticks(places, labels, fontsize=_FONT_POINTS)
  snr.set_ylim(len(layers) - 0.4, -0.6)
  return picture


def _bars(axes, values: Sequence[float], form: str) -> None:
  """Draws a bar a value, with its figure beside it."""
  is_drop = '+' in form
  colors = [
    (_GAIN_COLOR if value < 0 else _DROP_COLOR) if is_drop else _SNR_COLOR
    for value in values
  ]
  bars = axes.barh(range(len(values)), values, color=colors, height=0.7)
  axes.bar_label(
    bars,
    [form.format(value) for value in values],
    padding=3,
    fontsize=_FONT_POINTS - 1,
  )
  low, high = min(0.0, *values), max(0.0, *values)
  room = _ROOM * ((high - low) or 1.0)
  axes.set_xlim(low - room * (low < 0), high + room)
  axes.axvline(0, color='black', linewidth=0.8)
  axes.grid(axis='x', color='0.9')
  axes.set_axisbelow(True)
  axes.tick_params(labelsize=_FONT_POINTS - 1)
  axes.tick_params(axis='y', length=0)
  for side in ('top', 'right', 'left'):
    axes.spines[side].set_visible(False)
