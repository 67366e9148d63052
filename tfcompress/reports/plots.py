"""Several files in a picture: accuracy over latency, and size."""

import dataclasses
import io
import math
import os
import statistics
import textwrap
from collections.abc import Sequence

from tfcompress.core import records
from tfcompress.reports import comparison, labels

_DPI = 100
_SIZE_INCHES = (11.0, 7.0)
_MAX_RADIUS_POINTS = 26.0
_LEGEND_RADIUS_POINTS = 16.0
_FONT_POINTS = 9.0
_NOTE_CHARACTERS = 150
_LOG_FROM = 4.0  # the ratio of slowest to fastest
_LEAST_POINTS = 3.0  # of accuracy on the axis: less is chance
_MIB = 2**20
COLORS = (
  '#4d4d4d', '#0072b2', '#009e73', '#d55e00', '#8a4f9e', '#b8860b', '#c2185b',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Point:
  """A file that has all three figures.

  Attributes:
    label: beside its circle; '' for none.
    latency_ms: of one image.
    top1_percent: accuracy.
    size_bytes: on disk.
    color: one of COLORS.
    is_baseline: what the others compare with.
    below: the axis: it is drawn at its edge.
    url: that its circle leads to.
  """

  label: str
  latency_ms: float
  top1_percent: float
  size_bytes: int
  color: str
  is_baseline: bool = False
  below: bool = False
  url: str = ''


def write(
  path: str | os.PathLike, rows: Sequence[comparison.Row], title: str
) -> None:
  """Writes the picture as a PNG, in one step."""
  buffer = io.BytesIO()
  draw(rows, title).savefig(buffer, format='png', dpi=_DPI)
  records.write_bytes(path, buffer.getvalue())


def draw(
  rows: Sequence[comparison.Row],
  title: str,
  size_inches: tuple[float, float] = _SIZE_INCHES,
  dpi: int = _DPI,
):
  """Returns the picture as a matplotlib Figure, as `draw_points` does.

  Rows without latency, accuracy or size are named below it.
  """
  missing = [row.name for row in rows if row.failure]
  note = f'failed: {", ".join(missing)}' if missing else ''
  return draw_points(_points(rows), title, note, size_inches, dpi)


def draw_points(
  points: Sequence[Point],
  title: str = '',
  note: str = '',
  size_inches: tuple[float, float] = _SIZE_INCHES,
  dpi: int = _DPI,
):
  """Returns a picture of points as a matplotlib Figure.

  It is to be saved with the same dpi, as labels are placed by the pixel.
  """
  from matplotlib import figure
  from matplotlib.backends import backend_agg

  picture = figure.Figure(size_inches, dpi=dpi, layout='constrained')
  backend_agg.FigureCanvasAgg(picture)
  if title:
    picture.suptitle(title, x=0.01, ha='left', fontsize=_FONT_POINTS + 2)
  axes = picture.add_subplot()
  points = _largest_first(points)
  _set_axes(axes, points)
  _draw_circles(axes, points)
  _draw_legend(axes, points)
  if note:
    note = textwrap.fill(note, _NOTE_CHARACTERS)
    picture.supxlabel(note, fontsize=_FONT_POINTS - 1, color='0.4')
  picture.draw_without_rendering()
  picture.set_layout_engine('none')  # Labels are placed in what is there now.
  _draw_labels(axes, points)
  return picture


def _points(rows: Sequence[comparison.Row]) -> list[Point]:
  """The rows that can be drawn."""
  networks = list(dict.fromkeys(map(_network, rows)))
  points = []
  for row in rows:
    f = comparison.figures(row)
    if None in (f.latency_ms, f.top1_percent, f.size_bytes):
      continue
    color = COLORS[networks.index(_network(row)) % len(COLORS)]
    points.append(
      Point(
        row.name + (' (reference)' if row.is_baseline else ''), f.latency_ms,
        f.top1_percent, f.size_bytes, color, row.is_baseline,
      )
    )  # fmt: skip
  return points


def _largest_first(points: Sequence[Point]) -> list[Point]:
  """So that none is hidden; what is far below the others is at the edge."""
  floor = _floor([point.top1_percent for point in points])
  points = [
    dataclasses.replace(
      point,
      below=True,
      top1_percent=floor,
      label=point.label and f'{point.label}, {point.top1_percent:.1f} %',
    )
    if point.top1_percent < floor
    else point
    for point in points
  ]
  return sorted(points, key=lambda point: -point.size_bytes)


def _network(row: comparison.Row) -> str:
  """What a file was exported from: its own name without the variant's."""
  return row.name.removesuffix(row.variant)


def _floor(top1: Sequence[float]) -> float:
  """The lowest top-1 on the axis: one useless file must not squash the rest."""
  if not top1:
    return 0.0
  middle = statistics.median(top1)
  reach = max(6.0, 4 * (max(top1) - middle))
  inside = [value for value in top1 if value >= middle - reach]
  return min(inside) - 0.15 * (max(top1) - min(inside)) - 0.5


def _set_axes(axes, points: Sequence[Point]) -> None:
  from matplotlib import ticker

  axes.set_xlabel('latency of one image, ms')
  axes.set_ylabel('top-1 accuracy, %')
  axes.grid(True, which='major', color='0.92', linewidth=0.8)
  axes.set_axisbelow(True)
  for side in ('top', 'right'):
    axes.spines[side].set_visible(False)
  if not points:
    return
  slowest = max(point.latency_ms for point in points)
  fastest = min(point.latency_ms for point in points)
  if slowest / fastest >= _LOG_FROM:
    axes.set_xscale('log')
    subs = (1, 2, 5) if slowest / fastest > 20 else (1, 1.5, 2, 3, 4, 5, 7)
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter('%g'))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    margin = (slowest / fastest) ** 0.12
    axes.set_xlim(fastest / margin, slowest * margin)
  else:
    margin = 0.15 * (slowest - fastest) or 0.1 * slowest
    axes.set_xlim(fastest - margin, slowest + margin)
  low = min(point.top1_percent for point in points)
  high = max(point.top1_percent for point in points)
  margin = max(0.15 * (high - low), (_LEAST_POINTS - (high - low)) / 2)
  below = any(point.below for point in points)
  axes.set_ylim(low - (0.0 if below else margin), min(high + margin, 100.5))


def _radius(size_bytes: float, largest: float) -> float:
  """In points; the area is proportional to the size."""
  return _MAX_RADIUS_POINTS * math.sqrt(size_bytes / largest)


def _draw_circles(axes, points: Sequence[Point]) -> None:
  largest = max((point.size_bytes for point in points), default=1)
  for point in points:
    radius = _radius(point.size_bytes, largest)
    where = (point.latency_ms, point.top1_percent)
    axes.plot(
      *where, 'o', markersize=2 * radius, markerfacecolor=point.color,
      markeredgecolor='none', alpha=0.22, clip_on=False, url=point.url or None,
    )  # fmt: skip
    axes.plot(
      *where, 'o', markersize=2 * radius, markerfacecolor='none',
      markeredgecolor=point.color, markeredgewidth=1.0, clip_on=False,
    )  # fmt: skip
    axes.plot(
      *where, 'v' if point.below else 'o', color=point.color, clip_on=False,
      markersize=7 if point.below else 3,
    )  # fmt: skip
    if point.is_baseline:
      for line, value in ((axes.axvline, where[0]), (axes.axhline, where[1])):
        line(value, color=point.color, linewidth=0.8, linestyle=(0, (4, 4)))


def _draw_legend(axes, points: Sequence[Point]) -> None:
  """Circles of known size, above the axes at the left."""
  from matplotlib import lines

  if not points:
    return
  largest = max(point.size_bytes for point in points)
  power = 10 ** math.floor(math.log10(largest / _MIB))
  small = lambda mib: _radius(mib * _MIB, largest) <= _LEGEND_RADIUS_POINTS
  top = next(filter(small, (power, power / 2, power / 5)))
  handles = [lines.Line2D([], [], linestyle='none', label='size of the file:')]
  handles += [
    lines.Line2D(
      [], [], linestyle='none', marker='o', markerfacecolor='0.9',
      markeredgecolor='0.5', label=f'{size:g} MiB',
      markersize=2 * _radius(size * _MIB, largest),
    )
    for size in (top / 10, top)
  ]  # fmt: skip
  axes.legend(
    handles=handles, loc='lower left', bbox_to_anchor=(0.0, 1.0),
    ncols=len(handles), frameon=False, fontsize=_FONT_POINTS,
    handletextpad=1.5, columnspacing=2.5, handlelength=1.0, borderpad=1.0,
  )  # fmt: skip


def _draw_labels(axes, points: Sequence[Point]) -> None:
  named = [point for point in points if point.label]
  # Those with a label come first, as `place` wants them.
  circles = _circles(axes, sorted(points, key=lambda point: not point.label))
  texts = [_text(axes, point) for point in named]
  frame = _frame(axes)
  lines = [
    line
    for point, circle in zip(named, circles)
    if point.is_baseline
    for line in _cross(circle, frame)
  ]
  boxes = put(axes, texts, circles, lines)
  for point, box, circle in zip(named, boxes, circles):
    _draw_leader(axes, point, box, circle)


def put(
  axes,
  texts: Sequence,
  circles: Sequence[labels.Circle],
  lines: Sequence[labels.Box] = (),
) -> list[labels.Box]:
  """Moves texts to where they hide nothing, and returns where they are.

  Args:
    axes: of the picture, which has been drawn once.
    texts: at positions in pixels of the figure, aligned left and at the bottom.
    circles: what each of them is of, and after those what else there is.
    lines: that they should not lie on.
  """
  renderer = axes.figure.canvas.get_renderer()
  extents = [text.get_window_extent(renderer) for text in texts]
  sizes = [(extent.width + 4, extent.height + 2) for extent in extents]
  boxes = labels.place(circles, sizes, _frame(axes), lines)
  for text, box in zip(texts, boxes):
    text.set_position((box.x0 + 2, box.y0 + 1))
  return boxes


def _frame(axes) -> labels.Box:
  renderer = axes.figure.canvas.get_renderer()
  return labels.Box(*axes.get_window_extent(renderer).extents)


def _circles(axes, points: Sequence[Point]) -> list[labels.Circle]:
  """Where the circles are, in pixels."""
  largest = max((point.size_bytes for point in points), default=1)
  pixels = axes.figure.dpi / 72
  return [
    labels.Circle(
      *axes.transData.transform((point.latency_ms, point.top1_percent)),
      max(3.0, _radius(point.size_bytes, largest)) * pixels,
    )
    for point in points
  ]


def _cross(circle: labels.Circle, frame: labels.Box) -> list[labels.Box]:
  """The two lines through the baseline."""
  return [
    labels.Box(frame.x0, circle.y - 1, frame.x1, circle.y + 1),
    labels.Box(circle.x - 1, frame.y0, circle.x + 1, frame.y1),
  ]


def _text(axes, point: Point):
  """A label that is not in its place yet."""
  from matplotlib import patheffects

  return axes.annotate(
    point.label, (0, 0), xycoords='figure pixels', textcoords='figure pixels',
    annotation_clip=False, ha='left', va='bottom', fontsize=_FONT_POINTS,
    color=point.color, weight='bold' if point.is_baseline else 'normal',
    path_effects=[patheffects.withStroke(linewidth=2.5, foreground='white')],
  )  # fmt: skip


def _draw_leader(
  axes, point: Point, box: labels.Box, circle: labels.Circle
) -> None:
  """A line from a label to its circle, where they do not touch."""
  near = box.nearest(circle.x, circle.y)
  if math.dist(near, (circle.x, circle.y)) < circle.radius + 6:
    return
  axes.annotate(
    '', (circle.x, circle.y), near, xycoords='figure pixels',
    textcoords='figure pixels', annotation_clip=False,
    arrowprops={'arrowstyle': '-', 'color': point.color, 'linewidth': 0.6,
                'alpha': 0.7, 'shrinkA': 0, 'shrinkB': 0},
  )  # fmt: skip
