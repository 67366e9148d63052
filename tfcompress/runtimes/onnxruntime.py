"""ONNX Runtime, on the CPU or a GPU: `.onnx` files."""

import os

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from tfcompress.core import environment, errors, measurements
from tfcompress.runtimes import tensors

_PROVIDERS = {
  measurements.Device.CPU: 'CPUExecutionProvider',
  measurements.Device.GPU: 'CUDAExecutionProvider',
}
# CUDA's default would round floats to TF32.
_PROVIDER_OPTIONS = {
  measurements.Device.CPU: {},
  measurements.Device.GPU: {'use_tf32': '0'},
}
_DTYPES = {'float': 'float32', 'double': 'float64'}  # others are as in numpy
# They have no base of their own.
_ERRORS = (
  RuntimeError,
  ValueError,
  *(
    one
    for one in vars(native).values()
    if isinstance(one, type) and issubclass(one, Exception)
  ),
)
_REMEDY = 'export the part from the image to the scores alone'
_FATAL = 4  # of a log's severities


class OnnxRuntime:
  """A session of one `.onnx`."""

  def __init__(self, path: str, config: measurements.OpenConfig):
    """Opens a file.

    Args:
      path: the file.
      config: no number of threads takes every core.

    Raises:
      ValueError: the file is no ONNX model of one image, one that the runtime
        cannot run, or the runtime has no GPU where one is asked for.
    """
    self._device = config.device
    self._num_threads = config.num_threads or len(os.sched_getaffinity(0))
    _check_device(path, config.device)
    try:
      self._session = onnxruntime.InferenceSession(
        path,
        _options(config, self._num_threads),
        providers=[_PROVIDERS[config.device]],
        provider_options=[_PROVIDER_OPTIONS[config.device]],
      )
      self.inputs = _infos(self._session.get_inputs())
      self.outputs = _infos(self._session.get_outputs())
      tensors.require_one_of_each(self.inputs, self.outputs, _REMEDY)
    except _ERRORS as error:
      raise ValueError(
        f'{path}: ONNX Runtime cannot open it ({errors.first_line(error)})'
      ) from error

  def predict(self, batch: np.ndarray) -> np.ndarray:
    try:
      (output,) = self._session.run(None, {self.inputs[0].name: batch})
    except _ERRORS as error:
      raise ValueError(
        f'ONNX Runtime cannot run the file ({errors.first_line(error)})'
      ) from error
    return tensors.require_rows(output, batch)

  def info(self) -> measurements.RuntimeRecord:
    on_gpu = self._device is measurements.Device.GPU
    return measurements.RuntimeRecord(
      name=measurements.Runtime.ONNXRUNTIME.value,
      version=onnxruntime.__version__,
      device='CUDA device 0' if on_gpu else environment.cpu_name(),
      num_threads=self._num_threads,
      fully_delegated=on_gpu or None,
    )

  def close(self) -> None:
    del self._session


def _check_device(path: str, device: measurements.Device) -> None:
  available = onnxruntime.get_available_providers()
  if _PROVIDERS[device] not in available:
    raise ValueError(
      f'{path}: a GPU is asked for, but ONNX Runtime has {", ".join(available)} '
      'alone; install onnxruntime-gpu in place of onnxruntime, or use '
      '--device=cpu'
    )


def _options(
  config: measurements.OpenConfig, num_threads: int
) -> onnxruntime.SessionOptions:
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = num_threads
  options.inter_op_num_threads = 1
  options.log_severity_level = _FATAL
  if config.device is measurements.Device.GPU:
    # It would leave what CUDA has not to the CPU, and say nothing.
    options.add_session_config_entry('session.disable_cpu_ep_fallback', '1')
  return options


def _infos(nodes) -> tuple[measurements.TensorInfo, ...]:
  return tuple(
    measurements.TensorInfo(
      name=node.name,
      shape=tuple(
        size if isinstance(size, int) and size > 0 else -1
        for size in node.shape or ()
      ),
      dtype=_dtype(node.type),
    )
    for node in nodes
  )


def _dtype(kind: str) -> str:
  """The dtype of 'tensor(float)'; other than tensors stay as they are."""
  name = kind.removeprefix('tensor(').removesuffix(')')
  return _DTYPES.get(name, name)
