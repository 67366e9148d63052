"""Measurements as one page that opens from disk, with no network."""

from collections.abc import Callable, Sequence

from tfcompress.core import measurements
from tfcompress.reports import (
  distributions,
  names,
  pictures,
  ranking,
  sections,
)

_THROUGHPUT = 'Images a second in batches, every core at work.'


def page(records: Sequence[measurements.Measurement]) -> str:
  """Returns the page as text."""
  import markupsafe

  return (
    environment()
    .get_template('report.html')
    .render(
      ranking=ranking.rank(records),
      words=ranking.WORDS,
      sections=sections.of(records),
      throughput=pictures.throughput(records) if len(records) == 1 else '',
      throughput_caption=_THROUGHPUT,
      overview=_overview(records),
      method=_method(records),
      svg=markupsafe.Markup,  # Its text is escaped as it is made.
    )
  )


def environment():
  """Returns the jinja2 environment of pages, which escapes what it prints."""
  import jinja2
  import markupsafe

  return jinja2.Environment(
    loader=jinja2.PackageLoader('tfcompress.reports'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=lambda value: (
      names.printable(value)
      if isinstance(value, str) and not isinstance(value, markupsafe.Markup)
      else value
    ),
  )


def _overview(
  records: Sequence[measurements.Measurement],
) -> list[tuple[str, str, str]]:
  """Title, `<svg>` element and caption of each picture of all models."""
  if len(records) == 1:
    return []
  found = [
    (
      'Accuracy over latency',
      pictures.tradeoff(records),
      'Up and to the left is better. The area of a circle is the size of the '
      'file.',
    ),
    (
      'Latency of one image',
      distributions.together(records),
      'How often each time was measured; the upright line is the mean, the '
      'thick line below it its 95 % interval. The slowest 1 % are not drawn.',
    ),
    ('Throughput', pictures.throughput(records), _THROUGHPUT),
  ]
  return [picture for picture in found if picture[1]]


def _method(records: Sequence[measurements.Measurement]) -> list[str]:
  """How it was measured, in a sentence a part that there is."""
  has: Callable[[str], bool] = lambda part: any(
    getattr(record, part) for record in records
  )
  sentences = []
  if has('latency_ms'):
    sentences.append(
      'A time is that of one image, from the input in memory to the output in '
      'memory, on a monotonic clock in fresh processes, after inferences to '
      'warm up that do not count'
      + (
        '; models that are compared were timed in turns, so that both had the '
        'same machine.'
        if has('ratio')
        else '.'
      )
    )
  if has('accuracy'):
    sentences.append(
      'Every image of the split counts once for top-1 and top-5; a MiB is '
      '1,048,576 bytes of the file as it lies on disk.'
    )
  sentences.append(
    "Intervals have 95 % confidence: Student's of the processes' means, of "
    'the pairs of processes for a ratio, by the ranks of the samples for a '
    "percentile, and Wilson's for an accuracy."
  )
  return sentences
