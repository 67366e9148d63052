import configparser
import importlib.metadata
import pathlib

import pytest
from packaging import requirements

from tfcompress.core import extras

ROOT = pathlib.Path(__file__).parents[2]


def in_setup(extra: str) -> list[str]:
  config = configparser.ConfigParser()
  config.read(ROOT / 'setup.cfg')
  return config['options.extras_require'][extra].strip().splitlines()


@pytest.fixture(params=['clone', 'package'])
def installed(request, monkeypatch, tmp_path):
  """As a clone that is not installed, and as a package without setup.cfg."""
  if request.param == 'clone':
    return
  monkeypatch.setattr(extras, '__file__', str(tmp_path / 'a' / 'b' / 'c.py'))
  said = ['numpy>=2.1'] + [
    f"{one} ; extra == '{extra}'"
    for extra in ('torch', 'dev')
    for one in in_setup(extra)
  ]
  monkeypatch.setattr(importlib.metadata, 'requires', lambda name: said)


def test_a_hint_names_the_packages_themselves(installed):
  (torch,) = in_setup('torch')
  assert torch.startswith('torch>=')
  assert extras.install('torch') == f"python -m pip install '{torch}'"


def test_an_extra_of_several_packages(installed):
  command = extras.install('dev')
  named = command.removeprefix("python -m pip install '").removesuffix("'")
  assert named.split("' '") == in_setup('dev')
  assert all(requirements.Requirement(one) for one in named.split("' '"))


def test_an_extra_that_nobody_knows_is_named_itself(installed):
  assert extras.install('no') == "python -m pip install 'no'"


def test_without_setup_and_metadata_the_extra_names_the_package(
  monkeypatch, tmp_path
):
  monkeypatch.setattr(extras, '__file__', str(tmp_path / 'a' / 'b' / 'c.py'))

  def requires(name):
    raise importlib.metadata.PackageNotFoundError(name)

  monkeypatch.setattr(importlib.metadata, 'requires', requires)
  assert extras.install('torch') == "python -m pip install 'torch'"
