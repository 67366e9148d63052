"""Layers that round as int8 arithmetic does, of networks trained for it.

Here and not beside what builds such networks, since whoever opens a `.keras`
file must know them: importing this registers them with tf_keras.
"""

import math

import numpy as np
import tensorflow as tf
import tf_keras

_PACKAGE = 'tfcompress'  # under which Keras registers the layers
_MOMENTUM = 0.99  # of a range that follows the training batches
_TINY = 1e-6  # the least bound: a range must not be empty
_STEPS = 255  # between the 256 numbers of an int8
_LOWEST = -128


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class FakeQuant(tf_keras.layers.Layer):
  """Rounds a tensor to 256 steps from `low` to `high`.

  A bound that is None is a weight. While the layer is trainable it follows the
  training batches' least or greatest value as a moving average.

  Where it `gives_bounds`, it returns those too: what computes with the integers
  must know which they are.
  """

  def __init__(
    self,
    low: float | None = None,
    high: float | None = None,
    gives_bounds: bool = False,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self.fixed = (low, high)
    self.gives_bounds = gives_bounds
    self.observe = None  # called with every input, which then passes unrounded

  def build(self, input_shape):
    low, high = self.fixed
    self.low = self._add_bound('low', -6.0) if low is None else low
    self.high = self._add_bound('high', 6.0) if high is None else high
    super().build(input_shape)

  def call(self, inputs, training=None):
    low, high = map(tf.convert_to_tensor, (self.low, self.high))
    if self.observe is not None:
      self.observe(self, inputs)
      return self._outputs(inputs, low, high)
    if training and self.trainable:
      for bound, value in zip(self.weights, self.bounds_of(inputs)):
        bound.assign_add((value - bound) * (1 - _MOMENTUM))
      low, high = map(tf.convert_to_tensor, (self.low, self.high))
    return self._outputs(_fake_quant(inputs, low, high), low, high)

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
    config = super().get_config() | {'low': low, 'high': high}
    return config | ({'gives_bounds': True} if self.gives_bounds else {})

  def _outputs(self, outputs, low, high):
    return [outputs, low, high] if self.gives_bounds else outputs

  def _add_bound(self, name: str, value: float) -> tf.Variable:
    initializer = tf_keras.initializers.Constant(value)
    return self.add_weight(name, initializer=initializer, trainable=False)


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class QuantizedConv2D(tf_keras.layers.Conv2D):
  """A Conv2D whose kernel is rounded."""

  def convolution_op(self, inputs, kernel):
    return super().convolution_op(inputs, _rounded(kernel, self.filters))


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class QuantizedDepthwiseConv2D(tf_keras.layers.DepthwiseConv2D):
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
class QuantizedDense(tf_keras.layers.Dense):
  """A Dense whose kernel is rounded."""

  def call(self, inputs):
    outputs = tf.matmul(inputs, _rounded(self.kernel, self.units))
    if self.use_bias:
      outputs = tf.nn.bias_add(outputs, self.bias)
    return self.activation(outputs)


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class QuantizedRescaling(tf_keras.layers.Rescaling):
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


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class QuantizedAveragePooling2D(tf_keras.layers.AveragePooling2D):
  """An AveragePooling2D whose means are integers of its input's range.

  TFLite's AVERAGE_POOL_2D rounds a sum of int8 over its count half away from
  zero, whichever kernel computes it; what is padded does not count. Its inputs
  are a tensor and the two bounds that a FakeQuant gives beside it.
  """

  def __init__(self, pool_size=(2, 2), **kwargs):
    super().__init__(pool_size, **kwargs)
    self.input_spec = None  # the base class's is of one input
    self.rounds = True  # not while it becomes a file, whose operator does

  def call(self, inputs):
    inputs, low, high = inputs
    if not self.rounds:
      return super().call(inputs)
    scale = (high - low) / _STEPS
    zero_point = _LOWEST + tf.clip_by_value(tf.round(-low / scale), 0, _STEPS)
    means = super().call(inputs / scale + zero_point)
    counts = self._counts(inputs.shape)
    rounded = tf.grad_pass_through(lambda means: _mean(means, counts))(means)
    return (rounded - zero_point) * scale

  def _counts(self, shape) -> np.ndarray:
    """Pixels under each output, (H, W, 1)."""
    rows, columns = (
      _covered(*axis, self.padding == 'same')
      for axis in zip(shape[1:3], self.pool_size, self.strides)
    )
    return np.float32(np.outer(rows, columns)[..., None])

  def compute_output_shape(self, input_shape):
    return super().compute_output_shape(input_shape[0])


def _covered(size: int, pool: int, stride: int, is_same: bool) -> np.ndarray:
  """Pixels of one axis under each output."""
  outputs = -(-size // stride) if is_same else (size - pool) // stride + 1
  padded = max((outputs - 1) * stride + pool - size, 0) if is_same else 0
  starts = np.arange(outputs) * stride - padded // 2
  return np.minimum(starts + pool, size) - np.maximum(starts, 0)


def _mean(means, counts):
  """Means of integers, rounded half away from zero."""
  sums = tf.round(means * counts)
  return tf.sign(sums) * tf.floor(tf.abs(sums) / counts + 0.5)


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
