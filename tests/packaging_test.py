"""The package that pip makes of this tree."""

import configparser
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests import layers_test

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> zipfile.ZipFile:
  """A wheel built from a copy of the sources."""
  root = tmp_path_factory.mktemp('build')
  for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
    shutil.copy(ROOT / name, root)
  shutil.copytree(ROOT / 'tfcompress', root / 'tfcompress')
  subprocess.run(
    [
      *(sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps'),
      *('--no-build-isolation', '--wheel-dir', str(root), str(root)),
    ],
    check=True,
    cwd=root,
  )
  (path,) = root.glob('*.whl')
  return zipfile.ZipFile(path)


def test_the_wheel_has_every_module(wheel):
  packed = {name for name in wheel.namelist() if name.endswith('.py')}
  assert packed == {str(path.relative_to(ROOT)) for path in layers_test.MODULES}


@pytest.mark.parametrize('package', ['hosting', 'reports'])
def test_the_wheel_has_the_templates(wheel, package):
  folder = ROOT / 'tfcompress' / package / 'templates'
  files = {str(path.relative_to(ROOT)) for path in folder.iterdir()}
  assert files and files <= set(wheel.namelist())


def test_the_wheel_has_a_script_for_every_command(wheel):
  (name,) = [n for n in wheel.namelist() if n.endswith('entry_points.txt')]
  parser = configparser.ConfigParser()
  parser.read_string(wheel.read(name).decode())
  assert dict(parser['console_scripts']) == {
    f'tfcompress-{command}': f'tfcompress.{command}:main'
    for command in layers_test.COMMANDS
  }


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory) -> pathlib.Path:
  """A folder that has the wheel, and nothing of this tree."""
  folder = tmp_path_factory.mktemp('installed')
  subprocess.run(
    [
      *(sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps'),
      *('--no-index', '--target', str(folder), wheel.filename),
    ],
    check=True,
  )
  return folder


@pytest.mark.parametrize(
  ('command', 'flag'), [('submit', '--check:'), ('leaderboard', '--event:')]
)
def test_an_installed_script_starts(installed, command, flag):
  result = subprocess.run(
    [str(installed / 'bin' / f'tfcompress-{command}'), '--help'],
    capture_output=True,
    text=True,
    check=True,
    cwd=installed,
    env=os.environ | {'PYTHONPATH': str(installed)},
  )
  assert flag in result.stdout


def test_the_lock_pins_everything_by_hash_and_names_no_address():
  text = (ROOT / 'requirements.lock').read_text()
  assert '://' not in text
  entries = re.split(r'\n(?=\S)', text.strip())
  assert len(entries) > 40
  for entry in entries:
    assert re.match(r'[\w.-]+==[\w.]+', entry), entry
    assert '--hash=sha256:' in entry, entry


def test_the_lock_satisfies_the_core_requirements():
  parser = configparser.ConfigParser()
  parser.read(ROOT / 'setup.cfg')
  wanted = {
    re.split(r'[<>=]', line)[0].replace('_', '-').lower()
    for line in parser['options']['install_requires'].split()
  }
  text = (ROOT / 'requirements.lock').read_text()
  assert wanted <= set(re.findall(r'^([\w-]+)==', text, re.MULTILINE))
