"""A float32 `.tflite` that is about to become a variant of litert-quantizer."""

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping

import numpy as np
from litert_quantizer import qtyping
from litert_quantizer.utils import tfl_flatbuffer_utils

from tfcompress.conversion import layer_names, ranges, variants
from tfcompress.core import types
from tfcompress.runtimes import tflite_file

Operator = qtyping.TFLOperationName
# Operators with a kernel, and the least bits of its numbers.
_LEAST_BITS = {
  Operator.CONV_2D: 4,
  Operator.DEPTHWISE_CONV_2D: 8,
  Operator.FULLY_CONNECTED: 4,
}
# The axis of a kernel's output channels, where it is not the first.
_CHANNEL_AXIS = {Operator.DEPTHWISE_CONV_2D: 3}
_KERNEL_STEPS = 127  # on each side of zero, of int8
_BIAS_STEPS = 2**30  # of an int32, with room for inputs whose range is another


@dataclasses.dataclass(frozen=True)
class Layer:
  """An operator with a kernel.

  Attributes:
    name: of the layer it was made from.
    operator: which it is.
    scope: matches it alone, as litert-quantizer matches operators.
    parameters: weights in its kernel.
    bits: what one of them can have in the variant, the lowest first.
    kernel_range: how the ranges of its kernel are chosen.
  """

  name: str
  operator: Operator
  scope: str
  parameters: int
  bits: tuple[int, ...]
  kernel_range: types.KernelRange


@dataclasses.dataclass(frozen=True)
class FloatFile:
  """A float32 file, ready to be quantized.

  Attributes:
    content: the file.
    variant: what it is to become.
    layers: in order of execution.
    ranges: of the tensors between layers, by name; empty where the variant is
      not calibrated.
    magnitudes: of kernels by name, what each output channel's range must hold,
      where that is more than its weights.
  """

  content: bytes
  variant: types.Variant
  layers: tuple[Layer, ...]
  ranges: Mapping[str, ranges.Range]
  magnitudes: Mapping[str, np.ndarray]

  @property
  def mode(self) -> variants.Mode:
    return variants.RECIPES[self.variant].mode

  def lowest_bits(self) -> dict[str, int]:
    """What each layer has as long as none stays in higher precision."""
    return {layer.name: layer.bits[0] for layer in self.layers}


def prepare(
  content: bytes,
  variant: types.Variant,
  names: layer_names.LayerNames,
  images: np.ndarray | None = None,
  calibration: types.Calibration = types.Calibration.MIN_MAX,
  kernel_ranges: types.KernelRange = types.KernelRange.MIN_MAX,
) -> FloatFile:
  """Reads a float32 file and calibrates it.

  Args:
    content: a `.tflite` of the converter's, with a batch of one.
    variant: one of litert-quantizer.
    names: of the network's layers.
    images: (N, S, S, 3), 0..255, for a variant that is calibrated.
    calibration: how ranges are chosen; see `ranges`.
    kernel_ranges: how those of kernels are, but of kernels with a channel of
      zeros, or one too small for its bias.
  """
  recipe = variants.RECIPES[variant]
  model = tfl_flatbuffer_utils.read_model(content)
  found, magnitudes = {}, {}
  if recipe.calibrated:
    found = ranges.of_activations(content, images, calibration)
    magnitudes = _magnitudes(model, found)
  layers = _layers(model, names, recipe, kernel_ranges, magnitudes)
  return FloatFile(content, variant, layers, found, magnitudes)


def _layers(
  model: qtyping.ModelT,
  names: layer_names.LayerNames,
  recipe: variants.Recipe,
  kernel_ranges: types.KernelRange,
  wider: Collection[str],
) -> tuple[Layer, ...]:
  """The operators of a file whose kernel is a constant.

  A kernel that is wider than its weights, or has a channel of zeros, is not
  clipped: the range of least error would be smaller, or nothing.
  """
  tensors, found = model.subgraphs[0].tensors, {}
  for operator, kind in _with_kernel(model):
    kernel = tensors[operator.inputs[1]]
    scope = tfl_flatbuffer_utils.get_op_scope(operator, tensors)
    name = _name(kernel.name.decode(), scope, names, found)
    is_whole = (
      kernel.name.decode() in wider
      or not _greatest(
        tfl_flatbuffer_utils.get_tensor_data(kernel, model.buffers), kind
      ).all()
    )
    found[name] = Layer(
      name=name,
      operator=kind,
      scope=f'^{re.escape(scope)}$',
      parameters=int(np.prod(kernel.shape)),
      bits=tuple(b for b in recipe.bits if b >= _LEAST_BITS[kind]),
      kernel_range=types.KernelRange.MIN_MAX if is_whole else kernel_ranges,
    )
  return tuple(found.values())


def _name(
  kernel: str,
  scope: str,
  names: layer_names.LayerNames,
  taken: Collection[str],
) -> str:
  """What an operator's layer is called, by its kernel, else by its output.

  Kernels that are alike are one tensor, named after one of their layers.
  """
  named = [name for name in map(names.of, (kernel, scope)) if name]
  free = [name for name in named if name not in taken]
  name = next(iter((*free, *named)), kernel)
  while name in taken:  # a layer of two operators
    name += '+'
  return name


def _with_kernel(
  model: qtyping.ModelT,
) -> Iterator[tuple[qtyping.OperatorT, Operator]]:
  graph = model.subgraphs[0]
  for operator in graph.operators:
    kind = tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME.get(
      tflite_file.code_of(model, operator)
    )
    if kind in _LEAST_BITS:
      kernel = graph.tensors[operator.inputs[1]]
      if model.buffers[kernel.buffer].data is not None:
        yield operator, kind


def _magnitudes(
  model: qtyping.ModelT, found: Mapping[str, ranges.Range]
) -> dict[str, np.ndarray]:
  """Ranges of kernels whose channels are too small for their biases.

  A bias is an int32 of the input's scale times the channel's, which a filter of
  zeros, or nearly so, makes too small to hold it; litert-quantizer would write
  whatever is left. Of such a filter a larger scale loses nothing.
  """
  tensors = model.subgraphs[0].tensors
  data = lambda index: tfl_flatbuffer_utils.get_tensor_data(
    tensors[index], model.buffers
  )
  wider = {}
  for operator, kind in _with_kernel(model):
    source, index, *rest = operator.inputs
    bias = data(rest[0]) if rest and rest[0] >= 0 else None
    low, high = found.get(tensors[source].name.decode(), (0.0, 0.0))
    if bias is None or low == high:
      continue
    most = _greatest(data(index), kind)
    scale = (high - low) / ranges.STEPS
    needed = _KERNEL_STEPS * np.abs(bias) / (scale * _BIAS_STEPS)
    needed = needed.reshape(most.shape).astype(np.float32)
    if (needed > most).any():
      wider[tensors[index].name.decode()] = np.maximum(most, needed)
  return wider


def _greatest(kernel: np.ndarray, kind: Operator) -> np.ndarray:
  """The greatest magnitude of each output channel, which broadcasts."""
  axis = _CHANNEL_AXIS.get(kind, 0)
  others = tuple(i for i in range(kernel.ndim) if i != axis)
  return np.abs(kernel).max(others, keepdims=True)
