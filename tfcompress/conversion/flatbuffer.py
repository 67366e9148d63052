"""Exact changes to the file itself, which no converter makes.

- space_to_depth: see `blocks`.
- resize: uint8 pixels that become int8 and are then resized are resized first;
  of 224x224 pixels those of 64x64 remain to be converted.
- strides, on request alone, since a CPU takes longer: see `strides`.
- Names are those of the layers, and vectors of the same numbers, such as the zero
  points of every tensor with as many channels, are written once.
"""

import dataclasses
from collections.abc import Collection, Mapping

from ai_edge_litert import schema_py_generated as schema

from tfcompress.conversion import blocks as blocks_lib
from tfcompress.conversion import layer_names, strides
from tfcompress.core import types
from tfcompress.runtimes import tflite_file

_NO_LAYERS = layer_names.LayerNames()
_ON_REQUEST = (types.Rewrite.STRIDES,)
_WHY_NOT = {
  types.Rewrite.SPACE_TO_DEPTH: 'convolution over an image of at most 4 '
  'channels with a stride of 2, 3 or 4 that divides its size',
  types.Rewrite.RESIZE: 'uint8 pixels that become int8 and are resized then',
  types.Rewrite.STRIDES: '1x1 convolution with a stride',
}
_RESIZES = (
  schema.BuiltinOperator.RESIZE_BILINEAR,
  schema.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR,
)


@dataclasses.dataclass(frozen=True)
class Rewritten:
  """A file after its rewrites.

  Attributes:
    content: the file.
    done: the rewrites that it went through.
    blocks: how kernels lie in it that are over blocks now, by layer.
  """

  content: bytes
  done: tuple[types.Rewrite, ...]
  blocks: Mapping[str, blocks_lib.Blocks]


def rewritten(
  content: bytes,
  layers: layer_names.LayerNames = _NO_LAYERS,
  wanted: Collection[types.Rewrite] | None = None,
) -> Rewritten:
  """Returns a compact file of the same outputs.

  Args:
    content: a `.tflite`.
    layers: of the network; by default tensors keep their names.
    wanted: of SPACE_TO_DEPTH, RESIZE and STRIDES; others are ignored. None
      takes those that fit, but for STRIDES.

  Raises:
    ValueError: one that is wanted does not fit.
  """
  model = tflite_file.model_of(content)
  results = {
    rewrite: apply(model)
    for rewrite, apply in _REWRITES.items()
    if (rewrite not in _ON_REQUEST if wanted is None else rewrite in wanted)
  }
  for rewrite, result in results.items():
    if not result and wanted is not None:
      raise ValueError(
        f'--rewrites={rewrite.value} does not fit the file: it has no '
        f'{_WHY_NOT[rewrite]}; leave it out'
      )
  compact(model, layers)
  moved = results.get(types.Rewrite.SPACE_TO_DEPTH, {})
  by_layer = {layers.of(name) or name: plan for name, plan in moved.items()}
  done = tuple(rewrite for rewrite, result in results.items() if result)
  return Rewritten(tflite_file.packed(model), done, by_layer)


def resize_first(model: schema.ModelT) -> bool:
  """Has pixels resized as uint8; returns whether there are such."""
  graph = model.subgraphs[0]
  if len(graph.operators) < 2:
    return False
  convert, resize = graph.operators[:2]
  if (
    len(model.subgraphs) > 1
    or tflite_file.code_of(model, convert) != schema.BuiltinOperator.QUANTIZE
    or tflite_file.code_of(model, resize) not in _RESIZES
    or resize.inputs[0] != convert.outputs[0]
  ):
    return False
  pixels, moved = convert.inputs[0], convert.outputs[0]
  resized = resize.outputs[0]
  alone = sum(moved in operator.inputs for operator in graph.operators) == 1
  if not alone or not _same_numbers(graph, pixels, moved):
    return False
  # The tensor between the two is now the uint8 one that is resized already.
  names = graph.tensors[moved].name, graph.tensors[resized].name
  graph.tensors[resized].name, graph.tensors[moved].name = names
  graph.tensors[moved].type = graph.tensors[pixels].type
  graph.tensors[moved].quantization = graph.tensors[pixels].quantization
  graph.tensors[moved].shape = graph.tensors[resized].shape
  graph.tensors[moved].shapeSignature = graph.tensors[resized].shapeSignature
  resize.inputs, resize.outputs = [pixels, *resize.inputs[1:]], [moved]
  convert.inputs, convert.outputs = [moved], [resized]
  graph.operators[:2] = [resize, convert]
  return True


def compact(model: schema.ModelT, layers: layer_names.LayerNames) -> None:
  """Leaves out constants that nothing reads, and shortens names.

  What is neither input nor output is called by its layer.
  """
  tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
  read = {one.buffer for one in (*tensors, *(model.metadata or ()))}
  for index, buffer in enumerate(model.buffers):
    if index not in read:
      buffer.data = None
  for graph in model.subgraphs:
    public = {*graph.inputs, *graph.outputs}
    for index, tensor in enumerate(graph.tensors):
      if index not in public:
        name = tensor.name.decode()
        tensor.name = (layers.of(name) or name).encode()


def _same_numbers(graph: schema.SubGraphT, first: int, second: int) -> bool:
  """Whether uint8 and int8 numbers that differ by 128 stand for the same."""
  before, after = graph.tensors[first], graph.tensors[second]
  types = (schema.TensorType.UINT8, schema.TensorType.INT8)
  if (before.type, after.type) != types:
    return False
  zero = lambda tensor: int(tensor.quantization.zeroPoint[0])
  return (
    before.quantization.scale[0] == after.quantization.scale[0]
    and zero(before) - zero(after) == 128
  )


_REWRITES = {
  types.Rewrite.SPACE_TO_DEPTH: blocks_lib.apply,
  types.Rewrite.RESIZE: resize_first,
  types.Rewrite.STRIDES: strides.apply,
}
