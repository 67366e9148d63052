"""How much each channel matters: the criteria of channel pruning.

Channels that an addition ties together get one score: the mean of their layers'
scores, each divided by its layer's mean so that layers can be compared; Taylor
adds their terms before it squares the sum.
"""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.core import configs
from tfcompress.models import channels as channels_lib
from tfcompress.models import graph, heads
from tfcompress.training import losses

Batches = Iterable[tuple[tf.Tensor, tf.Tensor]]


def scores(
  model: tf_keras.Model,
  channels: channels_lib.Channels,
  importance: configs.Importance,
  batches: Batches,
) -> np.ndarray:
  """Returns the score of every channel id, float64 (channels.count,).

  Args:
    model: a functional model to probabilities (B, C).
    channels: its channels.
    importance: the criterion.
    batches: images (B, S, S, 3) and targets (B, C), for Taylor alone.

  Raises:
    ValueError: BatchNormalization's gamma is asked for and a group has none.
  """
  if importance is configs.Importance.TAYLOR:
    return _taylor(model, channels, batches)
  of_layer = {
    configs.Importance.L1: l1,
    configs.Importance.L2: l2,
    configs.Importance.FPGM: fpgm,
    configs.Importance.BN_GAMMA: np.abs,
  }[importance]
  weights = 'kernel'
  if importance is configs.Importance.BN_GAMMA:
    weights = 'gamma'
    _require_gammas(model, channels)
  total, count = np.zeros((2, channels.count))
  for layer in model.layers:
    if getattr(layer, weights, None) is not None:
      found = of_layer(getattr(layer, weights).numpy())
      if importance is not configs.Importance.BN_GAMMA:
        found = found / max(found.mean(), np.finfo(np.float64).tiny)
      ids = channels.outputs[layer.name]
      np.add.at(total, ids, found)
      np.add.at(count, ids, 1)
  return total / np.maximum(count, 1)


def l1(kernel: np.ndarray) -> np.ndarray:
  """Sum of a filter's magnitudes (Li 2017), (..., O) to (O,)."""
  return np.abs(kernel).reshape(-1, kernel.shape[-1]).sum(0, np.float64)


def l2(kernel: np.ndarray) -> np.ndarray:
  """Euclidean norm of a filter (He 2018), (..., O) to (O,)."""
  squares = np.square(kernel.reshape(-1, kernel.shape[-1]), dtype=np.float64)
  return np.sqrt(squares.sum(0))


def fpgm(kernel: np.ndarray) -> np.ndarray:
  """Sum of a filter's distances to the others, (..., O) to (O,).

  The least is nearest to the geometric median, so the others can stand in for
  it (He 2019, equation 6).
  """
  filters = kernel.reshape(-1, kernel.shape[-1]).T.astype(np.float64)
  squares = np.square(filters).sum(1)
  products = squares[:, None] + squares[None] - 2 * filters @ filters.T
  return np.sqrt(np.maximum(products, 0)).sum(1)


def _require_gammas(model, channels: channels_lib.Channels) -> None:
  with_gamma = {
    id_
    for layer in model.layers
    if _scales(layer)
    for id_ in channels.outputs[layer.name]
  }
  for group in channels.groups:
    if not with_gamma.issuperset(group.ids):
      raise ValueError(
        f'--importance=bn_gamma: the channels of {group.name} have no batch '
        'normalization with a gamma; use l1, l2, fpgm or taylor'
      )


def _taylor(
  model: tf_keras.Model, channels: channels_lib.Channels, batches: Batches
) -> np.ndarray:
  """(sum of gradient x weight)^2, mean of the batches (Molchanov 2019, eq. 8).

  The weights of a channel are those of its gate: gamma and beta of a batch
  normalization, or the filter and bias where none follows.
  """
  network = heads.with_logits(model)
  gates = [
    (layer.name, list(layer.trainable_weights)) for layer in _gates(model)
  ]
  total = np.zeros(channels.count)
  batches = list(batches)
  for images, targets in batches:
    with tf.GradientTape() as tape:
      logits = network(images, training=False)
      loss = losses.cross_entropy(targets, logits)
    gradients = tape.gradient(loss, [weights for _, weights in gates])
    terms = np.zeros(channels.count)
    for (name, weights), slopes in zip(gates, gradients):
      for weight, slope in zip(weights, slopes):
        product = (weight * slope).numpy().astype(np.float64)
        product = product.reshape(-1, product.shape[-1]).sum(0)
        np.add.at(terms, channels.outputs[name], product)
    total += np.square(terms)
  return total / len(batches)


def _gates(model: tf_keras.Model) -> list[tf_keras.layers.Layer]:
  """The layers whose weights scale what a convolution or dense layer makes.

  That is the batch normalization right after it, or itself if none scales.
  """
  sources = graph.inputs_of(model)
  gates = {}
  for layer in model.layers:
    if type(layer).__name__ in ('Conv2D', 'Dense'):
      gates.setdefault(layer.name, layer)
    elif _scales(layer) and sources[layer.name][0] in gates:
      gates[sources[layer.name][0]] = layer
  return list(gates.values())


def _scales(layer: tf_keras.layers.Layer) -> bool:
  """Whether a layer is a normalization with a gamma."""
  return getattr(layer, 'gamma', None) is not None
