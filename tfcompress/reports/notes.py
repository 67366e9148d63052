"""What a measurement says in words: how it was made, what to beware of."""

from collections.abc import Iterator, Mapping, Sequence

from tfcompress.core import measurements
from tfcompress.reports import figures, names

_WHERE_SCALING_IS_FROM = {
  'metadata': "as the file's metadata says",
  'flag': 'as the flag says',
  'file': 'as the file itself says',
  'auto': 'the best of all that were tried',
}

_CHALLENGE = 'challenge'
_DOCUMENTED = 'as its documents say, of another machine'


def of(record: measurements.Measurement) -> dict[str, str]:
  """Returns a sentence about each thing that there is something to say of."""
  found = {
    'model': model(record.model),
    'runtime': runtime(record.runtime),
    'timed': timed(record.latency_ms),
    'ratio': ratio(record.ratio),
    'data': _data(record),
    'pixels': _scaling(record.dataset),
    'isolation': isolation(record.isolation),
    'machine': machine(record.machine),
    'score': score(record.score),
    'baseline': baseline(record),
  }
  return {name: names.printable(text) for name, text in found.items() if text}


def warnings(record: measurements.Measurement) -> list[str]:
  """Returns why figures of it are not to be trusted, a sentence each."""
  return [names.printable(text) for text in _warnings(record)]


def failure(record: measurements.Measurement) -> str:
  """Returns why measuring ended, without the path that it may begin with."""
  sentence = record.failure or ''
  return names.printable(sentence.removeprefix(f'{record.model.path}: '))


def _warnings(record: measurements.Measurement) -> Iterator[str]:
  yield from record.warnings
  if (machine := record.machine) and machine.busy:
    cores = machine.others_cores
    busy = (
      f'the machine had a load of {machine.load_before:.1f}'
      if cores is None
      else f'other processes kept {cores:.1f} cores busy'
    )
    yield f'{busy}: do not trust these times'
  if (latency := record.latency_ms) and latency.steady is False:
    yield (
      'the times were still falling at the end of the warm-up: '
      'they are too high; warm up for longer'
    )
  if (runtime := record.runtime) and runtime.fully_delegated is False:
    yield 'the GPU does not run every operator: the CPU runs the others'
  if (dataset := record.dataset) and dataset.skipped_examples:
    yield (
      f'{dataset.skipped_examples:,} images did not decode and are not counted'
    )


def model(record: measurements.ModelRecord) -> str:
  """Returns such as 'tflite, 224x224x3 uint8 to 100 uint8'."""
  tensors = [
    ' and '.join(
      f'{"x".join(map(_size, info.shape))} {info.dtype}' for info in infos
    )
    for infos in (record.inputs, record.outputs)
  ]
  if not all(tensors):
    return ''
  size, sides = record.image_size, record.inputs[0].shape[1:]
  shown = f', shown {size}x{size}' if size and -1 in sides else ''
  return f'{record.format}, {" to ".join(tensors)}{shown}'


def _size(dimension: int) -> str:
  return '?' if dimension < 0 else str(dimension)


def baseline(record: measurements.Measurement) -> str:
  """Returns where the figures of the baseline are from."""
  if not record.score:
    return ''
  source = record.score.baseline.source
  return f'{source}: {_DOCUMENTED}' if source == _CHALLENGE else source


def runtime(record: measurements.RuntimeRecord | None) -> str:
  """Returns what ran the file, on what, and how."""
  if record is None:
    return ''
  parts = [
    f'{record.name} {record.version}'.strip(),
    record.device,
    f'{record.num_threads} thread{"s" if record.num_threads != 1 else ""}',
    record.precision or '',
  ]
  if record.delegated_percent is not None:
    who = 'XNNPACK' if record.fully_delegated is None else 'the GPU'
    parts.append(f'{who} runs {record.delegated_percent:.1f} % of operators')
  if record.fully_delegated:
    parts.append('all on the GPU')
  return ', '.join(filter(None, parts))


def timed(latency: measurements.LatencyRecord | None) -> str:
  """Returns how often the file was run, and with what."""
  if latency is None:
    return ''
  processes = f'{latency.processes} process'
  return (
    f'{latency.runs:,} runs in {processes}'
    f'{"es" if latency.processes != 1 else ""}, after '
    f'{latency.warmup_runs:,} to warm up'
    + (f'; {latency.image}' if latency.image else '')
  )


def ratio(record: measurements.RatioRecord | None) -> str:
  """Returns such as '2.10 x faster than a.tflite, 2.05 to 2.15'."""
  if record is None:
    return ''
  faster = 'faster than' if record.latency >= 1 else 'as fast as'
  text = f'{record.latency:.2f} x {faster} {record.reference}'
  if record.latency_ci95 is None:
    return text
  text += f', {figures.interval(record.latency_ci95, ".2f")}'
  return text + ('' if distinguishable(record) else ': no difference shown')


def distinguishable(record: measurements.RatioRecord) -> bool:
  """Whether one of the two is known to be the faster."""
  low, high = record.latency_ci95 or (1.0, 1.0)
  return not low <= 1.0 <= high


def is_reference(
  record: measurements.Measurement, among: Sequence[measurements.Measurement]
) -> bool:
  """Whether it is the model that the others were timed in turns with."""
  return record.ratio is None and any(
    other.ratio and other.ratio.reference == record.model.path
    for other in among
  )


def _data(record: measurements.Measurement) -> str:
  dataset = record.dataset
  if dataset is None:
    return ''
  accuracy = record.accuracy
  batch = accuracy.batch_size if accuracy else None
  return (
    f'{dataset.num_examples:,} images of {dataset.name}, {dataset.split}, '
    f'transform {dataset.transform}'
    + (f', batches of {batch}' if batch else '')
  )


def _scaling(dataset: measurements.DatasetRecord | None) -> str:
  if dataset is None:
    return ''
  parts = [dataset.input_scaling]
  if dataset.scaling_source:
    source = dataset.scaling_source
    parts.append(_WHERE_SCALING_IS_FROM.get(source, source))
  if tried := dataset.scaling_top1_percent:
    parts.append(_tried(tried))
  return ', '.join(parts)


def _tried(top1_percent: Mapping[str, float]) -> str:
  """Every candidate's top-1, the best first."""
  best_first = sorted(top1_percent.items(), key=lambda pair: -pair[1])
  scores = ', '.join(f'{name} {top1:.1f} %' for name, top1 in best_first)
  return f'by top-1: {scores}'


def isolation(record: measurements.IsolationRecord | None) -> str:
  """Returns how the file was kept from the machine, and what was left open."""
  if record is None:
    return ''
  left = f'; open: {", ".join(record.open)}' if record.open else ''
  return record.level + left


def machine(record: measurements.MachineRecord | None) -> str:
  """Returns what the machine did beside."""
  if record is None:
    return ''
  parts = []
  if record.cores:
    many = 's' if len(record.cores) > 1 else ''
    parts.append(f'pinned to core{many} {", ".join(map(str, record.cores))}')
  if record.governor:
    parts.append(f'clock governor {record.governor}')
  parts.append(f'load {record.load_before:.1f} to {record.load_after:.1f}')
  if record.others_cores is not None:
    parts.append(f'other processes kept {record.others_cores:.1f} cores busy')
  return ', '.join(parts)


def score(record: measurements.ScoreRecord | None) -> str:
  """Returns the score and what it is made of, or '' without a final one."""
  if record is None or record.final is None:
    return ''
  size, latency, accuracy = record.weights
  return (
    f'{record.final:.3f} = {size:g} x size {record.size:.2f} + {latency:g} x '
    f'latency {record.latency:.2f} + {accuracy:g} x accuracy '
    f'{record.accuracy:.3f}'
  )
