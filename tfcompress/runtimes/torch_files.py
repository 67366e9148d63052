"""Opens PyTorch's files: TorchScript, torch.export archives, pickles.

Reading a TorchScript file runs nothing. Reading the others can run code of
whoever wrote them: a pickle does by design, and torch.export evaluates the
sizes that an archive names as Python. So those two are read only where
`OpenConfig.allow_pickle` says so; of a pickle, tensors are read without.
"""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator

import torch

from tfcompress.core import errors, measurements
from tfcompress.runtimes import formats, loaders

_LOADED = 'a torch.nn.Module, or a function of a tensor'
_TRUST = 'if you trust it, give --allow_pickle'


@dataclasses.dataclass(frozen=True)
class Program:
  """What a file holds, ready to run.

  Attributes:
    run: takes and returns a tensor.
    shape: of its input, -1 for a free dimension; None if it does not tell.
    dtype: of its input.
  """

  run: Callable[[torch.Tensor], torch.Tensor]
  shape: tuple[int, ...] | None
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
    return _of_loaded(
      loaders.run(path, config.loader, _LOADED, _reason), device
    )
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
    shape=None,
    dtype=floats[0] if floats else torch.float32,
  )


def _of_loaded(model, device: str) -> Program:
  if isinstance(model, torch.nn.Module):
    return _of_module(model, device)
  return Program(model, None, torch.float32)


def _exported(
  path: str, config: measurements.OpenConfig, device: str
) -> Program:
  if not config.allow_pickle:
    raise ValueError(
      f'{path}: reading a torch.export archive can run code that it brings; '
      f'{_TRUST}, else save the model as TorchScript'
    )
  # Here, since it takes a quarter of a second.
  from torch.export import passes

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
  return Program(module, shape, inputs[0].dtype)


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
  raise ValueError(
    f'{path}: a {what} without its architecture; give {loaders.WANTED}'
  )


def _explained(path: str, error: ValueError) -> ValueError:
  """Returns the error, or one that says what a pickle names."""
  if isinstance(error.__cause__, ImportError | AttributeError):
    return ValueError(
      f'{path}: names what cannot be imported here '
      f'({errors.first_line(error.__cause__)}); give {loaders.WANTED}'
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
