"""space_to_depth: a convolution with a stride, as one over blocks of pixels.

A convolution with stride s over an image is one with stride 1 over its blocks of
s x s pixels, whose kernel has the same weights at other places and zeros beside
them. Three channels leave an int8 kernel mostly empty, 3 s s do not. It is done
to the file, whose weights and ranges are final: no output changes by a bit that
is not float rounding. Constant channels that are padded to an image are padded
to its blocks instead, which are fewer.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.runtimes import tflite_file

_MOST_CHANNELS = 4  # of what counts as an image
_STRIDES = (2, 3, 4)
_PADS = (schema.BuiltinOperator.PAD, schema.BuiltinOperator.PADV2)


@dataclasses.dataclass(frozen=True)
class Blocks:
  """How a kernel lies in one over blocks.

  Attributes:
    stride: pixels of a block a side.
    before: pixels that are padded left of and above the image.
    size: of the new kernel, in blocks a side.
    constant: the last of a pixel's channels, which come after those of all
      pixels of a block.
  """

  stride: int
  before: int
  size: int
  constant: int = 0

  def kernel(self, kernel: np.ndarray) -> np.ndarray:
    """Returns a kernel (K, K, C, O) as (size, size, s s C, O).

    A block's channels are its pixels row by row, a pixel's side by side.
    """
    height, width, channels, outputs = kernel.shape
    start = -self.before % self.stride
    side = self.size * self.stride
    wide = np.zeros((side, side, channels, outputs), kernel.dtype)
    wide[start : start + height, start : start + width] = kernel
    split = (self.size, self.stride)
    blocks = wide.reshape(*split, *split, channels, outputs)
    parts = np.split(
      blocks.transpose(0, 2, 1, 3, 4, 5), [channels - self.constant], axis=4
    )
    shape = (self.size, self.size, -1, outputs)
    return np.concatenate([part.reshape(shape) for part in parts], axis=2)


def _fitting(
  image: tuple[int, ...],
  kernel: tuple[int, ...],
  stride: int,
  padding: str,
) -> Blocks | None:
  """Returns how a convolution goes over blocks; None if it cannot.

  Args:
    image: (B, H, W, C).
    kernel: (K, K, C, O).
    stride: in both directions.
    padding: 'same' or 'valid'.
  """
  _, height, width, channels = image
  side = kernel[0]
  if (
    stride not in _STRIDES
    or height % stride
    or width % stride
    or channels > _MOST_CHANNELS
    or kernel[:3] != (side, side, channels)
  ):
    return None
  same = padding == 'same'
  before = max(side - stride, 0) // 2 if same else 0
  first = -(-before // stride)  # blocks, or parts of one, that are padded
  size = first + (side - 1 - before) // stride + 1
  if same:
    # The new kernel must be padded as the format does.
    fits = first == (size - 1) // 2
  else:
    fits = height // stride - size == (height - side) // stride
  return Blocks(stride, before, size) if fits else None


def apply(model: schema.ModelT) -> dict[str, Blocks]:
  """Changes every convolution that fits; returns how, by its kernel's name."""
  done = {}
  if len(model.subgraphs) > 1:
    return done
  graph = model.subgraphs[0]
  unpacking = tflite_file.unpacking(model, graph)
  for operator in list(graph.operators):
    plan = _plan(model, graph, operator)
    kernel = plan and _kernel(model, graph, operator, unpacking)
    if not kernel:
      continue
    if pad := _padding_channels(model, graph, operator):
      constant = _pad_blocks(model, graph, pad, plan.stride)
      plan = dataclasses.replace(plan, constant=constant)
    _move(model, kernel, plan)
    _insert(model, graph, pad or operator, plan.stride)
    operator.builtinOptions.strideH = operator.builtinOptions.strideW = 1
    done[kernel[-1].name.decode()] = plan
  return done


def _plan(
  model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT
) -> Blocks | None:
  """How an operator goes over blocks, if it is such a convolution."""
  if tflite_file.code_of(model, operator) != schema.BuiltinOperator.CONV_2D:
    return None
  image, kernel = (
    tuple(map(int, graph.tensors[index].shape)) for index in operator.inputs[:2]
  )
  options = operator.builtinOptions
  strides = {options.strideH, options.strideW}
  dilations = {options.dilationHFactor, options.dilationWFactor}
  if len(strides) > 1 or dilations != {1}:
    return None
  padding = 'same' if options.padding == schema.Padding.SAME else 'valid'
  return _fitting(image, (*kernel[1:], kernel[0]), *strides, padding)


def _kernel(
  model: schema.ModelT,
  graph: schema.SubGraphT,
  operator: schema.OperatorT,
  unpacking: Mapping[int, schema.OperatorT],
) -> list[schema.TensorT]:
  """The kernel's tensors, the constant last; none if others read them too."""
  indices = [operator.inputs[1]]
  while indices[-1] in unpacking:
    indices.append(unpacking[indices[-1]].inputs[0])
  tensors = [graph.tensors[index] for index in indices]
  reads = [index for other in graph.operators for index in other.inputs]
  is_constant = model.buffers[tensors[-1].buffer].data is not None
  is_own = all(reads.count(index) == 1 for index in indices)
  return tensors if is_constant and is_own else []


def _padding_channels(
  model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT
) -> schema.OperatorT | None:
  """What pads an operator's image, and no other's, with channels alone."""
  image = operator.inputs[0]
  readers = [other for other in graph.operators if image in other.inputs]
  for pad in graph.operators:
    is_pad = tflite_file.code_of(model, pad) in _PADS
    if is_pad and pad.outputs[0] == image and readers == [operator]:
      paddings = _paddings(model, graph, pad)
      return pad if not paddings[:-1].any() and not paddings[-1, 0] else None
  return None


def _paddings(
  model: schema.ModelT, graph: schema.SubGraphT, pad: schema.OperatorT
) -> np.ndarray:
  """Before and after each of the four axes, (4, 2)."""
  constant = graph.tensors[pad.inputs[1]]
  return tflite_file.values_of(model, constant).reshape(-1, 2)


def _pad_blocks(
  model: schema.ModelT,
  graph: schema.SubGraphT,
  pad: schema.OperatorT,
  stride: int,
) -> int:
  """Pads blocks instead of pixels; returns the channels of a pixel."""
  paddings = _paddings(model, graph, pad).copy()
  channels = int(paddings[-1, 1])
  paddings[-1, 1] *= stride**2
  constant = copy.copy(graph.tensors[pad.inputs[1]])
  _store(model, constant, paddings)
  pad.inputs = np.int32([pad.inputs[0], len(graph.tensors), *pad.inputs[2:]])
  graph.tensors.append(constant)
  padded = graph.tensors[pad.outputs[0]]
  padded.shape = np.int32(_blocks_shape(padded.shape, stride))
  return channels


def _blocks_shape(shape: Sequence[int], stride: int) -> list[int]:
  batch, height, width, channels = shape
  return [batch, height // stride, width // stride, channels * stride**2]


def _store(
  model: schema.ModelT, tensor: schema.TensorT, values: np.ndarray
) -> None:
  """Gives a tensor numbers of its own."""
  buffer = schema.BufferT()
  buffer.data = tflite_file.stored(values, tensor.type)
  tensor.buffer = len(model.buffers)
  model.buffers.append(buffer)


def _move(
  model: schema.ModelT, kernel: Sequence[schema.TensorT], plan: Blocks
) -> None:
  """Puts a kernel's weights, (O, H, W, I), where blocks have their pixels."""
  stored = kernel[-1]
  values = tflite_file.values_of(model, stored).reshape(stored.shape)
  moved = plan.kernel(values.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
  _store(model, stored, moved)
  for tensor in kernel:
    tensor.shape = np.int32(moved.shape)


def _insert(
  model: schema.ModelT,
  graph: schema.SubGraphT,
  operator: schema.OperatorT,
  stride: int,
) -> None:
  """Puts a SPACE_TO_DEPTH before an operator."""
  image = graph.tensors[operator.inputs[0]]
  pixels = copy.copy(image)
  pixels.name = image.name + b'/space_to_depth'
  pixels.shape = np.int32(_blocks_shape(image.shape, stride))
  pixels.shapeSignature = None
  graph.tensors.append(pixels)
  options = schema.SpaceToDepthOptionsT()
  options.blockSize = stride
  to_depth = schema.OperatorT()
  to_depth.opcodeIndex = _opcode(model, image.type)
  to_depth.inputs = np.int32([operator.inputs[0]])
  to_depth.outputs = np.int32([len(graph.tensors) - 1])
  to_depth.builtinOptionsType = schema.BuiltinOptions.SpaceToDepthOptions
  to_depth.builtinOptions = options
  operator.inputs = np.int32([to_depth.outputs[0], *operator.inputs[1:]])
  graph.operators.insert(graph.operators.index(operator), to_depth)


def _opcode(model: schema.ModelT, dtype: int) -> int:
  """The index of SPACE_TO_DEPTH among the operators that the file uses."""
  code = schema.OperatorCodeT()
  code.builtinCode = schema.BuiltinOperator.SPACE_TO_DEPTH
  code.deprecatedBuiltinCode = code.builtinCode
  code.version = 2 if dtype == schema.TensorType.INT8 else 1
  model.operatorCodes.append(code)
  return len(model.operatorCodes) - 1
