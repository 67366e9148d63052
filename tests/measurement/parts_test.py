import dataclasses
import gzip
import json
import os
import pathlib
import signal

import numpy as np
import pytest

from tfcompress.core import measurements, records, types
from tfcompress.measurement import accuracy, latency, memory, process, run, size
from tfcompress.models import io, widths


def crash(number: int) -> None:
  os.kill(os.getpid(), number)


def stumble() -> None:
  raise KeyError('a bug')


def refuse(what: str) -> None:
  raise ValueError(f'no {what}')


def test_a_process_returns_refuses_and_crashes():
  assert process.in_fresh_process(pow, 2, 10) == 1024
  with pytest.raises(ValueError, match='no cheese'):
    process.in_fresh_process(refuse, 'cheese')
  with pytest.raises(ValueError, match='^SIGSEGV: the process .* crashed'):
    process.in_fresh_process(crash, signal.SIGSEGV)
  with pytest.raises(OSError, match='Errno 12. killed, as a system does'):
    process.in_fresh_process(crash, signal.SIGKILL)
  with pytest.raises(RuntimeError, match='see the traceback above'):
    process.in_fresh_process(stumble)


def test_latency_statistics_against_numpy():
  samples = np.random.RandomState(0).gamma(2, 1, 501)
  record = latency.summarize(samples, 50)
  assert record.mean == pytest.approx(np.mean(samples))
  assert record.median == pytest.approx(sorted(samples)[250])
  assert record.p90 == pytest.approx(np.quantile(samples, 0.9))
  assert record.p99 == pytest.approx(np.quantile(samples, 0.99))
  assert record.std == pytest.approx(np.std(samples))
  assert record.min == min(samples)
  assert (record.runs, record.warmup_runs) == (501, 50)
  np.testing.assert_array_equal(record.samples, samples)


def test_wilson_interval_against_published_values():
  # Newcombe 1998, table I: 81/263 and 15/148.
  np.testing.assert_allclose(
    accuracy.wilson_interval(81, 263), (0.2553, 0.3662), atol=5e-5
  )
  np.testing.assert_allclose(
    accuracy.wilson_interval(15, 148), (0.0624, 0.1605), atol=5e-5
  )
  assert accuracy.wilson_interval(0, 20)[0] == 0
  assert accuracy.wilson_interval(20, 20)[1] == 1


def test_ranks_by_hand():
  scores = np.array([[0.1, 0.7, 0.2], [0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])
  ranks = accuracy.rank_of(scores, np.array([2, 0, 1]))
  assert ranks.tolist() == [1, 0, 1]


def test_accuracy_of_ranks_by_hand():
  record = accuracy.summarize(np.array([0, 0, 4, 5, 9, 1, 0, 0, 2, 7]))
  assert record.top1_percent == 40
  assert record.top5_percent == 70
  assert record.num_examples == 10


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
  [
    types.Variant.FLOAT32,
    types.Variant.FLOAT16,
    types.Variant.INT8,
    types.Variant.DYNAMIC_WI8_AFP32,
  ],
)
def test_parameters_counted_in_a_file(variant, exported, baseline):
  record = size.measure(exported[variant])
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
  model, _ = io.load(baseline)
  assert size.measure(baseline).parameters == model.count_params()


def test_memory_grows_with_the_model(exported, tmp_path):
  from tfcompress.conversion import tflite
  from tfcompress.models import resnet

  content = tflite.convert(
    resnet.build(types.ModelSpec(internal_size=64)), types.Variant.FLOAT32
  )
  large = tmp_path / 'large.tflite'
  large.write_bytes(content)
  small, big = (
    process.in_fresh_process(memory.measure, measurements.MeasureConfig(path))
    for path in (exported[types.Variant.FLOAT32], str(large))
  )
  extra_mib = len(content) / 2**20
  # The weights are read, and XNNPACK packs them once more.
  assert extra_mib < big.model < 3 * extra_mib
  assert 0 < small.model < extra_mib / 2
  assert big.peak - small.peak > 0.8 * (big.model - small.model)


@pytest.mark.parametrize('variant', [types.Variant.INT8, types.Variant.FLOAT32])
def test_accuracy_is_the_parents(variant, exported, baseline, data):
  config = measurements.MeasureConfig(exported[variant], data=data)
  record, dataset = accuracy.measure(config)
  metrics = records.read_manifest(baseline).metrics
  assert record.num_examples == dataset.num_examples == 12
  assert abs(record.top1_percent - metrics['top1_percent']) <= 100 / 12 + 0.01
  assert dataset.transform == 'challenge' and dataset.input_scaling == 'raw'


def test_a_measurement_survives_json(exported, data, tmp_path):
  config = measurements.MeasureConfig(
    exported[types.Variant.INT8], data=data, runs=5, warmup_runs=1
  )
  record = run.measure(config)
  path = tmp_path / 'record.json'
  records.write_json(path, record)
  content = json.loads(path.read_text())
  assert list(content) == [
    field.name for field in dataclasses.fields(measurements.Measurement)
  ]
  assert content['schema_version'] == 1
  assert content['model']['inputs'][0]['shape'] == [1, 48, 48, 3]
  assert content['runtime']['name'] == 'litert_cpu'
  assert len(content['latency_ms']['samples']) == 5
  assert content['throughput_per_s'] == pytest.approx(
    1000 / content['latency_ms']['mean']
  )
  assert content['score'] is None
  assert records.from_json(measurements.Measurement, content) == record


def test_parts_not_asked_for_are_none(exported):
  config = measurements.MeasureConfig(
    exported[types.Variant.INT8], parts=(measurements.Part.SIZE,)
  )
  record = run.measure(config)
  assert record.size is not None
  assert record.latency_ms is record.memory_mib is record.accuracy is None
  assert record.dataset is record.throughput_per_s is None


@pytest.mark.parametrize('share', [0.02, 0.3, 0.6, 0.999])
def test_a_truncated_file_is_one_sentence(share, exported, tmp_path):
  whole = pathlib.Path(exported[types.Variant.INT8], 'model.tflite')
  content = whole.read_bytes()
  path = tmp_path / 'cut.tflite'
  path.write_bytes(content[: int(share * len(content))])
  config = measurements.MeasureConfig(
    str(path), parts=(measurements.Part.SIZE,)
  )
  with pytest.raises(ValueError, match=r'cut\.tflite'):
    run.measure(config)


def test_other_names_of_classes_than_the_models(exported, data):
  config = measurements.MeasureConfig(
    exported[types.Variant.INT8], data=data, class_names=('red', 'blue', 'x')
  )
  with pytest.raises(ValueError, match="a class 'blue' where the model has"):
    accuracy.measure(config)


def test_other_classes_than_the_models(exported, tmp_path):
  from tests import conftest

  root = conftest.write_folder(tmp_path / 'images')
  for split in types.Split:
    extra = root / split.value / 'yellow'
    (root / split.value / 'red').rename(extra)
    (root / split.value / 'red').mkdir()
    first = next(extra.iterdir())
    first.rename(root / split.value / 'red' / first.name)
  config = measurements.MeasureConfig(
    exported[types.Variant.INT8],
    data=types.DataSpec(dataset=f'folder:{root}'),
  )
  with pytest.raises(ValueError, match='has 3 outputs, .* 4 classes'):
    accuracy.measure(config)
