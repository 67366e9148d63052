"""Which format a model file has, by its content and its name."""

import enum
import pathlib
import zipfile

from tfcompress.runtimes import interface


class Format(enum.Enum):
  TFLITE = 'tflite'
  KERAS = 'keras'
  H5 = 'h5'
  SAVED_MODEL = 'saved_model'
  FROZEN_GRAPH = 'pb'
  TORCHSCRIPT = 'torchscript'
  TORCH_EXPORT = 'torch_export'
  TORCH_PICKLE = 'torch_pickle'  # a state dict, or a module
  ONNX = 'onnx'


_TORCH = {Format.TORCHSCRIPT, Format.TORCH_EXPORT, Format.TORCH_PICKLE}
_SUFFIXES = {
  '.tflite': {Format.TFLITE},
  '.keras': {Format.KERAS},
  '.h5': {Format.H5},
  '.hdf5': {Format.H5},
  '.pb': {Format.FROZEN_GRAPH},
  '.pt': _TORCH,
  '.pth': _TORCH,
  '.pt2': _TORCH,
  '.onnx': {Format.ONNX},
}
_FLATBUFFER = b'TFL3'
_HDF5 = b'\x89HDF\r\n\x1a\n'
_ZIP = b'PK'
_PICKLE = b'\x80\x02\x8a'  # of torch.save before it wrote zip archives


def format_of(path: str) -> Format:
  """Returns the format of a model file or folder.

  Raises:
    ValueError: no model there, one of a format that is not known, or one whose
      name says another format than its content.
  """
  file = interface.file_of(path)
  if file.is_dir():
    return Format.SAVED_MODEL
  by_name = _SUFFIXES.get(file.suffix.lower(), set())
  by_content = _by_content(file)
  if by_content and by_content not in by_name:
    raise ValueError(
      f'{path}: is a {by_content.value} file by its content; name it '
      f'{_suffix_of(by_content)}'
    )
  if not by_name:
    raise ValueError(
      f'{path}: unknown format; expected {", ".join(_SUFFIXES)}, or a folder '
      'with an artifact, an export or a SavedModel'
    )
  # A .pt that is none of its formats is refused when it is opened.
  return by_content or min(by_name, key=list(Format).index)


def _suffix_of(wanted: Format) -> str:
  return next(name for name, formats in _SUFFIXES.items() if wanted in formats)


def _by_content(file: pathlib.Path) -> Format | None:
  """The format that a file's first bytes, or its members, tell."""
  with file.open('rb') as content:
    head = content.read(8)
  if head[4:] == _FLATBUFFER:
    return Format.TFLITE
  if head == _HDF5:
    return Format.H5
  if head.startswith(_PICKLE):
    return Format.TORCH_PICKLE
  return _of_archive(file) if head.startswith(_ZIP) else None


def _of_archive(file: pathlib.Path) -> Format | None:
  try:
    with zipfile.ZipFile(file) as archive:
      members = archive.namelist()
  except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
    return None  # A damaged one; who opens it says so.
  names = {member.rpartition('/')[2] for member in members}
  if 'config.json' in members:
    return Format.KERAS
  if 'serialized_exported_program.json' in names or any(
    '/models/' in member and member.endswith('.json') for member in members
  ):
    return Format.TORCH_EXPORT
  if 'constants.pkl' in names:
    return Format.TORCHSCRIPT
  return Format.TORCH_PICKLE if 'data.pkl' in names else None
