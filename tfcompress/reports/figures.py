"""The figures of one measurement, as people read them."""

import dataclasses
from collections.abc import Iterator

from tfcompress.core import measurements

TOO_FEW = 'too few runs'


@dataclasses.dataclass(frozen=True)
class Row:
  """One figure; what there is none of is ''.

  Attributes:
    name: what it is, with its unit; with leading spaces it is a part of the
      one above.
    figure: the number.
    interval: that it lies in with 95 % confidence.
    baseline: the same figure of the baseline.
    ratio: how much better it is than that.
  """

  name: str
  figure: str
  interval: str = ''
  baseline: str = ''
  ratio: str = ''


def number(value: float | None, form: str, unit: str = '') -> str:
  """Returns a number as `form` has it, or '' where there is none."""
  return '' if value is None else f'{value:{form}}{unit}'


def times(ratio: float | None, better: str, worse: str) -> str:
  """Returns a ratio as '2.0 x faster', or '2.0 x slower' where it is below 1."""
  if ratio is None:
    return ''
  return (
    f'{ratio:.1f} x {better}' if ratio >= 1 else f'{1 / ratio:.1f} x {worse}'
  )


def interval(bounds: measurements.Interval | None, form: str) -> str:
  """Returns 'low to high', or '' where there is none."""
  return '' if bounds is None else f'{bounds[0]:{form}} to {bounds[1]:{form}}'


def with_half(
  value: float, bounds: measurements.Interval | None, form: str
) -> str:
  """Returns a number and half of its interval, such as '0.485 ± 0.003'.

  One that is cut off at zero is told by its ends: '0.485 (0.000 to 1.200)'.
  """
  if bounds is None:
    return f'{value:{form}}'
  if bounds[0] <= 0 < value:
    return f'{value:{form}} ({interval(bounds, form)})'
  return f'{value:{form}} ± {(bounds[1] - bounds[0]) / 2:{form}}'


def of(record: measurements.Measurement) -> list[Row]:
  """Returns a row for every figure there is."""
  return [
    *_size(record),
    *_latency(record),
    *_throughput(record),
    *_memory(record),
    *_accuracy(record),
  ]


def _size(record: measurements.Measurement) -> Iterator[Row]:
  size, score = record.size, record.score
  if size is None:
    return
  baseline = number(score and score.baseline.size_mib, '.3f')
  ratio = times(score and score.size, 'smaller', 'larger')
  yield Row('size, MiB', f'{size.mib:.3f}', '', baseline, ratio)
  yield Row('  gzipped', f'{size.gzip_bytes / 2**20:.3f}')
  if size.parameters is not None:
    yield Row('parameters', f'{size.parameters:,}')
  if size.nonzero_parameters is not None:
    yield Row('  not zero', f'{size.nonzero_parameters:,}')


def _latency(record: measurements.Measurement) -> Iterator[Row]:
  latency, score = record.latency_ms, record.score
  if latency is None:
    return
  share = (record.model.batch_size or 1) > 1
  yield Row(
    'latency, ms an image, mean' if share else 'latency, ms, mean',
    f'{latency.mean:.3f}',
    interval(latency.mean_ci95, '.3f'),
    number(score and score.baseline.latency_ms, '.3f'),
    times(score and score.latency, 'faster', 'slower'),
  )
  for name in ('median', 'p90', 'p99'):
    figure = number(getattr(latency, name), '.3f') or TOO_FEW
    bounds = interval(getattr(latency, f'{name}_ci95'), '.3f')
    yield Row(f'  {name}', figure, bounds)
  yield Row('  fastest', f'{latency.min:.3f}')
  yield Row('  standard deviation', f'{latency.std:.3f}')
  if latency.first_ms is not None:
    yield Row('  first inference', f'{latency.first_ms:.3f}')
  if latency.load_ms is not None:
    yield Row('  loading the file', f'{latency.load_ms:.3f}')


def _throughput(record: measurements.Measurement) -> Iterator[Row]:
  if record.throughput_per_s is not None:
    batch = record.model.batch_size or 1
    count = 'one' if batch == 1 else batch
    yield Row(f'images/s, {count} at a time', _rate(record.throughput_per_s))
  for one in record.throughput:
    yield Row(f'  in batches of {one.batch_size}', _rate(one.images_per_s))


def _rate(images_per_s: float) -> str:
  return f'{images_per_s:,.{0 if images_per_s >= 100 else 2}f}'


def _memory(record: measurements.Measurement) -> Iterator[Row]:
  if memory := record.memory_mib:
    yield Row('peak memory, MiB', f'{memory.peak:.1f}')
    yield Row('  of the model', f'{memory.model:.1f}')


def _accuracy(record: measurements.Measurement) -> Iterator[Row]:
  accuracy, score = record.accuracy, record.score
  if accuracy is None:
    return
  top1 = score.baseline.top1_percent if score else None
  change = None if top1 is None else accuracy.top1_percent - top1
  yield Row(
    'top-1, %',
    f'{accuracy.top1_percent:.2f}',
    interval(accuracy.top1_ci95_percent, '.2f'),
    number(top1, '.2f'),
    number(change, '+.2f', ' points'),
  )
  if accuracy.balanced_percent is not None:
    yield Row('  balanced, by class', f'{accuracy.balanced_percent:.2f}')
  if accuracy.top5_percent is not None:
    bounds = interval(accuracy.top5_ci95_percent, '.2f')
    yield Row('top-5, %', f'{accuracy.top5_percent:.2f}', bounds)
  if accuracy.agreement_percent is not None:
    yield Row('same top-1 as reference, %', f'{accuracy.agreement_percent:.2f}')
  if accuracy.calibration_error is not None:
    yield Row('calibration error', f'{accuracy.calibration_error:.4f}')
  yield Row('images', f'{accuracy.num_examples:,}')
