"""Keeps what C++ libraries print off the user's terminal."""

import contextlib
import os
import sys
from collections.abc import Iterator

_ASKED = 'TF_CPP_MIN_LOG_LEVEL'
_STDERR = 2


def silence() -> None:
  """Sends the native stderr nowhere and keeps Python's where it was.

  TensorFlow and LiteRT greet on stderr when they are imported, which no setting
  prevents. TF_CPP_MIN_LOG_LEVEL=0 asks to see all of it: then nothing is done.
  """
  if os.environ.get(_ASKED) == '0':
    return
  sys.stderr.flush()
  sys.stderr = os.fdopen(os.dup(_STDERR), 'w', buffering=1)
  nowhere = os.open(os.devnull, os.O_WRONLY)
  os.dup2(nowhere, _STDERR)
  os.close(nowhere)


@contextlib.contextmanager
def heard() -> Iterator[None]:
  """Gives the native stderr back for a while: a child inherits it then."""
  silenced = os.dup(_STDERR)
  os.dup2(sys.stderr.fileno(), _STDERR)
  try:
    yield
  finally:
    os.dup2(silenced, _STDERR)
    os.close(silenced)
