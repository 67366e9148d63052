"""Signatures, free sizes and operators of `.tflite` files."""

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from tests.runtimes import sample_models
from tfcompress.core import measurements
from tfcompress.runtimes import load, tflite_file

SIZE = sample_models.SIZE
IMAGE = tf.TensorSpec((1, SIZE, SIZE, 3))


def opened(path, **options):
  return load.open_file(measurements.OpenConfig(str(path), **options))


def pixels(*shape) -> np.ndarray:
  return np.random.RandomState(0).rand(*shape).astype(np.float32)


def write(path: pathlib.Path, function, *specs, **options) -> str:
  path.write_bytes(sample_models.convert(function, *specs, **options))
  return str(path)


@pytest.fixture(scope='module')
def several(tmp_path_factory) -> str:
  root = tmp_path_factory.mktemp('several')
  return sample_models.save_several(root)['tflite']


@pytest.mark.parametrize('signature', ['', 'any_size'])
def test_an_image_of_any_size(signature, several):
  backend = opened(several, signature=signature)
  assert backend.inputs[0].shape == (-1, -1, -1, 3)
  kernel = sample_models.Several().kernel
  for shape in [(1, 6, 6, 3), (3, 9, 5, 3), (1, 6, 6, 3)]:
    given = pixels(*shape)
    maps = tf.nn.conv2d(given, kernel, 1, 'VALID')
    expected = tf.reduce_mean(maps, (1, 2))
    np.testing.assert_allclose(backend.predict(given), expected, atol=1e-5)


def test_a_signature_beside_the_first(several):
  backend = opened(several, signature='fixed')
  assert backend.inputs[0].shape == (1, SIZE, SIZE, 3)
  given = pixels(1, SIZE, SIZE, 3)
  got = backend.predict(given)
  np.testing.assert_allclose(got, given.sum((1, 2)), rtol=1e-5)
  assert backend.info().delegated_percent is None


def test_signatures_that_are_refused(several, tmp_path):
  with pytest.raises(
    ValueError, match="no signature 'best'; it has any_size, fixed, two"
  ):
    opened(several, signature='best')
  with pytest.raises(
    ValueError, match=r'2 inputs \(two_\w+:0, two_\w+:0\) and 1 outputs'
  ):
    opened(several, signature='two')
  path = write(tmp_path / 'a.tflite', lambda a, b: a + b, IMAGE, IMAGE)
  with pytest.raises(ValueError, match='a.tflite: .*2 inputs.* --signature'):
    opened(path)


def test_what_is_no_number_is_refused(tmp_path):
  path = write(tmp_path / 'a.tflite', lambda image: image > 0.5, IMAGE)
  with pytest.raises(ValueError, match='is of dtype bool, expected numbers'):
    opened(path)


def test_a_fixed_batch_is_resized_where_the_file_permits_it(tmp_path):
  mean = lambda image: tf.reduce_mean(image, (1, 2))
  given = pixels(4, SIZE, SIZE, 3)
  backend = opened(write(tmp_path / 'a.tflite', mean, IMAGE))
  assert backend.inputs[0].shape[0] == 1
  for batch in (given, given[:1]):
    expected = batch.mean((1, 2))
    np.testing.assert_allclose(backend.predict(batch), expected, rtol=1e-5)


@pytest.mark.parametrize(
  ('values', 'message'),
  [
    (SIZE * SIZE * 3, 'LiteRT cannot run the file .*; node number'),
    (-1, r'scores of shape \(1, 768\) for 4 images'),
  ],
)
def test_a_batch_that_the_file_does_not_permit(values, message, tmp_path):
  flat = lambda image: tf.reshape(image, (1, values))
  backend = opened(write(tmp_path / 'a.tflite', flat, IMAGE))
  given = pixels(4, SIZE, SIZE, 3)
  with pytest.raises(ValueError, match=message):
    backend.predict(given)
  got = backend.predict(given[:1])  # It is as it was.
  np.testing.assert_array_equal(got, given[:1].reshape(1, -1))


@pytest.mark.parametrize(
  ('dtype', 'percent'),
  # Of convolution, mean, dense and softmax; of int8 all but the softmax, and
  # of uint8 neither that nor the conversions of what goes in and out.
  [('float32', 100), ('int8', 75), ('uint8', 50), ('int16', 0)],
)
def test_the_share_that_xnnpack_runs(dtype, percent, tmp_path):
  path = tmp_path / 'model.tflite'
  path.write_bytes(sample_models.converted(dtype))
  assert opened(path).info().delegated_percent == percent


def test_the_share_that_xnnpack_runs_in_two_pieces(tmp_path):
  def argmax_between(image):
    best = tf.cast(tf.argmax(image * 2, -1), tf.float32)
    return tf.reshape(best * 3, (1, -1))

  path = write(tmp_path / 'a.tflite', argmax_between, IMAGE)
  # The products and the reshape, but neither the argmax nor the cast.
  assert opened(path).info().delegated_percent == 60


FLEX = tf.lite.TargetSpec(supported_ops=[tf.lite.OpsSet.SELECT_TF_OPS])


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    (
      {'target_spec': FLEX},
      'operator FlexMatrixDeterminant is of TensorFlow, which LiteRT has not',
    ),
    (
      {'allow_custom_ops': True},
      "operator MatrixDeterminant is not of LiteRT's own",
    ),
  ],
)
def test_operators_that_litert_lacks(settings, message, tmp_path):
  spec = tf.TensorSpec((1, 3, 3, 3))
  path = write(tmp_path / 'a.tflite', tf.linalg.det, spec, **settings)
  with pytest.raises(ValueError, match=f'a.tflite: .*{message}'):
    opened(path)


@pytest.mark.parametrize(
  'name', ['edge-detection', 'my.op::v2 (fast)', 'Edge_Custom']
)
def test_a_custom_operator_is_named_in_full(name, tmp_path):
  spec = tf.TensorSpec((1, 3, 3, 3))
  path = write(
    tmp_path / 'a.tflite', tf.linalg.det, spec, allow_custom_ops=True
  )
  model = tflite_file.model_of(pathlib.Path(path).read_bytes())
  [code] = [one for one in model.operatorCodes if one.customCode]
  code.customCode = name.encode()
  pathlib.Path(path).write_bytes(tflite_file.packed(model))
  with pytest.raises(
    ValueError, match=f"operator {re.escape(name)} is not of LiteRT's own"
  ):
    opened(path)
