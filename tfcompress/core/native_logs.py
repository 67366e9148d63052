"""Keeps what C++ libraries print off the user's terminal."""

import os
import sys

_ASKED = 'TF_CPP_MIN_LOG_LEVEL'


def silence() -> None:
  """Sends the native stderr nowhere and keeps Python's where it was.

  TensorFlow and LiteRT greet on stderr when they are imported, which no setting
  prevents. Whoever sets TF_CPP_MIN_LOG_LEVEL wants to see them: then nothing
  is done.
  """
  if _ASKED in os.environ:
    return
  sys.stderr.flush()
  sys.stderr = os.fdopen(os.dup(2), 'w', buffering=1)
  nowhere = os.open(os.devnull, os.O_WRONLY)
  os.dup2(nowhere, 2)
  os.close(nowhere)
