"""One small classifier of 100 classes in every format that is opened."""

import dataclasses
import importlib.util
import pathlib
import warnings
from collections.abc import Callable, Iterator

import keras
import numpy as np
import onnx
import references
import tensorflow as tf
import tf_keras
from absl import logging

from tfcompress.core import measurements

SIZE, CLASSES = 64, 100
EQUAL = 1e-4  # Probabilities from floats summed in another order.
_INTEGERS = (0.05, 'integers are rounded elsewhere; OpenVINO clips no int16')
_HALVES = (5e-4, 'a step of float16 between 0.5 and 1')
FILTERS, KERNEL_SIZE, STRIDE = 16, 5, 4
_RNG = np.random.RandomState(0)
# As TensorFlow lays them out; spread so that images get different scores.
KERNEL = (
  _RNG.randn(KERNEL_SIZE, KERNEL_SIZE, 3, FILTERS).astype(np.float32) * 0.3
)
DENSE = _RNG.randn(FILTERS, CLASSES).astype(np.float32) * 3
# Of a residual block: edges alone, so that no class outweighs the others.
EDGES = _RNG.randn(3, 3, FILTERS, FILTERS).astype(np.float32) * 0.05
EDGES -= EDGES.mean((0, 1))
_INT8 = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
_INT16 = (
  tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
)
_v1 = tf.compat.v1


@dataclasses.dataclass(frozen=True)
class Sample:
  """A file, and what its own library says of images.

  Attributes:
    name: of the format.
    file: how to open it.
    reference: from uint8 images (N, S, S, 3) to probabilities (N, 100).
    size: S.
    tolerance: of probabilities that another library computes.
    reason: for a tolerance above EQUAL.
  """

  name: str
  file: measurements.OpenConfig
  reference: Callable[[np.ndarray], np.ndarray]
  size: int = SIZE
  tolerance: float = EQUAL
  reason: str = ''


def write(root: pathlib.Path, images: np.ndarray) -> Iterator[Sample]:
  """Writes every file; PyTorch's only where that is installed.

  Args:
    root: a folder for them.
    images: to calibrate with, uint8 (N, 64, 64, 3).
  """
  _hush()
  yield from tflites(root, images)
  yield from kerases(root)
  yield from saved_models(root)
  yield from tf1(root)
  if importlib.util.find_spec('torch'):
    import torch_samples

    yield from torch_samples.torches(root)
  yield from onnxes(root)


def _hush() -> None:
  """Leaves out warnings of formats that are old, as some here are."""
  warnings.simplefilter('ignore')
  logging.set_verbosity(logging.ERROR)
  tf.get_logger().setLevel('ERROR')


def tflites(root: pathlib.Path, images: np.ndarray) -> Iterator[Sample]:
  """`.tflite` files of every dtype in and out, and of every kind of batch."""
  rows = [
    *((dtype, dtype, 1, 0) for dtype in ('float32', 'uint8', 'int8', 'int16')),
    ('float32 any batch', 'float32', None, 0),
    ('int8 any batch', 'int8', None, 0),
    ('float32 batch of 3', 'float32', 3, 0),
    ('int8 residual', 'int8', 1, 2),
  ]
  for name, dtype, batch_size, blocks in rows:
    model = network(tf_keras, batch_size, blocks)
    content = _converted(model, dtype, images)
    yield _tflite(
      root, name, content, (EQUAL, '') if dtype == 'float32' else _INTEGERS
    )
  yield _tflite(root, 'float16', _half(), _HALVES)


def kerases(root: pathlib.Path) -> Iterator[Sample]:
  """`.keras` and `.h5` of both Kerases."""
  for lib, title in ((tf_keras, 'tf_keras'), (keras, 'Keras 3')):
    for suffix in ('.keras', '.h5'):
      path = root / f'{lib.__name__}{suffix}'
      network(lib).save(path)
      yield sample(f'{title} {suffix}', path, references.of_keras(lib, path))


def saved_models(root: pathlib.Path) -> Iterator[Sample]:
  """SavedModel folders of TensorFlow 2, written by either Keras."""
  network(keras).export(root / 'exported', verbose=False)
  tf.saved_model.save(network(tf_keras), str(root / 'saved'))
  for name, folder in (
    ('Keras 3 export', 'exported'),
    ('SavedModel, TF 2', 'saved'),
  ):
    path = root / folder
    yield sample(name, path, references.of_saved_model(path))


def tf1(root: pathlib.Path) -> Iterator[Sample]:
  """What TensorFlow 1 writes: a SavedModel, and a frozen graph."""
  with tf.Graph().as_default() as graph, _v1.Session(graph=graph) as session:
    image = _v1.placeholder(tf.float32, (None, SIZE, SIZE, 3), name='image')
    kernel = _v1.get_variable('kernel', initializer=KERNEL)
    scores = tf.identity(_forward(image, kernel), name='scores')
    session.run(_v1.global_variables_initializer())
    _v1.saved_model.simple_save(
      session, str(root / 'tf1'), {'x': image}, {'y': scores}
    )
    frozen = _v1.graph_util.convert_variables_to_constants(
      session, graph.as_graph_def(), ['scores']
    )
  path = root / 'frozen.pb'
  path.write_bytes(frozen.SerializeToString())
  reference = references.of_graph(frozen)
  yield sample('SavedModel, TF 1', root / 'tf1', reference)
  yield sample('frozen .pb', path, reference)


def onnxes(root: pathlib.Path) -> Iterator[Sample]:
  """`.onnx` of either layout."""
  for name in ('NHWC', 'NCHW'):
    path = root / f'{name}.onnx'
    onnx.save(_onnx_model(name == 'NHWC'), str(path))
    yield sample(f'.onnx {name}', path, references.of_onnx(path))


def network(lib, batch_size: int | None = None, blocks: int = 0):
  """The classifier in either Keras, of raw pixels; residual blocks if asked."""
  layers = lib.layers
  image = layers.Input((SIZE, SIZE, 3), batch_size=batch_size, name='image')
  x = layers.Conv2D(FILTERS, KERNEL_SIZE, STRIDE, use_bias=False, name='conv')(
    layers.Rescaling(1 / 255)(image)
  )
  x = layers.ReLU()(x)
  for _ in range(blocks):
    more = layers.Conv2D(FILTERS, 3, padding='same', use_bias=False)
    x = layers.ReLU()(layers.Add()([x, more(x)]))
    more.set_weights([EDGES])
  x = layers.GlobalAveragePooling2D()(x)
  x = layers.Dense(CLASSES, use_bias=False, name='dense')(x)
  model = lib.Model(image, layers.Softmax()(x))
  model.get_layer('conv').set_weights([KERNEL])
  model.get_layer('dense').set_weights([DENSE])
  return model


def sample(name, path, reference, size: int = SIZE, **options) -> Sample:
  """Returns a sample whose file is opened with options."""
  file = measurements.OpenConfig(str(path), **options)
  return Sample(name, file, reference, size)


def _tflite(root, name: str, content: bytes, difference) -> Sample:
  path = root / f'{name.replace(" ", "_")}.tflite'
  path.write_bytes(content)
  made = sample(f'.tflite {name}', path, references.of_interpreter(path))
  tolerance, reason = difference
  return dataclasses.replace(made, tolerance=tolerance, reason=reason)


def _converted(model, dtype: str, images) -> bytes:
  converter = tf.lite.TFLiteConverter.from_keras_model(model)
  if dtype != 'float32':
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
      [image[None].astype(np.float32)] for image in images
    )
    operators = _INT16 if dtype == 'int16' else _INT8
    converter.target_spec.supported_ops = [operators]
    converter.inference_input_type = tf.as_dtype(dtype)
    converter.inference_output_type = tf.as_dtype(dtype)
  return converter.convert()


def _half() -> bytes:
  """Of float16 in and out, for batches of 1; float32 in between."""
  concrete = tf.function(
    lambda image: tf.cast(
      _forward(tf.cast(image, tf.float32), KERNEL), tf.float16
    )
  ).get_concrete_function(tf.TensorSpec((1, SIZE, SIZE, 3), tf.float16))
  return tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()


def _forward(image, kernel):
  x = tf.nn.relu(tf.nn.conv2d(image / 255, kernel, STRIDE, 'VALID'))
  return tf.nn.softmax(tf.reduce_mean(x, (1, 2)) @ DENSE)


def _onnx_model(channels_last: bool) -> onnx.ModelProto:
  node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
  sides = (SIZE, SIZE, 3) if channels_last else (3, SIZE, SIZE)
  first = 'image'
  nodes = []
  if channels_last:
    first = 'planes'
    nodes.append(node('Transpose', ['image'], [first], perm=[0, 3, 1, 2]))
  nodes += [
    node('Conv', [first, 'kernel'], ['maps'], strides=[STRIDE] * 2),
    node('Relu', ['maps'], ['positive']),
    node('ReduceMean', ['positive'], ['means'], axes=[2, 3], keepdims=0),
    node('MatMul', ['means', 'dense'], ['logits']),
    node('Softmax', ['logits'], ['scores'], axis=1),
  ]
  kernel = np.ascontiguousarray(KERNEL.transpose(3, 2, 0, 1) / 255)
  weights = [
    onnx.numpy_helper.from_array(array, name)
    for name, array in (('kernel', kernel), ('dense', DENSE))
  ]
  kind = onnx.TensorProto.FLOAT
  graph = onnx.helper.make_graph(
    nodes,
    'classifier',
    [value('image', kind, ('batch', *sides))],
    [value('scores', kind, ('batch', CLASSES))],
    weights,
  )
  opset = [onnx.helper.make_opsetid('', 13)]
  return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
