"""How the latencies of models are spread, each picture an `<svg>` element."""

import math
from collections.abc import Sequence

from tfcompress.core import measurements
from tfcompress.reports import figures, pictures, svg

_BINS = 60
_SHOWN_PERCENTILE = 99.0  # of the times; the slowest would squash the others
_LOG_FROM = 4.0  # the ratio of slowest to fastest


def together(records: Sequence[measurements.Measurement]) -> str:
  """Returns the times of every model on one axis; '' if none was timed."""
  timed = [
    (index, name, record.latency_ms)
    for index, (name, record) in enumerate(
      zip(pictures.called(records), records)
    )
    if record.latency_ms
  ]
  if not timed:
    return ''
  with svg.style():
    picture = svg.figure(pictures.WIDTH_INCHES, 0.6 + 0.55 * len(timed))
    axes = picture.add_subplot()
    low = min(latency.min for _, _, latency in timed)
    high = max(max(_shown(one)[-1], one.mean) for _, _, one in timed)
    edges = _edges(low, high)
    for row, (index, name, latency) in enumerate(timed):
      _strip(axes, -row, latency, edges, pictures.color(index))
      mean = figures.with_half(latency.mean, latency.mean_ci95, '.3f')
      for x, text, side in ((0, name, 'left'), (1, f'{mean} ms', 'right')):
        axes.text(
          x, -row + 0.62, text, ha=side, va='bottom', color=pictures.color(index),
          transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    _time_axis(axes, edges)
    axes.set_ylim(-len(timed) + 0.85, 1.05)
  return svg.inline(
    picture,
    'latencies',
    'How the latencies of every model are spread, with their means.',
  )


def alone(record: measurements.LatencyRecord, index: int, name: str) -> str:
  """Returns the times of one model on an axis of its own."""
  shown = _shown(record)
  with svg.style():
    picture = svg.figure(pictures.WIDTH_INCHES, 2.0)
    axes = picture.add_subplot()
    step = (shown[-1] - shown[0]) / _BINS or 0.01 * shown[0] or 1.0
    edges = [shown[0] + i * step for i in range(_BINS + 1)]
    axes.hist(shown, edges, color=pictures.color(index), alpha=0.45)
    axes.axvline(
      record.mean, color=pictures.color(index), linewidth=1.6, label='mean'
    )
    if record.mean_ci95:
      axes.axvspan(
        *record.mean_ci95, color=pictures.color(index), alpha=0.25, lw=0
      )
    for figure, dashes in (('median', (4, 2)), ('p90', (1, 1.5))):
      if (value := getattr(record, figure)) is not None:
        axes.axvline(value, color='0.4', linestyle=(0, dashes), label=figure)
    axes.set_xlabel('latency of one image, ms')
    axes.set_ylabel('runs')
    axes.legend(
      frameon=False, ncols=3, loc='lower right', bbox_to_anchor=(1, 1)
    )
  return svg.inline(picture, name, 'How the latencies are spread.')


def _shown(latency: measurements.LatencyRecord) -> list[float]:
  """The samples in order, without the slowest."""
  ordered = sorted(latency.samples) or [latency.mean]
  return ordered[: math.ceil(len(ordered) * _SHOWN_PERCENTILE / 100)]


def _edges(low: float, high: float) -> list[float]:
  """The edges of bins, of equal ratio where the times are far apart."""
  if low > 0 and high / low >= _LOG_FROM:
    return [low * (high / low) ** (i / _BINS) for i in range(_BINS + 1)]
  width = (high - low) or 0.1 * high or 1.0
  return [low + width * i / _BINS for i in range(_BINS + 1)]


def _strip(axes, bottom: float, latency, edges, color: str) -> None:
  """Draws the times of a model as a hill on a line of its own."""
  import numpy as np

  counts, _ = np.histogram(_shown(latency), edges)
  heights = bottom + 0.5 * counts / max(1, counts.max())
  axes.stairs(
    heights, edges, baseline=bottom, fill=True, color=color, alpha=0.45
  )
  axes.axhline(bottom, color='#ebebeb', linewidth=0.8, zorder=0)
  axes.plot([latency.mean] * 2, [bottom, bottom + 0.55], color=color, lw=1.5)
  if latency.mean_ci95:
    at = bottom + 0.02
    axes.plot(latency.mean_ci95, [at, at], color=color, lw=3)


def _time_axis(axes, edges: Sequence[float]) -> None:
  from matplotlib import ticker

  axes.set_xlabel('latency of one image, ms')
  axes.set_yticks([])
  axes.spines['left'].set_visible(False)
  margin = 0.02
  if edges[-1] / max(edges[0], 1e-9) >= _LOG_FROM:
    axes.set_xscale('log')
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter('%g'))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    reach = (edges[-1] / edges[0]) ** margin
    axes.set_xlim(edges[0] / reach, edges[-1] * reach)
  else:
    reach = margin * (edges[-1] - edges[0])
    axes.set_xlim(edges[0] - reach, edges[-1] + reach)
