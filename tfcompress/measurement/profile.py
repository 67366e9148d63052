"""Where the time of a `.tflite` goes, operator by operator.

LiteRT hands most of a file to XNNPACK as one piece and tells no times from
inside it. So every operator is made a file of its own, with the constants that
it reads, and timed alone in the same runtime.
"""

import copy
import statistics
import time
from collections.abc import Mapping, Sequence

import numpy as np
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from tfcompress.core import measurements
from tfcompress.runtimes import interface, tflite_file

_WARMUP_RUNS, _LEAST_RUNS = 5, 10
_NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items()}


def profile(
  path: str, image_size: int, seconds: float = 0.1
) -> measurements.ProfileRecord:
  """Times a file and each of its operators, on random inputs, one thread.

  Args:
    path: a `.tflite`, or an export folder with one.
    image_size: height and width of its images, where it takes any.
    seconds: for each operator, and ten times that for the whole; ten runs at
      least.
  """
  content = interface.file_of(path).read_bytes()
  model = tflite_file.model_of(content)
  graph = model.subgraphs[0]
  if shapes := _shapes(content, image_size):
    for index, tensor in enumerate(graph.tensors):
      tensor.shapeSignature = None
      tensor.shape = shapes.get(index, tensor.shape)
    content = tflite_file.packed(model)
  unpacking = tflite_file.unpacking(model, graph)
  operators = tuple(
    _record(model, graph, operator, unpacking, seconds)
    for operator in graph.operators
    if operator.outputs[0] not in unpacking
  )
  return measurements.ProfileRecord(
    operators, _median_ms(content, 10 * seconds)
  )


def _shapes(content: bytes, image_size: int) -> dict[int, list[int]]:
  """The shapes of the tensors of a file of free size, for images of a size."""
  interpreter = litert.Interpreter(model_content=content, num_threads=1)
  free = [
    given
    for given in interpreter.get_input_details()
    if -1 in given['shape_signature']
  ]
  for given in free:
    batch, *sides = (int(side) for side in given['shape_signature'])
    sides = [image_size if side < 0 else side for side in sides]
    interpreter.resize_tensor_input(given['index'], [max(1, batch), *sides])
  if not free:
    return {}
  interpreter.allocate_tensors()
  return {
    tensor['index']: tensor['shape'].tolist()
    for tensor in interpreter.get_tensor_details()
  }


def _record(
  model: schema.ModelT,
  graph: schema.SubGraphT,
  operator: schema.OperatorT,
  unpacking: Mapping[int, schema.OperatorT],
  seconds: float,
) -> measurements.OperatorRecord:
  output = graph.tensors[operator.outputs[0]]
  unpacked = [unpacking[i] for i in operator.inputs if i in unpacking]
  operators = [*unpacked, operator]
  shape = () if output.shape is None else output.shape
  return measurements.OperatorRecord(
    operator=_name(model, operator),
    name=output.name.decode(),
    shape=tuple(int(size) for size in shape),
    dtype=tflite_file.DTYPES[output.type],
    ms=_median_ms(_alone(model, graph, operators), seconds),
  )


def _name(model: schema.ModelT, operator: schema.OperatorT) -> str:
  """Its name in TFLite, or the own one of a custom operator."""
  code = tflite_file.code_of(model, operator)
  own = model.operatorCodes[operator.opcodeIndex].customCode
  if code == schema.BuiltinOperator.CUSTOM and own:
    return own.decode(errors='replace')
  return _NAMES[code]


def _alone(
  model: schema.ModelT,
  graph: schema.SubGraphT,
  operators: Sequence[schema.OperatorT],
) -> bytes:
  """A file of few operators; its inputs are what is neither constant nor made."""
  place, tensors, buffers = {-1: -1}, [], [schema.BufferT()]  # -1: left out
  for index in (i for o in operators for i in (*o.inputs, *o.outputs)):
    if index not in place:
      place[index] = len(tensors)
      tensors.append(_copied(model, graph.tensors[index], buffers))
  part = schema.SubGraphT()
  part.tensors, part.operators = tensors, []
  file = schema.ModelT()
  file.version, file.buffers, file.subgraphs = model.version, buffers, [part]
  file.operatorCodes = [model.operatorCodes[o.opcodeIndex] for o in operators]
  for code, operator in enumerate(operators):
    single = copy.copy(operator)
    single.opcodeIndex = code
    single.inputs = [place[index] for index in operator.inputs]
    single.outputs = [place[index] for index in operator.outputs]
    part.operators.append(single)
  made = {i for operator in part.operators for i in operator.outputs}
  read = [i for operator in part.operators for i in operator.inputs if i >= 0]
  part.inputs = [
    i for i in dict.fromkeys(read) if not tensors[i].buffer and i not in made
  ]
  part.outputs = part.operators[-1].outputs
  return tflite_file.packed(file)


def _copied(
  model: schema.ModelT,
  tensor: schema.TensorT,
  buffers: list[schema.BufferT],
) -> schema.TensorT:
  """A tensor with its constant, if it is one, at the end of `buffers`."""
  tensor, buffer = copy.copy(tensor), model.buffers[tensor.buffer]
  tensor.buffer = 0
  if buffer.data is not None:
    tensor.buffer = len(buffers)
    buffers.append(buffer)
  return tensor


def _median_ms(content: bytes, seconds: float) -> float:
  """Median time of an inference on random numbers, in milliseconds."""
  interpreter = litert.Interpreter(model_content=content, num_threads=1)
  interpreter.allocate_tensors()
  rng = np.random.RandomState(0)
  for detail in interpreter.get_input_details():
    interpreter.set_tensor(detail['index'], _random(rng, detail))
  for _ in range(_WARMUP_RUNS):
    interpreter.invoke()
  samples, begin = [], time.perf_counter()
  while len(samples) < _LEAST_RUNS or time.perf_counter() < begin + seconds:
    start = time.perf_counter()
    interpreter.invoke()
    samples.append(time.perf_counter() - start)
  return 1e3 * statistics.median(samples)


def _random(rng: np.random.RandomState, detail: dict) -> np.ndarray:
  dtype = np.dtype(detail['dtype'])
  if dtype.kind == 'f':
    return rng.rand(*detail['shape']).astype(dtype)
  return rng.randint(0, 100, detail['shape']).astype(dtype)
