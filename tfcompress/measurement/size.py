"""Size of a model file, and the parameters counted in it."""

import gzip
import pathlib

import numpy as np

from tfcompress.core import measurements
from tfcompress.runtimes import interface, load

MIB = 2**20


def measure(path: str) -> measurements.SizeRecord:
  """Weighs a model file, or all files of a folder."""
  file = interface.file_of(path)
  files = (
    [file]
    if file.is_file()
    else sorted(child for child in file.rglob('*') if child.is_file())
  )
  size_bytes = sum(child.stat().st_size for child in files)
  parameters, nonzero = _parameters(path, file)
  return measurements.SizeRecord(
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
    from tfcompress.runtimes import tflite_file

    return tflite_file.constants(str(file))
  if model_format in ('keras', 'h5'):
    from tfcompress.core import keras_files

    weights = keras_files.load(str(file)).get_weights()
    return (
      sum(weight.size for weight in weights),
      sum(int(np.count_nonzero(weight)) for weight in weights),
    )
  return None, None
