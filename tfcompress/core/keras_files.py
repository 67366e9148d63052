"""Opening `.keras` and `.h5` files with the Keras that wrote them.

tf_keras is Keras 2 and cannot read Keras 3's files, nor Keras 3 the `.keras`
files of tf_keras; a file's own metadata tells which one wrote it.
"""

import json
import pathlib
import zipfile
from collections.abc import Mapping

from tfcompress.core import errors

SUFFIXES = ('.keras', '.h5')


def load(path: str, custom_objects: Mapping[str, object] | None = None):
  """Returns the uncompiled model in a `.keras` or `.h5` file.

  A tf_keras model, or a Keras 3 model where Keras 3 wrote the file.

  Args:
    path: the file.
    custom_objects: by name, classes and functions that are not Keras's own.

  Raises:
    ValueError: no such file, or one that does not hold a whole Keras model.
  """
  file = _checked(path)
  if _major_version(file) >= 3:
    import keras
  else:
    import tf_keras as keras

    from tfcompress.core import quantized_layers  # noqa: F401  Registers them.
  try:
    return keras.models.load_model(
      path, custom_objects=custom_objects, compile=False
    )
  except (
    ValueError,
    OSError,
    KeyError,
    TypeError,
    AttributeError,
    AssertionError,
    IndexError,
    zipfile.BadZipFile,
  ) as error:
    raise ValueError(
      f'{path}: not a whole Keras model ({errors.first_line(error)})'
    ) from error


def architecture(path: str) -> dict:
  """Returns a file's description of its model, of which nothing is run.

  Raises:
    ValueError: no such file, or one that does not hold a whole Keras model.
  """
  file = _checked(path)
  if file.suffix == '.keras':
    config = _read_json(file, 'config.json')
  else:
    config = json.loads(_read_attribute(file, 'model_config') or 'null')
  if not isinstance(config, dict):
    raise ValueError(
      f'{path}: not a whole Keras model (no model config found); expected a '
      'file of model.save, not of model.save_weights'
    )
  return config


def _checked(path: str) -> pathlib.Path:
  file = pathlib.Path(path)
  if not file.is_file():
    raise ValueError(f'{path}: no such model file')
  if file.suffix not in SUFFIXES:
    raise ValueError(f'{path}: expected a .keras or .h5 file')
  return file


def _major_version(file: pathlib.Path) -> int:
  """The major version of the Keras that wrote a file; old `.h5` tell none."""
  if file.suffix == '.keras':
    version = _read_json(file, 'metadata.json').get('keras_version', '')
  else:
    version = _read_attribute(file, 'keras_version') or '2'
  try:
    return int(str(version).split('.')[0])
  except ValueError as error:
    raise ValueError(
      f'{file}: does not tell which Keras wrote it (version {version!r})'
    ) from error


def _read_json(file: pathlib.Path, member: str) -> dict:
  try:
    with zipfile.ZipFile(file) as archive:
      return dict(json.loads(archive.read(member)))
  except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
    raise ValueError(
      f'{file}: not a .keras file; it is empty, truncated or of another format'
    ) from error


def _read_attribute(file: pathlib.Path, name: str) -> str:
  """A text at the root of an `.h5` file, '' where there is none."""
  import h5py

  try:
    with h5py.File(file, 'r') as root:
      value = root.attrs.get(name, '')
  except OSError as error:
    raise ValueError(
      f'{file}: not a whole Keras model ({errors.first_line(error)})'
    ) from error
  return value.decode() if isinstance(value, bytes) else str(value)
