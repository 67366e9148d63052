"""Pictures of a challenge, each as an `<svg>` element of a page."""

import datetime
import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from xml.etree import ElementTree

from tfcompress.core import challenges
from tfcompress.reports import labels, names, plots, results, svg

# The first three are those of the scores.
COLORS = {kind.value: 4 + i for i, kind in enumerate(challenges.ModelFormat)}
_BASELINE = 'baseline'
_WIDTH_INCHES = 4.9
_NAMED = 12  # more labels than that hide each other
_LEAST_DAYS = 1.0  # on the axis, or years are what is seen of one moment
_NAMED_STEPS = 8
_NAME_CHARACTERS = 22
_RADIUS_PIXELS = 4.0
_LINE_PIXELS = 5.0  # from a line, where a label would touch it


def tradeoff(
  standings: Sequence[challenges.Standing], urls: Mapping[str, str]
) -> str:
  """Returns accuracy over latency; '' if fewer than two results have both.

  Args:
    standings: in their order; the first ones are labelled.
    urls: what the circle of each username leads to.
  """
  points = [
    point
    for standing in standings
    if (point := _point(standing, urls.get(standing.entry.username, '')))
  ]
  if len(points) < 2:
    return ''
  with svg.style():
    picture = plots.draw_points(
      [*_baseline(standings), *points],
      size_inches=(_WIDTH_INCHES, 4.4),
      dpi=svg.DPI,
    )
    for label in picture.axes[0].texts:
      label.set_path_effects([])  # They would make paths of it; CSS does it.
  text = svg.inline(
    picture,
    'tradeoff',
    'Top-1 accuracy over latency; the area of a circle is the size.',
  )
  return _linked(text, {url: name for name, url in urls.items()})


def _point(standing: challenges.Standing, url: str) -> plots.Point | None:
  entry, record = standing.entry, standing.entry.record
  if not record or not (record.size and record.latency_ms and record.accuracy):
    return None
  named = standing.rank <= _NAMED
  return plots.Point(
    label=_called(entry.username) if named else '',
    latency_ms=record.latency_ms.mean,
    top1_percent=record.accuracy.top1_percent,
    size_bytes=record.size.bytes,
    color=plots.COLORS[COLORS.get(entry.model_format, 0)],
    url=url,
  )


def _called(username: str) -> str:
  return names.shortened(names.printable(username), _NAME_CHARACTERS)


def _baseline(standings: Iterable[challenges.Standing]) -> list[plots.Point]:
  """The baseline, if it is known: with the median of its latencies."""
  found = [
    (score.baseline.latency_ms, score.baseline)
    for standing in standings
    if (score := standing.entry.record and standing.entry.record.score)
    and None not in (score.baseline.size_mib, score.baseline.latency_ms)
    and score.baseline.top1_percent is not None
  ]
  if not found:
    return []
  first = found[0][1]
  return [
    plots.Point(
      label=_BASELINE,
      latency_ms=statistics.median(latency for latency, _ in found),
      top1_percent=first.top1_percent,
      size_bytes=int(first.size_mib * 2**20),
      color=plots.COLORS[0],
      is_baseline=True,
    )
  ]


def _linked(text: str, titles: Mapping[str, str]) -> str:
  """Names what links lead to; the table has them for who has no mouse."""
  root = ElementTree.fromstring(text)
  for link in root.iter('a'):
    link.set('tabindex', '-1')
    title = ElementTree.SubElement(link, 'title')
    title.text = names.printable(titles.get(link.get('href', ''), ''))
  return ElementTree.tostring(root, encoding='unicode')


def history(
  entries: Iterable[challenges.Entry], best: Sequence[challenges.Entry]
) -> str:
  """Returns the best score over time; '' if fewer than two were ranked.

  Args:
    entries: the whole history.
    best: those of them that were the best so far, in order of time.
  """
  shown = [
    entry
    for entry in reversed(results.newest_first(entries))
    if entry.status is challenges.Status.RANKED
    and results.final(entry.record) is not None
  ]
  if len(shown) < 2:
    return ''
  with svg.style():
    picture = _draw_history(shown, best)
  return svg.inline(
    picture, 'history', 'Every score by when it was handed in, and the best.'
  )


def _draw_history(
  shown: Sequence[challenges.Entry], best: Sequence[challenges.Entry]
):
  """Dots in the order of time, and a line along the best so far."""
  picture = svg.figure(_WIDTH_INCHES, 3.6)
  axes = picture.add_subplot()
  times = [results.moment(entry) for entry in shown]
  scores = [results.final(entry.record) for entry in shown]
  axes.plot(times, scores, 'o', color='#808080', alpha=0.45, markersize=4)
  steps = [
    (one, results.moment(one), results.final(one.record)) for one in best
  ]
  _, at, heights = zip(*steps)
  axes.plot(
    [*at, times[-1]], [*heights, heights[-1]],
    drawstyle='steps-post', color=plots.COLORS[1], linewidth=1.6,
  )  # fmt: skip
  axes.plot(at, heights, 'o', color=plots.COLORS[1], markersize=6)
  _time_axis(axes)
  picture.draw_without_rendering()
  picture.set_layout_engine('none')
  _name_steps(axes, [*steps[-_NAMED_STEPS:], *steps[:-_NAMED_STEPS]])
  return picture


def _time_axis(axes) -> None:
  from matplotlib import dates

  locator = dates.AutoDateLocator(tz=datetime.UTC, minticks=3, maxticks=6)
  axes.xaxis.set_major_locator(locator)
  axes.xaxis.set_major_formatter(
    dates.ConciseDateFormatter(locator, tz=datetime.UTC)
  )
  axes.margins(x=0.06, y=0.14)
  low, high = axes.get_xlim()  # in days
  if (missing := _LEAST_DAYS - (high - low)) > 0:
    axes.set_xlim(low - missing / 2, high + missing / 2)
  axes.set_xlabel('handed in, UTC')
  axes.set_ylabel('score')
  axes.grid(axis='y')


def _name_steps(axes, steps: Sequence[tuple]) -> None:
  """Writes whose each best score was, beside it; of many, the last ones'."""
  from matplotlib import dates

  circles = [
    labels.Circle(
      *axes.transData.transform((dates.date2num(time), score)), _RADIUS_PIXELS
    )
    for _, time, score in steps
  ]
  texts = [
    axes.annotate(
      _called(entry.username), (0, 0), xycoords='figure pixels',
      textcoords='figure pixels', annotation_clip=False, ha='left',
      va='bottom', color=plots.COLORS[1],
    )
    for entry, _, _ in steps[:_NAMED_STEPS]
  ]  # fmt: skip
  plots.put(axes, texts, circles, _stairs(axes, circles))


def _stairs(axes, circles: Sequence[labels.Circle]) -> list[labels.Box]:
  """The line from one best score to the next, as thin boxes."""
  ordered = sorted(circles, key=lambda circle: circle.x)
  end = axes.get_window_extent().x1
  boxes = []
  for circle, after in itertools.zip_longest(ordered, ordered[1:]):
    x, y = (after.x, after.y) if after else (end, circle.y)
    boxes.append(
      labels.Box(circle.x, circle.y - _LINE_PIXELS, x, circle.y + _LINE_PIXELS)
    )
    boxes.append(labels.Box(x - _LINE_PIXELS, circle.y, x + _LINE_PIXELS, y))
  return boxes
