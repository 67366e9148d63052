"""The classifier's end: from class probabilities back to logits."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras

_TINY = 1e-12  # keeps the logarithm of a probability finite


def with_logits(model, features: Sequence[str] = ()) -> tf_keras.Model:
  """Returns a view of a classifier that ends in logits, float32 (B, classes).

  A final softmax layer is left out. A softmax anywhere else at the end is
  undone by a logarithm: softmax(log p) = p, so the result equals the logits up
  to a constant per row, which no softmax sees. Other outputs are logits.

  Args:
    model: a tf_keras or Keras 3 model from images to (B, classes).
    features: names of layers whose outputs come after the logits, float32.

  Raises:
    ValueError: no layer of such a name, or one whose output is no feature map.
  """
  keras = _keras_of(model)
  if _is_softmax(model.layers[-1]):
    outputs = model.layers[-1].input
  elif _gives_probabilities(model):
    outputs = keras.layers.Lambda(_log, dtype='float32')(model.output)
  else:
    outputs = model.output
  cast = lambda x, name: keras.layers.Activation(
    'linear', dtype='float32', name=name
  )(x)
  maps = [_feature_map(model, name) for name in features]
  outputs = [cast(outputs, 'logits_f32')] + [
    cast(x, f'feature{i}_f32') for i, x in enumerate(maps)
  ]
  return keras.Model(model.inputs, outputs if features else outputs[0])


def _feature_map(model, name: str):
  """The output (B, H, W, C) of a layer."""
  maps = [layer.name for layer in model.layers if _is_map(layer)]
  if name not in maps:
    raise ValueError(
      f'no feature map of a layer {name!r} in {model.name}; it has '
      f'{", ".join(maps)}'
    )
  return model.get_layer(name).output


def _is_map(layer) -> bool:
  shape = getattr(layer.output, 'shape', ())
  return len(shape) == 4 and type(layer).__name__ != 'InputLayer'


def _is_softmax(layer) -> bool:
  name = type(layer).__name__
  if name == 'Activation':
    return getattr(layer.activation, '__name__', '') == 'softmax'
  return name == 'Softmax'


def _gives_probabilities(model) -> bool:
  """Whether outputs on random pixels are shares that sum to one."""
  shape = [size or 32 for size in model.input_shape[1:]]
  pixels = np.random.RandomState(0).rand(4, *shape).astype(np.float32) * 255
  outputs = np.array(model(pixels, training=False), np.float32)
  sums_to_one = np.allclose(outputs.sum(axis=-1), 1, atol=1e-2)
  return bool(sums_to_one and (outputs >= 0).all())


def _log(probabilities):
  return tf.math.log(tf.maximum(probabilities, _TINY))


def _keras_of(model):
  """tf_keras or Keras 3, whichever the model is made of."""
  if isinstance(model, tf_keras.Model):
    return tf_keras
  import keras

  return keras
