"""How a process that opens a stranger's file is kept from the machine."""

import functools
import os
import pathlib
import shutil
import site
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence

import tfcompress
from tfcompress.core import environment as machine
from tfcompress.core import errors, gpus, measurements, onednn
from tfcompress.measurement import syscalls

Isolation = measurements.Isolation

_BUBBLEWRAP = 'bwrap'
_SCRATCH = '/scratch'  # No folder of the machine, which would show in it.
_MIB = 2**20
# What programs need of a system; where one is a link, it stays one.
_SYSTEM = ('/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64')
_SETTINGS = ('/etc/ld.so.cache', '/etc/ld.so.conf', '/etc/alternatives')
# Root keeps its capabilities otherwise, and could mount what is read-only anew.
_UNSHARED = (
  '--unshare-all', '--unshare-user', '--disable-userns', '--die-with-parent',
  '--new-session', '--cap-drop', 'ALL',
)  # fmt: skip
_MOUNTED = ('--proc', '/proc', '--dev', '/dev')
_PASSED_ON = (
  'PATH', 'LANG', 'LC_ALL', 'TF_USE_LEGACY_KERAS', onednn.SWITCH,
  machine.ONEDNN_LIMIT,
)  # fmt: skip
_SYSTEM_CALLS = 'system calls'
_CONTAINED = {
  Isolation.BUBBLEWRAP: (
    'network', 'files of others', 'labels', 'environment variables', 'memory',
    'time', 'number of processes', 'file size', _SYSTEM_CALLS,
  ),
  Isolation.PROCESS: (
    'environment variables', 'memory', 'time', 'file size',
  ),
  Isolation.NONE: ('time',),
}  # fmt: skip


def level_of(wanted: Isolation | None) -> Isolation:
  """Returns the isolation to use: bubblewrap if nothing else is wanted.

  Raises:
    ValueError: bubblewrap is wanted and does not work here.
  """
  if wanted in (Isolation.PROCESS, Isolation.NONE):
    return wanted
  obstacle = _obstacle()
  if not obstacle:
    return Isolation.BUBBLEWRAP
  if wanted is None:
    return Isolation.PROCESS
  raise ValueError(
    f'--isolation=bubblewrap: {obstacle}; install the package bubblewrap and '
    'allow user namespaces, or use --isolation=process'
  )


def record(level: Isolation) -> measurements.IsolationRecord:
  """Returns what a level keeps a model from, and what it does not."""
  everything = _CONTAINED[Isolation.BUBBLEWRAP]
  contained = _CONTAINED[level]
  if not syscalls.is_filter():
    contained = tuple(name for name in contained if name != _SYSTEM_CALLS)
  left = tuple(name for name in everything if name not in contained)
  return measurements.IsolationRecord(level.value, contained, left)


def command(
  level: Isolation,
  file: measurements.OpenConfig,
  limits: measurements.Limits,
  module: str,
  syscalls_file: int,
) -> list[str]:
  """Returns the command that runs a module of ours on a level.

  Args:
    level: of isolation.
    file: what it is to open, by absolute paths.
    limits: on the files that it writes.
    module: to be run with -m; its arguments come behind.
    syscalls_file: with the filter of `syscalls`, which is passed on.
  """
  interpreter = sys.executable
  if file.environment:
    interpreter = os.path.join(file.environment, 'bin', 'python')
  python = [interpreter, '-P', '-m', module]
  if level is not Isolation.BUBBLEWRAP:
    return python
  devices = ['--seccomp', str(syscalls_file)]
  if on_gpu(file):
    for path in gpus.driver_paths():
      devices += ['--ro-bind-try', path, path]
    for path in gpus.device_paths():
      devices += ['--dev-bind-try', path, path]
  return [*confined(_paths_of(file), limits.file_limit, devices), *python]


def confined(
  readable: Iterable[str], scratch_mib: int, further: Sequence[str] = ()
) -> list[str]:
  """Returns the bubblewrap command that another is to follow.

  That other sees the system's programs, the interpreter with its packages and
  ours, and an empty current directory.

  Args:
    readable: what else it sees, absolute paths.
    scratch_mib: what it may write in that directory.
    further: arguments of bubblewrap.
  """
  arguments = [_BUBBLEWRAP, *_UNSHARED, *_MOUNTED]
  for folder in (_SCRATCH, '/dev/shm'):
    arguments += ['--size', str(scratch_mib * _MIB), '--tmpfs', folder]
  for path in _SYSTEM:
    if os.path.islink(path):
      arguments += ['--symlink', os.readlink(path), path]
    elif os.path.exists(path):
      arguments += ['--ro-bind', path, path]
  for path in _SETTINGS:
    arguments += ['--ro-bind-try', path, path]
  for path in dict.fromkeys((*_python_paths(), *readable)):
    arguments += ['--ro-bind', os.path.realpath(path), path]
  arguments += [*further, '--remount-ro', '/dev', '--remount-ro', '/']
  return [*arguments, '--chdir', _SCRATCH]


def environment(
  level: Isolation, file: measurements.OpenConfig
) -> dict[str, str]:
  """Returns the variables of a process on a level; secrets stay outside."""
  ours = [str(pathlib.Path(tfcompress.__file__).parents[1]), *_user_packages()]
  if file.environment:  # It has them behind its own, here they would be first.
    ours = []
  own = {
    'PYTHONPATH': os.pathsep.join([*ours, *_roots_of_modules(file)]),
    'PYTHONDONTWRITEBYTECODE': '1',
    'TF_CPP_MIN_LOG_LEVEL': '2',
  }
  if level is Isolation.NONE:
    return os.environ | own
  passed_on = {
    name: os.environ[name] for name in _PASSED_ON if name in os.environ
  }
  if level is Isolation.BUBBLEWRAP:
    own |= {'HOME': _SCRATCH, 'TMPDIR': _SCRATCH}
  if on_gpu(file):
    own |= gpus.variables()
  return passed_on | own


def on_gpu(file: measurements.OpenConfig) -> bool:
  """Whether a file is to be run on a GPU."""
  return file.device is measurements.Device.GPU or (
    file.runtime is measurements.Runtime.LITERT_GPU
  )


@functools.cache
def _obstacle() -> str:
  """Why bubblewrap cannot be used, or ''."""
  if not shutil.which(_BUBBLEWRAP):
    return 'no program bwrap'
  tried = subprocess.run(
    [_BUBBLEWRAP, *_UNSHARED, '--ro-bind', '/', '/', *_MOUNTED, 'true'],
    capture_output=True,
    text=True,
    check=False,
  )
  if not tried.returncode:
    return ''
  return f'bwrap does not work here ({errors.first_line(tried.stderr)})'


def _python_paths() -> Iterator[str]:
  """Folders of the interpreter, its packages and ours."""
  for path in (
    sys.prefix,
    sys.base_prefix,
    os.path.dirname(tfcompress.__file__),
    *_user_packages(),
  ):
    if not path.startswith('/usr/'):
      yield path


def _user_packages() -> list[str]:
  """Where pip install --user puts packages, if they are used at all."""
  folder = site.getusersitepackages()
  return [folder] if folder in sys.path else []


def require_own_files(folder: pathlib.Path) -> None:
  """Raises ValueError if a link leads out of a folder that is to be bound.

  What it leads to would be seen in the sandbox, labels for example.
  """
  root = folder.resolve()
  for path in folder.rglob('*'):
    if path.is_symlink() and not path.resolve().is_relative_to(root):
      raise ValueError(
        f'{folder}: {path.relative_to(folder)} is a link out of the folder; '
        'copy it with its files, as cp -rL does'
      )


def _paths_of(file: measurements.OpenConfig) -> Iterator[str]:
  """What opening a file reads: itself and the user's code that goes with it."""
  yield file.model
  if file.environment:
    yield file.environment
  if file.loader:  # and what it may import beside it
    yield from map(str, pathlib.Path(file.loader).parent.glob('*.py'))
  if file.custom_objects.endswith('.py'):
    yield file.custom_objects
  elif file.custom_objects:
    name = file.custom_objects.partition('.')[0]
    here = os.path.join(os.getcwd(), name)
    yield from (path for path in (here, f'{here}.py') if os.path.exists(path))


def _roots_of_modules(file: measurements.OpenConfig) -> list[str]:
  """Where a module of custom objects may lie: in the current directory."""
  is_module = file.custom_objects and not file.custom_objects.endswith('.py')
  return [os.getcwd()] if is_module else []
