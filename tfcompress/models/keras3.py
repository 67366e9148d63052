"""tf_keras layers that do what layers of Keras 3 do.

A layer's config is translated key by key. A key that tf_keras lacks must have
the one value that changes nothing; whatever else is refused.
"""

import inspect

import numpy as np
import tf_keras

from tfcompress.models import calls, twins

layers = tf_keras.layers

SUPPORTED = frozenset({
  'Activation', 'Add', 'AlphaDropout', 'Average', 'AveragePooling2D',
  'BatchNormalization', 'Concatenate', 'Conv2D', 'Cropping2D', 'Dense',
  'DepthwiseConv2D', 'Dropout', 'ELU', 'Flatten', 'GaussianDropout',
  'GaussianNoise', 'GlobalAveragePooling2D', 'GlobalMaxPooling2D',
  'GroupNormalization', 'LayerNormalization', 'LeakyReLU', 'MaxPooling2D',
  'Maximum', 'Minimum', 'Multiply', 'Normalization', 'PReLU', 'Permute',
  'ReLU', 'Rescaling', 'Reshape', 'Resizing', 'SeparableConv2D', 'Softmax',
  'SpatialDropout2D', 'Subtract', 'UpSampling2D', 'ZeroPadding2D',
})  # fmt: skip

# Activations that both Kerases have, by their names in Keras 3 and tf_keras.
_SAME = {
  name: {'silu': 'swish'}.get(name, name)
  for name in (
    'elu', 'exponential', 'gelu', 'linear', 'mish', 'relu', 'selu', 'sigmoid',
    'silu', 'softmax', 'softplus', 'softsign', 'tanh',
  )
}  # fmt: skip
# Activations that tf_keras has as layers. Its hard_sigmoid is another function.
_COMPOSED = ('hard_sigmoid', 'hard_silu', 'leaky_relu', 'relu6')
ACTIVATIONS = (*_SAME, *_COMPOSED)

_RENAMED = {('LeakyReLU', 'negative_slope'): 'alpha'}
# Keys that tf_keras lacks, and the value that changes nothing.
_NEUTRAL = {
  'antialias': False,
  'data_format': 'channels_last',
  'pad_to_aspect_ratio': False,
  'quantization_config': None,
  'renorm': False,
  'rms_scaling': False,
}
# Keys that tf_keras lacks and that say nothing where those above are neutral.
_IDLE = frozenset(
  {'fill_mode', 'fill_value', 'renorm_clipping', 'renorm_momentum', 'seed'}
)


def rebuild(call: calls.Call, inputs: list[object], names: calls.Names):
  """Returns the output of tf_keras layers that equal a Keras 3 layer.

  Raises:
    ValueError: a layer without an equal in tf_keras.
  """
  layer, kind = call.layer, type(call.layer).__name__
  if calls.operation_of(layer):
    return twins.arithmetic(call, inputs)
  _require_supported(layer)
  if kind == 'Normalization':
    return twins.normalization(call, inputs)
  config = _config(layer, call.name)
  activation = _activation(layer)
  if activation in _COMPOSED and kind == 'Activation':
    return _compose(inputs[0], activation, call.name, names)
  if activation:
    config['activation'] = _SAME.get(activation, 'linear')
  new = getattr(layers, kind)(**config)
  output = twins.apply(new, inputs, layer.get_weights())
  if activation in _COMPOSED:
    name = names.claim(f'{call.name}_{activation}')
    return _compose(output, activation, name, names)
  return output


def _require_supported(layer) -> None:
  kind = type(layer).__name__
  if not calls.is_of_keras(layer):
    raise ValueError(
      f'layer {layer.name} is a custom layer of Keras 3 ({kind}), which cannot '
      'be rebuilt in tf_keras; expected layers of keras.layers'
    )
  if kind not in SUPPORTED:
    raise ValueError(
      f'layer {layer.name} is a {kind}, which is not rebuilt in tf_keras; '
      f'available: {", ".join(sorted(SUPPORTED))}'
    )
  if layer.quantization_mode:
    raise ValueError(
      f'layer {layer.name} is quantized ({layer.quantization_mode}), expected '
      'float weights'
    )


def _config(layer, name: str) -> dict:
  """The arguments of the tf_keras layer of the same class."""
  kind = type(layer).__name__
  known = inspect.signature(getattr(layers, kind).__init__).parameters
  config = {}
  for key, value in twins.lasting(layer.get_config(), name).items():
    key = _RENAMED.get((kind, key), key)
    if key in _IDLE - known.keys() or key.endswith('_initializer'):
      continue
    if key in known or key in ('name', 'trainable'):
      config[key] = value
    elif key not in ('dtype', *_NEUTRAL) or value != _NEUTRAL.get(key, value):
      raise ValueError(
        f'layer {layer.name} has {key}={value!r}, which tf_keras lacks; '
        + f'expected {_NEUTRAL.get(key, "no such setting")!r}'
      )
  if kind == 'Rescaling':
    for key in ('scale', 'offset'):
      config[key] = np.asarray(getattr(layer, key)).tolist()
  return config | {'dtype': 'float32'}


def _activation(layer) -> str:
  """Name of the activation in a layer, '' where a layer has none."""
  activation = layer.get_config().get('activation', '')
  if activation and activation not in ACTIVATIONS:
    name = getattr(
      layer.activation, '__name__', type(layer.activation).__name__
    )
    raise ValueError(
      f'layer {layer.name} has activation {name}, which tf_keras lacks; '
      f'available: {", ".join(sorted(ACTIVATIONS))}'
    )
  return activation


def _compose(x, activation: str, name: str, names: calls.Names):
  """An activation made of float32 layers, the last one of the given name."""
  if activation == 'relu6':
    return layers.ReLU(6.0, name=name, dtype='float32')(x)
  if activation == 'leaky_relu':
    return layers.LeakyReLU(0.2, name=name, dtype='float32')(x)
  # relu6(x + 3) / 6, and x times it: what the TFLite converter recognizes.
  gate = twins.rescaling(names.claim(f'{name}_shift'), 1.0, 3.0)(x)
  relu6 = names.claim(f'{name}_relu6')
  gate = layers.ReLU(6.0, name=relu6, dtype='float32')(gate)
  if activation == 'hard_sigmoid':
    return twins.rescaling(name, 1 / 6)(gate)
  gate = twins.rescaling(names.claim(f'{name}_scale'), 1 / 6)(gate)
  return layers.Multiply(name=name, dtype='float32')([x, gate])
