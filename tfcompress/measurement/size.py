"""Size of a model file, and the parameters counted in it."""

import pathlib
import zlib

import numpy as np

from tfcompress.core import measurements
from tfcompress.runtimes import formats, interface

MIB = 2**20
_LEVEL, _AS_GZIP = 6, 31  # of zlib


def measure(
  path: str, parameters: tuple[int | None, int | None] = (None, None)
) -> measurements.SizeRecord:
  """Weighs a model file, or all files of a folder.

  Args:
    path: the file or folder.
    parameters: in it, and those of them that are not zero.
  """
  file = interface.file_of(path)
  files = (
    [file]
    if file.is_file()
    else sorted(child for child in file.rglob('*') if child.is_file())
  )
  size_bytes = sum(child.stat().st_size for child in files)
  total, nonzero = parameters
  return measurements.SizeRecord(
    bytes=size_bytes,
    mib=size_bytes / MIB,
    gzip_bytes=sum(_gzip_bytes(child) for child in files),
    parameters=total,
    nonzero_parameters=nonzero,
  )


def parameters(
  file: measurements.OpenConfig,
) -> tuple[int | None, int | None]:
  """Returns parameters and nonzero ones; None for formats not counted.

  It parses the file, which is a stranger's: not in a process that matters.
  """
  path = str(interface.file_of(file.model))
  kind = formats.format_of(file.model)
  if file.loader:  # The file alone may be no model.
    return None, None
  if kind is formats.Format.TFLITE:
    from tfcompress.runtimes import tflite_file

    return tflite_file.constants(path)
  if kind in (formats.Format.KERAS, formats.Format.H5):
    from tfcompress.core import custom, keras_files

    objects = custom.register(file.custom_objects)
    weights = keras_files.load(path, objects).get_weights()
    return (
      sum(weight.size for weight in weights),
      sum(int(np.count_nonzero(weight)) for weight in weights),
    )
  return None, None


def _gzip_bytes(file: pathlib.Path) -> int:
  """The size as gzip makes it, a piece at a time."""
  compress = zlib.compressobj(_LEVEL, zlib.DEFLATED, _AS_GZIP)
  size = 0
  with file.open('rb') as content:
    while piece := content.read(MIB):
      size += len(compress.compress(piece))
  return size + len(compress.flush())
