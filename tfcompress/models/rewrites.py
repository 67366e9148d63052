"""Exact rewrites of a network for conversion: fewer operators, same numbers.

- no_ops: layers that return what they are given, such as a resize to the same
  size, are left out.
- normalization: x * scale + offset before a convolution goes into its weights.
  What it pads with is zero after the normalization, which no bias can tell from
  a pixel; so the offset is the weight of a channel that is 255 inside the image
  and, padded, 0 outside. Pixels are not centered then, so what rounding does to
  the weights would move every output; a bias takes that back.

The result is for conversion only: nothing trains or saves it. `flatbuffer` has
the rewrites of the file.
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
_FLOAT_BITS = 32


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class WhiteChannel(layers.Layer):
  """Appends a channel that is 255 everywhere."""

  def call(self, inputs):
    paddings = [[0, 0], [0, 0], [0, 0], [0, 1]]
    return tf.pad(inputs, paddings, constant_values=_WHITE)


def rewritten(
  model: tf_keras.Model,
  wanted: Collection[types.Rewrite] | None = None,
  leave_out: Collection[types.Rewrite] = (),
  weight_bits: int = _FLOAT_BITS,
) -> tuple[tf_keras.Model, tuple[types.Rewrite, ...]]:
  """Returns a network of the same outputs, and the rewrites that made it.

  Args:
    model: from raw pixels 0..255, (B, S, S, 3), to probabilities.
    wanted: of NO_OPS and NORMALIZATION; others are ignored. None takes those
      that fit.
    leave_out: what None does not take.
    weight_bits: of the integers that a folded kernel will be rounded to, for
      each output channel alone and symmetric; 32 if it stays float.

  Raises:
    ValueError: one that is wanted does not fit.
  """
  draft = _Draft(model, weight_bits)
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

  def __init__(self, model: tf_keras.Model, weight_bits: int):
    self.weight_bits = weight_bits
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
  conv = _only_reader(draft, name)
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
  kernel, *biases = draft.weights[conv]
  colors = kernel.shape[2]
  of_each = lambda x: np.broadcast_to(np.float32(x).reshape(-1), colors)
  scale, offset = of_each(normalize.scale), of_each(normalize.offset)
  folded = kernel * scale[:, None]
  if offset.any():
    white = np.einsum('hwco,c->hwo', kernel, offset / _WHITE)
    folded = np.concatenate([folded, white[:, :, None]], axis=2)
    draft.insert(WhiteChannel(name=f'{conv}_white'), conv)
  if offset.any() and draft.weight_bits < _FLOAT_BITS:
    pixel = np.append(-offset / scale, _WHITE)  # the mean one
    moved = np.einsum('hwco,c->o', _rounding(folded, draft.weight_bits), pixel)
    biases = [np.sum([*biases, -moved], axis=0).astype(kernel.dtype)]
    draft.config(conv)['use_bias'] = True
  draft.weights[conv] = [folded, *biases]


def _rounding(kernel: np.ndarray, bits: int) -> np.ndarray:
  """What rounding to integers adds to a kernel (H, W, I, O), per channel O."""
  step = np.abs(kernel).max(axis=(0, 1, 2)) / (2 ** (bits - 1) - 1)
  step = np.where(step, step, 1)
  return step * np.round(kernel / step) - kernel


# In this order: what does nothing stands between no others.
_REWRITES = {
  types.Rewrite.NO_OPS: _leave_out_no_ops,
  types.Rewrite.NORMALIZATION: _fold_normalization,
}
