"""Tells before pruning which layers will run faster for their zeros.

LiteRT computes with dense kernels, zeros or not, but for one case: its CPU
backend XNNPACK multiplies 1x1 convolutions with a sparse kernel in a part of
the graph that it can turn to NCHW (Elsen 2019, https://arxiv.org/abs/1911.09723
and "Sparse Inference" in tflite/delegates/xnnpack/README.md of LiteRT). Then

- numbers are floats, and the file stores the weights sparse (DENSIFY operators,
  made by tf.lite.Optimize.EXPERIMENTAL_SPARSITY),
- the part opens with a 3x3 convolution of stride 2 over 3 channels, padded by
  one pixel on each side, closes with a mean over the pixels, and holds nothing
  but 1x1 convolutions of stride 1, depthwise 3x3 and 5x5, additions, products
  and activations,
- more than two thirds of the weights of its 1x1 convolutions are zeros,
- the CPU has no AVX (xnn_is_chw_compatible_config in hardware-config.h).
"""

import dataclasses
from collections.abc import Collection, Mapping

import tf_keras

from tfcompress.models import graph
from tfcompress.training import masks

layers = tf_keras.layers

_LEAST_ZEROS = 2 / 3
_ACTIVATIONS = {'elu', 'linear', 'relu', 'relu6', 'sigmoid', 'swish', 'silu'}
_ELEMENTWISE = (
  layers.Add,
  layers.BatchNormalization,  # folded into the convolution before it
  layers.Dropout,
  layers.ELU,
  layers.LeakyReLU,
  layers.Multiply,
  layers.ReLU,
)


@dataclasses.dataclass(frozen=True)
class Row:
  """One layer with a kernel.

  Attributes:
    name: of the layer.
    kernel_shape: as Keras has it.
    zeros: the share aimed at; 0 where the layer stays dense.
    may_profit: whether a runtime has a kernel that skips the zeros.
    reason: why, or why not, in a few words.
  """

  name: str
  kernel_shape: tuple[int, ...]
  zeros: float
  may_profit: bool
  reason: str


@dataclasses.dataclass(frozen=True)
class Preflight:
  """What zeros are worth; `rows` has every layer with a kernel, in order."""

  rows: tuple[Row, ...]


def check(
  model: tf_keras.Model,
  sparsity: float,
  granularity_text: str,
  excluded: Collection[str],
) -> Preflight:
  """Looks at every kernel of a network that is going to be pruned.

  Args:
    model: a functional model.
    sparsity: share of zeros aimed at in every kernel; M:N has its own.
    granularity_text: 'element', 'M:N' or 'RxC'.
    excluded: names of the layers that stay dense.

  Raises:
    ValueError: another granularity.
  """
  granularity = masks.parse(granularity_text)
  kernels = {
    layer.name: layer
    for layer in model.layers
    if graph.kernel_of(layer) is not None
  }
  dense = {
    name: reason
    for name, layer in kernels.items()
    if (reason := _stays_dense(layer, granularity, excluded))
  }
  aimed = masks.share_of_zeros(granularity, sparsity)
  zeros = {name: 0.0 if name in dense else aimed for name in kernels}
  part = _sparse_part(model)
  share = _share_of_zeros(model, part, zeros)
  return Preflight(
    tuple(
      _row(layer, zeros[name], dense.get(name, ''), name in part, share)
      for name, layer in kernels.items()
    )
  )


def text(preflight: Preflight) -> str:
  """Returns a line a layer, and in one sentence what it comes to."""
  cells = [('layer', 'kernel', 'zeros', 'runs faster for them')]
  for row in preflight.rows:
    kernel = 'x'.join(str(size) for size in row.kernel_shape)
    answer = f'{"maybe" if row.may_profit else "no"}: {row.reason}'
    cells.append((row.name, kernel, f'{100 * row.zeros:.0f} %', answer))
  first, second, third, _ = (max(map(len, column)) for column in zip(*cells))
  lines = [
    f'{name:<{first}}  {kernel:<{second}}  {zeros:>{third}}  {answer}'
    for name, kernel, zeros, answer in cells
  ]
  return '\n'.join([*lines, _sentence(preflight.rows)])


def _sentence(rows: tuple[Row, ...]) -> str:
  faster = [row.name for row in rows if row.may_profit]
  otherwise = (
    'only a compressed download (gzip) shrinks; use --stage=slim (removes '
    'channels), --stage=qat or a smaller --internal_size instead.'
  )
  if not faster:
    return (
      f'None of the {len(rows)} layers runs faster or is stored smaller for '
      f'its zeros in a .tflite of tfcompress-export: {otherwise}'
    )
  return (
    f'{len(faster)} of the {len(rows)} layers may run faster for their zeros, '
    f'{", ".join(faster)}, but only from a float32 .tflite that stores them '
    'sparse (tf.lite.Optimize.EXPERIMENTAL_SPARSITY, which tfcompress-export '
    'does not set) and on a CPU without AVX, such as an Arm; of any other '
    f'.tflite {otherwise}'
  )


def _stays_dense(layer, granularity, excluded) -> str:
  """Why a layer gets no zeros; empty where it gets them."""
  depthwise = isinstance(layer, layers.DepthwiseConv2D)
  if not masks.fits(granularity, graph.kernel_of(layer).shape, depthwise):
    return f'{granularity} does not fit, stays dense'
  return 'excluded' if layer.name in excluded else ''


def _row(layer, zeros: float, dense: str, in_part: bool, share: float) -> Row:
  """What becomes of one layer in a part with `share` zeros."""
  if dense:
    reason = dense
  elif not _is_pointwise(layer):
    reason = _what(layer)
  elif not in_part:
    reason = '1x1, but no part around it runs in NCHW'
  elif share <= _LEAST_ZEROS:
    reason = f'1x1, but {100 * share:.0f} % zeros in its part, not over 67 %'
  else:
    reason = '1x1 convolution in float32'
  profits = not dense and in_part and _is_pointwise(layer)
  return Row(
    name=layer.name,
    kernel_shape=tuple(int(size) for size in graph.kernel_of(layer).shape),
    zeros=zeros,
    may_profit=profits and share > _LEAST_ZEROS,
    reason=reason,
  )


def _what(layer) -> str:
  """A layer that no sparse kernel computes, in words."""
  if isinstance(layer, layers.Dense):
    return 'fully connected'
  if not hasattr(layer, 'kernel_size'):
    return type(layer).__name__
  window = 'x'.join(str(size) for size in layer.kernel_size)
  if isinstance(layer, layers.DepthwiseConv2D):
    return f'{window} depthwise convolution'
  if getattr(layer, 'groups', 1) > 1:
    return f'{window} convolution in {layer.groups} groups'
  stride = f' of stride {max(layer.strides)}' if window == '1x1' else ''
  return f'{window} convolution{stride}'


def _share_of_zeros(
  model: tf_keras.Model, part: set[str], zeros: Mapping[str, float]
) -> float:
  """Zeros over weights as XNNPACK counts them in a part.

  A dense layer behind the mean counts, though it is not made faster.
  """
  counted = {
    name: graph.kernel_of(layer).shape.num_elements()
    for name, feeders in graph.inputs_of(model).items()
    if _is_pointwise(layer := model.get_layer(name))
    and name in part
    or isinstance(layer, layers.Dense)
    and part.issuperset(feeders)
  }
  total = sum(counted.values())
  return sum(zeros[n] * size for n, size in counted.items()) / max(total, 1)


def _sparse_part(model: tf_keras.Model) -> set[str]:
  """Names of the layers that XNNPACK can turn to NCHW together, or none."""
  feeders = graph.inputs_of(model)
  part, closing = set(), set()
  for name, sources in feeders.items():
    layer = model.get_layer(name)
    before = model.get_layer(sources[0]) if sources else None
    inside = sources and part.issuperset(sources) and _is_inside(layer, before)
    if inside or _opens(layer, before):
      part.add(name)
    if inside and isinstance(layer, layers.GlobalAveragePooling2D):
      closing.add(name)
  # A value that leaves the part before its end keeps all of it from turning.
  leaving = {
    source
    for name, sources in feeders.items()
    if name not in part
    for source in sources
  } | set(model.output_names)
  return part if closing and not leaving & part - closing else set()


def _opens(layer, before) -> bool:
  """Whether a layer takes pixels in NHWC and gives them on in NCHW."""
  return (
    type(layer) is layers.Conv2D
    and tuple(layer.kernel.shape[:3]) == (3, 3, 3)
    and layer.strides == (2, 2)
    and layer.dilation_rate == (1, 1)
    and layer.groups == 1
    and _pads(layer, before, 1)
  )


def _is_inside(layer, before) -> bool:
  """Whether a layer computes in NCHW."""
  if isinstance(layer, layers.DepthwiseConv2D):
    size = layer.kernel_size[0]
    return (
      layer.kernel_size in ((3, 3), (5, 5))
      and layer.strides in ((1, 1), (2, 2))
      and layer.dilation_rate == (1, 1)
      and layer.depth_multiplier == 1
      and _pads(layer, before, size // 2)
    )
  if isinstance(layer, layers.Activation):
    return getattr(layer.activation, '__name__', '') in _ACTIVATIONS
  # A padding is part of the convolution that reads it.
  others = (layers.GlobalAveragePooling2D, layers.ZeroPadding2D)
  return _is_pointwise(layer) or isinstance(layer, (*_ELEMENTWISE, *others))


def _is_pointwise(layer) -> bool:
  """Whether a layer is a 1x1 convolution that a sparse kernel could compute."""
  return (
    type(layer) is layers.Conv2D
    and layer.kernel_size == (1, 1)
    and layer.strides == (1, 1)
    and layer.groups == 1
  )


def _pads(layer, before, pixels: int) -> bool:
  """Whether a window is padded by `pixels` on each of its four sides."""
  if layer.padding == 'same':
    return layer.strides == (1, 1)
  return (
    isinstance(before, layers.ZeroPadding2D)
    and before.padding == ((pixels, pixels),) * 2
  )
