"""Removes channels: a smaller dense network with what is left of the weights."""

import numpy as np
import tf_keras

from tfcompress.models import channels as channels_lib
from tfcompress.models import graph


def keep(
  model: tf_keras.Model, channels: channels_lib.Channels, kept: np.ndarray
) -> tf_keras.Model:
  """Returns `model` without the channels that are not kept, in float32.

  Where every removed channel was zero, the outputs are the same.

  Args:
    model: a functional model.
    channels: its channels.
    kept: bool (channels.count,), by id.

  Raises:
    ValueError: a layer would be left without channels.
  """
  changes = {}
  for layer in model.layers:
    left = int(kept[channels.outputs[layer.name]].sum())
    if not left:
      raise ValueError(
        f'layer {layer.name} would be left without channels; remove fewer'
      )
    if type(layer).__name__ == 'Conv2D':
      changes[layer.name] = {'filters': left}
    elif type(layer).__name__ == 'Dense':
      changes[layer.name] = {'units': left}
    elif type(layer).__name__ == 'Reshape':
      changes[layer.name] = {'target_shape': (*layer.target_shape[:-1], left)}
  smaller = graph.rebuild(model, changes=changes)
  for layer in model.layers:
    if layer.weights:
      values = _sliced(
        layer,
        kept[channels.inputs[layer.name]],
        kept[channels.outputs[layer.name]],
      )
      smaller.get_layer(layer.name).set_weights(values)
  return smaller


def counted(
  model: tf_keras.Model, channels: channels_lib.Channels, kept: np.ndarray
) -> tuple[int, int]:
  """Returns the multiply-accumulates and trainable parameters of `keep`."""
  macs = parameters = 0
  for layer in model.layers:
    ins = int(kept[channels.inputs[layer.name]].sum())
    outs = int(kept[channels.outputs[layer.name]].sum())
    kernel = graph.kernel_of(layer)
    for weight in layer.trainable_weights:
      size = int(np.prod(weight.shape[:-1])) * outs
      if weight is kernel:
        size = _kernel_size(layer, kernel, ins, outs)
        macs += size * int(np.prod(layer.output_shape[1:-1], dtype=np.int64))
      parameters += size
  return macs, parameters


def _kernel_size(layer, kernel, ins: int, outs: int) -> int:
  window = int(np.prod(kernel.shape[:-2]))
  return window * (outs if graph.is_depthwise(layer) else ins * outs)


def _sliced(layer, ins: np.ndarray, outs: np.ndarray) -> list[np.ndarray]:
  """A layer's weights for the kept in and out channels, bool each."""
  values = layer.get_weights()
  kind = type(layer).__name__
  if kind in ('Conv2D', 'Dense'):
    return [values[0][..., ins, :][..., outs], *(v[outs] for v in values[1:])]
  if kind == 'DepthwiseConv2D':
    return [values[0][:, :, ins], *(v[outs] for v in values[1:])]
  return [value[..., outs] for value in values]
