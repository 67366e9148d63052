"""What a `.tflite` holds: the flatbuffer itself, without a runtime."""

import dataclasses
from collections.abc import Iterator

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tfcompress.runtimes import interface

IDENTIFIER = b'TFL3'  # bytes 4 to 8 of every .tflite
_OPERATORS = {
  schema.BuiltinOperator.CONV_2D: 'conv_2d',
  schema.BuiltinOperator.DEPTHWISE_CONV_2D: 'depthwise_conv_2d',
  schema.BuiltinOperator.FULLY_CONNECTED: 'fully_connected',
}
# They give the constant that they take, in another form.
_UNPACKING = (schema.BuiltinOperator.DENSIFY, schema.BuiltinOperator.DEQUANTIZE)
DTYPES = {  # of schema.TensorType
  value: name.lower()
  for name, value in vars(schema.TensorType).items()
  if not name.startswith('_')
}


@dataclasses.dataclass(frozen=True)
class Weight:
  """The weights of one operator.

  Attributes:
    name: of the tensor; the converter makes it of the layer's.
    operator: 'conv_2d', 'depthwise_conv_2d' or 'fully_connected'.
    values: the file's own numbers in Keras's order, (H, W, I, O), (H, W, C, M)
      or (I, O); an int4 as an int8 from -8 to 7.
    dtype: of the file's numbers, such as 'int4' or 'float16'.
    scale: float32 that broadcasts against `values`, real = scale * (values -
      zero_point); None of floats.
    zero_point: int64, likewise.
    quantized_dimension: the axis that scales run along in the file's order,
      (O, H, W, I), (1, H, W, C * M) or (O, I); None of floats.
  """

  name: str
  operator: str
  values: np.ndarray
  dtype: str
  scale: np.ndarray | None
  zero_point: np.ndarray | None
  quantized_dimension: int | None


def weights(path: str) -> list[Weight]:
  """Reads the weights of convolutions and dense layers in execution order.

  Weights that another operator computes are left out. Float16 ones that a
  DEQUANTIZE widens are read as float16.

  Args:
    path: a `.tflite`, or an export folder with one.

  Raises:
    ValueError: no `.tflite`, or weights that are stored sparse.
  """
  model = _model(path)
  found = []
  for graph in model.subgraphs:
    packed = unpacking(model, graph)
    for operator in graph.operators:
      code = code_of(model, operator)
      if code in _OPERATORS:
        image, index = operator.inputs[:2]
        while index in packed:
          index = packed[index].inputs[0]
        tensor = graph.tensors[index]
        if model.buffers[tensor.buffer].data is not None:
          channels = graph.tensors[image].shape[-1]
          found.append(_weight(model, _OPERATORS[code], tensor, channels, path))
  return found


def constants(path: str) -> tuple[int, int]:
  """Counts the constants that are floats or quantized, and the nonzero ones.

  Shapes, axes and paddings are int32 without a scale and do not count.

  Args:
    path: a `.tflite`, or an export folder with one.

  Raises:
    ValueError: no `.tflite`.
  """
  counts = [
    (values.size, int(np.count_nonzero(values)))
    for values in _constants(_model(path))
  ]
  return sum(size for size, _ in counts), sum(nonzero for _, nonzero in counts)


def code_of(model: schema.ModelT, operator: schema.OperatorT) -> int:
  """Returns which operator it is, of schema.BuiltinOperator."""
  code = model.operatorCodes[operator.opcodeIndex]
  # Codes up to 127 once lay in the first field only.
  return max(code.deprecatedBuiltinCode, code.builtinCode)


def unpacking(
  model: schema.ModelT, graph: schema.SubGraphT
) -> dict[int, schema.OperatorT]:
  """Returns the operators that give a constant in another form.

  By the index of the tensor that they write.
  """
  found = {}
  for operator in graph.operators:
    source = operator.inputs[0] if len(operator.inputs) else -1
    if code_of(model, operator) in _UNPACKING and (
      source in found
      or model.buffers[graph.tensors[source].buffer].data is not None
    ):
      found[operator.outputs[0]] = operator
  return found


def model_of(content: bytes) -> schema.ModelT:
  """Returns a file's flatbuffer."""
  # Not schema's own reader: a file may have its constants behind its tables.
  return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def values_of(model: schema.ModelT, tensor: schema.TensorT) -> np.ndarray:
  """Returns the numbers (K,) of a constant; int4 ones as int8."""
  data = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
  dtype = DTYPES[tensor.type]
  if dtype != 'int4':
    return np.frombuffer(data.tobytes(), np.dtype(dtype))
  # Two a byte, the low one first.
  nibbles = np.stack([data & 15, data >> 4], axis=-1).reshape(-1)
  signed = (nibbles.astype(np.int8) ^ 8) - 8
  return signed[: int(np.prod(tensor.shape))]


def stored(values: np.ndarray, kind: int) -> np.ndarray:
  """Returns the bytes of a constant, the inverse of `values_of`.

  Args:
    values: of any shape, in the file's order; int4 ones as int8.
    kind: of schema.TensorType.
  """
  if DTYPES[kind] != 'int4':
    return np.frombuffer(values.tobytes(), np.uint8)
  nibbles = values.reshape(-1).astype(np.uint8) & 15
  nibbles = np.append(nibbles, np.zeros(nibbles.size % 2, np.uint8))
  return nibbles[::2] | nibbles[1::2] << 4


def packed(model: schema.ModelT) -> bytes:
  """Returns a flatbuffer as a file; vectors and names that are alike, once."""
  builder = _SharingBuilder()
  builder.Finish(model.Pack(builder), IDENTIFIER)
  return bytes(builder.Output())


class _SharingBuilder(flatbuffers.Builder):
  """Writes vectors of numbers, and strings, that are alike once."""

  def __init__(self):
    super().__init__()
    self._written = {}

  def StartVector(self, size, count, alignment):
    # Constants are vectors of bytes; the format wants them at multiples of 16.
    wanted = max(alignment, 16) if size == 1 else alignment
    return super().StartVector(size, count, wanted)

  def CreateNumpyVector(self, x):
    return self._once((x.dtype.str, x.tobytes()), super().CreateNumpyVector, x)

  def CreateString(self, s, *args):
    return self._once((s, args), super().CreateString, s, *args)

  def _once(self, key, write, *args):
    if key not in self._written:
      self._written[key] = write(*args)
    return self._written[key]


def _model(path: str) -> schema.ModelT:
  content = interface.file_of(path).read_bytes()
  if content[4:8] != IDENTIFIER:
    raise ValueError(f'{path}: not a .tflite file (no {IDENTIFIER} mark)')
  return model_of(content)


def _weight(model, kind: str, tensor, input_channels: int, path: str) -> Weight:
  """A constant as the weights of an operator of this kind."""
  name = tensor.name.decode()
  if tensor.sparsity is not None:
    raise ValueError(
      f'{path}: {name} is stored sparse, expected dense weights; convert '
      'without Optimize.EXPERIMENTAL_SPARSITY'
    )
  values = values_of(model, tensor).reshape(tensor.shape)
  # Output channels, which come last in Keras; depthwise ones are C * M.
  channels = (-1,)
  if kind == 'conv_2d':
    values = values.transpose(1, 2, 3, 0)
  elif kind == 'fully_connected':
    values = values.transpose()
  else:
    channels = (int(input_channels), -1)
    values = values.reshape(*values.shape[1:3], *channels)
  scale = zero_point = dimension = None
  if _is_quantized(tensor):
    parameters = tensor.quantization
    dimension = int(parameters.quantizedDimension)
    per_channel = channels if len(parameters.scale) > 1 else (1,)
    scale = np.float32(parameters.scale).reshape(per_channel)
    zero_point = np.zeros(scale.shape, np.int64)
    if parameters.zeroPoint is not None:
      zero_point += np.reshape(parameters.zeroPoint, per_channel)
  return Weight(
    name=name,
    operator=kind,
    values=values,
    dtype=DTYPES[tensor.type],
    scale=scale,
    zero_point=zero_point,
    quantized_dimension=dimension,
  )


def _constants(model: schema.ModelT) -> Iterator[np.ndarray]:
  """The numbers (K,) of every constant that is a parameter."""
  for graph in model.subgraphs:
    for tensor in graph.tensors:
      is_float = DTYPES[tensor.type].startswith('float')
      is_constant = model.buffers[tensor.buffer].data is not None
      if is_constant and (is_float or _is_quantized(tensor)):
        yield values_of(model, tensor)


def _is_quantized(tensor: schema.TensorT) -> bool:
  return tensor.quantization is not None and (
    tensor.quantization.scale is not None
  )
