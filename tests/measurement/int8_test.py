import dataclasses
import types

import pytest

from tests.reports import sample_records
from tfcompress.core import measurements
from tfcompress.measurement import int8, run

FAST = 2.0, (1.9, 2.1)
LEVEL = 1.01, (0.98, 1.04)
SLOW = 0.8, (0.79, 0.81)


def profile(dtype: str, *operators: tuple[str, float]):
  return measurements.ProfileRecord(
    tuple(
      measurements.OperatorRecord(name, 'x', (1,), dtype, ms)
      for name, ms in operators
    ),
    1.0,
  )


INT8 = profile('int8', ('CONV_2D', 0.5), ('CONV_2D', 0.75), ('ADD', 0.25))
FLOAT = profile('float32', ('CONV_2D', 1.0), ('ADD', 0.125))


def record(mib: float, ratio=None, flags=('avx2',), path='a'):
  one = sample_records.record(path, mib, 1.0, 70.0, 0)
  ratio = ratio and measurements.RatioRecord('a', *ratio)
  cpu = {'cpu': 'AMD EPYC 7763', 'cpu_flags': list(flags)}
  return dataclasses.replace(one, ratio=ratio, environment=cpu)


def ratio(times: float, interval=None) -> measurements.RatioRecord:
  return measurements.RatioRecord('a', times, interval)


@pytest.mark.parametrize(
  ('found', 'inverted', 'expected'),
  [
    (FAST, False, None),
    (LEVEL, False, (1.01, 0.98, 1.04)),
    (SLOW, False, (0.8, 0.79, 0.81)),
    (FAST, True, (0.5, 1 / 2.1, 1 / 1.9)),  # the reference is the int8 file
    (LEVEL, True, (1 / 1.01, 1 / 1.04, 1 / 0.98)),
    (SLOW, True, None),
  ],
)
def test_a_file_must_be_known_to_be_faster(found, inverted, expected):
  found = int8.faster(ratio(*found), inverted)
  shown = found and (found.latency, *found.latency_ci95)
  assert shown == (expected and pytest.approx(expected))


def test_without_an_interval_the_ratio_says_it():
  assert int8.faster(ratio(0.9), False) == ratio(0.9)
  assert int8.faster(ratio(1.1), False) is None
  assert int8.faster(None, False) is None


def test_what_most_of_the_time_goes_into_tells_the_numbers():
  assert int8.is_int8(INT8) and not int8.is_float(INT8)
  assert int8.is_float(FLOAT) and not int8.is_int8(FLOAT)
  mixed = dataclasses.replace(
    INT8, operators=(*INT8.operators, *FLOAT.operators, *FLOAT.operators)
  )
  assert int8.is_float(mixed)
  assert not int8.is_int8(profile('int8'))


def test_the_operators_and_the_cpu_are_named():
  assert int8.why(record(1.0), ratio(0.75), INT8, FLOAT) == (
    'int8 is not faster than float here, 0.75 x: its operators, each timed '
    'alone, take 1.500 ms, those of the float file 1.125; CONV_2D 1.250 ms '
    '(float 1.000), ADD 0.250 ms (float 0.125); XNNPACK runs 98.5 % of the '
    'operators; no int8 dot products (VNNI) are among the flags of AMD EPYC '
    '7763'
  )
  # With them, or on no x86, there is nothing to say of the CPU.
  for flags in (('avx2', 'avx512_vnni'), ('avx2', 'avx_vnni'), ()):
    said = int8.why(record(1.0, flags=flags), ratio(0.75), INT8, FLOAT)
    assert said.endswith('; XNNPACK runs 98.5 % of the operators')


@pytest.mark.parametrize(
  ('times', 'words'),
  [
    (SLOW, 'not faster than float here, 0.80 x: its'),
    (
      (1.8, (0.7, 4.6)),
      'not shown to be faster than float here, 1.80 x (0.70 to',
    ),
  ],
)
def test_what_is_not_shown_is_not_denied(times, words):
  assert words in int8.why(record(1.0), ratio(*times), INT8, FLOAT)


class Found:
  """What `run` knows of a model whose profile is known too."""

  def __init__(self, record, seen, strict=False):
    self.record, self.seen, self.asked = record, seen, 0
    self.config = types.SimpleNamespace(strict=strict)
    self.file_bytes = record.size.bytes

  def profile_known(self):
    self.asked += 1
    return self.seen

  def add(self, **fields):
    self.record = dataclasses.replace(self.record, **fields)


def test_only_int8_beside_float_that_is_no_faster_is_explained():
  reference = Found(record(4.0), FLOAT)
  fast = Found(record(1.0, FAST), INT8)
  slow = Found(record(1.0, SLOW), INT8)
  level = Found(record(1.0, LEVEL), INT8)
  floats = Found(record(2.0, SLOW), FLOAT)
  silent = Found(record(1.0, SLOW), None)
  others = [fast, slow, level, floats, silent]
  run._explain([reference, *others])
  said = [len(one.record.warnings) for one in (reference, *others)]
  assert said == [0, 0, 1, 1, 0, 0]
  alike = Found(record(4.0, SLOW), INT8)
  run._explain([reference, alike])
  assert not alike.record.warnings  # It is no int8 file of the same network.
  assert slow.record.warnings[0].startswith('int8 is not faster than float')
  assert (reference.asked, fast.asked) == (1, 0)


def test_the_reference_itself_may_be_the_int8_file():
  reference = Found(record(1.0), INT8)
  run._explain([reference, Found(record(4.0, LEVEL), FLOAT)])
  assert '0.99 x' in reference.record.warnings[0]


@pytest.mark.parametrize('why', ['another runtime', 'a challenge', 'failed'])
def test_what_is_not_profiled_is_not_explained(why):
  reference, slow = Found(record(4.0), FLOAT), Found(record(1.0, SLOW), INT8)
  if why == 'another runtime':
    reference.add(
      runtime=dataclasses.replace(reference.record.runtime, name='openvino')
    )
  elif why == 'a challenge':
    slow = Found(slow.record, INT8, strict=True)
  else:
    slow.add(failure='it crashed')
  run._explain([reference, slow])
  assert not slow.record.warnings and not slow.asked
