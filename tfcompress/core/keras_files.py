"""Opening `.keras` and `.h5` files with the Keras that wrote them.

tf_keras is Keras 2 and cannot read Keras 3's `.keras` files, nor Keras 3 those
of tf_keras; a `.keras` file's own metadata.json tells which one wrote it.
"""

import json
import pathlib
import zipfile

from tfcompress.core import errors

SUFFIXES = ('.keras', '.h5')


def load(path: str):
  """Returns the uncompiled model in a `.keras` or `.h5` file.

  A tf_keras model, or a Keras 3 model where Keras 3 wrote a `.keras` file.

  Raises:
    ValueError: no such file, or one that does not hold a whole Keras model.
  """
  file = pathlib.Path(path)
  if not file.is_file():
    raise ValueError(f'{path}: no such model file')
  if file.suffix not in SUFFIXES:
    raise ValueError(f'{path}: expected a .keras or .h5 file')
  keras_3 = file.suffix == '.keras' and _major_version(file) >= 3
  if keras_3:
    import keras
  else:
    import tf_keras as keras
  try:
    return keras.models.load_model(path, compile=False)
  except (
    ValueError,
    OSError,
    KeyError,
    TypeError,
    zipfile.BadZipFile,
  ) as error:
    raise ValueError(
      f'{path}: not a whole Keras model ({errors.first_line(error)})'
    ) from error


def _major_version(file: pathlib.Path) -> int:
  """The major version of the Keras that wrote a `.keras` file."""
  try:
    with zipfile.ZipFile(file) as archive:
      metadata = json.loads(archive.read('metadata.json'))
    return int(metadata['keras_version'].split('.')[0])
  except (zipfile.BadZipFile, KeyError, ValueError) as error:
    raise ValueError(
      f'{file}: not a .keras file; it is empty, truncated or of another format'
    ) from error
