"""Exact rewrites of a network for conversion: other operators, same numbers.

- no_ops: layers that return what they are given, such as a resize to the same
  size, are left out.
- space_to_depth: a convolution with stride s over an image becomes one with
  stride 1 over its blocks of s x s pixels, whose kernel has the same weights at
  other places and zeros beside them. Three channels leave an int8 kernel mostly
  empty, 3 s s do not.
- normalization: x * scale + offset before a convolution goes into its weights.
  What it pads with is zero after the normalization, which no bias can tell from
  a pixel; so the offset is the weight of a channel that is 255 inside the image
  and, padded, 0 outside.

The result is for conversion only: nothing trains or saves it.
"""

import copy
from collections.abc import Collection

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.core import quantized_layers, types
from tfcompress.models import clusters, graph

layers = tf_keras.layers

_PACKAGE = 'tfcompress'
_WHITE = 255.0
_MOST_CHANNELS = 4  # of what counts as an image
_STRIDES = (2, 3, 4)
_CONVOLUTIONS = (layers.Conv2D, quantized_layers.QuantizedConv2D)


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class SpaceToDepth(layers.Layer):
  """From (B, H, W, C) to (B, H / s, W / s, s s C)."""

  def __init__(self, block_size: int, **kwargs):
    super().__init__(**kwargs)
    self.block_size = block_size

  def call(self, inputs):
    return tf.nn.space_to_depth(inputs, self.block_size)

  def get_config(self):
    return super().get_config() | {'block_size': self.block_size}


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class WhiteChannels(layers.Layer):
  """Appends channels that are 255 everywhere."""

  def __init__(self, count: int, **kwargs):
    super().__init__(**kwargs)
    self.count = count

  def call(self, inputs):
    paddings = [[0, 0], [0, 0], [0, 0], [0, self.count]]
    return tf.pad(inputs, paddings, constant_values=_WHITE)

  def get_config(self):
    return super().get_config() | {'count': self.count}


def rewritten(
  model: tf_keras.Model,
  wanted: Collection[types.Rewrite] | None = None,
  leave_out: Collection[types.Rewrite] = (),
) -> tuple[tf_keras.Model, tuple[types.Rewrite, ...]]:
  """Returns a network of the same outputs, and the rewrites that made it.

  Args:
    model: from raw pixels 0..255, (B, S, S, 3), to probabilities.
    wanted: of NO_OPS, SPACE_TO_DEPTH and NORMALIZATION; others are ignored.
      None takes those that fit.
    leave_out: what None does not take.

  Raises:
    ValueError: one that is wanted does not fit.
  """
  draft = _Draft(model)
  done = []
  for rewrite, apply in _REWRITES.items():
    if rewrite in leave_out if wanted is None else rewrite not in wanted:
      continue
    why_not = apply(draft)
    if not why_not:
      done.append(rewrite)
    elif wanted is not None:
      raise ValueError(
        f'--rewrites={rewrite.value} does not fit {model.name}: {why_not}; '
        'leave it out'
      )
  return (draft.build() if done else model), tuple(done)


class _Draft:
  """A functional model taken apart: its config and its weights by layer."""

  def __init__(self, model: tf_keras.Model):
    self._config = copy.deepcopy(model.get_config())
    self._entries = {entry['name']: entry for entry in self._config['layers']}
    self.layers = {layer.name: layer for layer in model.layers}
    self.weights = {layer.name: layer.get_weights() for layer in model.layers}
    self.clustered = {
      name
      for name, kernel in graph.kernels(model).items()
      if clusters.members(kernel.numpy()) is not None
    }
    self.quantized = any(
      isinstance(layer, quantized_layers.FakeQuant) for layer in model.layers
    )

  def config(self, name: str) -> dict:
    return self._entries[name]['config']

  def source(self, name: str) -> str | None:
    """The layer that one reads, if that is one."""
    inbound = self._inbound(name)
    return inbound[0][0] if len(inbound) == 1 else None

  def readers(self, name: str) -> list[str]:
    return [
      other
      for other in self._entries
      for inbound in self._inbound(other)
      if inbound[0] == name
    ]

  def insert(self, layer: layers.Layer, before: str) -> None:
    """Puts a layer without weights between another and what that reads."""
    entry = {
      'class_name': tf_keras.saving.get_registered_name(type(layer)),
      'config': layer.get_config(),
      'name': layer.name,
      'inbound_nodes': self._entries[before]['inbound_nodes'],
    }
    self._entries[before]['inbound_nodes'] = [[[layer.name, 0, 0, {}]]]
    self._entries[layer.name] = entry
    self.layers[layer.name] = layer
    self.weights[layer.name] = []

  def remove(self, name: str) -> None:
    """Leaves out a layer of one input; its readers read that."""
    source = self._inbound(name)[0]
    outputs = self._config['output_layers']
    inbounds = [i for other in self._entries for i in self._inbound(other)]
    for inbound in [*inbounds, *outputs]:
      if inbound[0] == name:
        inbound[:3] = source[:3]
    for known in (self._entries, self.layers, self.weights):
      del known[name]

  def build(self) -> tf_keras.Model:
    self._config['layers'] = list(self._entries.values())
    for entry in self._config['layers']:
      entry.pop('build_config', None)
    model = tf_keras.Model.from_config(self._config)
    for layer in model.layers:
      layer.set_weights(self.weights[layer.name])
    return model

  def _inbound(self, name: str) -> list:
    """[layer, call, output, arguments] of every tensor that a layer reads."""
    return [i for node in self._entries[name]['inbound_nodes'] for i in node]


def _leave_out_no_ops(draft: _Draft) -> str:
  """Applies no_ops; returns why it does not fit, or nothing."""
  found = [name for name, layer in draft.layers.items() if _is_no_op(layer)]
  for name in found:
    draft.remove(name)
  return '' if found else 'every layer does something'


def _is_no_op(layer: layers.Layer) -> bool:
  if not type(layer).__module__.startswith('tf_keras'):
    return False  # A class of the user's own may do more than its base.
  if isinstance(layer, layers.Rescaling):
    return bool(np.all(layer.scale == 1) and np.all(layer.offset == 0))
  if isinstance(layer, layers.Activation):
    return layer.activation is tf_keras.activations.linear
  if isinstance(layer, (layers.MaxPooling2D, layers.AveragePooling2D)):
    return {*layer.pool_size, *layer.strides} == {1}
  if isinstance(layer, layers.ZeroPadding2D):
    return not np.any(layer.padding)
  if isinstance(layer, (layers.Resizing, layers.Reshape)):
    return layer.input_shape == layer.output_shape
  return isinstance(layer, (layers.Dropout, layers.SpatialDropout2D))


def _to_space_to_depth(draft: _Draft) -> str:
  """Applies space_to_depth; returns why it does not fit, or nothing."""
  found = [
    (name, plan)
    for name, layer in draft.layers.items()
    if (plan := _plan(layer)) is not None
  ]
  for name, plan in found:
    _apply_plan(draft, name, *plan)
  if found:
    return ''
  return (
    'no convolution over an image of at most '
    f'{_MOST_CHANNELS} channels with a stride of {_STRIDES} that divides its '
    'size'
  )


def _plan(layer: layers.Layer) -> tuple[int, int, int] | None:
  """Stride, pixels padded before, and new kernel size; None if it cannot be."""
  if type(layer) not in _CONVOLUTIONS or len(set(layer.strides)) > 1:
    return None
  _, height, width, channels = layer.input_shape
  stride, kernel = layer.strides[0], layer.kernel_size[0]
  if (
    stride not in _STRIDES
    or None in (height, width)
    or height % stride
    or width % stride
    or channels > _MOST_CHANNELS
    or len(set(layer.kernel_size)) > 1
    or (*layer.dilation_rate, layer.groups) != (1, 1, 1)
  ):
    return None
  before = 0
  if layer.padding == 'same':
    before = max(kernel - stride, 0) // 2
  first = -(-before // stride)  # blocks, or parts of one, that are padded
  size = first + (kernel - 1 - before) // stride + 1
  positions = height // stride - (0 if layer.padding == 'same' else size - 1)
  # The new kernel must be padded as Keras does, and go as far.
  as_keras = layer.padding != 'same' or first == (size - 1) // 2
  if not as_keras or positions != layer.output_shape[1]:
    return None
  return stride, before, size


def _apply_plan(
  draft: _Draft, name: str, stride: int, before: int, size: int
) -> None:
  kernel, *others = draft.weights[name]
  draft.weights[name] = [_in_blocks(kernel, stride, before, size), *others]
  draft.config(name).update(kernel_size=(size, size), strides=(1, 1))
  draft.insert(SpaceToDepth(stride, name=f'{name}_space_to_depth'), name)


def _in_blocks(
  kernel: np.ndarray, stride: int, before: int, size: int
) -> np.ndarray:
  """A kernel (K, K, C, O) as (size, size, s s C, O) of blocks' channels.

  A block's channels are its pixels row by row, each pixel's C beside another.
  """
  height, width, channels, outputs = kernel.shape
  start = -before % stride
  wide = np.zeros((size * stride,) * 2 + (channels, outputs), kernel.dtype)
  wide[start : start + height, start : start + width] = kernel
  blocks = wide.reshape(size, stride, size, stride, channels, outputs)
  return blocks.transpose(0, 2, 1, 3, 4, 5).reshape(size, size, -1, outputs)


def _fold_normalization(draft: _Draft) -> str:
  """Applies normalization; returns why it does not fit, or nothing."""
  if draft.quantized:
    return 'it was trained with the range of its normalized pixels (qat)'
  name = _first_of_pixels(draft)
  layer = draft.layers.get(name)
  if type(layer) is not layers.Rescaling:
    return 'its pixels, resized or not, are read by no Rescaling alone'
  colors = layer.output_shape[-1]
  if {np.size(layer.scale), np.size(layer.offset)} - {1, colors}:
    return f'{name} is not a number for each of the {colors} colors'
  reader = _only_reader(draft, name)
  between = reader if isinstance(draft.layers.get(reader), SpaceToDepth) else ''
  conv = _only_reader(draft, between) if between else reader
  if type(draft.layers.get(conv)) is not layers.Conv2D:
    return f'{name} is read by more or other than a convolution'
  if draft.layers[conv].groups != 1:
    return f'{conv} has groups'
  if conv in draft.clustered:
    return f'{conv} has few distinct weights (cluster), which it would multiply'
  draft.remove(name)
  _fold_into(draft, conv, layer)
  return ''


def _only_reader(draft: _Draft, name: str) -> str:
  readers = draft.readers(name)
  return readers[0] if len(readers) == 1 else ''


def _first_of_pixels(draft: _Draft) -> str:
  """What alone reads the image, resized or not."""
  (name,) = [n for n, x in draft.layers.items() if type(x) is layers.InputLayer]
  name = _only_reader(draft, name)
  while isinstance(draft.layers.get(name), layers.Resizing):
    name = _only_reader(draft, name)
  return name


def _fold_into(draft: _Draft, conv: str, normalize: layers.Rescaling) -> None:
  kernel, *others = draft.weights[conv]
  colors = normalize.output_shape[-1]
  pixels = kernel.shape[2] // colors
  of_each = lambda x: np.tile(
    np.broadcast_to(np.float32(x).reshape(-1), colors), pixels
  )
  scale, offset = of_each(normalize.scale), of_each(normalize.offset)
  folded = kernel * scale[:, None]
  if offset.any():
    share = np.einsum('hwco,c->hwo', kernel, offset / _WHITE)
    folded = np.concatenate([folded, _spread(share, pixels, folded)], axis=2)
    draft.insert(WhiteChannels(pixels, name=f'{conv}_white'), conv)
  draft.weights[conv] = [folded, *others]


def _spread(total: np.ndarray, count: int, kernel: np.ndarray) -> np.ndarray:
  """Weights (H, W, count, O) of white channels that sum to `total` (H, W, O).

  Several, so that none is much larger than the kernel's own; and all but one
  are steps of what int8 will round it to: white is not noise, and the rounding
  of each would add up.
  """
  step = np.abs(kernel).max(axis=(0, 1, 2)) / 127
  step = np.where(step, step, 1)
  even = step * np.round(total / (count * step))
  last = total - (count - 1) * even
  white = np.stack([*[even] * (count - 1), last], axis=2)
  return white.astype(kernel.dtype)


# In this order: a normalization goes into the kernel that there is then.
_REWRITES = {
  types.Rewrite.NO_OPS: _leave_out_no_ops,
  types.Rewrite.SPACE_TO_DEPTH: _to_space_to_depth,
  types.Rewrite.NORMALIZATION: _fold_normalization,
}
