"""Hostile graphs of TensorFlow, which bring no code of their own."""

import pathlib
import tempfile

import tensorflow as tf


class Reads(tf.Module):
  """Its scores are bytes of a file."""

  def __init__(self, pattern: str, size: int):
    super().__init__()
    self._pattern = pattern
    spec = tf.TensorSpec((None, size, size, 3))
    self.serve = tf.function(self._scores, input_signature=[spec])

  def _scores(self, image):
    path = tf.io.matching_files(self._pattern)[0]
    content = tf.io.decode_raw(tf.io.read_file(path), tf.uint8)[:3]
    return {'scores': tf.cast(content[None], tf.float32) + 0 * image[:, 0, 0]}


class Writes(tf.Module):
  """Writes to files, and answers if it could."""

  def __init__(self, paths: list[str], size: int):
    super().__init__()
    self._paths = paths
    spec = tf.TensorSpec((None, size, size, 3))
    self.serve = tf.function(self._scores, input_signature=[spec])

  def _scores(self, image):
    written = [tf.io.write_file(path, 'hostile') for path in self._paths]
    with tf.control_dependencies(written):
      return {'scores': tf.reverse(tf.reduce_mean(image, (1, 2)), [1])}


class CountsItsCalls(tf.Module):
  """Works for its first images alone."""

  def __init__(self, calls: int, size: int):
    super().__init__()
    self._most, self._calls = calls, tf.Variable(0)
    spec = tf.TensorSpec((1, size, size, 3))
    self.serve = tf.function(self._scores, input_signature=[spec])

  def _scores(self, image):
    calls = self._calls.assign_add(1)
    scores = tf.reverse(tf.reduce_mean(image, (1, 2)), [1])
    return tf.where(calls > self._most, image[:, 0, 0], scores)


def with_code(touched: str) -> bytes:
  """A .h5 with a layer whose code writes a file."""
  import tf_keras

  layers = tf_keras.layers
  touch = lambda x, path=touched: (open(path, 'w').close(), x)[1]
  image = layers.Input((48, 48, 3))
  scores = layers.GlobalAveragePooling2D()(layers.Lambda(tf.identity)(image))
  model = tf_keras.Model(image, scores)
  model.layers[1].function = touch
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'model.h5')
    model.save(path)
    return path.read_bytes()


def tflite(module: tf.Module) -> bytes:
  """Returns a .tflite that keeps its variables from call to call."""
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
    [module.serve.get_concrete_function()], module
  )
  converter.experimental_enable_resource_variables = True
  return converter.convert()


def saved_model(module: tf.Module) -> dict[str, bytes]:
  """Returns the files of a SavedModel, by their names in a submission."""
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder, 'model.saved_model')
    tf.saved_model.save(module, str(root), {'serving_default': module.serve})
    return {
      str(path.relative_to(folder)): path.read_bytes()
      for path in root.rglob('*')
      if path.is_file()
    }
