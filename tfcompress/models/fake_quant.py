"""Networks that compute as their int8 `.tflite` will: fake quantization.

Weights and activations stay float32 but take only values that int8 can hold,
while gradients pass as if nothing was rounded (Jacob 2018, Krishnamoorthi 2018):

- Kernels: symmetric, a scale per output channel, -127..127. Zeros stay zeros.
- Activations: one range per tensor in 256 steps, zero among them. A FakeQuant
  layer stands where TFLite writes a tensor: not between a convolution, its
  batch normalization and its ReLU, nor between an addition and its ReLU, which
  TFLite computes as one; not after layers that only move or pick values.
- Pixels are the integers 0..255; probabilities have TFLite's own fixed range.

Layers keep their names and weights; only those of FakeQuant layers are new.

A full int8 file is what tf.lite.TFLiteConverter makes of such a network with
`optimizations=[tf.lite.Optimize.DEFAULT]`, without a representative dataset and
without `supported_ops`: TFLITE_BUILTINS_INT8 would ask for one. Both
inference_input_type and inference_output_type are free.
"""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
import tf_keras

layers = tf_keras.layers

_PACKAGE = 'tfcompress'  # under which Keras registers the layers
_MOMENTUM = 0.99  # of a range that follows the training batches
_PIXELS = (0.0, 255.0)
_TINY = 1e-6  # the least bound: a range must not be empty


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class FakeQuant(layers.Layer):
  """Rounds a tensor to 256 steps from `low` to `high`.

  A bound that is None is a weight. While the layer is trainable it follows the
  training batches' least or greatest value as a moving average.
  """

  def __init__(
    self, low: float | None = None, high: float | None = None, **kwargs
  ):
    super().__init__(**kwargs)
    self.fixed = (low, high)
    self.observe = None  # called with every input, which then passes unrounded

  def build(self, input_shape):
    low, high = self.fixed
    self.low = self._add_bound('low', -6.0) if low is None else low
    self.high = self._add_bound('high', 6.0) if high is None else high
    super().build(input_shape)

  def call(self, inputs, training=None):
    if self.observe is not None:
      self.observe(self, inputs)
      return inputs
    if training and self.trainable:
      for bound, value in zip(self.weights, self.bounds_of(inputs)):
        bound.assign_add((value - bound) * (1 - _MOMENTUM))
    return _fake_quant(
      inputs, tf.convert_to_tensor(self.low), tf.convert_to_tensor(self.high)
    )

  def bounds_of(self, inputs) -> list[tf.Tensor]:
    """What each weight would be for these inputs alone."""
    low, high = self.fixed
    bounds = []
    if low is None:
      bounds.append(tf.minimum(tf.reduce_min(inputs), 0))
    if high is None:
      bounds.append(tf.maximum(tf.reduce_max(inputs), _TINY))
    return bounds

  def get_config(self):
    low, high = self.fixed
    return super().get_config() | {'low': low, 'high': high}

  def _add_bound(self, name: str, value: float) -> tf.Variable:
    initializer = tf_keras.initializers.Constant(value)
    return self.add_weight(name, initializer=initializer, trainable=False)


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class QuantizedConv2D(layers.Conv2D):
  """A Conv2D whose kernel is rounded."""

  def convolution_op(self, inputs, kernel):
    return super().convolution_op(inputs, _rounded(kernel, self.filters))


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class QuantizedDepthwiseConv2D(layers.DepthwiseConv2D):
  """A DepthwiseConv2D whose kernel is rounded."""

  def call(self, inputs):
    kernel = self.depthwise_kernel
    outputs = tf_keras.backend.depthwise_conv2d(
      inputs,
      _rounded(kernel, math.prod(kernel.shape[2:])),
      strides=self.strides,
      padding=self.padding,
      dilation_rate=self.dilation_rate,
    )
    if self.use_bias:
      outputs = tf.nn.bias_add(outputs, self.bias)
    return self.activation(outputs)


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class QuantizedDense(layers.Dense):
  """A Dense whose kernel is rounded."""

  def call(self, inputs):
    outputs = tf.matmul(inputs, _rounded(self.kernel, self.units))
    if self.use_bias:
      outputs = tf.nn.bias_add(outputs, self.bias)
    return self.activation(outputs)


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class QuantizedRescaling(layers.Rescaling):
  """A Rescaling as one operator, a 1x1 depthwise convolution.

  Between a multiplication and an addition TFLite would want another range.
  """

  def call(self, inputs):
    channels = inputs.shape[-1]
    scale = np.broadcast_to(np.float32(self.scale), channels)
    offset = np.broadcast_to(np.float32(self.offset), channels)
    kernel = scale.reshape(1, 1, channels, 1)
    outputs = tf.nn.depthwise_conv2d(inputs, kernel, [1, 1, 1, 1], 'VALID')
    return tf.nn.bias_add(outputs, offset)


_QUANTIZED = {
  layers.Conv2D: QuantizedConv2D,
  layers.DepthwiseConv2D: QuantizedDepthwiseConv2D,
  layers.Dense: QuantizedDense,
  layers.Rescaling: QuantizedRescaling,
}
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
  for node in _nodes(model):
    inputs = [tensors[source.layer.name] for source in node.sources] or [image]
    tensors[node.layer.name] = _quantized_output(node, inputs)
  return tf_keras.Model(image, tensors[model.output_names[0]], name=model.name)


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


def kernels(network: tf_keras.Model) -> dict[str, tf.Variable]:
  """The kernels of convolutions and dense layers by layer name.

  Args:
    network: a plain one or one of `quantized`; the names are the same.
  """
  return {
    layer.name: _kernel(layer)
    for layer in network.layers
    if isinstance(layer, _KERNELS)
  }


@tf.custom_gradient
def _fake_quant(x, low, high):
  """TensorFlow's own gradient refuses to be deterministic on a GPU."""

  def gradient(upstream):
    return tf.where((x >= low) & (x <= high), upstream, 0), None, None

  return tf.quantization.fake_quant_with_min_max_vars(x, low, high), gradient


def _rounded(kernel, outputs: int):
  """A kernel of the values that int8 can hold, with a scale for each output.

  Nothing is clipped, so gradients pass unchanged. (The operator made for this,
  fake_quant_with_min_max_vars_per_channel, takes seven times as long.)
  """
  rows = tf.reshape(kernel, (-1, outputs))
  bound = tf.maximum(tf.reduce_max(tf.abs(rows), axis=0), _TINY)
  rounded = tf.grad_pass_through(
    lambda rows: tf.round(rows * (127 / bound)) * (bound / 127)
  )
  return tf.reshape(rounded(rows), kernel.shape)


def _quantized_output(node: _Node, inputs: list):
  """The output of a copy of a layer, rounded."""
  _require_quantizable(node)
  layer, kind = node.layer, node.kind
  x = inputs if len(inputs) > 1 else inputs[0]
  if kind is not layers.InputLayer:
    config = layer.get_config() | {'dtype': 'float32'}
    copy = _QUANTIZED.get(kind, kind).from_config(config)
    x = copy(x)
    copy.set_weights(layer.get_weights())
  if _is_written(node):
    x = FakeQuant(*_bounds(node), name=f'{layer.name}_range')(x)
  return x


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


def _kernel(layer) -> tf.Variable:
  depthwise = isinstance(layer, layers.DepthwiseConv2D)
  return layer.depthwise_kernel if depthwise else layer.kernel


def _fake_quants(model: tf_keras.Model) -> list[FakeQuant]:
  return [layer for layer in model.layers if isinstance(layer, FakeQuant)]


def _cannot(layer, why: str) -> ValueError:
  kind = type(layer).__name__
  return ValueError(f'layer {layer.name} ({kind}) cannot be quantized: {why}')
