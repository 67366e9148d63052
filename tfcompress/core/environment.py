"""Where a record was made: versions, CPU, device, git revision."""

import functools
import importlib.metadata
import os
import pathlib
import platform
import shutil
import subprocess

_PACKAGES = (
  'tfcompress',
  'tensorflow',
  'tf_keras',
  'tensorflow-model-optimization',
  'keras',
  'ai-edge-litert',
  'numpy',
)
_BFLOAT16_FLAGS = {'avx512_bf16', 'amx_bf16'}
ONEDNN_LIMIT = 'ONEDNN_MAX_CPU_ISA'  # oneDNN uses no newer instructions.
# Limits that leave no bfloat16.
_WITHOUT_BFLOAT16 = (
  'SSE41', 'AVX', 'AVX2', 'AVX2_VNNI', 'AVX512_CORE', 'AVX512_CORE_VNNI',
)  # fmt: skip
_REPORTED_FLAGS = (
  'avx2', 'avx_vnni', 'avx512f', 'avx512_vnni', *sorted(_BFLOAT16_FLAGS),
)  # fmt: skip


def describe(device: str = 'cpu') -> dict[str, object]:
  """Returns what a record says of the machine that made it."""
  name, flags = _cpu()
  return {
    'python': platform.python_version(),
    'platform': platform.platform(),
    'packages': _versions(),
    'cpu': name,
    'cpu_flags': [flag for flag in _REPORTED_FLAGS if flag in flags],
    'cpu_cores': len(os.sched_getaffinity(0)),
    'device': device,
    'git_revision': _git_revision(),
  }


def cpu_has_bfloat16() -> bool:
  """Whether the CPU multiplies matrices in bfloat16, and oneDNN may use it."""
  return bool(_BFLOAT16_FLAGS & cpu_flags()) and not bfloat16_is_forbidden()


def bfloat16_is_forbidden() -> bool:
  """Whether the user's limit of oneDNN leaves it none; then it computes none."""
  return os.environ.get(ONEDNN_LIMIT, '').upper() in _WITHOUT_BFLOAT16


def cpu_name() -> str:
  return _cpu()[0]


def cpu_flags() -> frozenset[str]:
  """What the CPU can do, as Linux names it; nothing where it does not tell."""
  return _cpu()[1]


@functools.cache
def _cpu() -> tuple[str, frozenset[str]]:
  """The CPU's name and flags, as Linux tells them."""
  info = pathlib.Path('/proc/cpuinfo')
  if not info.is_file():
    return platform.processor() or platform.machine(), frozenset()
  fields = {}
  for line in info.read_text().splitlines():
    key, _, value = line.partition(':')
    fields.setdefault(key.strip(), value.strip())
  flags = frozenset(fields.get('flags', '').split())
  return fields.get('model name', platform.machine()), flags


def _versions() -> dict[str, str]:
  versions = {}
  for package in _PACKAGES:
    try:
      versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return versions


def _git_revision() -> str | None:
  """The revision of the source tree; None outside one."""
  root = pathlib.Path(__file__).parents[2]
  if not (root / '.git').exists() or not shutil.which('git'):
    return None
  command = ['git', '-C', str(root), 'rev-parse', 'HEAD']
  result = subprocess.run(command, capture_output=True, text=True, check=False)
  return result.stdout.strip() or None
