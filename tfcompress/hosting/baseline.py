"""What the submissions of a challenge are scored against, measured once.

Its size and accuracy are figures of BASELINE; its latency is measured again
beside every submission.
"""

import dataclasses
import pathlib

from tfcompress.competition import scoring
from tfcompress.core import challenges, measurements, records, types
from tfcompress.hosting import hosts
from tfcompress.measurement import run
from tfcompress.runtimes import interface, load

SOURCE = 'the baseline'
_CACHE = '.cache'
_Part = measurements.Part


def measure(host: hosts.Host) -> measurements.Measurement:
  """Measures a challenge's baseline on its ranking device and data.

  Writes BASELINE into the challenge's repository.

  Raises:
    ValueError: it cannot be measured.
  """
  hosts.require_classes(host)
  challenge = host.challenge
  parts = [_Part.SIZE, _Part.LATENCY, _Part.MEMORY]
  if challenge.baseline.top1_percent is None:
    parts.append(_Part.ACCURACY)
  wanted = config(host, challenge.evaluation.ranking_device)
  wanted = dataclasses.replace(wanted, parts=tuple(parts))
  [record] = run.measure([wanted], with_baseline=True)
  if record.failure:
    raise ValueError(f'the baseline fails: {record.failure}')
  _require_size(record, challenge)
  record = named(record, challenge.baseline.model, host)
  records.write_json(host.repository / challenges.BASELINE, record)
  return record


def figures(
  repository: pathlib.Path, challenge: challenges.Challenge
) -> measurements.BaselineRecord:
  """Returns the baseline's figures, from what `measure` wrote.

  Raises:
    ValueError: it was not measured, or is another model by now.
  """
  path = repository / challenges.BASELINE
  again = 'run `python -m tfcompress.leaderboard baseline`'
  if not path.is_file():
    raise ValueError(f'{path}: the baseline is not measured; {again}')
  record = records.read_measurement(path)
  model = challenge.baseline.model
  same = model == record.model.path
  if same and model != challenges.PLAIN:
    file = interface.file_of(str(repository / model))
    same = records.sha256(file) == record.model.sha256
  if not same:
    raise ValueError(
      f'{path}: of {record.model.path} as it was, expected {model} as it is; '
      f'{again}'
    )
  top1 = challenge.baseline.top1_percent
  found = scoring.figures_of(record, SOURCE)
  found = dataclasses.replace(found, top1_percent=top1 or found.top1_percent)
  if not found.top1_percent:
    raise ValueError(f'{path}: without accuracy; {again}')
  return found


def config(
  host: hosts.Host, device: measurements.Device
) -> measurements.MeasureConfig:
  """Returns how to time the baseline on a device."""
  path = str(_file(host.repository, host.challenge))
  scaling = load.metadata_of(path).get('input_scaling')
  rules_of = host.challenge.evaluation
  return measurements.MeasureConfig(
    file=on_device(
      measurements.OpenConfig(path, image_size=host.challenge.image_size),
      device,
      host.challenge,
    ),
    parts=(_Part.LATENCY,),
    data=host.data,
    input_scaling=(
      types.Normalization(scaling).preprocessing if scaling else None
    ),
    scaling_source='metadata',
    runs=rules_of.runs,
    seconds=rules_of.seconds,
    processes=rules_of.processes,
    strict=True,
    limits=host.limits,
  )


def on_device(
  file: measurements.OpenConfig,
  device: measurements.Device,
  challenge: challenges.Challenge,
) -> measurements.OpenConfig:
  """Returns how to open a file on a device.

  Raises:
    ValueError: its runtime is not installed.
  """
  runtime = load.runtimes_of(file.model)[0]
  on_gpu = device is measurements.Device.GPU
  if on_gpu and runtime is measurements.Runtime.LITERT_CPU:
    runtime = measurements.Runtime.LITERT_GPU
  if missing := load.missing_package(runtime):
    raise ValueError(f'runtime {runtime.value} {missing}')
  return dataclasses.replace(
    file,
    runtime=runtime,
    device=device,
    num_threads=challenge.evaluation.num_threads,
  )


def named(
  record: measurements.Measurement, path: str, host: hosts.Host
) -> measurements.Measurement:
  """Returns a record without the paths of this machine.

  Args:
    record: of a measurement.
    path: of the model, in the repository.
    host: whose images are as its challenge names them.
  """
  model = dataclasses.replace(record.model, path=path)
  dataset, latency = record.dataset, record.latency_ms
  images = host.challenge.data.dataset
  if dataset:
    dataset = dataclasses.replace(dataset, name=images)
  if latency:
    image = latency.image.replace(host.data.dataset, images)
    latency = dataclasses.replace(latency, image=image)
  return dataclasses.replace(
    record, model=model, dataset=dataset, latency_ms=latency
  )


def _require_size(
  record: measurements.Measurement, challenge: challenges.Challenge
) -> None:
  """Raises ValueError where a baseline takes images of another size."""
  size = record.model.image_size
  if size != challenge.image_size:
    raise ValueError(
      f'{challenge.baseline.model}: takes images of {size} pixels, '
      f'{challenges.CHALLENGE} has image_size {challenge.image_size}; change '
      'one of them'
    )


def _file(
  repository: pathlib.Path, challenge: challenges.Challenge
) -> pathlib.Path:
  """The baseline's model; a plain one is made where it is not there yet."""
  model = challenge.baseline.model
  if model != challenges.PLAIN:
    return repository / model
  spec = types.ModelSpec(
    num_classes=challenge.num_classes, input_size=challenge.image_size
  )
  name = f'{model}_{spec.input_size}_{spec.num_classes}.tflite'
  path = repository / _CACHE / name
  if not path.is_file():
    # Here, since it takes TensorFlow and seconds.
    from tfcompress.conversion import references

    references.write_plain(str(path), spec)
  return path
