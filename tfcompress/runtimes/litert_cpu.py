"""LiteRT on the CPU, with XNNPACK: the TFLite runtime."""

import importlib.metadata
import re

import numpy as np
from ai_edge_litert import interpreter as litert

from tfcompress.core import environment, errors, measurements
from tfcompress.runtimes import interface, tensors, tflite_file

_DELEGATE = 'DELEGATE'  # the name of what stands for all that XNNPACK runs
_REMEDY = 'where the file has another signature, --signature takes it'


class LiteRtCpu:
  """An interpreter of one `.tflite`."""

  def __init__(self, path: str, config: measurements.OpenConfig):
    """Opens a file.

    Raises:
      ValueError: the file is no `.tflite`, or one the runtime cannot run.
    """
    with open(path, 'rb') as file:
      if file.read(8)[4:] != tflite_file.IDENTIFIER:
        raise ValueError(
          f'{path}: not a .tflite file (no {tflite_file.IDENTIFIER} mark)'
        )
    self._num_threads = config.num_threads or 1
    try:
      self._graph = _open(path, config)
    except (ValueError, RuntimeError) as error:
      raise ValueError(
        f'{path}: LiteRT cannot open it ({_reason(error)})'
      ) from error
    self.inputs = self._graph.inputs
    self.outputs = self._graph.outputs

  def predict(self, batch: np.ndarray) -> np.ndarray:
    try:
      scores = self._graph.run(batch)
    except (ValueError, RuntimeError) as error:
      raise ValueError(
        f'LiteRT cannot run the file ({_reason(error)})'
      ) from error
    return tensors.require_rows(scores, batch)

  def info(self) -> measurements.RuntimeRecord:
    return measurements.RuntimeRecord(
      name=measurements.Runtime.LITERT_CPU.value,
      version=importlib.metadata.version('ai-edge-litert'),
      device=environment.cpu_name(),
      num_threads=self._num_threads,
      fully_delegated=None,
      delegated_percent=self._graph.delegated_percent(),
    )

  def close(self) -> None:
    del self._graph


class _Primary:
  """The subgraph that a file runs where no signature is named."""

  def __init__(self, interpreter: litert.Interpreter, size_of_any: int):
    self._interpreter = interpreter
    inputs = interpreter.get_input_details()
    outputs = interpreter.get_output_details()
    self.inputs, self.outputs = _infos(inputs), _infos(outputs)
    tensors.require_one_of_each(self.inputs, self.outputs, _REMEDY)
    self._input, self._output = inputs[0]['index'], outputs[0]['index']
    self._shape = None
    self._resize(_likely_shape(self.inputs[0], inputs[0], size_of_any))

  def run(self, batch: np.ndarray) -> np.ndarray:
    if batch.shape != self._shape:
      self._resize(batch.shape)
    self._interpreter.set_tensor(self._input, batch)
    self._interpreter.invoke()
    return self._interpreter.get_tensor(self._output)

  def delegated_percent(self) -> float | None:
    return _delegated_percent(self._interpreter)

  def _resize(self, shape: tuple[int, ...]) -> None:
    self._shape = None  # Of an interpreter whose allocation has failed.
    self._interpreter.resize_tensor_input(self._input, shape)
    self._interpreter.allocate_tensors()
    self._shape = shape


class _Signature:
  """A subgraph beside the primary one, which only its signature can run."""

  def __init__(self, runner: litert.SignatureRunner):
    self._runner = runner
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    self.inputs = _infos(inputs.values())
    self.outputs = _infos(outputs.values())
    tensors.require_one_of_each(self.inputs, self.outputs, _REMEDY)
    (self._input,), (self._output,) = inputs, outputs

  def run(self, batch: np.ndarray) -> np.ndarray:
    return self._runner(**{self._input: batch})[self._output]

  def delegated_percent(self) -> None:
    """LiteRT lists the operators of the primary subgraph alone."""


def _open(path: str, config: measurements.OpenConfig) -> _Primary | _Signature:
  interpreter = litert.Interpreter(
    model_path=str(path), num_threads=config.num_threads
  )
  if not config.signature:
    return _Primary(interpreter, config.size_of_any)
  known = interpreter.get_signature_list()
  if config.signature not in known:
    raise ValueError(
      f'no signature {config.signature!r}; it has '
      f'{", ".join(sorted(known)) or "none: leave --signature out"}'
    )
  # The interpreter works on its own only while no runner of it lives.
  if not interpreter.get_signature_runner(config.signature)._subgraph_index:
    return _Primary(interpreter, config.size_of_any)
  return _Signature(interpreter.get_signature_runner(config.signature))


def _infos(details) -> tuple[measurements.TensorInfo, ...]:
  return tuple(_info(detail) for detail in details)


def _info(detail: dict) -> measurements.TensorInfo:
  scale, zero_point = detail['quantization']
  return measurements.TensorInfo(
    name=detail['name'],
    shape=_shape(detail),
    dtype=np.dtype(detail['dtype']).name,
    scale=float(scale) if scale else None,
    zero_point=int(zero_point) if scale else None,
  )


def _shape(detail: dict) -> tuple[int, ...]:
  """The shape with -1 for what is free; old files tell nothing of that."""
  free = detail['shape_signature']
  shape = free if len(free) == len(detail['shape']) else detail['shape']
  return tuple(int(size) for size in shape)


def _likely_shape(
  info: measurements.TensorInfo, detail: dict, size_of_any: int
) -> tuple[int, ...]:
  """One inference's input of a size that a model can take, where it is free."""
  try:
    size = interface.side_of(info) or size_of_any
  except ValueError:  # No image; who wants one says so.
    return tuple(int(size) for size in detail['shape'])
  return interface.shape_of(info, size)


def _delegated_percent(interpreter: litert.Interpreter) -> float | None:
  """The share of the file's operators that delegates took over.

  LiteRT keeps the operators that a delegate took over, beside a node for the
  delegate; those lie between what that node reads and what it writes.
  """
  try:
    nodes = interpreter._get_ops_details()
  except UnicodeDecodeError:  # A damaged name of what still can be run.
    return None
  operators = [node for node in nodes if node['op_name'] != _DELEGATE]
  writer = {index: node for node in operators for index in node['outputs']}
  taken = set()
  for delegate in (node for node in nodes if node['op_name'] == _DELEGATE):
    given, wanted = set(delegate['inputs']), list(delegate['outputs'])
    while wanted:
      index = wanted.pop()
      node = None if index in given else writer.get(index)
      if node and node['index'] not in taken:
        taken.add(node['index'])
        wanted.extend(node['inputs'])
  return 100 * len(taken) / max(1, len(operators))


def _reason(error: Exception) -> str:
  """What LiteRT's native code says, in one line."""
  text = ' '.join(str(error).split())
  text = re.sub(r'[.\s]*Node number', '; node number', text)
  # A custom operator may have any name.
  failed = re.search(r'node number \d+ \((.+?)\) failed', text)
  if failed and 'Select TensorFlow op' in text:
    return (
      f'operator {failed[1]} is of TensorFlow, which LiteRT has not; convert '
      'the model without SELECT_TF_OPS, or measure its SavedModel'
    )
  if 'unresolved custom op' in text:
    name = failed[1] if failed else 'custom'
    return f"operator {name} is not of LiteRT's own"
  return text or errors.first_line(error)
