"""A user's own code in a `.py` file."""

import importlib.util
import pathlib
import sys


def imported(file: pathlib.Path, kind: str):
  """Runs a `.py` file and returns it as a module named 'KIND_FILE'.

  Raises:
    Exception: whatever the file's code does.
  """
  spec = importlib.util.spec_from_file_location(f'{kind}_{file.stem}', file)
  module = importlib.util.module_from_spec(spec)
  sys.modules[spec.name] = module  # Dataclasses look themselves up there.
  spec.loader.exec_module(module)
  return module
