"""Resident memory of a process that does nothing but run the model."""

import pathlib

import numpy as np

from tfcompress.core import measurements, types
from tfcompress.runtimes import interface, load

_KIB_PER_MIB = 1024


def measure(config: measurements.MeasureConfig) -> measurements.MemoryRecord:
  """Opens and runs a model in this process, which should be a fresh one.

  Raises:
    ValueError: the system does not tell a process's memory (not Linux).
  """
  _import_runtime(config)
  before = _status_mib('VmRSS')
  backend = load.open_model(config.model, config.runtime, config.num_threads)
  size = interface.image_size(backend, config.model)
  image = np.zeros((1, size, size, 3), np.uint8)
  scaling = config.input_scaling or types.Normalization.RAW
  backend.predict(interface.encode(image, backend.inputs[0], scaling))
  after = _status_mib('VmRSS')
  backend.close()
  return measurements.MemoryRecord(
    peak=_status_mib('VmHWM'), model=after - before
  )


def _import_runtime(config: measurements.MeasureConfig) -> None:
  """Imports what opening needs, so that it does not count as the model's."""
  runtime = load.runtime_of(config.model, config.runtime)
  if runtime is measurements.Runtime.LITERT_CPU:
    import ai_edge_litert.interpreter  # noqa: F401
  elif runtime is measurements.Runtime.TENSORFLOW:
    import tensorflow  # noqa: F401
    import tf_keras  # noqa: F401


def _status_mib(field: str) -> float:
  """A figure of this process in /proc, in MiB."""
  status = pathlib.Path('/proc/self/status')
  if not status.is_file():
    raise ValueError(
      'memory is read from /proc, which this system does not have; leave '
      'memory out of --parts'
    )
  for line in status.read_text().splitlines():
    if line.startswith(f'{field}:'):
      return int(line.split()[1]) / _KIB_PER_MIB
  raise ValueError(f'/proc/self/status has no {field}')
