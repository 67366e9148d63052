"""Holds the table of layers: who may import whom."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / 'tfcompress'
LAYER_1 = {'models', 'data', 'runtimes', 'competition', 'reports'}
MAY_IMPORT = {
  'core': set(),
  **{package: {'core'} for package in LAYER_1},
  'training': {'core', 'models', 'data'},
  'conversion': {'core', 'models', 'data', 'runtimes'},
  'measurement': {'core', 'data', 'runtimes'},
  'compression': {'core'},
  'hosting': {
    'core',
    'competition',
    'conversion',
    'data',
    'measurement',
    'reports',
    'runtimes',
  },
}
COMMANDS = {'train', 'export', 'evaluate', 'compress', 'submit', 'leaderboard'}
BELOW_COMMANDS = {'cli_flags', *MAY_IMPORT}
MODULES = sorted(PACKAGE.rglob('*.py'))


def imports_of(path: pathlib.Path) -> set[str]:
  """The packages of the project that a module imports, wherever it does."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.ImportFrom):
      assert not node.level, 'a relative import'
      parts = node.module.split('.')
      if parts[0] == 'tfcompress':
        found |= {parts[1]} if parts[1:] else {a.name for a in node.names}
    elif isinstance(node, ast.Import):
      for alias in node.names:
        parts = alias.name.split('.')
        if parts[0] == 'tfcompress' and parts[1:]:
          found.add(parts[1])
  return found


@pytest.mark.parametrize('path', MODULES, ids=lambda p: str(p.name))
def test_a_module_imports_only_lower_layers(path):
  parts = path.relative_to(PACKAGE).parts
  own = parts[0].removesuffix('.py')
  if own == '__init__':
    allowed = {'core'}
  elif own in COMMANDS:
    allowed = BELOW_COMMANDS
  elif own == 'cli_flags':
    allowed = {'core'}
  else:
    allowed = MAY_IMPORT[own] | {own}
  assert imports_of(path) <= allowed


@pytest.mark.parametrize('path', MODULES, ids=lambda p: str(p.name))
def test_only_commands_know_absl(path):
  knows = 'absl' in path.read_text()
  own = path.relative_to(PACKAGE).parts[0].removesuffix('.py')
  assert not knows or own in COMMANDS | {'cli_flags'}
