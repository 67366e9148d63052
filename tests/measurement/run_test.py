import dataclasses
import gzip
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.measurement import programs
from tfcompress.core import measurements, records, types
from tfcompress.measurement import machine, opened, run, size
from tfcompress.models import widths

Part = measurements.Part
INT8, FLOAT32 = types.Variant.INT8, types.Variant.FLOAT32


def config(path: str, data: types.DataSpec, **fields):
  return measurements.MeasureConfig(
    measurements.OpenConfig(path, num_threads=1),
    data=data,
    input_scaling=types.Preprocessing(),
    **{'runs': 5, 'seconds': 0.0, 'processes': 2, 'warmup_runs': 1, **fields},
  )


def test_a_measurement_survives_json(exported, data, tmp_path):
  whole = config(
    exported[INT8], data, batch_sizes=(1,), per_class=True, profile=True
  )
  [record] = run.measure([whole])
  path = tmp_path / 'record.json'
  records.write_json(path, record)
  content = json.loads(path.read_text())
  assert list(content) == [
    field.name for field in dataclasses.fields(measurements.Measurement)
  ]
  assert content['schema_version'] == 1
  assert content['model']['inputs'][0]['shape'] == [1, 48, 48, 3]
  assert content['runtime']['name'] == 'litert_cpu'
  latency = content['latency_ms']
  assert len(latency['samples']) == latency['runs'] >= 5
  assert latency['processes'] == 2
  assert content['throughput_per_s'] == pytest.approx(1000 / latency['mean'])
  assert content['score'] is content['failure'] is None
  assert content['throughput'][0]['batch_size'] == 1
  assert set(content['accuracy']['per_class_percent']) == {
    'blue',
    'green',
    'red',
  }
  assert len(content['profile']['operators']) > 10
  assert content['isolation']['level'] in ('bubblewrap', 'process')
  assert content['machine']['load_before'] >= 0
  assert records.from_json(measurements.Measurement, content) == record


def test_models_beside_each_other(exported, data, tmp_path):
  """The first is what others are compared with; one fails by itself."""
  cut = tmp_path / 'cut.tflite'
  content = pathlib.Path(exported[INT8], 'model.tflite').read_bytes()
  cut.write_bytes(content[: len(content) // 2])
  first, broken, last = run.measure(
    [
      config(path, data, parts=(Part.SIZE, Part.LATENCY, Part.ACCURACY))
      for path in (exported[FLOAT32], str(cut), exported[INT8])
    ]
  )
  assert first.ratio is first.accuracy.agreement_percent is None
  assert last.ratio.reference == exported[FLOAT32]
  low, high = last.ratio.latency_ci95
  assert low < last.ratio.latency < high
  assert last.accuracy.agreement_percent >= 11 / 12
  assert 'cut.tflite' in broken.failure
  assert broken.size.bytes == len(content) // 2
  assert broken.runtime is broken.latency_ms is broken.accuracy is None


def write_mean(path: pathlib.Path, classes: int) -> str:
  """A file that gives so many classes the same probability, or nearly."""
  import tensorflow as tf

  weights = np.random.RandomState(0).rand(3, classes).astype(np.float32) / 255

  @tf.function(input_signature=[tf.TensorSpec((1, 48, 48, 3))])
  def network(images):
    return tf.nn.softmax(tf.reduce_mean(images, (1, 2)) @ weights)

  converter = tf.lite.TFLiteConverter.from_concrete_functions(
    [network.get_concrete_function()]
  )
  path.write_bytes(converter.convert())
  return str(path)


@pytest.mark.parametrize('refused', [0, 1])
def test_one_with_other_classes_leaves_the_others_their_figures(
  refused, data, tmp_path
):
  paths = [write_mean(tmp_path / f'{n}.tflite', n) for n in (3, 4)]
  parts = (Part.SIZE, Part.LATENCY, Part.ACCURACY)
  found = run.measure(
    [config(path, data, parts=parts) for path in (paths * 2)[1 - refused :][:2]]
  )
  other = found[1 - refused]
  assert '4 outputs' in found[refused].failure
  assert '3 classes' in found[refused].failure
  assert found[refused].size.bytes > 0 and not found[refused].latency_ms
  assert other.failure is None
  assert other.accuracy.num_examples == 12 and other.latency_ms.mean > 0


def test_a_class_map_that_does_not_fit_one_of_two(data, tmp_path):
  paths = [write_mean(tmp_path / f'{n}.tflite', n) for n in (4, 6)]
  (tmp_path / 'map.txt').write_text('0\n2\n5\n')
  first, second = run.measure(
    [
      config(
        path, data, parts=(Part.ACCURACY,),
        class_map=str(tmp_path / 'map.txt'),
      )
      for path in paths
    ]
  )  # fmt: skip
  assert first.failure.endswith("0 to 5, expected 0 to 3, the model's outputs")
  assert second.failure is None and second.accuracy.num_examples == 12


def test_a_baseline_with_other_classes_is_said_at_once(data, tmp_path):
  path = write_mean(tmp_path / 'a.tflite', 4)
  wanted = config(path, data, parts=(Part.ACCURACY,))
  with pytest.raises(ValueError, match='the baseline fails: .* 4 outputs'):
    run.measure([wanted, wanted], with_baseline=True)


def test_parts_not_asked_for_are_none(exported, data):
  [record] = run.measure([config(exported[INT8], data, parts=(Part.SIZE,))])
  assert record.size is not None
  assert record.latency_ms is record.memory_mib is record.accuracy is None
  assert record.dataset is record.throughput_per_s is record.machine is None


def test_a_failure_keeps_what_was_measured_before(data, tmp_path):
  file = programs.write(
    tmp_path,
    forward="""
    if x.std() > 0:
      seen[len(seen)] = 1
    if len(seen) > 4:
      import os
      os.abort()
    """,
  )
  failing = dataclasses.replace(
    config('', data, parts=(Part.SIZE, Part.LATENCY)), file=file
  )
  [record] = run.measure([failing])
  assert 'SIGABRT' in record.failure
  assert record.size.bytes > 0 and record.runtime.name == 'torch'
  assert record.latency_ms is None


@pytest.mark.long
def test_memory_grows_with_the_model(exported, data, tmp_path):
  from tfcompress.conversion import tflite
  from tfcompress.models import resnet

  content = tflite.convert(
    resnet.build(types.ModelSpec(internal_size=64)), FLOAT32
  )
  large = tmp_path / 'large.tflite'
  large.write_bytes(content)
  small, big = (
    record.memory_mib
    for record in run.measure(
      [
        config(path, data, parts=(Part.MEMORY,))
        for path in (exported[FLOAT32], str(large))
      ]
    )
  )
  extra_mib = len(content) / 2**20
  # The weights are read, and XNNPACK packs them once more.
  assert extra_mib < big.model < 3 * extra_mib
  assert 0 < small.model < extra_mib / 2
  assert big.peak - small.peak > 0.8 * (big.model - small.model)


def folded_parameters(spec: types.ModelSpec) -> int:
  """Weights and biases after batch normalization is folded, by hand."""
  channels = widths.channels_of(spec)
  total, incoming = 7 * 7 * 3 * channels['stem_conv'], channels['stem_conv']
  for block in widths.blocks(spec):
    x = incoming
    for name, kernel in zip(block.conv_names, block.kernel_sizes):
      total += kernel * kernel * x * channels[name]
      x = channels[name]
    if block.projects:
      total += incoming * x
    incoming = x
  return total + sum(channels.values()) + (incoming + 1) * spec.num_classes


@pytest.mark.parametrize(
  'variant',
  [FLOAT32, types.Variant.FLOAT16, INT8, types.Variant.DYNAMIC_WI8_AFP32],
)
def test_parameters_counted_in_a_file(variant, exported, baseline):
  counted = size.parameters(measurements.OpenConfig(exported[variant]))
  record = size.measure(exported[variant], counted)
  spec = records.read_manifest(baseline).model
  folded = folded_parameters(spec)
  # The stem's 7x7 over three colors is 4x4 over blocks of 2x2 pixels with a
  # white channel each.
  expected = folded + (4 * 4 * 16 - 7 * 7 * 3) * spec.channels['stem_conv']
  # A constant that pads with white comes on top.
  assert expected <= record.parameters <= expected + 1
  assert 0.9 * folded < record.nonzero_parameters <= record.parameters
  file = pathlib.Path(exported[variant]) / 'model.tflite'
  assert record.bytes == file.stat().st_size
  assert record.mib == record.bytes / 1048576
  assert record.gzip_bytes == len(gzip.compress(file.read_bytes(), 6))


def test_parameters_of_an_artifact(baseline):
  from tfcompress.models import io

  model, _ = io.load(baseline)
  total, _ = size.parameters(measurements.OpenConfig(baseline))
  assert total == model.count_params()


@pytest.mark.parametrize('share', [0.02, 0.3, 0.6, 0.999])
def test_a_truncated_file_is_one_sentence(share, exported, tmp_path):
  content = pathlib.Path(exported[INT8], 'model.tflite').read_bytes()
  path = tmp_path / 'cut.tflite'
  path.write_bytes(content[: int(share * len(content))])
  with pytest.raises(opened.ModelError, match=r'cut\.tflite'):
    opened.Opened(
      measurements.OpenConfig(str(path)), measurements.Limits()
    ).close()


def test_what_others_compute_is_seen():
  """A process that computes all the time keeps a core busy."""
  watch = machine.Watch()
  hog = subprocess.Popen([sys.executable, '-c', 'while True: pass'])
  try:
    subprocess.run(['sleep', '1'], check=True)
    record = watch.record((), 0.0)
  finally:
    hog.kill()
    hog.wait()
  assert record.others_cores > 0.3 and record.busy


def test_the_idlest_cores_are_those_that_did_least(monkeypatch):
  looks = iter([{0: 1.0, 1: 5.0, 2: 5.0}, {0: 1.1, 1: 5.0, 2: 5.0}] * 2)
  monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1, 2})
  monkeypatch.setattr(machine, '_busy_seconds', lambda: next(looks))
  assert machine.idlest_cores(1) == (2,)
  assert machine.idlest_cores(2) == (2, 1)
  assert machine.idlest_cores(3) == ()
