"""A backend that computes nothing: it measures the harness itself."""

import numpy as np

from tfcompress.core import measurements


class Null:
  """Takes one uint8 image and returns zeros."""

  def __init__(self, path: str, config: measurements.OpenConfig):
    del path
    self._num_threads = config.num_threads or 1
    self.inputs = (measurements.TensorInfo('image', (1, 224, 224, 3), 'uint8'),)
    self.outputs = (measurements.TensorInfo('output', (1, 100), 'float32'),)

  def predict(self, batch: np.ndarray) -> np.ndarray:
    return np.zeros((len(batch), 100), np.float32)

  def info(self) -> measurements.RuntimeRecord:
    return measurements.RuntimeRecord(
      'null', '1', 'none', self._num_threads, None
    )

  def close(self) -> None:
    pass
