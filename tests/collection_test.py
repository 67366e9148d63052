"""Collecting tests imports no PyTorch: many machines have none."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def imported(path: pathlib.Path) -> Iterator[str]:
  """What importing a module imports: by name, and by what skips tests."""
  nodes = list(ast.parse(path.read_text()).body)
  while nodes:
    node = nodes.pop()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
      # Its body runs later, what stands around it now.
      nodes += [*getattr(node, 'decorator_list', ()), node.args]
      continue
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield node.module
      yield from (f'{node.module}.{alias.name}' for alias in node.names)
    elif isinstance(node, ast.Call):
      yield from called(node)
    nodes.extend(ast.iter_child_nodes(node))


def called(node: ast.Call) -> Iterator[str]:
  name = ast.unparse(node.func)
  if name == 'needs.torch':
    yield 'torch'
  if name in ('pytest.importorskip', 'needs.module', '__import__'):
    yield ast.literal_eval(node.args[0])


def file_of(name: str) -> pathlib.Path | None:
  path = ROOT.joinpath(*name.split('.'))
  for one in (path.with_suffix('.py'), path / '__init__.py'):
    if one.is_file():
      return one
  return None


@pytest.mark.parametrize(
  'text',
  [
    'import torch',
    'if 1:\n  from torch import nn',
    "@mark(needs.module('torch'))\ndef test(): ...",
    'def test(one=needs.torch()): ...',
  ],
)
def test_what_is_imported_is_found(text, tmp_path):
  path = tmp_path / 'one.py'
  path.write_text(text)
  assert 'torch' in set(imported(path))


def test_what_a_function_imports_is_not(tmp_path):
  path = tmp_path / 'one.py'
  path.write_text('def test():\n  import torch\n  needs.torch()')
  assert not set(imported(path))


def test_no_module_imports_torch_while_tests_are_collected():
  left = sorted((ROOT / 'tests').rglob('*_test.py'))
  left += sorted((ROOT / 'tests').rglob('conftest.py'))
  seen = set(left)
  while left:
    path = left.pop()
    names = set(imported(path))
    assert not {name for name in names if name.split('.')[0] == 'torch'}, path
    files = {file_of(name) for name in names} - {None}
    left += files - seen
    seen |= files
  assert ROOT / 'tests/needs.py' in seen
  assert ROOT / 'tests/hosting/torch_graphs.py' not in seen
