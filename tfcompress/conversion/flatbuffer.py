"""Exact changes to the file itself, which no converter makes.

- resize: uint8 pixels that become int8 and are then resized are resized first;
  of 224x224 pixels those of 64x64 remain to be converted.
- compact: names are those of the layers, and vectors of the same numbers, such
  as the zero points of every tensor with as many channels, are written once.
"""

from collections.abc import Collection

import tf_keras
from ai_edge_litert import schema_py_generated as schema

from tfcompress.conversion import variants
from tfcompress.core import types
from tfcompress.runtimes import tflite_file

_RESIZES = (
  schema.BuiltinOperator.RESIZE_BILINEAR,
  schema.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR,
)


def require_resize(
  model: tf_keras.Model,
  variant: types.Variant,
  io_dtype: types.IoDtype | None,
) -> None:
  """Raises ValueError where pixels are not resized, or not made int8 of uint8."""
  dtype = variants.io_dtype(variant, io_dtype)
  resizes = any(type(x) is tf_keras.layers.Resizing for x in model.layers)
  if dtype is not types.IoDtype.UINT8 or not resizes:
    raise ValueError(
      f'--rewrites={types.Rewrite.RESIZE.value} does not fit --variant='
      f'{variant.value} with {dtype.value} pixels of a network that '
      f'{"resizes" if resizes else "does not resize"} them: expected uint8 '
      'pixels that it resizes; leave it out'
    )


def rewritten(
  content: bytes,
  layers: Collection[str],
  wanted: Collection[types.Rewrite] | None = None,
) -> tuple[bytes, tuple[types.Rewrite, ...]]:
  """Returns a compact file of the same outputs, and the rewrites it went through.

  Args:
    content: a `.tflite`.
    layers: names of the network's layers.
    wanted: of RESIZE, which is done where it fits; None for it.
  """
  done = ()
  if wanted is None or types.Rewrite.RESIZE in wanted:
    resized = resized_first(content)
    if resized is not None:
      content, done = resized, (types.Rewrite.RESIZE,)
  return compacted(content, layers), done


def resized_first(content: bytes) -> bytes | None:
  """Returns the file with its pixels resized as uint8; None if it has no such.

  Args:
    content: a `.tflite`.
  """
  model = tflite_file.model_of(content)
  graph = model.subgraphs[0]
  if len(graph.operators) < 2:
    return None
  convert, resize = graph.operators[:2]
  if (
    len(model.subgraphs) > 1
    or tflite_file.code_of(model, convert) != schema.BuiltinOperator.QUANTIZE
    or tflite_file.code_of(model, resize) not in _RESIZES
    or resize.inputs[0] != convert.outputs[0]
  ):
    return None
  pixels, moved = convert.inputs[0], convert.outputs[0]
  resized = resize.outputs[0]
  alone = sum(moved in operator.inputs for operator in graph.operators) == 1
  if not alone or not _same_numbers(graph, pixels, moved):
    return None
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
  return tflite_file.packed(model)


def compacted(content: bytes, layers: Collection[str]) -> bytes:
  """Returns the file in fewer bytes.

  Args:
    content: a `.tflite`.
    layers: names that a tensor keeps of its longer one; inputs and outputs keep
      all.
  """
  model = tflite_file.model_of(content)
  for graph in model.subgraphs:
    public = {*graph.inputs, *graph.outputs}
    for index, tensor in enumerate(graph.tensors):
      if index not in public:
        name = tensor.name.decode()
        tensor.name = (tflite_file.layer_of(name, layers) or name).encode()
  return tflite_file.packed(model)


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
