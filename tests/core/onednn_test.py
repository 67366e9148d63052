"""oneDNN is on where it pays, in every process that computes."""

import json
import subprocess
import sys

import pytest

from tfcompress.core import environment, measurements, onednn
from tfcompress.measurement import sandbox

ZEN_3 = frozenset({'sse4_1', 'avx', 'avx2', 'fma'})
SANDY_BRIDGE = frozenset({'sse4_1', 'avx'})
NEHALEM = frozenset({'sse4_1'})
ZEN_4 = ZEN_3 | {'avx512f', 'avx512_vnni', 'avx512_bf16'}
ALDER_LAKE = ZEN_3 | {'avx_vnni'}


@pytest.fixture
def on(monkeypatch):
  """Makes the machine one with these CPU flags, TensorFlow not loaded."""

  def install(flags, loaded=False):
    monkeypatch.setattr(environment, 'cpu_flags', lambda: flags)
    modules = {'tensorflow': None} if loaded else {}
    monkeypatch.setattr(onednn.sys, 'modules', modules)

  return install


@pytest.mark.parametrize(
  ('flags', 'expected'),
  [
    (ZEN_3, {'TF_ENABLE_ONEDNN_OPTS': '1'}),
    (SANDY_BRIDGE, {'TF_ENABLE_ONEDNN_OPTS': '1'}),
    (NEHALEM, {}),
    (ZEN_4, {}),
    (ALDER_LAKE, {}),
    (frozenset(), {}),
  ],
  ids=['avx2', 'avx', 'sse', 'avx512_vnni', 'avx_vnni', 'unknown'],
)
def test_on_where_tensorflow_leaves_it_off_and_it_pays(on, flags, expected):
  on(flags)
  variables = {}
  onednn.turn_on(variables)
  assert variables == expected


@pytest.mark.parametrize('wanted', ['0', '1', ''])
def test_the_users_setting_stands(on, caplog, wanted):
  on(ZEN_3, loaded=True)
  variables = {'TF_ENABLE_ONEDNN_OPTS': wanted}
  onednn.turn_on(variables)
  assert variables == {'TF_ENABLE_ONEDNN_OPTS': wanted}
  assert not caplog.messages


def test_warns_where_tensorflow_was_first(on, caplog):
  on(ZEN_3, loaded=True)
  variables = {}
  onednn.turn_on(variables)
  assert variables == {}
  (line,) = caplog.messages
  assert 'Import tfcompress first' in line


def test_nothing_to_warn_of_on_a_newer_cpu(on, caplog):
  on(ZEN_4, loaded=True)
  onednn.turn_on({})
  assert not caplog.messages


def test_importing_the_package_is_enough():
  """In a fresh process, as of a notebook, a worker or a command."""
  code = (
    'import json, os, sys\n'
    'from tfcompress.core import environment, onednn\n'
    "print(json.dumps([os.environ.get('TF_ENABLE_ONEDNN_OPTS'),"
    " onednn.pays(environment.cpu_flags()), 'tensorflow' in sys.modules]))"
  )
  found = subprocess.run(
    [sys.executable, '-c', code], env={}, capture_output=True, check=True
  )
  setting, pays, loaded = json.loads(found.stdout)
  assert setting == ('1' if pays else None)
  assert not loaded


@pytest.mark.parametrize(
  ('limit', 'expected'),
  [('', True), ('AVX2', False), ('avx512_core', False), ('DEFAULT', True)],
)
def test_a_limit_of_onednn_may_leave_no_bfloat16(
  on, monkeypatch, limit, expected
):
  on(ZEN_4)
  monkeypatch.setenv('ONEDNN_MAX_CPU_ISA', limit)
  assert environment.cpu_has_bfloat16() is expected


@pytest.mark.parametrize('level', list(measurements.Isolation))
def test_isolated_processes_have_the_users_setting(monkeypatch, level):
  monkeypatch.setenv('TF_ENABLE_ONEDNN_OPTS', '0')
  monkeypatch.setenv('ONEDNN_MAX_CPU_ISA', 'AVX2')
  file = measurements.OpenConfig('a.tflite', measurements.Runtime.TENSORFLOW)
  variables = sandbox.environment(level, file)
  assert variables['TF_ENABLE_ONEDNN_OPTS'] == '0'
  assert variables['ONEDNN_MAX_CPU_ISA'] == 'AVX2'
