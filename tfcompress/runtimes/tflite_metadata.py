"""What a `.tflite` says of itself: the metadata that TFLite's tools put in it.

A file may have a flatbuffer of its own in a buffer that is named
TFLITE_METADATA, after metadata_schema.fbs of TFLite Support. Only how the image
is to be normalized is read of it.
"""

import pathlib
import struct

import numpy as np
from flatbuffers import encode, number_types, packer, table

from tfcompress.core import types

_NAME = b'TFLITE_METADATA'
_OFFSET = 4  # bytes, of a reference in a flatbuffer
# Fields, by their place in metadata_schema.fbs.
_SUBGRAPHS, _INPUTS, _PROCESS_UNITS = 3, 2, 4
_KIND, _OPTIONS, _MEAN, _STD = 0, 1, 0, 1
_NORMALIZATION = 1  # of ProcessUnitOptions
_COLORS = 3


def preprocessing(path: pathlib.Path) -> types.Preprocessing | None:
  """Returns how a file wants its pixels; None of one that does not tell.

  Bytes are never normalized, as TFLite's own Task Library has it: its metadata
  says of a uint8 input what its scale undoes.
  """
  content = path.read_bytes()
  if _NAME not in content:
    return None
  from ai_edge_litert import schema_py_generated as schema

  try:
    model = schema.Model.GetRootAs(content)
    metadata = _metadata(model)
    found = None if metadata is None else _normalization(metadata)
    graph = model.Subgraphs(0)
    kind = graph.Tensors(graph.Inputs(0)).Type()
  except (struct.error, LookupError, TypeError, ValueError):
    return None  # A damaged one tells nothing.
  is_bytes = kind == schema.TensorType.UINT8
  return types.Preprocessing() if found and is_bytes else found


def _metadata(model) -> bytes | None:
  """The buffer that holds the metadata."""
  for index in range(model.MetadataLength()):
    entry = model.Metadata(index)
    if entry.Name() == _NAME:
      data = model.Buffers(entry.Buffer()).DataAsNumpy()
      return data.tobytes() if isinstance(data, np.ndarray) else None
  return None


def _normalization(metadata: bytes) -> types.Preprocessing | None:
  """The mean and standard deviation of the first input, if they are there."""
  root = table.Table(metadata, encode.Get(packer.uoffset, metadata, 0))
  for graph in _tables(root, _SUBGRAPHS)[:1]:
    for image in _tables(graph, _INPUTS)[:1]:
      for unit in _tables(image, _PROCESS_UNITS):
        if _kind(unit) == _NORMALIZATION:
          return _of_options(unit)
  return None


def _kind(unit: table.Table) -> int:
  place = _place(unit, _KIND)
  return unit.Get(number_types.Uint8Flags, unit.Pos + place) if place else 0


def _of_options(unit: table.Table) -> types.Preprocessing | None:
  """What NormalizationOptions say, one number for all colors or one for each."""
  place = _place(unit, _OPTIONS)
  if not place:
    return None
  options = table.Table(unit.Bytes, 0)
  unit.Union(options, place)
  mean, std = _floats(options, _MEAN), _floats(options, _STD)
  lengths = {len(mean), len(std)}
  if not lengths <= {1, _COLORS} or not np.isfinite(mean + std).all():
    return None
  if not all(std):
    return None
  widen = lambda values: values * (_COLORS // len(values))
  return types.Preprocessing(widen(mean), widen(std))


def _place(row: table.Table, field: int) -> int:
  """Where a field lies behind the beginning of its table; 0 if it is left out."""
  return row.Offset(4 + 2 * field)


def _tables(row: table.Table, field: int) -> list[table.Table]:
  """The tables in a vector of them."""
  place = _place(row, field)
  if not place:
    return []
  start = row.Vector(place)
  return [
    table.Table(row.Bytes, row.Indirect(start + _OFFSET * index))
    for index in range(row.VectorLen(place))
  ]


def _floats(row: table.Table, field: int) -> tuple[float, ...]:
  place = _place(row, field)
  if not place:
    return ()
  found = row.GetVectorAsNumpy(number_types.Float32Flags, place)
  return tuple(float(value) for value in found)
