"""Running steps as processes of their own."""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from tfcompress.compression import steps as steps_lib
from tfcompress.core import native_logs, processes

_ERROR = 'error: '
# What a command says that would not say it again: it was told to end, or the
# system failed it (an OSError), as on a full disk.
_PASSING = ('interrupted', '[Errno ')


@dataclasses.dataclass(frozen=True)
class Output:
  """How a process ended and what it printed."""

  code: int
  stdout: str
  stderr: str


@dataclasses.dataclass(frozen=True)
class Failure:
  """Why a step did not work.

  Attributes:
    reason: what the command said.
    refused: whether it said so, and would again; it crashed otherwise.
  """

  reason: str
  refused: bool


def train(step: steps_lib.Step) -> None:
  """Runs a training, which ends the pipeline if it fails."""
  with native_logs.heard(), _started(step.argv) as process:
    code = process.wait()
  if code:
    raise ValueError(f'{step.label} failed{_signal(code)}, see above')


def attempt(step: steps_lib.Step) -> Failure | None:
  """Runs an export or a measurement; returns why it did not work, if so."""
  with _started(step.argv, stderr=subprocess.PIPE) as process:
    text = _passed_on(process.stderr)
    code = process.wait()
  if not code:
    return None
  if code == 1 and (said := reason(text)):
    return Failure(said, refused=not said.startswith(_PASSING))
  return Failure(f'ended on a bug{_signal(code)}', refused=False)


def reason(stderr: str) -> str:
  """Returns the one line that a command ends on; empty if there is none."""
  lines = [line for line in stderr.splitlines() if line.startswith(_ERROR)]
  return lines[-1].removeprefix(_ERROR) if lines else ''


def outputs(commands: Sequence[Sequence[str]]) -> list[Output]:
  """Returns what commands print that run side by side."""
  pipe = subprocess.PIPE
  processes = [
    _started(command, stdout=pipe, stderr=pipe, text=True)
    for command in commands
  ]
  texts = [process.communicate() for process in processes]
  return [
    Output(process.returncode, *both) for process, both in zip(processes, texts)
  ]


def _started(command: Sequence[str], **streams) -> subprocess.Popen:
  """A process that does not outlive this one: it would hold its folder."""
  return subprocess.Popen(
    command, preexec_fn=processes.die_with_parent, **streams
  )


def _passed_on(stream) -> str:
  """Copies a stream to stderr as it comes, and returns it."""
  parts = []
  while part := os.read(stream.fileno(), 4096):
    parts.append(part)
    sys.stderr.write(part.decode(errors='replace'))
    sys.stderr.flush()
  return b''.join(parts).decode(errors='replace')


def _signal(code: int) -> str:
  return f' ({signal.Signals(-code).name})' if code < 0 else ''
