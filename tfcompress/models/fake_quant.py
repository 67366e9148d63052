"""Networks that compute as their int8 `.tflite` will: fake quantization.

Weights and activations stay float32 but take only values that int8 can hold,
while gradients pass as if nothing was rounded (Jacob 2018).

- Kernels: symmetric, a scale per output channel, -127..127. Zeros stay zeros.
- Activations: one range per tensor in 256 steps, zero among them. A FakeQuant
  layer stands where TFLite writes a tensor: not between a convolution, its
  batch normalization and its ReLU, nor between an addition and its ReLU, which
  TFLite computes as one; not after layers that only move or pick values.
- AveragePooling2D rounds its means to its input's range, as the file's does.
- Pixels are the integers 0..255; probabilities have TFLite's own fixed range.

Layers keep their names and weights; only those of FakeQuant layers are new.

A full int8 file is what tf.lite.TFLiteConverter makes of such a network with
`optimizations=[tf.lite.Optimize.DEFAULT]`, without a representative dataset and
without `supported_ops`: TFLITE_BUILTINS_INT8 would ask for one. Both
inference_input_type and inference_output_type are free.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.core import quantized_layers

layers = tf_keras.layers

_PIXELS = (0.0, 255.0)
_QUANTIZED = {
  layers.AveragePooling2D: quantized_layers.QuantizedAveragePooling2D,
  layers.Conv2D: quantized_layers.QuantizedConv2D,
  layers.DepthwiseConv2D: quantized_layers.QuantizedDepthwiseConv2D,
  layers.Dense: quantized_layers.QuantizedDense,
  layers.Rescaling: quantized_layers.QuantizedRescaling,
}
_POOLING = layers.AveragePooling2D
_KERNELS = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
_SAME_RANGE = {  # of the output as of the input
  layers.AveragePooling2D,
  layers.Dropout,
  layers.Flatten,
  layers.GlobalMaxPooling2D,
  layers.MaxPooling2D,
  layers.Reshape,
  layers.ZeroPadding2D,
}
_SUPPORTED = {
  *_QUANTIZED,
  *_SAME_RANGE,
  layers.Activation,
  layers.Add,
  layers.BatchNormalization,
  layers.Concatenate,
  layers.GlobalAveragePooling2D,
  layers.InputLayer,
  layers.ReLU,
  layers.Resizing,
  layers.Softmax,
}
_RELUS = ('relu', 'relu6')


@dataclasses.dataclass(frozen=True)
class _Node:
  """A layer in its model, with the layers before and after it."""

  layer: layers.Layer
  sources: list['_Node']
  readers: list['_Node']

  @property
  def kind(self) -> type:
    return type(self.layer)

  @property
  def reader(self) -> layers.Layer | None:
    """The only layer that reads the output; None if there is no such."""
    return self.readers[0].layer if len(self.readers) == 1 else None


def quantized(model: tf_keras.Model) -> tf_keras.Model:
  """Returns a float32 copy of a classifier that rounds as int8 would.

  The ranges of its activations are arbitrary until `calibrate`.

  Args:
    model: functional, from raw pixels 0..255, (B, S, S, 3), to (B, classes).

  Raises:
    ValueError: a layer that cannot be quantized, or several inputs or outputs.
  """
  if len(model.inputs) != 1 or len(model.outputs) != 1:
    raise ValueError(
      f'model {model.name} has {len(model.inputs)} inputs and '
      f'{len(model.outputs)} outputs: expected one each'
    )
  for layer in model.layers:
    if type(layer) not in _SUPPORTED:
      kinds = ', '.join(sorted(kind.__name__ for kind in _SUPPORTED))
      raise _cannot(layer, f'expected one of {kinds}')
  image = layers.Input(model.input_shape[1:], name=model.input_names[0])
  tensors = {}
  nodes = _nodes(model)
  pooled = {id(_range_of(n)) for n in nodes if n.kind is _POOLING}
  for node in nodes:
    inputs = [tensors[n.layer.name][0] for n in node.sources] or [image]
    if node.kind is _POOLING:
      inputs += tensors[_range_of(node).layer.name][1:]
    outputs = _quantized_output(node, inputs, gives_bounds=id(node) in pooled)
    tensors[node.layer.name] = outputs
  [output, *_] = tensors[model.output_names[0]]
  return tf_keras.Model(image, output, name=model.name)


def calibrate(
  network: tf_keras.Model, images: Iterable[np.ndarray | tf.Tensor]
) -> None:
  """Sets every range to what training would make of such batches.

  A bound becomes the mean, over the batches, of a batch's least or greatest
  value, while nothing but kernels is rounded.

  Args:
    network: of `quantized`.
    images: batches (B, S, S, 3) of raw pixels, as large as those of training.

  Raises:
    ValueError: there is no batch.
  """
  seen = {layer: [] for layer in _fake_quants(network)}
  observe = lambda layer, x: seen[layer].append(layer.bounds_of(x))
  try:
    for layer in seen:
      layer.observe = observe
    with rounded_by_operators(network):
      for batch in images:
        network(tf.cast(batch, tf.float32), training=False)
  finally:
    for layer in seen:
      layer.observe = None
  for layer, bounds in seen.items():
    if not bounds:
      raise ValueError('no images to calibrate with: expected a batch or more')
    layer.set_weights(np.mean(bounds, axis=0))


def is_quantized(model: tf_keras.Model) -> bool:
  """Whether a model is one of `quantized`."""
  return bool(_fake_quants(model))


@contextlib.contextmanager
def rounded_by_operators(model: tf_keras.Model) -> Iterator[None]:
  """Leaves to a file's operators what those round themselves, while it lasts."""
  kind = quantized_layers.QuantizedAveragePooling2D
  found = [layer for layer in model.layers if isinstance(layer, kind)]
  for layer in found:
    layer.rounds = False
  try:
    yield
  finally:
    for layer in found:
      layer.rounds = True


def _quantized_output(node: _Node, inputs: list, gives_bounds: bool) -> list:
  """The output of a copy of a layer, rounded; with its bounds, if wanted."""
  _require_quantizable(node)
  layer, kind = node.layer, node.kind
  x = inputs if len(inputs) > 1 else inputs[0]
  if kind is not layers.InputLayer:
    config = layer.get_config() | {'dtype': 'float32'}
    copy = _QUANTIZED.get(kind, kind).from_config(config)
    x = copy(x)
    copy.set_weights(layer.get_weights())
  if _is_written(node):
    x = quantized_layers.FakeQuant(
      *_bounds(node), gives_bounds, name=f'{layer.name}_range'
    )(x)
  return x if isinstance(x, list) else [x]


def _range_of(node: _Node) -> _Node:
  """The node whose range the output of one has."""
  while not _is_written(node):
    if _activation(node.layer) == 'softmax':
      raise _cannot(node.layer, 'expected no pooling of probabilities')
    [node] = node.sources
  return node


def _is_written(node: _Node) -> bool:
  """Whether TFLite writes this output, as a tensor with a range of its own."""
  activation = _activation(node.layer)
  if node.kind in (layers.Activation, layers.Softmax):
    return activation in _RELUS
  fuses = node.kind in (*_KERNELS, layers.BatchNormalization, layers.Add)
  if fuses and activation == 'linear':
    return not (_is_norm(node.reader) or _is_relu(node.reader))
  return node.kind not in _SAME_RANGE


def _bounds(node: _Node) -> tuple[float | None, float | None]:
  """The bounds of an output that are known; None where they are not."""
  is_image = not node.sources
  resizes_image = node.kind is layers.Resizing and not node.sources[0].sources
  if is_image or resizes_image:
    return _PIXELS
  return (0.0 if _activation(node.layer) in _RELUS else None), None


def _require_quantizable(node: _Node) -> None:
  """Raises ValueError where TFLite would not compute a layer in int8."""
  layer, activation = node.layer, _activation(node.layer)
  possible = ['linear', *_RELUS]
  if node.kind in (layers.Activation, layers.Softmax):
    possible.append('softmax')
  if activation not in possible:
    raise _cannot(layer, f'got {activation}, expected one of {possible}')
  if _is_norm(layer):
    source = node.sources[0]
    alone = _activation(source.layer) == 'linear' and source.reader is layer
    if source.kind not in _KERNELS or not alone:
      raise _cannot(
        layer,
        f'got it after {source.layer.name}, expected it after a convolution or '
        'dense layer without activation that nothing else reads',
      )
  if node.kind is layers.Add and len(node.sources) != 2:
    raise _cannot(layer, f'got {len(node.sources)} inputs, expected 2')
  if node.kind is layers.Rescaling and len(layer.input_shape) != 4:
    raise _cannot(layer, f'got shape {layer.input_shape}, expected images')
  if getattr(layer, 'data_format', None) == 'channels_first':
    raise _cannot(layer, 'got channels_first, expected channels_last')


def _nodes(model: tf_keras.Model) -> list[_Node]:
  """The layers of a functional model, each after those that it reads."""
  nodes = {}
  for entry in model.get_config()['layers']:
    layer, calls = model.get_layer(entry['name']), entry['inbound_nodes']
    if len(calls) > 1 or any(arguments for *_, arguments in sum(calls, [])):
      raise _cannot(layer, 'expected it to be called once, without arguments')
    sources = [nodes[name] for name, *_ in sum(calls, [])]
    nodes[layer.name] = _Node(layer, sources, [])
    for source in sources:
      source.readers.append(nodes[layer.name])
  return list(nodes.values())


def _activation(layer) -> str:
  """The function that a layer ends in; 'linear' if there is none."""
  if isinstance(layer, layers.Softmax):
    return 'softmax'
  if isinstance(layer, layers.ReLU):
    if layer.negative_slope or layer.threshold:
      return 'a leaky or shifted ReLU'
    if layer.max_value is None:
      return 'relu'
    return f'relu{layer.max_value:g}'
  function = getattr(layer, 'activation', None)
  return getattr(function, '__name__', str(function)) if function else 'linear'


def _is_norm(layer) -> bool:
  return isinstance(layer, layers.BatchNormalization)


def _is_relu(layer) -> bool:
  alone = isinstance(layer, (layers.ReLU, layers.Activation))
  return alone and _activation(layer) in _RELUS


def _fake_quants(model: tf_keras.Model) -> list[quantized_layers.FakeQuant]:
  return [
    layer
    for layer in model.layers
    if isinstance(layer, quantized_layers.FakeQuant)
  ]


def _cannot(layer, why: str) -> ValueError:
  kind = type(layer).__name__
  return ValueError(f'layer {layer.name} ({kind}) cannot be quantized: {why}')
