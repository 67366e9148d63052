"""Free sizes and batches, in every runtime: what a worker makes of them.

The worker runs in this process; each kind of file is made here, but for those of
`cases`, and compared with numpy or with a bare interpreter.
"""

import math
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert import interpreter as litert

from tests import cases, needs
from tfcompress.core import measurements, records, types
from tfcompress.measurement import replies, worker
from tfcompress.runtimes import load

Runtime = measurements.Runtime
COUNT, CLASSES = 8, 4  # images, and more than one batch of those that are fixed
RAW = types.Preprocessing()
RNG = np.random.RandomState(0)
KERNEL = RNG.randn(3, CLASSES).astype(np.float32)
OFFSET = np.float32(100)


def pictures(size: int) -> np.ndarray:
  rng = np.random.RandomState(size)
  return rng.randint(0, 256, (COUNT, size, size, 3), np.uint8)


def by_numpy(images: np.ndarray) -> np.ndarray:
  """What the networks of this file compute."""
  pixels = images.astype(np.float32)
  return np.maximum(pixels - OFFSET, 0).mean((1, 2)) @ KERNEL


def by_interpreter(name: str):
  """One image after another, in a bare interpreter."""

  def scores(images: np.ndarray) -> np.ndarray:
    interpreter = litert.Interpreter(cases.path(name))
    given = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(given['index'], [1, *images.shape[1:]])
    interpreter.allocate_tensors()
    found = []
    for image in images:
      interpreter.set_tensor(given['index'], image[None].astype(np.float32))
      interpreter.invoke()
      output = interpreter.get_output_details()[0]
      found.append(interpreter.get_tensor(output['index'])[0])
    return np.array(found)

  return scores


def saved_model(root: pathlib.Path, shape, rows=None) -> str:
  """A SavedModel of an input shape; it gives so many rows at once."""
  module = tf.Module()

  @tf.function(input_signature=[tf.TensorSpec(shape, name='image')])
  def scores(image):
    means = tf.reduce_mean(tf.nn.relu(image - OFFSET), (1, 2))
    return {'scores': tf.ensure_shape(means @ KERNEL, (rows, CLASSES))}

  folder = root / 'saved'
  tf.saved_model.save(module, str(folder), signatures=scores)
  return str(folder)


def keras_file(root: pathlib.Path, shape) -> str:
  layers = tf_keras.layers
  image = layers.Input(batch_shape=shape)
  x = layers.ReLU()(layers.Rescaling(1.0, -float(OFFSET))(image))
  x = layers.GlobalAveragePooling2D()(x)
  dense = layers.Dense(CLASSES, use_bias=False)
  model = tf_keras.Model(image, dense(x))
  dense.set_weights([KERNEL])
  model.save(root / 'model.keras')
  return str(root / 'model.keras')


def onnx_file(root: pathlib.Path, shape, rows=-1) -> str:
  """The same for ONNX, channels first."""
  onnx = needs.module('onnx')
  node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
  constants = {
    'offset': OFFSET.reshape(1),
    'kernel': KERNEL,
    'rows': np.array([rows, CLASSES]),
  }
  nodes = [
    node('Sub', ['image', 'offset'], ['less']),
    node('Relu', ['less'], ['positive']),
    node('ReduceMean', ['positive'], ['means'], axes=[2, 3], keepdims=0),
    node('MatMul', ['means', 'kernel'], ['products']),
    node('Reshape', ['products', 'rows'], ['scores']),
  ]
  graph = onnx.helper.make_graph(
    nodes,
    'graph',
    [value('image', onnx.TensorProto.FLOAT, shape)],
    [value('scores', onnx.TensorProto.FLOAT, (None, CLASSES))],
    [onnx.numpy_helper.from_array(v, k) for k, v in constants.items()],
  )
  opset = [onnx.helper.make_opsetid('', 13)]
  model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
  onnx.save(model, str(root / 'model.onnx'))
  return str(root / 'model.onnx')


def case(name: str):
  return lambda root: cases.path(name)


def answered(config: measurements.OpenConfig):
  """What a worker says of a file, its scores of `pictures`, and its batches."""
  memory = os.memfd_create('images')
  if load.missing_package(config.runtime):
    pytest.skip(needs.NEEDS + config.runtime.value)
  opened = worker.Worker(memory)
  about = opened.open(records.to_json(config), 1, [], None)
  images = pictures(about.image_size)
  pixels = replies.NUM_SLOTS * images.size
  scores = (COUNT, about.num_outputs)
  given = 4 * about.batch_size * images[0].size
  behind = pixels + given
  os.ftruncate(memory, behind + 4 * replies.NUM_SLOTS * math.prod(scores))
  opened.share(
    replies.NUM_SLOTS,
    list(images.shape),
    list(scores),
    [pixels, given],
    behind,
  )
  opened._images.flags.writeable = True
  opened._images[0] = images
  found = opened.predict(0, COUNT, records.to_json(RAW))
  return about, opened._scores[0].copy(), found.batch_size, opened


SAVED, KERAS, ONNX = 'saved', 'keras', 'onnx'
ANY_SIZE = {
  'freehw.tflite': (case('freehw.tflite'), Runtime.LITERT_CPU),
  'freehw.tflite, OpenVINO': (case('freehw.tflite'), Runtime.OPENVINO),
  SAVED: (
    lambda root: saved_model(root, (None, None, None, 3)),
    Runtime.TENSORFLOW,
  ),
  KERAS: (
    lambda root: keras_file(root, (None, None, None, 3)),
    Runtime.TENSORFLOW,
  ),
  ONNX: (
    lambda root: onnx_file(root, ('n', 3, 'h', 'w')),
    Runtime.ONNXRUNTIME,
  ),
  'onnx, OpenVINO': (
    lambda root: onnx_file(root, ('n', 3, 'h', 'w')),
    Runtime.OPENVINO,
  ),
}


@pytest.mark.parametrize('name', ANY_SIZE)
def test_a_free_size_is_what_is_asked_for(name, tmp_path):
  write, runtime = ANY_SIZE[name]
  path = write(tmp_path)
  reference = by_numpy
  if 'tflite' in name:
    reference = by_interpreter('freehw.tflite')
  for asked, size in ((40, 40), (None, 224)):
    config = measurements.OpenConfig(path, runtime, image_size=asked)
    about, scores, _, _ = answered(config)
    assert (about.image_size, about.size_told) == (size, asked is not None)
    expected = reference(pictures(size))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize('shape', [(1, 48, None, 3), (1, None, 48, 3)])
def test_one_side_tells_the_other(shape, tmp_path):
  path = keras_file(tmp_path, shape)
  about, scores, _, _ = answered(
    measurements.OpenConfig(path, Runtime.TENSORFLOW)
  )
  assert (about.image_size, about.size_told) == (48, True)
  np.testing.assert_allclose(scores, by_numpy(pictures(48)), rtol=1e-4)


FREE_OUTSIDE = {
  'tflite': (case('dynbatch_reshape1.tflite'), Runtime.LITERT_CPU),
  'tflite, OpenVINO': (case('dynbatch_reshape1.tflite'), Runtime.OPENVINO),
  'nchw_dyn_fixed.onnx': (case('nchw_dyn_fixed.onnx'), Runtime.ONNXRUNTIME),
  'nchw_dyn_fixed.onnx, OpenVINO': (
    case('nchw_dyn_fixed.onnx'),
    Runtime.OPENVINO,
  ),
  SAVED: (
    lambda root: saved_model(root, (None, 40, 40, 3), rows=1),
    Runtime.TENSORFLOW,
  ),
  ONNX: (
    lambda root: onnx_file(root, ('n', 3, 40, 40), rows=1),
    Runtime.ONNXRUNTIME,
  ),
}


@pytest.mark.parametrize('name', FREE_OUTSIDE)
def test_a_batch_that_is_free_outside_and_one_inside(name, tmp_path):
  write, runtime = FREE_OUTSIDE[name]
  path = write(tmp_path)
  about, scores, batch_size, _ = answered(
    measurements.OpenConfig(path, runtime)
  )
  # OpenVINO leaves out what fixes the batch of an ONNX file.
  assert batch_size == (8 if name == 'nchw_dyn_fixed.onnx, OpenVINO' else 1)
  assert about.batch_size == 1 and about.inputs[0].shape[0] == -1
  images = pictures(40)
  if 'tflite' in name:
    expected = by_interpreter('dynbatch_reshape1.tflite')(images)
  elif 'nchw' in name:
    session = needs.module('onnxruntime').InferenceSession(path)
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32)
    expected = np.concatenate(
      [session.run(None, {'image': one[None]})[0] for one in pixels]
    )
  else:
    expected = by_numpy(images)
  np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-3)


SEVERAL = {
  'batch5.tflite': (case('batch5.tflite'), Runtime.LITERT_CPU, 5),
  'batch5.tflite, OpenVINO': (case('batch5.tflite'), Runtime.OPENVINO, 5),
  SAVED: (
    lambda root: saved_model(root, (3, 40, 40, 3)),
    Runtime.TENSORFLOW,
    3,
  ),
  KERAS: (
    lambda root: keras_file(root, (6, 40, 40, 3)),
    Runtime.TENSORFLOW,
    6,
  ),
  ONNX: (
    lambda root: onnx_file(root, (5, 3, 40, 40), rows=5),
    Runtime.ONNXRUNTIME,
    5,
  ),
}


@pytest.mark.parametrize('name', SEVERAL)
def test_several_images_at_once_and_a_last_batch_of_fewer(name, tmp_path):
  write, runtime, count = SEVERAL[name]
  path = write(tmp_path)
  about, scores, batch_size, opened = answered(
    measurements.OpenConfig(path, runtime)
  )
  assert batch_size == about.batch_size == count
  images = pictures(40)
  expected = (
    by_interpreter('f32.tflite')(images)  # The same network.
    if 'tflite' in name
    else by_numpy(images)
  )
  np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-3)
  # What is timed is a whole batch, of images that differ.
  opened.prepare(COUNT, records.to_json(RAW))
  assert all(len(one) == count for one in opened._timed)
  timed = opened._timed[COUNT - 2]
  assert len({image.tobytes() for image in timed}) == count
  rate = opened.throughput(count, 0.01)
  assert rate.images > 0 and rate.images % count == 0
  with pytest.raises(ValueError, match=f'made for batches of {count}, got'):
    opened.throughput(count + 1, 0.0)


def quantized(root: pathlib.Path, dtype: str) -> str:
  """A network of pixels from -1 to 1, quantized, as users of MobileNet have it."""
  layers = tf_keras.layers
  tf_keras.utils.set_random_seed(0)
  image = layers.Input((40, 40, 3), 1)
  x = layers.Conv2D(4, 3, activation='relu')(image)
  x = layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x))
  converter = tf.lite.TFLiteConverter.from_keras_model(tf_keras.Model(image, x))
  values = pictures(40).astype(np.float32) / 127.5 - 1
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  converter.representative_dataset = lambda: [[one[None]] for one in values]
  converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
  converter.inference_input_type = tf.as_dtype(dtype)
  path = root / f'{dtype}.tflite'
  path.write_bytes(converter.convert())
  return str(path)


@pytest.mark.parametrize(
  'runtime',
  [Runtime.LITERT_CPU, pytest.param(Runtime.OPENVINO, marks=needs.vnni)],
)
@pytest.mark.parametrize('dtype', ['uint8', 'int8'])
def test_bytes_go_in_as_they_are_whatever_the_scale(dtype, runtime, tmp_path):
  path = quantized(tmp_path, dtype)
  about, scores, _, _ = answered(measurements.OpenConfig(path, runtime))
  info = about.inputs[0]
  assert info.scale == pytest.approx(1 / 127.5, rel=0.01)
  interpreter = litert.Interpreter(path)
  interpreter.allocate_tensors()
  (given,), (got,) = (
    interpreter.get_input_details(),
    interpreter.get_output_details(),
  )
  for image, ours in zip(pictures(40), scores):
    less = 128 if dtype == 'int8' else 0
    one = (image[None].astype(int) - less).astype(dtype)
    interpreter.set_tensor(given['index'], one)
    interpreter.invoke()
    theirs = interpreter.get_tensor(got['index'])[0]
    tolerance = 1e-6 if runtime is Runtime.LITERT_CPU else 0.05
    np.testing.assert_allclose(ours, theirs, atol=tolerance)
