"""Packages that only some of the program needs, and how to install them."""

import configparser
import importlib.metadata
import pathlib
import re

_PROJECT = 'tfcompress'
_SETUP = 'setup.cfg'
_OF_EXTRA = re.compile(r';\s*extra\s*==\s*[\'"]([\w-]+)[\'"]')


def install(extra: str) -> str:
  """Returns the command that installs the packages of an extra.

  It names them as they are, for 'tfcompress[torch]' is known to no index where
  the program is a clone.
  """
  names = ' '.join(f"'{one}'" for one in _requirements(extra) or (extra,))
  return f'python -m pip install {names}'


def _requirements(extra: str) -> list[str]:
  """Packages with their versions, as the installed program or its clone says."""
  setup = pathlib.Path(__file__).parents[2] / _SETUP
  config = configparser.ConfigParser()
  config.read(setup)
  section = 'options.extras_require'
  if config.get('metadata', 'name', fallback='') == _PROJECT:
    return config.get(section, extra, fallback='').strip().splitlines()
  try:
    said = importlib.metadata.requires(_PROJECT) or []
  except importlib.metadata.PackageNotFoundError:
    return []
  return [
    one.partition(';')[0].strip()
    for one in said
    if (found := _OF_EXTRA.search(one)) and found[1] == extra
  ]
