"""What some tests need that a machine may lack, and what brings it.

A skipped test's reason begins with `NEEDS`; the last lines of a run count the
reasons (`tests/conftest.py`).
"""

import collections
import importlib.util
import os
import pathlib
import shutil
from collections.abc import Sequence

import pytest

from tfcompress.core import environment, gpus, measurements
from tfcompress.measurement import sandbox

NEEDS = 'needs '
ALL = 'scripts/test --all'
# Debian's packages, by what tests need.
PACKAGES = {
  'bubblewrap': ('bubblewrap',),
  'chromium': ('chromium',),
  'a Vulkan driver': ('chromium', 'libvulkan1'),
  'node': ('nodejs', 'npm'),
}
_PYTHON = {'torch', 'actionlint', 'zizmor', ALL}  # scripts/test --all has them
_ROOT = pathlib.Path(__file__).parents[1]
CHROMIUM = pathlib.Path('/usr/bin/chromium')
# A Vulkan driver that computes on the CPU, where distributions have it; the
# first is of Debian's chromium-common.
_DRIVERS = (
  '/usr/lib/chromium/vk_swiftshader_icd.json',
  '/usr/lib/chromium-browser/vk_swiftshader_icd.json',
  '/usr/lib64/chromium-browser/vk_swiftshader_icd.json',
  '/opt/google/chrome/vk_swiftshader_icd.json',
)
SWIFTSHADER = next((path for path in _DRIVERS if os.path.exists(path)), None)
NODE_MODULES = _ROOT / '.venv' / 'node_modules'
HAS_TORCH = importlib.util.find_spec('torch') is not None
ZIZMOR = shutil.which('zizmor', path=f'{_ROOT}/.venv/bin:{os.environ["PATH"]}')


def _mark(there: bool, what: str) -> pytest.MarkDecorator:
  return pytest.mark.skipif(not there, reason=NEEDS + what)


def _installed(name: str) -> bool:
  return importlib.util.find_spec(name) is not None


def _adds_in_32_bits() -> bool:
  limit = os.environ.get(environment.ONEDNN_LIMIT, '').upper()
  there = {'avx512_vnni', 'avx_vnni'} & environment.cpu_flags()
  return bool(there) and limit not in ('SSE41', 'AVX', 'AVX2', 'AVX512_CORE')


def module(name: str):
  """Returns a package that is imported, or skips."""
  return pytest.importorskip(name, reason=NEEDS + name)


def torch():
  """Returns PyTorch, or skips; for use inside a test or fixture."""
  return module('torch')


def require(mark: pytest.MarkDecorator) -> None:
  """Skips where a mark does; for use inside a fixture."""
  if mark.args[0]:
    pytest.skip(mark.kwargs['reason'])


def summary(lacking: Sequence[str]) -> list[str]:
  """Returns lines on what was not tested.

  Args:
    lacking: what each skipped test needs.
  """
  counts = collections.Counter(lacking)
  if not counts:
    return []
  said = ', '.join(f'{counts[what]} need {what}' for what in sorted(counts))
  lines = [f'not tested here: {said}']
  packages = {name for what in counts for name in PACKAGES.get(what, ())}
  if packages:
    lines.append(f'  sudo apt-get install {" ".join(sorted(packages))}')
  if _PYTHON & set(counts):
    lines.append(f'  {ALL}    # installs torch and linters, and takes longer')
  return lines


bubblewrap = _mark(
  sandbox.level_of(None) is measurements.Isolation.BUBBLEWRAP, 'bubblewrap'
)
chromium = _mark(CHROMIUM.exists(), 'chromium')
vulkan = _mark(
  SWIFTSHADER is not None and not gpus.inventory().startswith('no '),
  'a Vulkan driver',
)
bfloat16 = _mark(
  not environment.bfloat16_is_forbidden(),
  f'bfloat16, without {environment.ONEDNN_LIMIT}',
)
# Without it OpenVINO adds products of bytes in 16 bits, which cuts sums off.
vnni = _mark(_adds_in_32_bits(), 'OpenVINO on a CPU with VNNI')
pytorch = _mark(HAS_TORCH, 'torch')
kaggle = _mark(_installed('kaggle'), 'kaggle')
pip = _mark(_installed('pip'), 'pip')
node = _mark(shutil.which('node') is not None, 'node')
actionlint = _mark((NODE_MODULES / 'actionlint').is_dir(), 'actionlint')
zizmor = _mark(ZIZMOR is not None, 'zizmor')
