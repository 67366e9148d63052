"""tf_keras layers that do what a given layer or operation does."""

import numpy as np
import tf_keras

from tfcompress.models import calls

layers = tf_keras.layers

_MERGES = {
  'add': layers.Add,
  'subtract': layers.Subtract,
  'multiply': layers.Multiply,
}
_DIVISIONS = ('divide', 'truediv', 'truedivide')
# The layers to use in place of bare operations, of those that are common.
_LAYER_FOR = {
  'concat': 'Concatenate',
  'concatenate': 'Concatenate',
  'maximum': 'Maximum',
  'mean': 'GlobalAveragePooling2D',
  'pad': 'ZeroPadding2D',
  'reduce_mean': 'GlobalAveragePooling2D',
  'relu': 'ReLU',
  'relu6': 'ReLU',
  'reshape': 'Reshape',
  'sigmoid': 'Activation',
  'softmax': 'Softmax',
}


def copy(call: calls.Call, inputs: list[object], names: calls.Names):
  """Returns the output of a twin of a tf_keras layer or operation.

  Raises:
    ValueError: a layer that a flat model cannot have.
  """
  del names
  layer = call.layer
  if isinstance(layer, tf_keras.Model):
    raise ValueError(
      f'layer {layer.name} is a subclassed model ({type(layer).__name__}), '
      'expected a functional or Sequential one'
    )
  if calls.operation_of(layer):
    return arithmetic(call, inputs)
  if calls.is_of_keras(layer) and type(layer).__name__ == 'Normalization':
    return normalization(call, inputs)
  config = lasting(layer.get_config(), call.name)
  layer.trainable = True  # The order of the weights depends on it.
  return apply(type(layer).from_config(config), inputs, layer.get_weights())


def lasting(config: dict, name: str) -> dict:
  """Returns a layer's config under `name`, without what is for its training.

  Raises:
    ValueError: channels before height and width.
  """
  if config.get('data_format') == 'channels_first':
    raise ValueError(
      f"layer {name} has data_format='channels_first', expected channels_last"
    )
  for_training = ('_regularizer', '_constraint')
  kept = {
    key: None if key.endswith(for_training) else value
    for key, value in config.items()
  }
  return kept | {'name': name, 'trainable': True}


def apply(layer: layers.Layer, inputs: list[object], weights: list[np.ndarray]):
  """Returns the output of a new layer, with its weights set.

  Raises:
    ValueError: other weights than the layer's, or several outputs.
  """
  output = layer(inputs if len(inputs) > 1 else inputs[0])
  if isinstance(output, (list, tuple, dict)):
    raise ValueError(f'layer {layer.name} has several outputs, expected one')
  shapes = [tuple(value.shape) for value in weights]
  expected = [tuple(weight.shape) for weight in layer.weights]
  if shapes != expected:
    raise ValueError(
      f'layer {layer.name}: weights of shapes {shapes}, expected {expected}'
    )
  layer.set_weights([value.astype(np.float32) for value in weights])
  return output


def arithmetic(call: calls.Call, inputs: list[object]):
  """Returns the output of a layer in place of a bare sum, product and so on.

  Raises:
    ValueError: an operation with more to it.
  """
  operation = calls.operation_of(call.layer)
  constants = [x for x in inputs if isinstance(x, (int, float, list))]
  if len(inputs) == 2 and not constants and operation in _MERGES:
    merge = _MERGES[operation](name=call.name, dtype='float32')
    return merge(inputs)
  if len(inputs) == 2 and len(constants) == 1 and np.ndim(constants[0]) < 2:
    first = inputs[0] is constants[0]
    affine = _scale_and_offset(operation, np.array(constants[0]), first)
    if affine:
      return rescaling(call.name, *affine)(inputs[1 if first else 0])
  layer = _LAYER_FOR.get(operation)
  raise ValueError(
    f'layer {call.name} is the bare operation {operation!r}, expected '
    + (f'the layer {layer}' if layer else 'a layer of keras.layers')
  )


def rescaling(name: str, scale, offset=0.0) -> layers.Rescaling:
  """Returns a float32 layer x * scale + offset, numbers or one per channel."""
  scale, offset = np.asarray(scale).tolist(), np.asarray(offset).tolist()
  return layers.Rescaling(scale, offset, name=name, dtype='float32')


def _scale_and_offset(operation: str, constant: np.ndarray, first: bool):
  """Scale and offset that equal an operation with a constant, or None."""
  if operation == 'add':
    return 1.0, constant
  if operation == 'multiply':
    return constant, 0.0
  if operation == 'subtract':
    return (-1.0, constant) if first else (1.0, -constant)
  if operation in _DIVISIONS and not first:
    return 1 / constant, 0.0
  return None


def normalization(call: calls.Call, inputs: list[object]):
  """Returns the output of a Rescaling in place of a Normalization.

  The layer keeps its statistics where only its own methods reach them; as
  constants they survive a copy.

  Raises:
    ValueError: statistics that are not one per channel.
  """
  layer, x = call.layer, inputs[0]
  mean, variance = np.array(layer.mean), np.array(layer.variance)
  if mean.size > 1 and mean.size != mean.shape[-1]:
    raise ValueError(
      f'layer {layer.name} is a Normalization of axis {layer.axis}, expected '
      'statistics of the last axis'
    )
  mean, std = mean.reshape(-1), np.maximum(np.sqrt(variance.reshape(-1)), 1e-7)
  if layer.get_config()['invert']:
    scale, offset = std, mean
  else:
    scale, offset = 1 / std, -mean / std
  return rescaling(call.name, scale, offset)(x)
