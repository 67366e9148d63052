"""Records on disk: dataclasses as JSON, written whole or not at all."""

import dataclasses
import enum
import errno
import hashlib
import json
import os
import pathlib
import tempfile
import types as python_types
import typing
from collections.abc import Mapping

from tfcompress.core import measurements, types

MANIFEST = 'manifest.json'
MODEL = 'model.keras'
EXPORTED = 'model.tflite'
METADATA = 'metadata.json'  # of an export


def to_json(record: object) -> object:
  """Returns `record` as what JSON can hold."""
  if dataclasses.is_dataclass(record):
    return {
      field.name: to_json(getattr(record, field.name))
      for field in dataclasses.fields(record)
    }
  if isinstance(record, enum.Enum):
    return record.value
  if isinstance(record, Mapping):
    return {str(key): to_json(value) for key, value in record.items()}
  if isinstance(record, list | tuple):
    return [to_json(value) for value in record]
  return record


def from_json(kind: type, value: object):
  """Returns `value`, as `to_json` made it, as an instance of `kind`.

  Raises:
    ValueError: a field is missing or its value is none of its type's.
  """
  origin, args = typing.get_origin(kind), typing.get_args(kind)
  if kind is object:
    return value
  if origin in (typing.Union, python_types.UnionType):
    if value is None:
      return None
    return from_json(next(a for a in args if a is not type(None)), value)
  if dataclasses.is_dataclass(kind):
    return _record_from_json(kind, _require(value, dict))
  if origin is tuple:
    return tuple(from_json(args[0], one) for one in _require(value, list))
  if origin is not None:  # A mapping from names.
    return {
      key: from_json(args[1], one) for key, one in _require(value, dict).items()
    }
  if issubclass(kind, enum.Enum):
    return kind(value)
  if kind is float and isinstance(value, int):  # As JSON may write 1.0.
    value = float(_require(value, int))
  return _require(value, kind)


def _record_from_json(kind: type, value: dict):
  version = getattr(kind, 'schema_version', None)
  got = value.get('schema_version', version)
  if version is not None and got != version:
    raise ValueError(f'schema version {got}, expected {version}')
  hints = typing.get_type_hints(kind)
  missing = {
    field.name
    for field in dataclasses.fields(kind)
    if field.default is field.default_factory is dataclasses.MISSING
  }.difference(value)
  if missing:
    raise ValueError(f'{kind.__name__} without {", ".join(sorted(missing))}')
  fields = {}
  for name in hints.keys() & value.keys():
    try:
      fields[name] = from_json(hints[name], value[name])
    except ValueError as error:
      raise ValueError(f'{name}: {error}') from error
  return kind(**fields)


def _require(value: object, kind: type):
  """Returns `value`; raises ValueError unless it is a `kind`, no bool an int."""
  if not isinstance(value, kind) or (
    isinstance(value, bool) and kind is not bool
  ):
    raise ValueError(f'expected {kind.__name__}, got {json.dumps(value)[:40]}')
  return value


def write_json(path: str | os.PathLike, record: object) -> None:
  """Writes `record` to `path` in one step, with a final newline."""
  text = json.dumps(to_json(record), indent=2, allow_nan=False) + '\n'
  write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
  """Writes `content` to `path` in one step: the old file or all of the new."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
  try:
    with os.fdopen(handle, 'wb') as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.chmod(temporary, 0o666 & ~_umask())
    os.replace(temporary, path)
  except BaseException:
    os.unlink(temporary)
    raise


def _umask() -> int:
  mask = os.umask(0)
  os.umask(mask)
  return mask


def _refuse_constant(name: str) -> None:
  raise ValueError(f'{name} is no JSON')


def read_json(path: str | os.PathLike) -> dict:
  """Returns the object in a JSON file.

  Raises:
    ValueError: the file is missing or holds no JSON object.
  """
  try:
    text = pathlib.Path(path).read_text()
    content = json.loads(text, parse_constant=_refuse_constant)
  except FileNotFoundError as error:
    raise ValueError(f'{path}: no such file') from error
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{path}: not a JSON file ({error})') from error
  if not isinstance(content, dict):
    raise ValueError(f'{path}: expected a JSON object')
  return content


def read_manifest(artifact: str | os.PathLike) -> types.Manifest:
  """Returns the manifest of an artifact folder.

  Raises:
    ValueError: the folder is no finished artifact.
  """
  folder = pathlib.Path(artifact)
  if not folder.is_dir():
    raise ValueError(f'{artifact}: no such artifact folder')
  if not (folder / MANIFEST).is_file():
    raise ValueError(
      f'{artifact}: no {MANIFEST} in it, so no finished artifact; '
      'train it first (an interrupted run continues with its own command)'
    )
  content = read_json(folder / MANIFEST)
  try:
    return from_json(types.Manifest, content)
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(
      f'{folder / MANIFEST}: not a manifest of schema version '
      f'{types.Manifest.schema_version} ({error})'
    ) from error


def read_measurement(path: str | os.PathLike) -> measurements.Measurement:
  """Returns what `evaluate --output_file` wrote of one model.

  Raises:
    ValueError: the file is missing or holds something else.
  """
  content = read_json(path)
  try:
    return from_json(measurements.Measurement, content)
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(
      f'{path}: not a record that evaluate wrote of one model ({error})'
    ) from error


def sha256(path: str | os.PathLike) -> str:
  """Returns the SHA-256 of a file, or of all files of a folder with names.

  Raises:
    FileNotFoundError: it is neither.
  """
  path = pathlib.Path(path)
  if path.is_file():
    with path.open('rb') as file:
      return hashlib.file_digest(file, 'sha256').hexdigest()
  if not path.is_dir():
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
  digest = hashlib.sha256()
  for file in sorted(p for p in path.rglob('*') if p.is_file()):
    digest.update(f'{file.relative_to(path)}\0{sha256(file)}\n'.encode())
  return digest.hexdigest()


def require_writable(folder: str | os.PathLike) -> None:
  """Raises ValueError if `folder` cannot be made or written to; makes nothing."""
  absolute = pathlib.Path(folder).absolute()
  there = next(one for one in (absolute, *absolute.parents) if one.exists())
  try:
    with tempfile.TemporaryFile(dir=there):
      pass
  except OSError as error:
    raise ValueError(
      f'{folder}: cannot write there ({error.strerror}); '
      'choose another output folder'
    ) from error
