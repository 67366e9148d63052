"""Files that we did not make, measured as their own libraries have them."""

import dataclasses
import pathlib
import shutil

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from PIL import Image

from tests import cases, needs
from tfcompress.core import measurements, types
from tfcompress.measurement import accuracy, run
from tfcompress.reports import figures, notes

Part = measurements.Part
BGR = types.Channels.BGR
CAFFE = types.Preprocessing((103.939, 116.779, 123.68), (1.0,) * 3, BGR)
LIMITS = measurements.Limits(isolation=measurements.Isolation.PROCESS)


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> types.DataSpec:
  return types.DataSpec(cases.images('base', tmp_path_factory.mktemp('images')))


@pytest.fixture(scope='module')
def pictures(data) -> tuple[np.ndarray, np.ndarray]:
  """All images as PIL reads them, float32 (48, 40, 40, 3), and labels."""
  root = pathlib.Path(data.dataset.removeprefix('folder:'), 'validation')
  files = sorted(root.glob('*/*.png'))
  pixels = [np.asarray(Image.open(file), np.float32) for file in files]
  return np.array(pixels), np.array(
    ['abcd'.index(f.parent.name) for f in files]
  )


def config(name: str, data: types.DataSpec, **fields):
  size = fields.pop('image_size', None)
  file = measurements.OpenConfig(
    cases.path(name), num_threads=1, image_size=size
  )
  return measurements.MeasureConfig(
    file,
    data=data,
    limits=LIMITS,
    **{
      'parts': (Part.ACCURACY,),
      'runs': 40,
      'seconds': 0.0,
      'processes': 2,
      'warmup_runs': 1,
      **fields,
    },
  )


def bare(name: str, values: np.ndarray) -> np.ndarray:
  """Scores of a bare interpreter, in batches as the file has them."""
  interpreter = litert.Interpreter(cases.path(name))
  (given,), (got,) = (
    interpreter.get_input_details(),
    interpreter.get_output_details(),
  )
  batch = max(1, given['shape_signature'][0])
  shape = (batch, *values.shape[1:])
  interpreter.resize_tensor_input(given['index'], shape)
  interpreter.allocate_tensors()
  scores = []
  for start in range(0, len(values), batch):
    part = np.zeros(shape, np.float32)
    part[: len(values) - start] = values[start : start + batch]
    interpreter.set_tensor(given['index'], part)
    interpreter.invoke()
    scores.append(interpreter.get_tensor(got['index']))
  return np.concatenate(scores)[: len(values)]


def require_scores(found, expected: np.ndarray, labels: np.ndarray) -> None:
  """Every image has its scores, whatever order they came in."""
  for label in range(4):
    ours, theirs = (
      scores[labels_of == label, label]
      for scores, labels_of in (
        (found.probabilities, found.labels), (expected, labels),
      )
    )  # fmt: skip
    np.testing.assert_allclose(np.sort(ours), np.sort(theirs), atol=1e-5)


def test_other_pixels_than_the_usual_are_said_by_flags(data, pictures):
  """A network of Caffe's: blue first, less a mean, and no deviation."""
  found, dataset = accuracy.measure(
    config('caffe.tflite', data, input_scaling=CAFFE)
  )
  images, labels = pictures
  mean = np.float32([103.939, 116.779, 123.68])
  expected = bare('caffe.tflite', images[..., ::-1] - mean)
  require_scores(found, expected, labels)
  assert (found.top1 == found.labels).sum() == 47  # of 48
  assert dataset.preprocessing == CAFFE and dataset.scaling_source == 'flag'
  assert dataset.input_scaling == '(x - 103.939, 116.779, 123.68) / 1, bgr'
  assert not found.warnings


def test_where_no_scaling_fits_a_line_says_so(data):
  found, dataset = accuracy.measure(config('caffe.tflite', data))
  assert (found.top1 == found.labels).sum() == 14
  assert dataset.scaling_source == 'auto'
  [warning] = found.warnings
  assert 'not clearly above chance (25.0 %) with any scaling' in warning
  assert '--class_map' in warning and '--input_channels' in warning


def test_a_files_own_metadata_is_used(data):
  named, dataset = accuracy.measure(
    config('caffe_metadata.tflite', data, input_channels=BGR)
  )
  assert (named.top1 == named.labels).sum() == 47
  assert dataset.scaling_source == 'file'
  np.testing.assert_allclose(dataset.preprocessing.mean, CAFFE.mean, rtol=1e-6)
  _, dataset = accuracy.measure(config('f32_metadata.tflite', data))
  assert dataset.input_scaling == 'symmetric'
  assert dataset.scaling_source == 'file' and not dataset.scaling_top1_percent


def test_what_is_asked_for_is_tried_whatever_the_file_says(data):
  _, dataset = accuracy.measure(
    config('f32_metadata.tflite', data, scaling_source='auto')
  )
  tried = dataset.scaling_top1_percent
  assert dataset.scaling_source == 'auto' and len(tried) == 4
  assert tried['symmetric'] == pytest.approx(100 * 47 / 48)


RAW = types.Preprocessing()


@pytest.mark.parametrize(('size', 'says'), [(None, True), (40, False)])
def test_a_size_that_nothing_tells(size, says, data, pictures):
  [record] = run.measure(
    [config('freehw.tflite', data, image_size=size, input_scaling=RAW)]
  )
  assert record.model.image_size == (size or 224)
  assert any('it is shown 224x224' in one for one in record.warnings) == says
  shown = notes.model(record.model)
  assert shown.endswith(f', shown {size or 224}x{size or 224}')
  images, labels = pictures
  if size:
    right = bare('freehw.tflite', images).argmax(1) == labels
    expected = 100 * right.mean()
    assert record.accuracy.top1_percent == pytest.approx(expected)


def test_another_size_than_a_files_own_is_one_line(data):
  [record] = run.measure([config('f32.tflite', data, image_size=32)])
  assert record.failure == (
    f'{cases.path("f32.tflite")}: made for images of 40 pixels, got '
    '--input_size=32; leave it out'
  )
  [record] = run.measure(
    [config('f32.tflite', data, image_size=40, parts=(Part.SIZE,))]
  )
  assert not record.failure and not record.warnings


@needs.pytorch
def test_a_torchscript_that_tells_no_size(tmp_path):
  unit = types.Normalization.UNIT.preprocessing
  stripes = types.DataSpec(cases.images('stripes', tmp_path))
  asked, silent = (
    run.measure(
      [config('stripes.pt', stripes, image_size=size, input_scaling=unit)]
    )[0]
    for size in (32, None)
  )
  assert asked.accuracy.top1_percent == 100 > silent.accuracy.top1_percent
  assert not asked.warnings
  assert 'nothing tells how large its images are to be' in silent.warnings[0]


def test_several_images_at_once_are_told_by_the_image(data, pictures):
  fields = {'input_scaling': types.Normalization.SYMMETRIC.preprocessing}
  parts = (Part.ACCURACY, Part.LATENCY)
  five, one = run.measure(
    [
      config(name, data, parts=parts, batch_sizes=(count,), **fields)
      for name, count in (('batch5.tflite', 5), ('f32.tflite', 1))
    ]
  )
  assert (five.model.batch_size, one.model.batch_size) == (5, 1)
  assert not five.failure
  # 48 images are nine batches and three images more.
  images, labels = pictures
  expected = bare('batch5.tflite', images / 127.5 - 1).argmax(1) == labels
  assert five.accuracy.top1_percent == pytest.approx(100 * expected.mean())
  assert five.accuracy.num_examples == 48
  assert five.accuracy.batch_size == 5
  # The same network: an image takes no five times as long, nor a fifth.
  assert 0.2 < five.latency_ms.median / one.latency_ms.median < 3
  rate = five.throughput_per_s
  assert rate == pytest.approx(1000 / five.latency_ms.mean)
  names = [row.name for row in figures.of(five)]
  assert 'images/s, 5 at a time' in names
  assert 'latency, ms an image, mean' in names
  assert any('5 images go through it at once' in one for one in five.warnings)
  assert 0.2 < five.throughput[0].images_per_s / rate < 10
  assert 'images/s, one at a time' in [row.name for row in figures.of(one)]


@pytest.fixture(scope='module')
def two(data, tmp_path_factory) -> types.DataSpec:
  """The images of two classes."""
  root = tmp_path_factory.mktemp('two')
  source = pathlib.Path(data.dataset.removeprefix('folder:'))
  for name in 'ab':
    shutil.copytree(source / 'validation' / name, root / 'validation' / name)
  return types.DataSpec(f'folder:{root}')


def test_one_score_tells_two_classes_apart(two, pictures):
  scaling = types.Normalization.SYMMETRIC.preprocessing
  found, _ = accuracy.measure(config('sig1.tflite', two, input_scaling=scaling))
  images, labels = pictures
  expected = bare('sig1.tflite', images[labels < 2] / 127.5 - 1)[:, 0]
  np.testing.assert_allclose(
    np.sort(found.probabilities[:, 1]), np.sort(expected), atol=1e-5
  )
  np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-6)
  right = (expected > 0.5) == labels[labels < 2]
  assert (found.top1 == found.labels).sum() == right.sum()


def test_one_score_and_more_classes_is_a_sentence_that_fits(data):
  with pytest.raises(
    ValueError, match='has one output, .* 4 classes; one output tells two'
  ) as error:
    accuracy.measure(config('sig1.tflite', data))
  assert 'class_map' not in str(error.value)


def test_probabilities_and_logits_of_one_score_by_hand():
  probabilities = accuracy.as_two(np.float32([[0.0], [0.25], [1.0]]))
  np.testing.assert_array_equal(probabilities, [[1, 0], [0.75, 0.25], [0, 1]])
  logits = accuracy.as_two(np.float32([[-2.0], [0.5]]))
  np.testing.assert_array_equal(logits, [[0, -2], [0, 0.5]])


def test_a_named_output_may_stand_for_the_other_class(two, tmp_path):
  """--class_map turns the two around."""
  scaling = types.Normalization.SYMMETRIC.preprocessing
  path = tmp_path / 'map.txt'
  path.write_text('1\n0\n')
  straight = config('sig1.tflite', two, input_scaling=scaling)
  turned = dataclasses.replace(straight, class_map=str(path))
  right = [
    int((found.top1 == found.labels).sum())
    for found, _ in (accuracy.measure(straight), accuracy.measure(turned))
  ]
  assert sum(right) == 24
