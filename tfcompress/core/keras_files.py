"""Opening `.keras` and `.h5` files with the Keras that wrote them.

tf_keras is Keras 2 and cannot read Keras 3's files, nor Keras 3 the `.keras`
files of tf_keras; a file's own metadata tells which one wrote it. Old `.h5`
files do not, and either may read them.
"""

import json
import pathlib
import zipfile
import zlib
from collections.abc import Mapping

from tfcompress.core import errors

SUFFIXES = ('.keras', '.h5')
_READ = (*SUFFIXES, '.hdf5')
# What Keras and its libraries raise where a file is not as they wrote it.
_DAMAGED = (
  ValueError,
  OSError,
  KeyError,
  TypeError,
  AttributeError,
  AssertionError,
  IndexError,
  RuntimeError,
  EOFError,
  zlib.error,
  zipfile.BadZipFile,
)


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
  require_no_code(architecture(path), path)
  version = _major_version(file)
  if version is not None:
    return _load(path, version, custom_objects)
  try:
    return _load(path, 2, custom_objects)
  except ValueError as error:
    try:
      return _load(path, 3, custom_objects)
    except ValueError as another:
      raise ValueError(
        f'{path}: neither tf_keras ({errors.first_line(error.__cause__)}) nor '
        f'Keras 3 ({errors.first_line(another.__cause__)}) reads it'
      ) from error.__cause__


def _load(path: str, version: int, custom_objects):
  """The model as tf_keras reads it, or from version 3 on Keras 3."""
  if version >= 3:
    import keras
  else:
    import tf_keras as keras

    from tfcompress.core import quantized_layers  # noqa: F401  Registers them.
  try:
    return keras.models.load_model(
      path, custom_objects=custom_objects, compile=False
    )
  except _DAMAGED as error:
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
    config = _parsed(_read_attribute(file, 'model_config'))
  if not isinstance(config, dict):
    raise ValueError(
      f'{path}: not a whole Keras model (no model config found); expected a '
      'file of model.save, not of model.save_weights'
    )
  return config


def input_size(path: str) -> int | None:
  """Returns the height and width that a file says its images have, if any.

  Raises:
    ValueError: no such file, or one that does not hold a whole Keras model.
  """
  config = architecture(path).get('config')
  layers = config.get('layers') if isinstance(config, dict) else None
  for layer in layers if isinstance(layers, list) else ():
    shape = _batch_shape(layer)
    if shape is not None:
      same = len(shape) == 4 and shape[1] == shape[2]
      return shape[1] if same and isinstance(shape[1], int) else None
  return None


def _batch_shape(layer: object) -> list | None:
  """The shape of what an input layer, or the first of a stack, takes."""
  config = layer.get('config') if isinstance(layer, dict) else None
  if not isinstance(config, dict):
    return None
  shape = config.get('batch_shape') or config.get('batch_input_shape')
  return shape if isinstance(shape, list) else None


def _parsed(text: str):
  try:
    return json.loads(text or 'null')
  except ValueError:
    return None


def require_no_code(description, path: str) -> None:
  """Raises ValueError where a model has a Lambda, whose code its file carries.

  tf_keras runs it from an `.h5`, without asking.

  Args:
    description: of `architecture`.
    path: of the file.
  """
  if isinstance(description, dict):
    if description.get('class_name') == 'Lambda':
      config = description.get('config')
      name = config.get('name') if isinstance(config, dict) else None
      raise ValueError(
        f'{path}: layer {name} is a Lambda, whose code is not run from a file; '
        'expected layers of Keras, or of a module that --custom_objects names'
      )
    description = list(description.values())
  if isinstance(description, list):
    for part in description:
      require_no_code(part, path)


def _checked(path: str) -> pathlib.Path:
  file = pathlib.Path(path)
  if not file.is_file():
    raise ValueError(f'{path}: no such model file')
  if file.suffix.lower() not in _READ:
    raise ValueError(f'{path}: expected a .keras or .h5 file')
  return file


def _major_version(file: pathlib.Path) -> int | None:
  """The major version of the Keras that wrote a file; old `.h5` tell none."""
  if file.suffix == '.keras':
    version = _read_json(file, 'metadata.json').get('keras_version', '')
  else:
    version = _read_attribute(file, 'keras_version')
    if not version:
      return None
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
  except _DAMAGED as error:
    raise ValueError(
      f'{file}: not a .keras file; it is empty, truncated or of another format'
    ) from error


def _read_attribute(file: pathlib.Path, name: str) -> str:
  """A text at the root of an `.h5` file, '' where there is none."""
  import h5py

  try:
    with h5py.File(file, 'r') as root:
      value = root.attrs.get(name, '')
  except (OSError, RuntimeError, KeyError, ValueError) as error:
    raise ValueError(
      f'{file}: not a whole Keras model ({errors.first_line(error)})'
    ) from error
  return value.decode() if isinstance(value, bytes) else str(value)
