"""Small models in the formats of TensorFlow and LiteRT."""

import pathlib

import keras
import numpy as np
import tensorflow as tf
import tf_keras

SIZE, CLASSES = 8, 5
v1 = tf.compat.v1
INT8 = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
INT16 = (
  tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
)


def network(lib, *more, name=None):
  """A classifier of either Keras, of raw pixels; `more` are layers of it."""
  layers = lib.layers
  lib.utils.set_random_seed(0)
  image = x = layers.Input((SIZE, SIZE, 3), name='image')
  for layer in (layers.Rescaling(1 / 255), layers.Conv2D(4, 3), *more):
    x = layer(x)
  x = layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x))
  return lib.Model(image, layers.Softmax()(x), name=name)


def save_keras(root: pathlib.Path) -> dict[str, str]:
  """Files and folders of both Kerases."""
  paths = {}
  for lib, name in ((tf_keras, 'tf_keras'), (keras, 'keras_3')):
    model = network(lib)
    for suffix in ('.keras', '.h5'):
      paths[f'{name}{suffix}'] = str(root / f'{name}{suffix}')
      model.save(root / f'{name}{suffix}')
  model.export(root / 'exported', verbose=False)
  tf.saved_model.save(network(tf_keras), str(root / 'saved'))
  return paths | {
    'keras_3 export': str(root / 'exported'),
    'saved_model': str(root / 'saved'),
  }


def save_tf1(root: pathlib.Path) -> dict[str, str]:
  """What TensorFlow 1 writes: a SavedModel, and a frozen graph."""
  with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
    shape = (None, SIZE, SIZE, 3)
    image = v1.placeholder(tf.float32, shape, name='image')
    values = np.random.RandomState(0).randn(3, 3, 3, CLASSES)
    kernel = v1.get_variable('kernel', initializer=values.astype(np.float32))
    x = tf.nn.relu(tf.nn.conv2d(image / 255, kernel, 1, 'SAME'))
    scores = tf.nn.softmax(tf.reduce_mean(x, (1, 2)), name='scores')
    session.run(v1.global_variables_initializer())
    v1.saved_model.simple_save(
      session, str(root / 'tf1'), {'x': image}, {'y': scores}
    )
    frozen = v1.graph_util.convert_variables_to_constants(
      session, graph.as_graph_def(), ['scores']
    )
  (root / 'frozen.pb').write_bytes(frozen.SerializeToString())
  return {'tf1': str(root / 'tf1'), 'pb': str(root / 'frozen.pb')}


def save_tflite(root: pathlib.Path) -> dict[str, str]:
  """`.tflite` files of every dtype in and out."""
  paths = {}
  for name in ('float32', 'uint8', 'int8', 'int16', 'float16'):
    path = root / f'{name}.tflite'
    path.write_bytes(half() if name == 'float16' else converted(name))
    paths[name] = str(path)
  return paths


def converted(dtype: str) -> bytes:
  """The network as a `.tflite` with inputs and outputs of a dtype."""
  converter = tf.lite.TFLiteConverter.from_keras_model(network(tf_keras))
  if dtype != 'float32':
    rng = np.random.RandomState(0)
    image = lambda: rng.randint(0, 256, (1, SIZE, SIZE, 3)).astype(np.float32)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: [[image()] for _ in range(4)]
    operators = INT16 if dtype == 'int16' else INT8
    converter.target_spec.supported_ops = [operators]
    converter.inference_input_type = tf.as_dtype(dtype)
    converter.inference_output_type = tf.as_dtype(dtype)
  return converter.convert()


def half() -> bytes:
  """A `.tflite` of float16 in and out, for batches of 1."""
  return convert(
    lambda image: tf.cast(
      tf.reduce_mean(tf.cast(image, tf.float32), (1, 2)), tf.float16
    ),
    tf.TensorSpec((1, SIZE, SIZE, 3), tf.float16),
  )


def convert(function, *specs, **settings) -> bytes:
  """A TensorFlow function as a `.tflite`, with settings of the converter."""
  concrete = tf.function(function).get_concrete_function(*specs)
  converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
  for name, value in settings.items():
    setattr(converter, name, value)
  return converter.convert()


class Several(tf.Module):
  """Three signatures: of any image, of one that is fixed, of two images."""

  def __init__(self):
    super().__init__()
    self.kernel = tf.Variable(tf.random.stateless_normal((3, 3, 3, 5), (1, 2)))

  @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3))])
  def any_size(self, image):
    x = tf.nn.conv2d(image, self.kernel, 1, 'VALID')
    return {'scores': tf.reduce_mean(x, (1, 2))}

  @tf.function(input_signature=[tf.TensorSpec((1, SIZE, SIZE, 3))])
  def fixed(self, image):
    return {'sums': tf.reduce_sum(image, (1, 2))}

  @tf.function(input_signature=2 * [tf.TensorSpec((1, SIZE, SIZE, 3))])
  def two(self, first, second):
    return {'sum': first + second}


def save_several(root: pathlib.Path) -> dict[str, str]:
  """Signatures `any_size`, `fixed` and `two` in a SavedModel and a `.tflite`."""
  module, folder = Several(), str(root / 'several')
  names = ['any_size', 'fixed', 'two']
  signatures = {name: getattr(module, name) for name in names}
  tf.saved_model.save(module, folder, signatures=signatures)
  converter = tf.lite.TFLiteConverter.from_saved_model(
    folder, signature_keys=names
  )
  path = root / 'several.tflite'
  path.write_bytes(converter.convert())
  return {'saved_model': folder, 'tflite': str(path)}
