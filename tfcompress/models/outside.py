"""A user's own Keras classifier as one flat functional tf_keras model."""

from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.core import custom, errors, keras_files, types
from tfcompress.models import calls, keras3, twins

layers = tf_keras.layers

TOLERANCE = 1e-5  # of outputs that are no larger than 1
_NUM_CHECKED = 4


def load(
  path: str, scaling: types.Normalization, custom_objects: str = ''
) -> tf_keras.Model:
  """Returns the classifier in a `.keras` or `.h5` file of tf_keras or Keras 3.

  Its submodels are taken apart. Nothing of how it was trained is left: every
  layer can be trained, none is regularized or constrained, and random
  augmentation is gone.

  Args:
    path: the file.
    scaling: what the file's model expects of its pixels.
    custom_objects: an importable module or a `.py` file, whose public classes
      and functions tf_keras knows from then on by their names.

  Returns:
    A float32 model from raw RGB pixels 0..255 (B, S, S, 3) to class
    probabilities (B, C); its last layer is a softmax if that of the file's
    model is, or if that ends in logits.

  Raises:
    ValueError: a file that cannot be read, a model that is no classifier of
      one image, a layer without an equal in tf_keras, or outputs that differ
      from those of the file's model.
  """
  objects = custom.register(custom_objects)
  try:
    original = _open(path, objects)
    flat = calls.flatten(original)
    is_keras_2 = isinstance(original, tf_keras.Model)
    make = twins.copy if is_keras_2 else keras3.rebuild
    model = _build(flat, original, scaling, make)
    outputs = _require_same_outputs(original, model, scaling)
    return _with_probabilities(model, outputs, flat.names)
  except ValueError as error:
    text = errors.first_line(error)
    text = text if text.startswith(path) else f'{path}: {text}'
    raise ValueError(text) from error


def _open(path: str, objects: Mapping[str, object]):
  """The model in a file, of either Keras, in float32."""
  description = keras_files.architecture(path)
  keras_files.require_no_code(description, path)
  kind = description.get('class_name')
  if kind not in calls.MODELS:
    raise ValueError(
      f'a subclassed model ({kind}), expected a functional or Sequential one'
    )
  try:
    model = keras_files.load(path, objects)
  except ValueError as error:
    raise custom.explained(error, description, objects) from error
  _require_classifier(model)
  return _in_float32(model, objects)


def _require_classifier(model) -> None:
  inputs = getattr(model, 'inputs', None) or ()
  if len(inputs) != 1 or len(model.outputs) != 1:
    outputs = len(model.outputs) if inputs else 'unknown'
    raise ValueError(
      f'a model of {len(inputs)} inputs and {outputs} outputs, expected one of '
      'each; a model without inputs was saved before it was built'
    )
  shape, size = tuple(inputs[0].shape), inputs[0].shape[1]
  if not size or shape != (None, size, size, 3):
    raise ValueError(f'input {shape}, expected (None, S, S, 3) of a fixed S')
  shape = tuple(model.outputs[0].shape)
  if len(shape) != 2 or shape[0] is not None or not shape[1]:
    raise ValueError(f'output {shape}, expected (None, classes)')
  if shape[1] < 2:
    raise ValueError(
      f'{shape[1]} output, expected at least 2 classes: a binary classifier '
      'has two outputs and a softmax'
    )


def _in_float32(model, objects: Mapping[str, object]):
  """The model itself, or its twin if it computes in other floats."""
  floats = {layer.compute_dtype for layer in _layers_of(model)}
  if not floats & {'float16', 'bfloat16', 'float64'}:
    return model
  config = _with_float32(model.get_config())
  twin = type(model).from_config(config, custom_objects=objects)
  twin.set_weights(model.get_weights())
  for layer in _layers_of(twin):
    if hasattr(layer, 'finalize_state'):  # It does not see set_weights.
      layer.finalize_state()
  return twin


def _layers_of(model) -> Iterator:
  """All layers of a model of either Keras, those of submodels too."""
  for layer in model.layers:
    yield layer
    if calls.is_model(layer):
      yield from _layers_of(layer)


def _with_float32(config):
  """A config with every policy of floats replaced."""
  if isinstance(config, dict):
    return {
      key: 'float32'
      if key == 'dtype' and 'float' in str(value)
      else _with_float32(value)
      for key, value in config.items()
    }
  if isinstance(config, (list, tuple)):
    return type(config)(_with_float32(value) for value in config)
  return config


def _build(flat: calls.Flat, original, scaling, make) -> tf_keras.Model:
  """The flat model on raw pixels, its outputs those of the file's model."""
  shape = original.inputs[0].shape[1:]
  image = x = layers.Input(
    shape, name=flat.names.claim('image'), dtype='float32'
  )
  if scaling is not types.Normalization.RAW:
    name = flat.names.claim('normalize')
    x = twins.rescaling(name, scaling.scale, scaling.offset)(x)
  return tf_keras.Model(image, calls.build(flat, x, make), name=original.name)


def _require_same_outputs(original, model, scaling) -> np.ndarray:
  """Returns outputs of both models on random pixels, which must agree."""
  shape = (_NUM_CHECKED, *model.input_shape[1:])
  pixels = np.random.RandomState(0).randint(0, 256, shape).astype(np.float32)
  # By the same layer, so that both models see the very same numbers.
  rescaling = twins.rescaling('normalize', scaling.scale, scaling.offset)
  scaled = np.array(rescaling(pixels))
  if type(original).__name__ != 'Sequential':  # Its input may be in a dict.
    scaled = tf.nest.pack_sequence_as(original.input, [scaled])
  [expected] = tf.nest.flatten(original(scaled, training=False))
  expected = np.array(expected)
  outputs = np.array(model(pixels, training=False))
  with np.errstate(invalid='ignore'):
    difference = np.abs(outputs - expected).max()
  limit = TOLERANCE * max(1.0, np.abs(expected).max())
  if not difference <= limit:  # Also where one is not a number.
    raise ValueError(
      f'rebuilt in tf_keras its outputs differ by {difference:.2g}, expected '
      f'at most {limit:.2g}; save the model with tf_keras, or of plainer layers'
    )
  return outputs


def _with_probabilities(
  model: tf_keras.Model, outputs: np.ndarray, names: calls.Names
) -> tf_keras.Model:
  """The model with a softmax of its own at the end, unless it needs none."""
  last = model.layers[-1]
  config = last.get_config() if calls.is_of_keras(last) else {}
  kind, activation = type(last).__name__, config.get('activation')
  if activation in ('sigmoid', 'hard_sigmoid'):
    raise ValueError(
      f'layer {last.name} ends the model in {activation}, expected a softmax '
      'or logits: one class an image'
    )
  if kind == 'Softmax' or (kind == 'Activation' and activation == 'softmax'):
    return model
  logits = model.output
  if activation == 'softmax':
    linear = type(last).from_config({**config, 'activation': 'linear'})
    logits = twins.apply(linear, [last.input], last.get_weights())
  elif (outputs >= 0).all() and np.allclose(outputs.sum(-1), 1, atol=1e-2):
    return model
  name = names.claim('probabilities')
  probabilities = layers.Softmax(name=name, dtype='float32')(logits)
  return tf_keras.Model(model.inputs, probabilities, name=model.name)
