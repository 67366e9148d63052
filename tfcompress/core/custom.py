"""A user's own classes and functions, which a Keras file only names."""

import contextlib
import importlib
import inspect
import os
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping

import tf_keras

from tfcompress.core import errors, python_files

FLAG = '--custom_objects=MODULE'


def register(module: str) -> dict[str, object]:
  """Lets tf_keras know a module's public classes and functions by name.

  Args:
    module: an importable module, from the current directory too, or the path
      of a `.py` file; '' for none.

  Returns:
    What it knows from now on, without what is Keras's own.

  Raises:
    ValueError: the module cannot be imported.
  """
  objects = _import_objects(module) if module else {}
  tf_keras.utils.get_custom_objects().update(objects)
  return objects


def _import_objects(module: str) -> dict[str, object]:
  try:
    with _current_directory_importable():
      imported = _import(module)
  except (Exception, SystemExit) as error:  # Whatever the user's module does.
    raise ValueError(
      f'--custom_objects={module}: {type(error).__name__}: '
      f'{errors.first_line(error)}; expected an importable module or a .py file'
    ) from error
  return {
    name: value
    for name, value in vars(imported).items()
    if not name.startswith('_')
    and (inspect.isclass(value) or inspect.isfunction(value))
    and (
      value.__module__ == imported.__name__
      or not _is_of_keras(value.__module__)
    )
  }


def explained(
  error: ValueError, description: dict, objects: Mapping[str, object]
) -> ValueError:
  """Returns the error, or one that names the object that it is about.

  Args:
    error: what came of opening a file.
    description: what the file says of its model.
    objects: the custom objects that the file was opened with.
  """
  unknown = re.search(r"Unknown layer: '([^']+)'", str(error.__cause__))
  custom = [unknown[1]] if unknown else list(_custom_names(description))
  for name in custom:
    if name.rpartition('>')[2] not in objects:  # It may begin with a package.
      return ValueError(
        f'{name!r} is not of Keras; register the module that defines it with '
        f'{FLAG} (to train it further, one of tf_keras)'
      )
  if not custom:
    return error
  reason = str(error.__cause__).strip().splitlines()[-1]
  return ValueError(
    f'not read in spite of {FLAG} ({", ".join(custom)}): {reason}'
  )


def _custom_names(description) -> Iterator[str]:
  """Names of the classes and functions that a file names and Keras has not."""
  if isinstance(description, dict):
    module = description.get('module') or ''
    public = _is_of_keras(module) and '.applications.' not in module
    if description.get('class_name') == 'function':
      yield description['config']
    elif description.get('registered_name') and not public:
      yield description['class_name']
    description = list(description.values())
  if isinstance(description, list):
    for part in description:
      yield from _custom_names(part)


def _import(module: str):
  file = pathlib.Path(module)
  if file.suffix != '.py':
    return importlib.import_module(module)
  return python_files.imported(file, 'custom')


@contextlib.contextmanager
def _current_directory_importable() -> Iterator[None]:
  sys.path.insert(0, os.getcwd())
  try:
    yield
  finally:
    sys.path.remove(os.getcwd())


def _is_of_keras(module: str) -> bool:
  return module.split('.')[0] in ('keras', 'tf_keras', 'tensorflow')
