"""Measures a model file: size, latency, memory, accuracy and score.

  python -m tfcompress.evaluate --model=exported/kd --baseline=measured

Opens a .tflite, an export or artifact folder, a .keras or .h5 file, or a
SavedModel folder.
"""

import dataclasses
import pathlib
import tempfile

from absl import flags

from tfcompress import cli_flags
from tfcompress.competition import scoring
from tfcompress.core import measurements, records, types

FLAGS = flags.FLAGS
_ABOVE_ZERO = 1e-9
_FIGURES = {
  'size_mib': measurements.Part.SIZE,
  'latency_ms': measurements.Part.LATENCY,
  'top1_percent': measurements.Part.ACCURACY,
}


def _define_flags() -> None:
  flags.DEFINE_string('model', None, 'the file or folder to measure')
  cli_flags.define_data_flags()
  flags.DEFINE_list(
    'parts',
    [part.value for part in measurements.Part],
    'what to measure, of size, latency, memory and accuracy',
  )
  cli_flags.define(
    measurements.MeasureConfig,
    runtime="the file format's own if not given; null measures the harness",
    input_scaling=(
      'what the file expects of its pixels; its metadata tells if not given, '
      'else raw pixels'
    ),
    num_threads=('of one timed inference', 1),
    runs=('timed inferences', 1),
    warmup_runs=('untimed ones before; a tenth of runs if not given', 0),
  )
  flags.DEFINE_string(
    'baseline',
    'challenge',
    "to score against: challenge (its documents' figures), plain (a ResNet-18 "
    "at 224 in float32, on this machine), measured (the model's float32 "
    'teacher, or plain if it has none), a model file, or a record that '
    '--output_file wrote',
  )
  for name, unit in (
    ('size', 'MiB'),
    ('latency', 'milliseconds'),
    ('accuracy', 'top-1 in percent'),
  ):
    text = f"{unit}, in place of the baseline's"
    cli_flags.define_float(f'baseline_{name}', None, text, _ABOVE_ZERO)
  flags.DEFINE_string('output_file', None, 'where the record goes, as JSON')


_define_flags()


def _config() -> measurements.MeasureConfig:
  cli_flags.require('model', example='flags/evaluate.cfg')
  from tfcompress.runtimes import load

  metadata = load.metadata_of(FLAGS.model)
  known = None
  if 'data' in metadata:
    known = records.from_json(types.DataSpec, metadata['data'])
  scaling = FLAGS.input_scaling
  if scaling is None and 'input_scaling' in metadata:
    scaling = types.Normalization(metadata['input_scaling'])
  return cli_flags.read(
    measurements.MeasureConfig,
    parts=_parts(),
    data=cli_flags.data_spec(known),
    input_scaling=scaling,
    class_names=tuple(metadata.get('class_names', ())),
  )


def _parts() -> tuple[measurements.Part, ...]:
  known = [part.value for part in measurements.Part]
  if unknown := [name for name in FLAGS.parts if name not in known]:
    raise ValueError(f'--parts: {unknown[0]!r} is none of {", ".join(known)}')
  if not FLAGS.parts:
    raise ValueError(f'--parts: expected some of {", ".join(known)}')
  return tuple(part for part in measurements.Part if part.value in FLAGS.parts)


def _baseline(
  config: measurements.MeasureConfig,
) -> measurements.BaselineRecord:
  """What to score against; measured here where the flags say so."""
  wanted = FLAGS.baseline
  given = _given_of_baseline()
  known = [_FIGURES[name] for name in given]
  parts = tuple(part for part in config.parts if part not in known)
  unknown = dataclasses.replace(config, parts=parts)
  if wanted == 'challenge':
    baseline = scoring.CHALLENGE_BASELINE
  elif wanted == 'measured':
    baseline = _measured_reference(unknown)
  elif wanted == 'plain':
    baseline = _measured_plain(unknown)
  elif wanted.endswith('.json'):
    baseline = _recorded(wanted)
  else:
    baseline = _measured(unknown, wanted, f'{wanted}, measured here')
  if given:
    source = f'{baseline.source}; by flag: {", ".join(sorted(given))}'
    baseline = dataclasses.replace(baseline, source=source, **given)
  return baseline


def _given_of_baseline() -> dict[str, float]:
  """The figures of the baseline that flags say, by its record's fields."""
  values = {
    name: FLAGS[f'baseline_{part.value}'].value
    for name, part in _FIGURES.items()
  }
  return {name: value for name, value in values.items() if value is not None}


def _of_record(
  record: measurements.Measurement, source: str
) -> measurements.BaselineRecord:
  """A measurement's figures as a baseline."""
  return measurements.BaselineRecord(
    size_mib=record.size.mib if record.size else None,
    latency_ms=record.latency_ms.mean if record.latency_ms else None,
    top1_percent=record.accuracy.top1_percent if record.accuracy else None,
    source=source,
  )


def _recorded(path: str) -> measurements.BaselineRecord:
  """A baseline from what --output_file wrote."""
  content = records.read_json(path)
  try:
    record = records.from_json(measurements.Measurement, content)
  except (ValueError, TypeError, AttributeError) as error:
    raise ValueError(
      f'{path}: not a record that evaluate wrote ({error})'
    ) from error
  return _of_record(record, path)


def _measured(
  config: measurements.MeasureConfig, path: str, source: str
) -> measurements.BaselineRecord:
  """Measures another file in the way of `config`."""
  from tfcompress.measurement import run
  from tfcompress.runtimes import load

  scaling = load.metadata_of(path).get('input_scaling')
  print(f'measuring the baseline: {source}', flush=True)
  record = run.measure(
    dataclasses.replace(
      config,
      model=path,
      runtime=None,
      input_scaling=types.Normalization(scaling) if scaling else None,
    )
  )
  return _of_record(record, source)


def _measured_reference(
  config: measurements.MeasureConfig,
) -> measurements.BaselineRecord:
  """Measures the model's teacher, or else a plain ResNet-18, in float32."""
  from tfcompress.models import io

  teacher = _teacher(config.model)
  if not teacher:
    return _measured_plain(config)
  return _measured_float(config, io.load(teacher)[0], teacher)


def _measured_plain(
  config: measurements.MeasureConfig,
) -> measurements.BaselineRecord:
  """Measures a plain ResNet-18; its accuracy is the documented one."""
  from tfcompress.models import resnet

  parts = tuple(p for p in config.parts if p is not measurements.Part.ACCURACY)
  config = dataclasses.replace(config, parts=parts)
  model = resnet.build(types.ModelSpec())
  baseline = _measured_float(config, model, 'a plain ResNet-18')
  return dataclasses.replace(
    baseline,
    top1_percent=scoring.CHALLENGE_BASELINE.top1_percent,
    source=f'{baseline.source}; top-1 as the challenge documents it',
  )


def _measured_float(
  config: measurements.MeasureConfig, model, name: str
) -> measurements.BaselineRecord:
  """Measures a tf_keras model as float32 `.tflite`."""
  from tfcompress.conversion import tflite

  with tempfile.TemporaryDirectory() as scratch:
    path = f'{scratch}/model.tflite'
    records.write_bytes(path, tflite.convert(model, types.Variant.FLOAT32))
    return _measured(config, path, f'{name} as float32 .tflite, measured here')


def _teacher(model: str) -> str | None:
  """The artifact that a model's compression began with, if it is still there.

  A teacher comes before a parent; the ancestors of one in float do not matter.
  """
  from tfcompress.runtimes import load

  metadata = load.metadata_of(model)
  own = [metadata['parent']] if 'parent' in metadata else []
  ancestors = [
    *metadata.get('parents', []),
    *metadata.get('ancestors', []),
    *own,
  ]
  return _oldest(records.from_json(tuple[types.ParentRecord], ancestors))


def _oldest(parents: tuple[types.ParentRecord, ...]) -> str | None:
  """Follows unchanged artifacts to a teacher, or to the first parent."""
  for parent in sorted(parents, key=lambda p: p.role != 'teacher'):
    file = pathlib.Path(parent.path) / records.MODEL
    if parent.role == 'init':  # A user's own file, no artifact.
      continue
    if not (pathlib.Path(parent.path) / records.MANIFEST).is_file():
      print(f'{parent.role} {parent.path}: no artifact there')
    elif records.sha256(file) != parent.sha256:
      print(f'{parent.role} {parent.path}: changed since, so not used')
    else:
      manifest = records.read_manifest(parent.path)
      if parent.role == 'teacher' and not manifest.quantized:
        return parent.path
      return _oldest(manifest.parents) or parent.path
  return None


def _evaluate() -> None:
  config = _config()
  if FLAGS.output_file:
    records.require_writable(pathlib.Path(FLAGS.output_file).parent)
  from tfcompress.measurement import run
  from tfcompress.reports import tables

  baseline = _baseline(config)
  record = run.measure(config)
  mine = _of_record(record, config.model)
  score = scoring.score(
    size_mib=mine.size_mib,
    latency_ms=mine.latency_ms,
    top1_percent=mine.top1_percent,
    baseline=baseline,
  )
  record = dataclasses.replace(record, score=score)
  print(tables.measurement(record))
  if FLAGS.output_file:
    records.write_json(FLAGS.output_file, record)
    print(f'record: {FLAGS.output_file}')


def main() -> None:
  """Runs the command."""
  cli_flags.run(_evaluate, __doc__)


if __name__ == '__main__':
  main()
