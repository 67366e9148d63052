"""Measures model files: size, latency, memory, accuracy and score.

  python -m tfcompress.evaluate --model=exported/kd --baseline=measured
  python -m tfcompress.evaluate --model=a.tflite --model=b.onnx \\
    --output_file=comparison.html
  python -m tfcompress.evaluate --model=a.tflite --runtime=all

Opens .tflite, .keras, .h5, frozen .pb, .pt, .pth, .pt2 and .onnx files, and
folders with an artifact, an export or a SavedModel. Each is opened in a process
of its own, which sees no labels, no network and no files of yours but its own.
"""

import dataclasses
import math
import pathlib
import tempfile
from collections.abc import Sequence

from absl import flags

from tfcompress import cli_flags
from tfcompress.competition import scoring
from tfcompress.core import measurements, records, types

FLAGS = flags.FLAGS
_ABOVE_ZERO = 1e-9
_ALL, _AUTO = 'all', 'auto'
_FIGURES = {
  'size_mib': measurements.Part.SIZE,
  'latency_ms': measurements.Part.LATENCY,
  'top1_percent': measurements.Part.ACCURACY,
}
# Flags of how to open a file, and the runtimes that heed them.
_Runtime = measurements.Runtime
_HEEDED = {
  'device': (_Runtime.TENSORFLOW, _Runtime.TORCH, _Runtime.ONNXRUNTIME),
  'precision': (_Runtime.LITERT_GPU,),
  'allow_cpu': (_Runtime.LITERT_GPU,),
  'xla': (_Runtime.TENSORFLOW,),
  'signature': (_Runtime.LITERT_CPU, _Runtime.LITERT_GPU, _Runtime.TENSORFLOW),
  'input_name': (_Runtime.TENSORFLOW,),
  'output_name': (_Runtime.TENSORFLOW,),
  'custom_objects': (_Runtime.TENSORFLOW,),
  'loader': (_Runtime.TORCH, _Runtime.TENSORFLOW),
  'allow_pickle': (_Runtime.TORCH,),
  'profile': (_Runtime.LITERT_CPU,),
}


def _define_flags() -> None:
  flags.DEFINE_multi_string(
    'model',
    None,
    'the file or folder to measure; several, by repeating it, are compared',
  )
  cli_flags.define_data_flags()
  flags.DEFINE_list(
    'parts',
    [part.value for part in measurements.Part],
    'what to measure, of size, latency, memory and accuracy',
  )
  _define_open_flags()
  _define_measure_flags()
  _define_baseline_flags()
  flags.DEFINE_list(
    'output_file',
    [],
    'where the figures go: .json (the whole record), .csv, .md or .html (a '
    'report with pictures); several, separated by commas',
  )


def _define_open_flags() -> None:
  flags.DEFINE_enum(
    'runtime',
    None,
    [*(runtime.value for runtime in measurements.Runtime), _ALL],
    "the file format's own if not given; all compares those there are; null "
    'measures the harness',
  )
  flags.DEFINE_integer('num_threads', 1, 'of one timed inference', 1)
  flags.DEFINE_integer(
    'input_size',
    None,
    'height and width in pixels of the images of a file that takes any; '
    f'{measurements.USUAL_SIZE}, with a warning, if nothing tells',
    1,
    4096,
  )
  cli_flags.define(
    measurements.OpenConfig,
    device='where tensorflow, torch and onnxruntime compute',
    precision='what litert_gpu computes floats in',
    allow_cpu='litert_gpu may leave operators to the CPU',
    xla='tensorflow compiles the model with XLA',
    signature='of a file with several',
    input_name='of a frozen graph; its only placeholder if not given',
    output_name='of a frozen graph; its only unread tensor if not given',
    custom_objects=cli_flags.CUSTOM_OBJECTS,
    loader='.py file whose load_model(path) returns what runs the file',
    allow_pickle='a .pt or .pth may run code of its own as it is opened',
  )


def _define_measure_flags() -> None:
  flags.DEFINE_enum(
    'input_scaling',
    None,
    [*(scaling.value for scaling in types.Normalization), _AUTO],
    'what the file expects of its pixels; its metadata tells if not given, '
    'else auto, which tries all on labelled images',
  )
  for name, text in (
    ('mean', 'what is taken off each pixel, of 0 to 255'),
    ('std', 'what each pixel is divided by after that'),
  ):
    flags.DEFINE_list(
      f'input_{name}',
      None,
      f'{text}: a number, or three separated by commas, in the order of '
      '--input_channels; in place of --input_scaling',
    )
  cli_flags.define(
    measurements.MeasureConfig,
    input_channels='the order of colors that the file expects',
    class_map=(
      'file with the index of the output of each class, a line a class, for a '
      'model with more outputs than classes, or of another order'
    ),
    runs=('timed inferences, at least', 1),
    seconds=('of timed inferences, at least', 0.0),
    processes=('fresh ones that share the timed inferences', 1),
    warmup_runs=(
      'untimed inferences in each process; until times are steady if not given',
      0,
    ),
    batch_sizes='also measure the throughput of batches of these sizes',
    per_class='also record accuracy by class and the confusion matrix',
    profile='also time every operator of a .tflite',
  )
  cli_flags.define(
    measurements.Limits,
    isolation='of the process that opens a file; the strictest that works here',
    memory_limit=('of that process, in MiB', 1, 10**7),
    time_limit=('seconds that it may take to answer', _ABOVE_ZERO, 1e7),
    process_limit=('processes that it may have', 1, 10**5),
    file_limit=('MiB of a file that it writes', 1, 10**7),
  )


def _define_baseline_flags() -> None:
  flags.DEFINE_string(
    'baseline',
    '',
    'to score against; no score if not given, and several models are compared '
    "with the first. challenge (its documents' figures), plain (a ResNet-18 "
    "at 224 in float32, on this machine), measured (the model's float32 "
    'teacher, or plain if it has none), a model file, or a record that '
    '--output_file wrote. What is measured here is timed in turns with the '
    'models',
  )
  for name, unit in (
    ('size', 'MiB'),
    ('latency', 'milliseconds'),
    ('accuracy', 'top-1 in percent'),
  ):
    text = f"{unit}, in place of the baseline's"
    cli_flags.define_float(f'baseline_{name}', None, text, _ABOVE_ZERO)


_define_flags()


def _configs() -> list[measurements.MeasureConfig]:
  """A config a model, or one a runtime of the only model."""
  cli_flags.require('model', example='flags/evaluate.cfg')
  if '' in FLAGS.model:
    raise ValueError('--model is empty; expected a file or folder')
  first = _config(FLAGS.model[0], None)
  from tfcompress.data import folders

  if {measurements.Part.ACCURACY, measurements.Part.LATENCY} & set(first.parts):
    folders.require(first.data, training=False)
  if FLAGS.runtime != _ALL:
    rest = [_config(path, first.data) for path in FLAGS.model[1:]]
    return [first, *rest]
  if len(FLAGS.model) > 1:
    raise ValueError('--runtime=all compares runtimes of one --model')
  return _on_all_runtimes(first)


def _require_heeded(configs: Sequence[measurements.MeasureConfig]) -> None:
  """Raises ValueError for a flag that no runtime of the models knows."""
  runtimes = {config.file.runtime for config in configs}
  for name in cli_flags.given(*_HEEDED):
    if not runtimes & set(_HEEDED[name]):
      raise ValueError(
        f'--{name} is for {", ".join(one.value for one in _HEEDED[name])}, got '
        f'{", ".join(sorted(one.value for one in runtimes))}'
      )


def _config(
  path: str, data: types.DataSpec | None
) -> measurements.MeasureConfig:
  """How to measure a model; on its own data unless some is given."""
  parts = _parts()
  from tfcompress.runtimes import load

  metadata = load.metadata_of(path)
  if data is None and 'data' in metadata:
    data = records.from_json(types.DataSpec, metadata['data'])
  wanted = None
  if FLAGS.runtime not in (None, _ALL):
    wanted = measurements.Runtime(FLAGS.runtime)
  # Of several, one whose package is missing fails when it is opened.
  several = FLAGS.model[1:] or FLAGS.runtime == _ALL
  runtime_of = load.fitting_runtime if several else load.runtime_of
  runtime = runtime_of(path, wanted)
  _require_files()
  return cli_flags.read(
    measurements.MeasureConfig,
    file=cli_flags.read(
      measurements.OpenConfig,
      model=path,
      runtime=runtime,
      image_size=_input_size(metadata),
    ),
    parts=parts,
    data=cli_flags.data_spec(data),
    **_scaling(path, metadata),
    class_names=tuple(metadata.get('class_names', ())),
    limits=cli_flags.read(measurements.Limits),
  )


def _input_size(metadata: dict) -> int | None:
  """That of images for a file that takes any, as a flag or the file says."""
  return FLAGS.input_size or metadata.get('model', {}).get('input_size')


def _require_files() -> None:
  """Raises ValueError for flags whose fault would be seen late."""
  for name in ('class_map', 'loader'):
    path = FLAGS[name].value
    if path and not pathlib.Path(path).is_file():
      raise ValueError(f'--{name}={path}: no such file')
  sizes = FLAGS.batch_sizes or []
  if any(not text.strip().isdecimal() or not int(text) for text in sizes):
    raise ValueError(
      f'--batch_sizes={",".join(sizes)}: expected whole numbers above zero'
    )


def _scaling(path: str, metadata: dict) -> dict[str, object]:
  """What a file expects of its pixels, and who says so."""
  if FLAGS.input_mean is not None or FLAGS.input_std is not None:
    return {'input_scaling': _in_numbers(), 'scaling_source': 'flag'}
  wanted = FLAGS.input_scaling or metadata.get('input_scaling')
  if wanted in (None, _AUTO):
    return {'input_scaling': None, 'scaling_source': wanted or 'file'}
  known = {one.value: one for one in types.Normalization}
  if wanted not in known:
    raise ValueError(
      f'{path}: its metadata says input_scaling {wanted!r}, expected one of '
      f'{", ".join(known)}; --input_scaling says it instead'
    )
  preprocessing = known[wanted].preprocessing
  by_flag = cli_flags.given('input_scaling', 'input_channels')
  return {
    'input_scaling': preprocessing.ordered(FLAGS.input_channels),
    'scaling_source': 'flag' if by_flag else 'metadata',
  }


def _in_numbers() -> types.Preprocessing:
  """What --input_mean and --input_std say, each with its default."""
  if FLAGS.input_scaling:
    raise ValueError(
      f'--input_scaling={FLAGS.input_scaling} beside --input_mean or --input_std: '
      'give the one or the others'
    )
  std = _colors('input_std', 1.0)
  if not all(number > 0 for number in std):
    raise ValueError('--input_std: expected numbers above zero')
  return types.Preprocessing(
    _colors('input_mean', 0.0), std, FLAGS.input_channels
  )


def _colors(name: str, default: float) -> tuple[float, ...]:
  """A flag's number for each channel."""
  given = FLAGS[name].value
  if given is None:
    return (default,) * 3
  try:
    numbers = [float(text) for text in given]
  except ValueError:
    numbers = [math.nan]
  if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
    raise ValueError(
      f'--{name}={",".join(given)}: expected a number, or three separated by '
      'commas'
    )
  return tuple(numbers * (3 // len(numbers)))


def _on_all_runtimes(
  config: measurements.MeasureConfig,
) -> list[measurements.MeasureConfig]:
  """A config for every runtime that opens the file and is installed."""
  from tfcompress.runtimes import load

  on = lambda **fields: dataclasses.replace(
    config, file=dataclasses.replace(config.file, **fields)
  )
  missing = {
    runtime: load.missing_package(runtime)
    for runtime in load.runtimes_of(config.file.model)
  }
  if all(missing.values()):
    runtime, why = next(iter(missing.items()))
    raise ValueError(f'runtime {runtime.value} {why}')
  return [
    on(runtime=runtime, device=device)
    for runtime in missing
    for device in load.DEVICES.get(runtime, (measurements.Device.CPU,))
    if not missing[runtime]
  ]


def _parts() -> tuple[measurements.Part, ...]:
  known = [part.value for part in measurements.Part]
  if unknown := [name for name in FLAGS.parts if name not in known]:
    raise ValueError(f'--parts: {unknown[0]!r} is none of {", ".join(known)}')
  if not FLAGS.parts:
    raise ValueError(f'--parts: expected some of {", ".join(known)}')
  return tuple(part for part in measurements.Part if part.value in FLAGS.parts)


@dataclasses.dataclass(frozen=True)
class _Baseline:
  """What to score against; nothing if neither figures nor config are there.

  Attributes:
    source: where its figures are from.
    figures: None where they are to be measured.
    config: how to measure it beside the models.
  """

  source: str
  figures: measurements.BaselineRecord | None = None
  config: measurements.MeasureConfig | None = None


def _baseline(
  config: measurements.MeasureConfig, scratch: pathlib.Path
) -> _Baseline:
  """The baseline that the flags ask for; a reference is written to `scratch`."""
  wanted = FLAGS.baseline
  if not wanted:
    given = _given_of_baseline()
    nothing = measurements.BaselineRecord(None, None, None, '')
    return _Baseline('', nothing if given else None)
  if wanted == 'challenge':
    return _Baseline(wanted, scoring.CHALLENGE_BASELINE)
  if wanted.endswith('.json'):
    return _Baseline(wanted, _recorded(wanted))
  if wanted not in ('measured', 'plain'):
    return _beside(config, wanted, f'{wanted}, measured here')
  from tfcompress.conversion import references

  file = str(scratch / 'reference.tflite')
  write = references.write_plain
  if wanted == 'measured':
    write = lambda file: references.write(config.file.model, file)
  name = write(file)
  source = f'{name} as float32 .tflite, measured here'
  return _beside(config, file, source, is_plain=name == references.PLAIN)


def _beside(
  config: measurements.MeasureConfig,
  path: str,
  source: str,
  *,
  is_plain: bool = False,
) -> _Baseline:
  """Another file, to be measured as `config` says, but for what is known."""
  from tfcompress.runtimes import load

  given = _given_of_baseline()
  known = [_FIGURES[name] for name in given]
  if is_plain:
    known.append(measurements.Part.ACCURACY)
  metadata = load.metadata_of(path)
  scaling = metadata.get('input_scaling')
  beside = dataclasses.replace(
    config,
    file=measurements.OpenConfig(
      path,
      load.runtime_of(path, None),
      num_threads=config.file.num_threads,
      image_size=_input_size(metadata),
    ),
    parts=tuple(part for part in config.parts if part not in known),
    input_scaling=(
      types.Normalization(scaling).preprocessing if scaling else None
    ),
    scaling_source='metadata',
    input_channels=types.Channels.RGB,
  )
  return _Baseline(source, config=beside)


def _given_of_baseline() -> dict[str, float]:
  """The figures of the baseline that flags say, by its record's fields."""
  values = {
    name: FLAGS[f'baseline_{part.value}'].value
    for name, part in _FIGURES.items()
  }
  return {name: value for name, value in values.items() if value is not None}


def _recorded(path: str) -> measurements.BaselineRecord:
  """A baseline from what --output_file wrote."""
  record = records.read_measurement(path)
  if record.failure:
    raise ValueError(f'{path}: the record of a failure ({record.failure})')
  return scoring.figures_of(record, path)


def _figures(
  baseline: _Baseline, record: measurements.Measurement | None
) -> measurements.BaselineRecord | None:
  """What to score against, of what was measured and what the flags say."""
  figures = baseline.figures
  if record:
    figures = scoring.figures_of(record, baseline.source)
    accuracy_wanted = measurements.Part.ACCURACY.value in FLAGS.parts
    if figures.top1_percent is None and accuracy_wanted:
      figures = dataclasses.replace(
        figures,
        top1_percent=scoring.CHALLENGE_BASELINE.top1_percent,
        source=f'{figures.source}; top-1 as the challenge documents it',
      )
  if given := _given_of_baseline():
    source = f'by flag: {", ".join(sorted(given))}'
    source = '; '.join(filter(None, (figures.source, source)))
    figures = dataclasses.replace(figures, source=source, **given)
  return figures


def _evaluate() -> None:
  from tfcompress.reports import files

  for path in FLAGS.output_file:
    files.check(path)
  configs = _configs()
  _require_heeded(configs)
  _warn_of_images(configs[0])
  found, fault = _measured(configs)
  print(_shown(configs, found))
  for path in FLAGS.output_file:
    files.write(path, found)
    print(f'written: {path}')
  failures = [record.failure for record in found if record.failure]
  if FLAGS.runtime == _ALL and len(failures) < len(found):
    failures = []
  if faults := [fault, *failures] if fault else failures:
    more = f' (and {len(faults) - 1} more fail)' if faults[1:] else ''
    raise ValueError(f'{faults[0]}{more}')


def _warn_of_images(config: measurements.MeasureConfig) -> None:
  """Prints what is odd about a folder of images that is going to be used."""
  from tfcompress.data import folders, remarks

  uses_images = {measurements.Part.ACCURACY, measurements.Part.LATENCY}
  if folders.is_folder(config.data) and uses_images & set(config.parts):
    remarks.show(remarks.of(folders.read(config.data, training=False)))


def _measured(
  configs: Sequence[measurements.MeasureConfig],
) -> tuple[list[measurements.Measurement], str]:
  """Measures the models, and beside them the baseline if it must be.

  Also returns why there is no score where one was asked for: what was measured
  is not lost for that.
  """
  with tempfile.TemporaryDirectory() as scratch:
    baseline = _baseline(configs[0], pathlib.Path(scratch))
    if baseline.config:
      print(f'baseline: {baseline.source}', flush=True)
    from tfcompress.measurement import run

    beside = [baseline.config] if baseline.config else []
    found = run.measure([*beside, *configs], with_baseline=bool(beside))
  reference = found.pop(0) if beside else None
  if reference and reference.failure:
    return found, f'the baseline fails: {reference.failure}'
  figures = _figures(baseline, reference)
  if figures is None:
    return found, ''
  if reference:
    path = reference.model.path
    found = [_to_reference(record, path, figures.source) for record in found]
  try:
    return [scoring.scored(record, figures) for record in found], ''
  except ValueError as error:
    return found, f'no score against {figures.source}: {error}'


def _to_reference(
  record: measurements.Measurement, path: str, name: str
) -> measurements.Measurement:
  """Names the baseline as people know it, where a ratio is to its file."""
  if not record.ratio or record.ratio.reference != path:
    return record
  ratio = dataclasses.replace(record.ratio, reference=name)
  return dataclasses.replace(record, ratio=ratio)


def _shown(
  configs: Sequence[measurements.MeasureConfig],
  found: Sequence[measurements.Measurement],
) -> str:
  from tfcompress.reports import ranking, runtimes, tables

  if FLAGS.runtime == _ALL:
    return runtimes.text(*_available(configs, found))
  if len(found) > 1:
    return ranking.text(found)
  shown = tables.measurement(found[0])
  if found[0].profile:
    shown += f'\n\n{tables.profile(found[0].profile)}'
  return shown


def _available(
  configs: Sequence[measurements.MeasureConfig],
  found: Sequence[measurements.Measurement],
) -> tuple[list[measurements.Measurement], dict[str, str]]:
  """What ran, and why other runtimes did not open the file, by their names."""
  from tfcompress.runtimes import load

  opened, missing = [], {}
  for config, record in zip(configs, found, strict=True):
    if record.runtime:
      opened.append(record)
    else:
      file = config.file
      missing[f'{file.runtime.value} ({file.device.value})'] = record.failure
  for runtime in load.runtimes_of(configs[0].file.model):
    if why := load.missing_package(runtime):
      missing[runtime.value] = why
  return opened, missing


def main() -> None:
  """Runs the command."""
  cli_flags.run(_evaluate, __doc__)


if __name__ == '__main__':
  main()
