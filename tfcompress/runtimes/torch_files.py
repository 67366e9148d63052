"""Opens PyTorch's files: TorchScript, torch.export archives, pickles.

Reading a TorchScript file runs nothing. Reading the others can run code of
whoever wrote them: a pickle does by design, and torch.export evaluates the
sizes that an archive names as Python. So those two are read only where
`OpenConfig.allow_pickle` says so; of a pickle, tensors are read without.
"""

import contextlib
import dataclasses
import inspect
import pathlib
import re
import sys
from collections.abc import Callable, Iterator

import torch
from torch.export import passes

from tfcompress.core import errors, measurements, python_files
from tfcompress.runtimes import formats, interface

_SIZE = interface.DYNAMIC_SIZE
# A module's file does not tell its input's shape; the first that runs is it.
_SHAPES = ((-1, 3, _SIZE, _SIZE), (-1, _SIZE, _SIZE, 3))
_LOADER = '--loader=FILE.py with a function load_model(path)'
_TRUST = 'if you trust it, give --allow_pickle'


@dataclasses.dataclass(frozen=True)
class Program:
  """What a file holds, ready to run.

  Attributes:
    run: takes and returns a tensor.
    shapes: its input may have, the likeliest first; -1 for a free dimension.
    dtype: of its input.
  """

  run: Callable[[torch.Tensor], torch.Tensor]
  shapes: tuple[tuple[int, ...], ...]
  dtype: torch.dtype


def load(path: str, config: measurements.OpenConfig, device: str) -> Program:
  """Opens a file of any of PyTorch's formats.

  Args:
    path: the file.
    config: its `loader`, where there is one, opens the file instead.
    device: of torch, to run on.

  Raises:
    ValueError: no model there, one that needs a loader, or one that is not to
      be trusted.
  """
  if config.loader:
    return _of_module(_from_loader(path, config.loader), device)
  if formats.format_of(path) is formats.Format.TORCH_EXPORT:
    return _exported(path, config, device)
  if formats.format_of(path) is formats.Format.TORCH_PICKLE:
    return _of_module(_pickled(path, config), device)
  with _readable(path):
    module = torch.jit.load(path, map_location=device)
  return _of_module(module, device)


def _of_module(module: torch.nn.Module, device: str) -> Program:
  floats = [one.dtype for one in module.parameters() if one.is_floating_point()]
  return Program(
    run=module.eval().to(device),
    shapes=_SHAPES,
    dtype=floats[0] if floats else torch.float32,
  )


def _exported(
  path: str, config: measurements.OpenConfig, device: str
) -> Program:
  if not config.allow_pickle:
    raise ValueError(
      f'{path}: reading a torch.export archive can run code that it brings; '
      f'{_TRUST}, else save the model as TorchScript'
    )
  with _readable(path):
    program = torch.export.load(path)
    if device != 'cpu':
      program = passes.move_to_device_pass(program, device)
    values = {
      node.name: node.meta['val']
      for node in program.graph.find_nodes(op='placeholder')
    }
    inputs = [values[name] for name in program.graph_signature.user_inputs]
    module = program.module()
  if len(inputs) != 1:
    raise ValueError(f'{path}: {len(inputs)} inputs, expected one image')
  shape = tuple(
    size if isinstance(size, int) else -1 for size in inputs[0].shape
  )
  return Program(module, (shape,), inputs[0].dtype)


def _pickled(path: str, config: measurements.OpenConfig) -> torch.nn.Module:
  try:
    with _readable(path):
      content = torch.load(
        path, map_location='cpu', weights_only=not config.allow_pickle
      )
  except ValueError as error:
    raise _explained(path, error) from error
  if isinstance(content, torch.nn.Module):
    return content
  what = 'state dict' if isinstance(content, dict) else type(content).__name__
  raise ValueError(f'{path}: a {what} without its architecture; give {_LOADER}')


def _explained(path: str, error: ValueError) -> ValueError:
  """Returns the error, or one that says what a pickle names."""
  if isinstance(error.__cause__, ImportError | AttributeError):
    return ValueError(
      f'{path}: names what cannot be imported here '
      f'({errors.first_line(error.__cause__)}); give {_LOADER}'
    )
  name = re.search(r'GLOBAL ([\w.]+)', str(error.__cause__))
  if not name:
    return error
  return ValueError(
    f'{path}: holds a {name[1]}, and reading more than tensors would run code '
    f'that the file brings; {_TRUST}, else save the model as TorchScript'
  )


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
  """Turns what comes of reading a file into one line."""
  try:
    yield
  except Exception as error:  # A damaged file may raise anything in there.
    raise ValueError(
      f'{path}: PyTorch cannot open it, it may be damaged ({_reason(error)})'
    ) from error


def _reason(error: Exception) -> str:
  """The telling part of what PyTorch says of a file."""
  found = re.search(r'WeightsUnpickler error: (.*)', str(error))
  line = found[1] if found else errors.first_line(error)
  return line.partition('. This is an internal miniz error')[0]


def _from_loader(path: str, loader: str) -> torch.nn.Module:
  file = pathlib.Path(loader).resolve()
  if file.suffix != '.py' or not file.is_file():
    raise ValueError(f'--loader={loader}: no such .py file; expected {_LOADER}')
  path = str(pathlib.Path(path).resolve())
  with _code_of(file, f'--loader={loader}'):
    function = getattr(
      python_files.imported(file, 'loader'), 'load_model', None
    )
  if not callable(function):
    raise ValueError(f'--loader={loader}: no load_model; expected {_LOADER}')
  with _code_of(file, f'--loader={loader}: load_model'):
    # Some know where their file is.
    wanted = inspect.signature(function).parameters
    module = function(path) if wanted else function()
  if not isinstance(module, torch.nn.Module):
    raise ValueError(
      f'--loader={loader}: load_model returned a {type(module).__name__}, '
      'expected a torch.nn.Module'
    )
  return module


@contextlib.contextmanager
def _code_of(file: pathlib.Path, name: str) -> Iterator[None]:
  """Runs a user's code as if it had been started in its folder."""
  sys.path.insert(0, str(file.parent))
  try:
    with contextlib.chdir(file.parent):
      yield
  except (Exception, SystemExit) as error:  # Whatever the user's code does.
    raise ValueError(
      f'{name}: {type(error).__name__}: {_reason(error)}'
    ) from error
  finally:
    sys.path.remove(str(file.parent))
