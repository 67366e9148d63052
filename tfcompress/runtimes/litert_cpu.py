"""LiteRT on the CPU, with XNNPACK: the TFLite runtime."""

import importlib.metadata

import numpy as np
from ai_edge_litert import interpreter as litert

from tfcompress.core import environment, measurements
from tfcompress.runtimes import tflite_file


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
    try:
      self._interpreter = litert.Interpreter(
        model_path=str(path), num_threads=config.num_threads
      )
      self._interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
      raise ValueError(f'{path}: LiteRT cannot open it ({error})') from error
    self._num_threads = config.num_threads or 1
    self.inputs = _infos(self._interpreter.get_input_details())
    self.outputs = _infos(self._interpreter.get_output_details())
    self._input = self._interpreter.get_input_details()[0]['index']
    self._output = self._interpreter.get_output_details()[0]['index']
    self._batch = self.inputs[0].shape[0] if self.inputs[0].shape else 0

  def predict(self, batch: np.ndarray) -> np.ndarray:
    if len(batch) != self._batch:
      self._interpreter.resize_tensor_input(self._input, batch.shape)
      self._interpreter.allocate_tensors()
      self._batch = len(batch)
    self._interpreter.set_tensor(self._input, batch)
    try:
      self._interpreter.invoke()
    except RuntimeError as error:
      raise ValueError(f'LiteRT cannot run the file ({error})') from error
    return self._interpreter.get_tensor(self._output)

  def info(self) -> measurements.RuntimeRecord:
    return measurements.RuntimeRecord(
      name=measurements.Runtime.LITERT_CPU.value,
      version=importlib.metadata.version('ai-edge-litert'),
      device=environment.cpu_name(),
      num_threads=self._num_threads,
      fully_delegated=None,
    )

  def close(self) -> None:
    del self._interpreter


def _infos(details: list[dict]) -> tuple[measurements.TensorInfo, ...]:
  infos = []
  for detail in details:
    scale, zero_point = detail['quantization']
    infos.append(
      measurements.TensorInfo(
        name=detail['name'],
        shape=tuple(int(size) for size in detail['shape']),
        dtype=np.dtype(detail['dtype']).name,
        scale=float(scale) if scale else None,
        zero_point=int(zero_point) if scale else None,
      )
    )
  return tuple(infos)
