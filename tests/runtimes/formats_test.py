"""Formats by content and by name."""

import pathlib
import zipfile

import pytest

from tfcompress.runtimes import formats

Format = formats.Format
HDF5 = b'\x89HDF\r\n\x1a\n and more'


def write(path: pathlib.Path, content) -> str:
  """A file of bytes, or a zip archive with members of the names in a list."""
  if isinstance(content, bytes):
    path.write_bytes(content)
  else:
    with zipfile.ZipFile(path, 'w') as archive:
      for member in content:
        archive.writestr(member, 'x')
  return str(path)


@pytest.mark.parametrize(
  ('name', 'content', 'expected'),
  [
    ('a.tflite', b'\0\0\0\0TFL3', Format.TFLITE),
    ('a.h5', HDF5, Format.H5),
    ('a.HDF5', HDF5, Format.H5),
    ('a.keras', ['metadata.json', 'config.json'], Format.KERAS),
    ('a.pb', b'\n\x05', Format.FROZEN_GRAPH),
    ('a.onnx', b'\x08\x08', Format.ONNX),
    ('a.pt', ['a/data.pkl', 'a/constants.pkl'], Format.TORCHSCRIPT),
    ('a.pth', ['a/data.pkl'], Format.TORCH_PICKLE),
    ('a.pth', b'\x80\x02\x8a\x0a', Format.TORCH_PICKLE),
    ('a.pt2', ['serialized_exported_program.json'], Format.TORCH_EXPORT),
    ('a.pt2', ['a/models/model.json'], Format.TORCH_EXPORT),
    # Who opens a damaged file says so.
    ('a.tflite', b'some text', Format.TFLITE),
    ('a.keras', b'PK\3\4 cut off', Format.KERAS),
  ],
)
def test_files(name, content, expected, tmp_path):
  assert formats.format_of(write(tmp_path / name, content)) is expected


def test_folders(tmp_path):
  write(tmp_path / 'saved_model.pb', b'\x08\x01')
  assert formats.format_of(str(tmp_path)) is Format.SAVED_MODEL
  write(tmp_path / 'model.tflite', b'\0\0\0\0TFL3')
  assert formats.format_of(str(tmp_path)) is Format.TFLITE


@pytest.mark.parametrize(
  ('name', 'content', 'message'),
  [
    ('a.pb', HDF5, 'is a h5 file by its content; name it .h5'),
    ('a.h5', ['config.json'], 'is a keras file by its content; name it .keras'),
    ('model', b'\0\0\0\0TFL3', 'is a tflite file by its content'),
    ('a.mlmodel', b'some text', 'unknown format; expected .tflite, .keras'),
    ('a.h5', b'', 'the file is empty'),
  ],
)
def test_names_that_are_not_of_the_content(name, content, message, tmp_path):
  with pytest.raises(ValueError, match=f'{name}: {message}'):
    formats.format_of(write(tmp_path / name, content))
