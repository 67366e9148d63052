"""OpenVINO against LiteRT on one file, and what is refused."""

import pathlib
import random

import numpy as np
import pytest
import tensorflow as tf

from tests import needs
from tfcompress.core import environment, measurements, types
from tfcompress.runtimes import interface, load

openvino = needs.module('openvino')

IMAGES = np.random.RandomState(0).randint(0, 256, (3, 48, 48, 3), np.uint8)
FLOAT32, INT8 = types.Variant.FLOAT32, types.Variant.INT8


def opened(path: str, **options):
  runtime = options.pop('runtime', measurements.Runtime.OPENVINO)
  return load.open_file(measurements.OpenConfig(path, runtime, **options))


def scores(backend) -> np.ndarray:
  info = backend.inputs[0]
  images = interface.encode(IMAGES, info, types.Preprocessing())
  return interface.decode(backend.predict(images), backend.outputs[0])


@pytest.mark.parametrize(
  'variant', [FLOAT32, pytest.param(INT8, marks=needs.vnni)]
)
def test_scores_are_those_of_litert(variant, exported):
  backend = opened(exported[variant])
  litert = opened(exported[variant], runtime=measurements.Runtime.LITERT_CPU)
  for ours, theirs in zip(
    backend.inputs + backend.outputs, litert.inputs + litert.outputs
  ):
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    assert (ours.scale, ours.zero_point) == (theirs.scale, theirs.zero_point)
  # OpenVINO rounds integers elsewhere than LiteRT does.
  tolerance = 0.04 if variant is INT8 else 1e-4
  np.testing.assert_allclose(scores(backend), scores(litert), atol=tolerance)


def converted(root: pathlib.Path) -> str:
  """A convolution whose tensors the converter has named, so all differ."""
  kernel = np.random.RandomState(1).randn(3, 3, 3, 5).astype(np.float32)
  function = tf.function(
    lambda x: tf.reduce_mean(tf.nn.conv2d(x, kernel, 2, 'SAME'), (1, 2)),
    input_signature=[tf.TensorSpec((None, 48, 48, 3))],
  )
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
    [function.get_concrete_function()]
  )
  path = root / 'model.tflite'
  path.write_bytes(converter.convert())
  return str(path)


def test_scores_are_those_of_openvino_itself(tmp_path):
  path = converted(tmp_path)
  settings = {'INFERENCE_PRECISION_HINT': 'f32'}
  compiled = openvino.Core().compile_model(path, 'CPU', settings)
  backend = opened(path)
  assert backend.inputs[0].shape == (-1, 48, 48, 3)
  images = IMAGES.astype(np.float32)
  for batch in (images, images[:1], images[1:]):
    got = backend.predict(batch)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, compiled(batch)[0], atol=1e-4)


def test_tensors_of_one_name_are_told_apart(exported):
  path = f'{exported[FLOAT32]}/model.tflite'
  with pytest.raises(RuntimeError, match='Inconsistent type inference'):
    openvino.Core().read_model(path)  # 'resize' is a size and an image.
  assert opened(path).outputs[0].shape[1:] == (3,)


def test_an_output_is_the_callers_own(exported):
  backend = opened(exported[FLOAT32])
  first = backend.predict(IMAGES[:1].astype(np.float32))
  kept = first.copy()
  backend.predict(IMAGES[1:2].astype(np.float32))
  np.testing.assert_array_equal(first, kept)


def test_info_says_what_runs(exported):
  backend = opened(exported[FLOAT32], num_threads=1)
  assert backend.info() == measurements.RuntimeRecord(
    name='openvino',
    version=openvino.__version__.partition('-')[0],
    device=environment.cpu_name(),
    num_threads=1,
    fully_delegated=None,
  )
  backend.close()
  with pytest.raises(ValueError, match='--device=gpu, but OpenVINO runs on'):
    opened(exported[FLOAT32], device=measurements.Device.GPU)


def test_an_onnx_file(tmp_path):
  needs.module('onnx')
  needs.module('onnxruntime')
  from tests.runtimes import onnxruntime_test

  path = onnxruntime_test.write(tmp_path / 'model.onnx')
  images = onnxruntime_test.IMAGES.astype(np.float32)
  backend = opened(path)
  assert backend.inputs == (
    measurements.TensorInfo('image0', (-1, 3, 32, 32), 'float32'),
  )
  expected = opened(path, runtime=measurements.Runtime.ONNXRUNTIME)
  np.testing.assert_allclose(
    backend.predict(images), expected.predict(images), rtol=1e-4
  )
  with pytest.raises(ValueError, match='cannot run the file .*channel count'):
    backend.predict(images[:, :2])
  with pytest.raises(ValueError, match='1 inputs .* and 2 outputs .*expected'):
    opened(onnxruntime_test.write(tmp_path / 'two.onnx', outputs=2))


def test_damaged_files(exported, tmp_path):
  content = pathlib.Path(exported[INT8], 'model.tflite').read_bytes()
  rng = random.Random(0)
  for name, head in (('model.tflite', content[:8]), ('model.onnx', b'')):
    path = tmp_path / name
    for cut in (9, 1000, len(content) // 2):
      for spoiled in (head + content[8:cut], head + rng.randbytes(cut)):
        path.write_bytes(spoiled)
        with pytest.raises(ValueError, match='OpenVINO cannot open') as error:
          opened(str(path))
        assert '\n' not in str(error.value)
        assert not str(error.value).endswith(':)')
