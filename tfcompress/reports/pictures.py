"""Pictures of measurements, each as an `<svg>` element of a page."""

from collections.abc import Sequence

from tfcompress.core import measurements
from tfcompress.reports import comparison, names, notes, plots, svg

WIDTH_INCHES = 4.6
_NAME_CHARACTERS = 34
_MAX_NAMED_CLASSES = 20

Measurement = measurements.Measurement


def color(index: int) -> str:
  """Returns the color of a model, by its place among those given."""
  return plots.COLORS[index % len(plots.COLORS)]


def called(records: Sequence[Measurement]) -> list[str]:
  """Returns names that are short enough to be drawn."""
  return names.fitting(names.short(records), _NAME_CHARACTERS)


def tradeoff(records: Sequence[Measurement]) -> str:
  """Returns accuracy over latency; '' if fewer than two models have both."""
  rows = [
    comparison.Row(
      name, (), '', record,
      is_baseline=notes.is_reference(record, records),
    )
    for name, record in zip(called(records), records)
  ]  # fmt: skip
  shown = [
    row for row in rows
    if row.record.size and row.record.latency_ms and row.record.accuracy
  ]  # fmt: skip
  if len(shown) < 2:
    return ''
  size = (WIDTH_INCHES, 4.2 + 0.1 * len(rows))
  with svg.style():
    picture = plots.draw(rows, '', size, svg.DPI)
  return svg.inline(
    picture,
    'tradeoff',
    'Top-1 accuracy over latency; the area of a circle is the size.',
  )


def throughput(records: Sequence[Measurement]) -> str:
  """Returns images a second over batch size; '' if none was measured."""
  rows = [
    (index, name, record.throughput)
    for index, (name, record) in enumerate(zip(called(records), records))
    if record.throughput
  ]
  if not rows:
    return ''
  from matplotlib import ticker

  with svg.style():
    picture = svg.figure(WIDTH_INCHES, 2.8 + 0.2 * len(rows))
    axes = picture.add_subplot()
    sizes = sorted({one.batch_size for _, _, row in rows for one in row})
    for index, name, row in rows:
      axes.plot(
        [one.batch_size for one in row],
        [one.images_per_s for one in row],
        'os^DvP*'[index % 7] + '-',
        color=color(index),
        markersize=5,
        label=name,
      )
    axes.set_xscale('log', base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_formatter(ticker.StrMethodFormatter('{x:,.0f}'))
    axes.set_ylim(bottom=0)
    axes.grid(axis='y')
    axes.set_xlabel('batch size')
    axes.set_ylabel('images a second')
    picture.legend(frameon=False, loc='outside upper left')
  return svg.inline(
    picture, 'throughput', 'Images a second over the batch size.'
  )


def confusion(record: measurements.AccuracyRecord, name: str) -> str:
  """Returns which classes are taken for which; '' if it was not recorded."""
  if not record.confusion:
    return ''
  import numpy as np

  counts = np.array(record.confusion, float)
  shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
  with svg.style():
    picture = svg.figure(WIDTH_INCHES, 3.7)
    axes = picture.add_subplot()
    # The root makes the few errors visible beside the diagonal.
    image = axes.imshow(
      shares, cmap='cividis', norm=_root(), interpolation='nearest'
    )
    bar = picture.colorbar(image, shrink=0.8, pad=0.02)
    bar.set_label('images of the class, %')
    bar.set_ticks([0, 1, 5, 10, 25, 50, 75, 100])
    bar.outline.set_visible(False)
    axes.set_xlabel('top-1')
    axes.set_ylabel('class')
    _name_classes(axes, list(record.per_class_percent or ()), len(counts))
    for spine in axes.spines.values():
      spine.set_visible(False)
  return svg.inline(
    picture, name, 'Confusion matrix: a row a class, a column a top-1.'
  )


def _root():
  from matplotlib import colors

  return colors.PowerNorm(0.5, 0, 100)


def _name_classes(axes, classes: Sequence[str], count: int) -> None:
  """Writes the names of a few classes, or the numbers of many."""
  if count > _MAX_NAMED_CLASSES or len(classes) != count:
    axes.set_xlabel('top-1, by number of the class')
    axes.set_ylabel('class, by number')
    return
  short = [names.shortened(names.printable(one), 14) for one in classes]
  axes.set_xticks(range(count), short, rotation=90)
  axes.set_yticks(range(count), short)
