"""OpenVINO on the CPU: `.tflite` and `.onnx` files."""

import importlib.metadata
import itertools
import pathlib
import struct
import tempfile

import numpy as np
import openvino
from ai_edge_litert import schema_py_generated as schema

from tfcompress.core import environment, errors, measurements
from tfcompress.runtimes import interface, tensors, tflite_file

_DEVICE = 'CPU'
_REMEDY = 'export the part from the image to the scores alone'


class OpenVino:
  """A file compiled for batches of one size, and again for another."""

  def __init__(self, path: str, config: measurements.OpenConfig):
    """Opens a file.

    Args:
      path: a `.tflite` or `.onnx`.
      config: no number of threads leaves it to OpenVINO.

    Raises:
      ValueError: the file is no model of one image, or one that the runtime
        cannot run.
    """
    if config.device is not measurements.Device.CPU:
      raise ValueError(
        f'{path}: --device={config.device.value}, but OpenVINO runs on the CPU '
        'here; use --device=cpu'
      )
    self._core = openvino.Core()
    self._settings = _settings(config.num_threads)
    try:
      flatbuffer = _flatbuffer(path)
      self._model = _read(self._core, path, flatbuffer)
      self.inputs = _infos(
        self._model.inputs, _quantizations(flatbuffer, 'inputs')
      )
      self.outputs = _infos(
        self._model.outputs, _quantizations(flatbuffer, 'outputs')
      )
      tensors.require_one_of_each(self.inputs, self.outputs, _REMEDY)
      self._compile(_one_image(self.inputs[0], config.size_of_any))
    except (RuntimeError, ValueError) as error:
      raise ValueError(
        f'{path}: OpenVINO cannot open it ({_reason(error)})'
      ) from error

  def predict(self, batch: np.ndarray) -> np.ndarray:
    try:
      if batch.shape != self._shape:
        self._compile(batch.shape)
      scores = self._request.infer([batch], share_inputs=True)[0]
    except (RuntimeError, ValueError) as error:
      raise ValueError(
        f'OpenVINO cannot run the file ({_reason(error)})'
      ) from error
    return tensors.require_rows(scores, batch)

  def info(self) -> measurements.RuntimeRecord:
    precision = self._compiled.get_property('INFERENCE_PRECISION_HINT')
    return measurements.RuntimeRecord(
      name=measurements.Runtime.OPENVINO.value,
      version=importlib.metadata.version('openvino'),
      device=environment.cpu_name(),
      num_threads=self._compiled.get_property('INFERENCE_NUM_THREADS'),
      fully_delegated=None,
      precision=None
      if precision == openvino.Type.f32
      else precision.get_type_name(),
    )

  def close(self) -> None:
    del self._request, self._compiled, self._model

  def _compile(self, shape: tuple[int, ...]) -> None:
    # A fixed shape is what its fastest kernels need.
    self._shape = None  # Of a model that does not compile so.
    self._model.reshape(list(shape))
    self._compiled = self._core.compile_model(
      self._model, _DEVICE, self._settings
    )
    self._request = self._compiled.create_infer_request()
    self._shape = shape


def _settings(num_threads: int | None) -> dict[str, object]:
  settings = {
    'PERFORMANCE_HINT': 'LATENCY',
    # Else floats are bfloat16 where the CPU multiplies in it.
    'INFERENCE_PRECISION_HINT': 'f32',
  }
  if num_threads is not None:
    settings['INFERENCE_NUM_THREADS'] = num_threads
  return settings


def _one_image(
  info: measurements.TensorInfo, size_of_any: int
) -> tuple[int, ...]:
  """One inference's input of a size that a model can take, where it is free."""
  return interface.shape_of(info, interface.side_of(info) or size_of_any)


def _flatbuffer(path: str) -> schema.ModelT | None:
  """What a `.tflite` holds; None of another file, or a damaged one."""
  if pathlib.Path(path).suffix.lower() != '.tflite':
    return None
  try:
    return tflite_file.model_of(pathlib.Path(path).read_bytes())
  except (struct.error, LookupError, TypeError, ValueError):
    return None  # OpenVINO says so.


def _read(
  core: openvino.Core, path: str, flatbuffer: schema.ModelT | None
) -> openvino.Model:
  """Reads a file.

  OpenVINO knows tensors by their names alone, which in a `.tflite` need not
  differ: it would take one for another.
  """
  if flatbuffer is None or not _rename(flatbuffer):
    return core.read_model(path)
  with tempfile.NamedTemporaryFile(suffix='.tflite') as file:
    file.write(tflite_file.packed(flatbuffer))
    file.flush()
    return core.read_model(file.name)


def _rename(flatbuffer: schema.ModelT) -> bool:
  """Gives each tensor a name of its own; returns whether any had none."""
  renamed = False
  for graph in flatbuffer.subgraphs:
    names = {None, b''}
    for index, tensor in enumerate(graph.tensors):
      if tensor.name in names:
        tensor.name = b'%s;%d' % (tensor.name or b'', index)
        renamed = True
      names.add(tensor.name)
  return renamed


def _quantizations(flatbuffer: schema.ModelT | None, which: str) -> list:
  """How the 'inputs' or 'outputs' are quantized, as far as a file tells."""
  if flatbuffer is None:
    return []
  graph = flatbuffer.subgraphs[0]
  return [graph.tensors[index].quantization for index in getattr(graph, which)]


def _infos(ports, quantizations: list) -> tuple[measurements.TensorInfo, ...]:
  """OpenVINO takes and gives a file's own integers, but not their scale."""
  return tuple(
    measurements.TensorInfo(
      port.any_name,
      _shape(port.partial_shape),
      np.dtype(port.element_type.to_dtype()).name,
      *_scale(quantization),
    )
    for port, quantization in itertools.zip_longest(ports, quantizations)
  )


def _shape(shape: openvino.PartialShape) -> tuple[int, ...]:
  if shape.rank.is_dynamic:
    return ()
  return tuple(-1 if size.is_dynamic else size.get_length() for size in shape)


def _scale(
  quantization: schema.QuantizationParametersT | None,
) -> tuple[float | None, int | None]:
  if quantization is None or quantization.scale is None:
    return None, None
  zero_points = quantization.zeroPoint  # None stands for zeros.
  zero_point = 0 if zero_points is None else int(zero_points[0])
  return float(quantization.scale[0]), zero_point


def _reason(error: Exception) -> str:
  """What went wrong; OpenVINO says first where in its source."""
  lines = str(error).strip().splitlines()
  telling = (line for line in lines if not line.rstrip().endswith(':'))
  return next(telling, errors.first_line(error))
