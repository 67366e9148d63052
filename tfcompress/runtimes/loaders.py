"""A user's own code that opens a model: a `.py` file with `load_model`."""

import contextlib
import inspect
import pathlib
import sys
from collections.abc import Callable, Iterator

from tfcompress.core import errors, python_files

WANTED = '--loader=FILE.py with a function load_model(path)'
_FUNCTION = 'load_model'


def run(
  path: str,
  loader: str,
  expected: str,
  reason: Callable[[Exception], str] = errors.first_line,
  is_model: Callable[[object], bool] = callable,
):
  """Returns the model that a loader opens.

  Its code runs as if it had been started in its folder.

  Args:
    path: of the model, for `load_model(path)`; one without parameters knows it.
    loader: the `.py` file.
    expected: of what load_model returns, for messages.
    reason: the telling line of an error.
    is_model: whether what it returns may be one.

  Raises:
    ValueError: no such file, no load_model in it, one that raises or exits, or
      returns no model.
  """
  name, file = f'--loader={loader}', pathlib.Path(loader).resolve()
  if file.suffix != '.py' or not file.is_file():
    raise ValueError(f'{name}: no such .py file; expected {WANTED}')
  path = str(pathlib.Path(path).resolve())
  with _code_in(file.parent, name, reason):
    function = getattr(python_files.imported(file, 'loader'), _FUNCTION, None)
  if not callable(function):
    raise ValueError(f'{name}: no {_FUNCTION}; expected {WANTED}')
  with _code_in(file.parent, f'{name}: {_FUNCTION}', reason):
    parameters = inspect.signature(function).parameters
    model = function(path) if parameters else function()
  if not is_model(model):
    raise ValueError(
      f'{name}: {_FUNCTION} returned {type(model).__name__}, expected '
      f'{expected}'
    )
  return model


@contextlib.contextmanager
def _code_in(
  folder: pathlib.Path, name: str, reason: Callable[[Exception], str]
) -> Iterator[None]:
  """Runs a user's code in its folder, and says what it raises in one line."""
  sys.path.insert(0, str(folder))
  try:
    with contextlib.chdir(folder):
      yield
  except (Exception, SystemExit) as error:  # Whatever the user's code does.
    raise ValueError(
      f'{name}: {type(error).__name__}: {reason(error)}'
    ) from error
  finally:
    with contextlib.suppress(ValueError):  # It may have taken it out itself.
      sys.path.remove(str(folder))
