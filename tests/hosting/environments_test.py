"""What submissions require, installed from a folder of wheels."""

import dataclasses
import importlib.metadata
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests import needs
from tests.hosting import wheels
from tests.measurement import programs
from tfcompress.core import challenges, measurements
from tfcompress.hosting import environments, indexes
from tfcompress.measurement import opened

Isolation = measurements.Isolation
LIMITS = challenges.Limits(install_seconds=60)
NUMPY = f'numpy=={np.__version__}'

pytestmark = needs.pip


@pytest.fixture
def index(tmp_path, monkeypatch) -> pathlib.Path:
  """The only folder that pip finds packages in."""
  folder = tmp_path / 'wheels'
  folder.mkdir()
  monkeypatch.setenv('PIP_NO_INDEX', '1')
  monkeypatch.setenv('PIP_FIND_LINKS', str(folder))
  return folder


def own_packages(environment: pathlib.Path) -> set[str]:
  folder = next(environment.glob('lib/python*/site-packages'))
  return {path.name for path in folder.iterdir()}


def environment_of(text: str, folder: pathlib.Path, **limits) -> pathlib.Path:
  path = folder / 'requirements.txt'
  path.write_text(text)
  challenge = dataclasses.replace(
    challenges.Challenge(),
    packages=('six', 'numpy', 'sample'),
    limits=dataclasses.replace(LIMITS, **limits),
  )
  return environments.environment_of(path, folder / 'environments', challenge)


def refusal(lines: list[str], tmp_path: pathlib.Path, **limits) -> str:
  """The sentence that installing ends on; nothing is left of it."""
  folder = tmp_path / 'refused'
  with pytest.raises(ValueError) as error:
    environments.install(
      lines, folder / 'one', dataclasses.replace(LIMITS, **limits)
    )
  assert not list(folder.iterdir())
  sentence = str(error.value)
  assert sentence.isprintable() and sentence.startswith('requirements.txt: ')
  return sentence


@needs.bubblewrap
def test_a_model_finds_what_it_pins_and_else_what_we_have(index, tmp_path):
  started = tmp_path / 'started'
  code = f"import os; open({str(started)!r}, 'w')"
  wheels.write(index, 'six', '99.0', files={'evil.pth': code.encode()})
  environment = environment_of(f'six==99.0\n{NUMPY}\n', tmp_path)
  assert 'six.py' in own_packages(environment)
  assert 'numpy' not in own_packages(environment)
  assert not started.exists()  # Nothing of a package has run.
  folder = tmp_path / 'submission'
  folder.mkdir()
  program = programs.write(
    folder,
    f"""
    import sys, numpy, six, tfcompress
    assert six.__version__ == '99.0', six.__file__
    assert numpy.__version__ == {np.__version__!r}
    assert sys.prefix == {str(environment)!r}
    """,
  )
  file = dataclasses.replace(program, environment=str(environment))
  with opened.Opened(file, measurements.Limits(time_limit=60)) as model:
    assert model.level is Isolation.BUBBLEWRAP
  with pytest.raises(opened.ModelError, match='six'):  # It has ours, without.
    opened.Opened(program, measurements.Limits(time_limit=60))
  assert importlib.metadata.version('six') != '99.0'
  assert not started.exists()
  subprocess.run([environment / 'bin' / 'python', '-c', ''], check=True)
  assert started.exists()  # As it would have outside of the sandbox.


def test_equal_requirements_are_installed_once(index, tmp_path):
  wheels.write(index, 'sample', '1.0')
  first = environment_of('sample==1.0\n', tmp_path)
  modified = first.stat().st_mtime_ns
  assert 'sample.py' in own_packages(first)
  (index / 'sample-1.0-py3-none-any.whl').unlink()
  assert environment_of(f'# The same.\n\nsample==1.0  # {1}', tmp_path) == first
  assert first.stat().st_mtime_ns == modified
  other = environment_of(f'{NUMPY}\n', tmp_path)
  assert other != first and other.parent == first.parent
  assert set(first.parent.iterdir()) == {first, other}


def test_requirements_against_the_rules_are_not_installed(tmp_path):
  with pytest.raises(ValueError, match=r'line 1: .*evil'):
    environment_of('evil==1.0\n', tmp_path)
  assert not (tmp_path / 'environments').exists()


@pytest.mark.parametrize('level', [None, Isolation.PROCESS])
def test_nothing_is_built_from_source(level, index, tmp_path):
  built = tmp_path / 'built'
  wheels.write_source(index, 'sample', '1.0', f'open({str(built)!r}, "w")')
  with pytest.raises(ValueError) as error:
    environments.install(['sample==1.0'], tmp_path / 'one', LIMITS, level)
  assert str(error.value) == (
    'requirements.txt: cannot be installed: No matching distribution found for '
    'sample==1.0'
  )
  assert not built.exists()


def test_requirements_that_contradict_each_other(index, tmp_path):
  wheels.write(index, 'sample', '1.0', requires='six==98.0')
  wheels.write(index, 'six', '99.0')
  wheels.write(index, 'six', '98.0')
  sentence = refusal(['sample==1.0', 'six==99.0'], tmp_path)
  assert 'conflicting dependencies' in sentence


def test_an_index_that_cannot_be_reached(tmp_path, monkeypatch):
  with socket.create_server(('127.0.0.1', 0)) as server:
    port = server.getsockname()[1]
  monkeypatch.setenv('PIP_INDEX_URL', f'http://127.0.0.1:{port}/simple')
  monkeypatch.setenv('PIP_RETRIES', '1')
  monkeypatch.setenv('no_proxy', '127.0.0.1')
  sentence = refusal(['tfcompress-nowhere==1.0'], tmp_path)
  assert 'the package index cannot be reached; check the network' in sentence


def test_packages_that_are_too_large(index, tmp_path):
  content = np.random.RandomState(0).bytes(3 * 2**20)
  wheels.write(index, 'sample', '1.0', files={'sample_data': content})
  sentence = refusal(['sample==1.0'], tmp_path, environment_mib=2)
  assert 'more than 2 MiB of packages, which is the limit' in sentence


@pytest.fixture
def stalled(monkeypatch):
  """An index that takes requests and never answers."""
  with socket.create_server(('127.0.0.1', 0)) as server:
    port = server.getsockname()[1]
    monkeypatch.setenv('PIP_INDEX_URL', f'http://127.0.0.1:{port}/simple')
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    yield server


def test_an_installation_that_takes_too_long(stalled, tmp_path):
  begun = time.monotonic()
  sentence = refusal(['tfcompress-nowhere==1.0'], tmp_path, install_seconds=2)
  assert sentence == 'requirements.txt: not installed within 2 s; require less'
  assert time.monotonic() - begun < 10


_INSTALLS = """
import pathlib, sys
from tfcompress.core import challenges
from tfcompress.hosting import environments
environments.install(['sample==1.0'], pathlib.Path(sys.argv[1]),
                     challenges.Limits())
"""


@needs.bubblewrap
def test_a_killed_installation_leaves_nothing_half(
  stalled, tmp_path, monkeypatch
):
  target = tmp_path / 'environments' / 'one'
  process = subprocess.Popen([sys.executable, '-c', _INSTALLS, target])
  connection, _ = stalled.accept()  # pip is at work.
  process.send_signal(signal.SIGKILL)
  process.wait()
  connection.settimeout(10)
  with connection:
    while connection.recv(4096):  # It ends with who started it.
      pass
  assert not target.exists()
  monkeypatch.setenv('PIP_NO_INDEX', '1')
  monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path))
  wheels.write(tmp_path, 'sample', '1.0')
  found = []
  install = lambda: found.append(
    environments.install(['sample==1.0'], target, LIMITS)
  )
  threads = [threading.Thread(target=install) for _ in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert found == [target] * 2
  assert 'sample.py' in own_packages(target)
  assert list(target.parent.iterdir()) == [target]


@needs.bubblewrap
def test_pip_sees_neither_data_nor_secrets(index, tmp_path, monkeypatch):
  monkeypatch.setenv('KAGGLE_KEY', 'secret')
  monkeypatch.setenv('PIP_INDEX_URL', f'file://{tmp_path}/served/simple')
  monkeypatch.setenv('PIP_LOG', str(tmp_path / 'log'))
  for name in ('part', 'labels', 'served/simple', 'served/files'):
    (tmp_path / name).mkdir(parents=True)
  settings = indexes.settings()
  assert settings['find-links'] == str(index) and 'log' not in settings
  script = f'env; ls {tmp_path}; touch part/new wheels/new; ls /scratch'
  done = subprocess.run(
    [
      *environments._confined(tmp_path / 'part', settings),
      'sh', '-c', f'cd {tmp_path}; {script}',
    ],
    env=indexes.variables(settings, tmp_path / 'part'),
    capture_output=True, text=True, check=False,
  )  # fmt: skip
  said = done.stdout.splitlines()
  assert [line for line in said if '=' not in line] == [
    'part', 'served', 'wheels'
  ]  # fmt: skip
  assert f'PIP_FIND_LINKS={index}' in said and 'secret' not in done.stdout
  assert (tmp_path / 'part' / 'new').exists()
  assert not (index / 'new').exists()
  assert 'Read-only file system' in done.stderr


def test_relative_folders_of_wheels(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'wheels').mkdir()
  monkeypatch.setenv('PIP_FIND_LINKS', 'wheels https://127.0.0.1/x')
  settings = indexes.settings()
  assert settings['find-links'] == f'{tmp_path}/wheels https://127.0.0.1/x'
  paths = list(indexes.paths(settings))
  assert f'{tmp_path}/wheels' in paths
  assert all(os.path.isabs(path) for path in paths)
