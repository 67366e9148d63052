"""strides: a 1x1 convolution with a stride, as a 1x1 pool and one without.

A 1x1 kernel with stride s reads every s-th pixel alone. A 1x1 MAX_POOL with that
stride passes on just those, and the convolution then has no stride: no output
changes by a bit, but of dynamic variants, which round a convolution's input by
the range of all its pixels. LiteRT's GPU runtime gives a 1x1 convolution of
integer weights the shape of one without a stride, and computes wrong numbers; of
a pool and a convolution it computes the right ones. A CPU takes up to a hundredth
longer for the two.
"""

import copy

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.runtimes import tflite_file

_MAX_POOL = schema.BuiltinOperator.MAX_POOL_2D
_VERSIONS = {schema.TensorType.INT8: 2, schema.TensorType.INT16: 3}  # else 1


def apply(model: schema.ModelT) -> int:
  """Changes every 1x1 convolution with a stride; returns how many."""
  count = 0
  for graph in model.subgraphs:
    for operator in list(graph.operators):
      if _is_strided(model, graph, operator):
        _insert(model, graph, operator)
        count += 1
  return count


def _is_strided(
  model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT
) -> bool:
  """Whether an operator is a 1x1 convolution with a stride."""
  if tflite_file.code_of(model, operator) != schema.BuiltinOperator.CONV_2D:
    return False
  options = operator.builtinOptions
  kernel = graph.tensors[operator.inputs[1]].shape
  return max(kernel[1:3]) == 1 < max(options.strideH, options.strideW)


def _insert(
  model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT
) -> None:
  """Puts a MAX_POOL_2D before a convolution, which gives it its stride."""
  image = graph.tensors[operator.inputs[0]]
  kept = copy.copy(image)
  kept.name = image.name + b'/strides'
  size = graph.tensors[operator.outputs[0]].shape[1:3]
  kept.shape = np.int32([image.shape[0], *size, image.shape[3]])
  kept.shapeSignature = None
  kept.buffer = 0
  graph.tensors.append(kept)
  pool = schema.OperatorT()
  pool.opcodeIndex = _opcode(model, image.type)
  pool.inputs = np.int32([operator.inputs[0]])
  pool.outputs = np.int32([len(graph.tensors) - 1])
  pool.builtinOptionsType = schema.BuiltinOptions.Pool2DOptions
  pool.builtinOptions = _pooling(operator.builtinOptions)
  operator.inputs = np.int32([pool.outputs[0], *operator.inputs[1:]])
  operator.builtinOptions.strideH = operator.builtinOptions.strideW = 1
  graph.operators.insert(graph.operators.index(operator), pool)


def _pooling(options: schema.Conv2DOptionsT) -> schema.Pool2DOptionsT:
  """A pool of one pixel with the stride of a convolution."""
  pooling = schema.Pool2DOptionsT()
  pooling.filterHeight = pooling.filterWidth = 1
  pooling.strideH, pooling.strideW = options.strideH, options.strideW
  pooling.padding = schema.Padding.VALID  # One pixel needs none.
  return pooling


def _opcode(model: schema.ModelT, dtype: int) -> int:
  """The index of MAX_POOL_2D among the operators that the file uses."""
  wanted = (_MAX_POOL, _VERSIONS.get(dtype, 1))
  for index, code in enumerate(model.operatorCodes):
    if (code.builtinCode, code.version) == wanted:
      return index
  code = schema.OperatorCodeT()
  code.builtinCode = code.deprecatedBuiltinCode = _MAX_POOL
  code.version = wanted[1]
  model.operatorCodes.append(code)
  return len(model.operatorCodes) - 1
