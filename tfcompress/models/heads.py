"""The classifier's end: from class probabilities back to logits."""

import tf_keras

_TINY = 1e-12  # keeps the logarithm of a probability finite


def with_logits(model) -> tf_keras.Model:
  """Returns a view of a classifier that ends in logits, float32 (B, classes).

  A final softmax layer is left out. A softmax inside the last layer is undone
  by a logarithm: softmax(log p) = p, so the result equals the logits up to a
  constant per row, which no softmax sees. Other outputs are taken as logits.
  """
  keras = _keras_of(model)
  last = model.layers[-1]
  if _is_softmax(last):
    outputs = last.input
  elif getattr(last, 'activation', None) is keras.activations.softmax:
    log = keras.layers.Lambda(
      lambda p: _log_softmax_inverse(p), dtype='float32', name='log'
    )
    outputs = log(model.output)
  else:
    outputs = model.output
  cast = keras.layers.Activation('linear', dtype='float32', name='logits_f32')
  return keras.Model(model.inputs, cast(outputs))


def _is_softmax(layer) -> bool:
  name = type(layer).__name__
  if name == 'Activation':
    return getattr(layer.activation, '__name__', '') == 'softmax'
  return name == 'Softmax'


def _log_softmax_inverse(probabilities):
  import tensorflow as tf

  return tf.math.log(tf.maximum(probabilities, _TINY))


def _keras_of(model):
  """tf_keras or Keras 3, whichever the model is made of."""
  if isinstance(model, tf_keras.Model):
    return tf_keras
  import keras

  return keras
