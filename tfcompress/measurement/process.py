"""Runs a function in a process of its own, which may crash."""

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection

from tfcompress.core import native_logs


def in_fresh_process(function: Callable, *arguments):
  """Returns `function(*arguments)` as a new process computes it.

  Args:
    function: a module's function, so that it can be named to the process.
    *arguments: picklable.

  Raises:
    ValueError: what the function raised, or that its process crashed.
  """
  context = multiprocessing.get_context('spawn')
  receiver, sender = context.Pipe(duplex=False)
  child = context.Process(target=_call, args=(sender, function, arguments))
  child.start()
  sender.close()
  try:
    result, error = receiver.recv()
  except EOFError:
    child.join()
    raise ValueError(
      f'the process that opened the model {_ending(child.exitcode)}; '
      'the file is damaged, or too large for this machine'
    ) from None
  finally:
    child.join()
  if error is not None:
    raise ValueError(error)
  return result


def _call(sender: Connection, function: Callable, arguments: tuple) -> None:
  native_logs.silence()
  try:
    sender.send((function(*arguments), None))
  except (ValueError, OSError) as error:
    sender.send((None, str(error)))


def _ending(exitcode: int) -> str:
  if exitcode >= 0:
    return f'ended with exit code {exitcode}'
  return f'crashed ({signal.Signals(-exitcode).name})'
