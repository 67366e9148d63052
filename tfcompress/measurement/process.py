"""Runs a function in a process of its own, which may crash."""

import importlib
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection

from tfcompress.core import native_logs, processes


def in_fresh_process(function: Callable, *arguments):
  """Returns `function(*arguments)` as a new process computes it.

  Args:
    function: a module's function, so that it can be named to the process.
    *arguments: picklable.

  Raises:
    ValueError: what the function raised, or that its process crashed.
    OSError: the system killed the process, for want of memory.
    RuntimeError: the process ended on a bug, whose traceback it has printed.
  """
  context = multiprocessing.get_context('spawn')
  receiver, sender = context.Pipe(duplex=False)
  # By name, for what the function's module imports would be heard otherwise.
  name = (function.__module__, function.__qualname__)
  child = context.Process(target=_call, args=(sender, *name, arguments))
  with native_logs.heard():
    child.start()
  sender.close()
  try:
    result, error = receiver.recv()
  except EOFError:
    child.join()
    if child.exitcode >= 0:
      raise RuntimeError('see the traceback above') from None
    raise processes.ended_by(
      -child.exitcode,
      'the process that opened the model crashed; the file is damaged, or too '
      'large for this machine',
    ) from None
  finally:
    child.join()
  if error is not None:
    raise ValueError(error)
  return result


def _call(sender: Connection, module: str, name: str, arguments: tuple) -> None:
  native_logs.silence()
  processes.die_with_parent()
  function = getattr(importlib.import_module(module), name)
  try:
    sender.send((function(*arguments), None))
  except (ValueError, OSError) as error:
    sender.send((None, str(error)))
