"""Size of a model file, and the parameters counted in it."""

import gzip
import pathlib

import numpy as np

from tfcompress.core import types
from tfcompress.runtimes import interface, load

MIB = 2**20


def measure(path: str) -> types.SizeRecord:
  """Weighs a model file, or all files of a folder."""
  file = interface.file_of(path)
  files = (
    [file]
    if file.is_file()
    else sorted(child for child in file.rglob('*') if child.is_file())
  )
  size_bytes = sum(child.stat().st_size for child in files)
  parameters, nonzero = _parameters(path, file)
  return types.SizeRecord(
    bytes=size_bytes,
    mib=size_bytes / MIB,
    gzip_bytes=sum(_gzip_bytes(child) for child in files),
    parameters=parameters,
    nonzero_parameters=nonzero,
  )


def _gzip_bytes(file: pathlib.Path) -> int:
  return len(gzip.compress(file.read_bytes(), compresslevel=6, mtime=0))


def _parameters(path: str, file: pathlib.Path) -> tuple[int | None, int | None]:
  """Parameters and nonzero ones; None for formats that are not counted."""
  model_format = load.format_of(path)
  if model_format == 'tflite':
    return _tflite_parameters(file)
  if model_format in ('keras', 'h5'):
    from tfcompress.core import keras_files

    weights = keras_files.load(str(file)).get_weights()
    return (
      sum(weight.size for weight in weights),
      sum(int(np.count_nonzero(weight)) for weight in weights),
    )
  return None, None


def _tflite_parameters(file: pathlib.Path) -> tuple[int, int]:
  """Counts the constants of a `.tflite` that are floats or quantized.

  Shapes, axes and paddings are int32 without a scale and do not count.
  """
  from ai_edge_litert import schema_py_generated as schema

  model = schema.ModelT.InitFromPackedBuf(file.read_bytes(), 0)
  names = {
    value: name.lower()
    for name, value in vars(schema.TensorType).items()
    if not name.startswith('_')
  }
  parameters = nonzero = 0
  for graph in model.subgraphs:
    for tensor in graph.tensors:
      data = model.buffers[tensor.buffer].data
      quantized = tensor.quantization is not None and (
        tensor.quantization.scale is not None
      )
      kind = names[tensor.type]
      if data is None or not (quantized or kind.startswith('float')):
        continue
      values = _unpacked(np.asarray(data, np.uint8), kind, tensor.shape)
      parameters += values.size
      nonzero += int(np.count_nonzero(values))
  return parameters, nonzero


def _unpacked(data: np.ndarray, kind: str, shape) -> np.ndarray:
  """A buffer as one number an element; zero stays zero."""
  if kind != 'int4':
    return np.frombuffer(data.tobytes(), np.dtype(kind))
  nibbles = np.stack([data & 15, data >> 4], axis=-1).reshape(-1)
  return nibbles[: int(np.prod(shape))]
