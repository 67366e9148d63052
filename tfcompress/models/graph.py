"""Any functional tf_keras network as a graph: rebuilt, counted, weighed."""

import fnmatch
from collections.abc import Collection, Iterable

import numpy as np
import tensorflow as tf
import tf_keras

layers = tf_keras.layers

_WITH_KERNEL = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
# Layers that stay float32 under a mixed policy: pixels and probabilities.
_FLOAT32_LAYERS = {'InputLayer', 'Resizing', 'Rescaling', 'Softmax'}


def rebuild(
  model: tf_keras.Model,
  *,
  input_size: int | None = None,
  dtype_policy: str = 'float32',
  changes: dict[str, dict] | None = None,
) -> tf_keras.Model:
  """Builds the same network anew.

  Args:
    model: a functional model of one image input.
    input_size: pixels a side of the new one's input; None for the same.
    dtype_policy: 'float32' or 'mixed_bfloat16'.
    changes: by layer name, what is other in its config.

  Returns:
    A model with the weights of `model`, unless `changes` gave it other shapes:
    then its weights are new.
  """
  config = model.get_config()
  for layer in config['layers']:
    own = layer['config']
    layer.pop('build_config', None)
    own.update((changes or {}).get(layer['name'], {}))
    if layer['class_name'] == 'InputLayer':
      size = input_size or own['batch_input_shape'][1]
      own['batch_input_shape'] = (None, size, size, 3)
    fixed = layer['class_name'] in _FLOAT32_LAYERS
    own['dtype'] = 'float32' if fixed else dtype_policy
  twin = tf_keras.Model.from_config(config)
  if not changes:
    twin.set_weights(model.get_weights())
  return twin


def macs(model: tf_keras.Model) -> int:
  """Multiply-accumulates of the convolutions and dense layers, one image."""
  return sum(_macs(layer) for layer in model.layers)


def _macs(layer: tf_keras.layers.Layer) -> int:
  kernels = [kernel_of(layer)]
  if isinstance(layer, layers.SeparableConv2D):
    kernels = [layer.depthwise_kernel, layer.pointwise_kernel]
  positions = np.prod(layer.output_shape[1:-1], dtype=np.int64)
  return sum(
    int(positions * np.prod(k.shape)) for k in kernels if k is not None
  )


def trainable_parameters(model: tf_keras.Model) -> int:
  """Parameters as papers count them: without moving statistics."""
  return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def is_depthwise(layer: tf_keras.layers.Layer) -> bool:
  return isinstance(layer, layers.DepthwiseConv2D)


def kernel_of(layer: tf_keras.layers.Layer) -> tf.Variable | None:
  """The kernel of a Conv2D, DepthwiseConv2D or Dense, quantized or not."""
  if is_depthwise(layer):
    return layer.depthwise_kernel
  return layer.kernel if isinstance(layer, _WITH_KERNEL) else None


def kernels(model: tf_keras.Model) -> dict[str, tf.Variable]:
  """The kernels by layer name, in the model's order."""
  found = {layer.name: kernel_of(layer) for layer in model.layers}
  return {name: k for name, k in found.items() if k is not None}


def channels(model: tf_keras.Model) -> dict[str, int]:
  """Out channels of every convolution, by name."""
  return {
    name: int(model.get_layer(name).output_shape[-1])
    for name, kernel in kernels(model).items()
    if len(kernel.shape) == 4
  }


def inputs_of(model: tf_keras.Model) -> dict[str, list[str]]:
  """Names of the layers that each layer reads, in topological order.

  Raises:
    ValueError: a layer that is called more than once.
  """
  found = {}
  for layer in model.get_config()['layers']:
    nodes = layer['inbound_nodes']
    if len(nodes) > 1:
      raise ValueError(
        f'layer {layer["name"]} is called {len(nodes)} times, expected once: '
        'layers that share weights cannot be taken apart'
      )
    found[layer['name']] = [inbound[0] for node in nodes for inbound in node]
  return found


def matching(names: Collection[str], patterns: Iterable[str]) -> set[str]:
  """Returns the layer names that match any pattern, such as `stage1_*`.

  Raises:
    ValueError: a pattern that matches none.
  """
  found = set()
  for pattern in patterns:
    matches = fnmatch.filter(names, pattern)
    if not matches:
      raise ValueError(
        f'--exclude={pattern} matches no layer; the layers are '
        f'{", ".join(names)}'
      )
    found.update(matches)
  return found
