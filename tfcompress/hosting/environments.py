"""Virtual environments of their own, for what submissions require.

What an environment does not bring it takes from our packages, which its `.pth`
file puts behind its own. A package may have code that runs whenever the
environment's interpreter starts: once something is installed, that must happen
in a sandbox alone.
"""

import contextlib
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from typing import BinaryIO

import tfcompress
from tfcompress.competition import requirements
from tfcompress.core import challenges, measurements, numbers, processes
from tfcompress.hosting import indexes
from tfcompress.measurement import sandbox
from tfcompress.reports import names

_BEHIND = 'tfcompress_behind.pth'
_PACKAGES = ('site-packages', 'dist-packages')
# Only wheels: what is built from source runs code of its own.
_PIP = (
  '-I', '-m', 'pip', '--no-input', 'install', '--quiet',
  '--only-binary', ':all:', '--progress-bar', 'off',
)  # fmt: skip
# Where a system has names of machines and certificates.
_NETWORK = (
  '/etc/resolv.conf', '/etc/hosts', '/etc/nsswitch.conf', '/etc/ssl',
  '/etc/pki', '/etc/ca-certificates',
)  # fmt: skip
_SCRATCH_MIB = 64
_LOOK_SECONDS = 1.0
_WHILE_INSTALLED = 2  # times the limit: the wheels are there too
_READ, _SHOWN = 2**18, 300
_ERROR, _NO_REASON = 'ERROR: ', 'ResolutionImpossible'
_LAST_RETRY = 'Retry(total=0'


def environment_of(
  path: pathlib.Path,
  folder: pathlib.Path,
  challenge: challenges.Challenge,
  isolation: measurements.Isolation | None = None,
) -> pathlib.Path:
  """Returns the environment of a requirements.txt, installed if it is not yet.

  Equal requirements share one.

  Args:
    path: of the requirements.txt.
    folder: of environments; is made.
    challenge: whose packages and limits count.
    isolation: as `install` has it.

  Raises:
    ValueError: the requirements break the challenge's rules, or `install`
      failed.
  """
  lines = requirements.check(path, challenge.packages)
  parts = [sys.version, *_behind(), '', *sorted(lines)]
  name = hashlib.sha256('\n'.join(parts).encode()).hexdigest()
  return install(lines, folder / name, challenge.limits, isolation)


def install(
  lines: Sequence[str],
  target: pathlib.Path,
  limits: challenges.Limits,
  isolation: measurements.Isolation | None = None,
) -> pathlib.Path:
  """Returns `target`, absolute: an environment with what is required.

  pip installs it with network and, in bubblewrap, without data, secrets or
  files of others. No code of a package runs meanwhile. Whole or not at all; one
  that is there stays as it is.

  Args:
    lines: requirements, as competition.requirements.check returns them.
    target: the folder.
    limits: on time and size.
    isolation: of pip; None takes bubblewrap where it works and else a plain
      process, as sandbox.level_of says.

  Raises:
    ValueError: bubblewrap is wanted and does not work, there is no pip, or the
      requirements cannot be installed within the limits.
  """
  target = target.absolute()
  if target.is_dir():
    return target
  level = sandbox.level_of(isolation)
  target.parent.mkdir(parents=True, exist_ok=True)
  with processes.in_turn(target.parent):
    if target.is_dir():  # Another was faster.
      return target
    part = target.with_name(f'.{target.name}.part')
    _remove(part)
    try:
      _create(part)
      if lines:
        _install(lines, part, limits, level)
      part.rename(target)
    finally:
      _remove(part)
  return target


def _remove(folder: pathlib.Path) -> None:
  if folder.exists():
    shutil.rmtree(folder)


def _create(folder: pathlib.Path) -> None:
  """Makes an environment without packages of its own."""
  venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
  packages = next(folder.glob('lib/python*/site-packages'))
  (packages / _BEHIND).write_text('\n'.join(_behind()) + '\n')


def _behind() -> list[str]:
  """Folders of our packages; ourselves first."""
  ours = str(pathlib.Path(tfcompress.__file__).parents[1])
  packages = [p for p in sys.path if os.path.basename(p) in _PACKAGES]
  return list(dict.fromkeys([ours, *packages]))


def _install(
  lines: Sequence[str],
  folder: pathlib.Path,
  limits: challenges.Limits,
  level: measurements.Isolation,
) -> None:
  settings = indexes.settings()
  scratch = folder / 'tmp'  # On disk: wheels may be larger than memory.
  scratch.mkdir()
  command = [str(folder / 'bin' / 'python'), *_PIP, '--', *lines]
  if level is measurements.Isolation.BUBBLEWRAP:
    command = [*_confined(folder, settings), *command]
  variables = indexes.variables(settings, scratch)
  with tempfile.TemporaryFile() as said:
    if _run(command, variables, said, folder, limits):
      raise ValueError(
        f'{challenges.REQUIREMENTS}: cannot be installed: {_reason(said)}'
      )
  shutil.rmtree(scratch)
  _require_size(folder, limits)


def _confined(folder: pathlib.Path, settings) -> list[str]:
  """The sandbox of pip: it writes into one folder, and has the network."""
  further = ['--share-net', '--bind', str(folder), str(folder)]
  for path in _NETWORK:
    further += ['--ro-bind-try', os.path.realpath(path), path]
  return sandbox.confined(indexes.paths(settings), _SCRATCH_MIB, further)


def _run(
  command: Sequence[str],
  variables: dict[str, str],
  said: BinaryIO,
  folder: pathlib.Path,
  limits: challenges.Limits,
) -> int:
  """Runs pip within limits; returns its exit code."""
  deadline = time.monotonic() + limits.install_seconds
  with subprocess.Popen(
    command,
    env=variables,
    stdin=subprocess.DEVNULL,
    stdout=said,
    stderr=subprocess.STDOUT,
    cwd='/',
    start_new_session=True,
  ) as process:
    try:
      while (left := deadline - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
          return process.wait(min(_LOOK_SECONDS, left))
        _require_size(folder, limits, _WHILE_INSTALLED)
    finally:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
  raise ValueError(
    f'{challenges.REQUIREMENTS}: not installed within '
    f'{numbers.plain(limits.install_seconds)} s; require less'
  )


def _require_size(
  folder: pathlib.Path, limits: challenges.Limits, times: int = 1
) -> None:
  """Raises ValueError if a folder is larger than so many times the limit."""
  total = 0
  for parent, _, files in os.walk(folder):
    for name in files:
      with contextlib.suppress(FileNotFoundError):  # pip moves them about.
        total += os.lstat(os.path.join(parent, name)).st_size
  if total > limits.environment_mib * times * 2**20:
    raise ValueError(
      f'{challenges.REQUIREMENTS}: more than {numbers.plain(limits.environment_mib)} MiB of '
      'packages, which is the limit; require less'
    )


def _reason(said: BinaryIO) -> str:
  """The line of pip's that tells why it failed."""
  said.seek(max(0, said.seek(0, os.SEEK_END) - _READ))
  text = said.read().decode(errors='replace')
  if _LAST_RETRY in text:
    return 'the package index cannot be reached; check the network'
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  telling = [
    line.removeprefix(_ERROR)
    for line in lines
    if line.startswith(_ERROR) and _NO_REASON not in line
  ]
  line = (telling or lines or ['pip gave no reason'])[-1]
  return names.shortened(names.printable(line), _SHOWN)
