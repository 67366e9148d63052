"""Why an int8 file is no faster than a float one. Pure functions."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

from tfcompress.core import measurements

_INT8, _FLOAT = ('int8', 'uint8'), ('float32', 'float16')
_MOST = 0.5  # of a file's time
_SHOWN = 3  # kinds of operators
# What multiplies int8 on x86, by Linux's names.
_DOT_PRODUCTS = ('avx512_vnni', 'avx_vnni')
_X86 = 'avx2'


def faster(
  ratio: measurements.RatioRecord | None, inverted: bool
) -> measurements.RatioRecord | None:
  """Returns how many times faster a file is, where that is not shown to be so.

  Args:
    ratio: of it and another.
    inverted: it is of the other and this one.
  """
  if ratio is None:
    return None
  value = ratio.latency
  low, high = ratio.latency_ci95 or (value, value)
  if inverted:
    value, low, high = 1 / value, 1 / high, 1 / low
  interval = ratio.latency_ci95 and (low, high)
  found = dataclasses.replace(ratio, latency=value, latency_ci95=interval)
  return found if low <= 1 else None


def is_int8(profile: measurements.ProfileRecord) -> bool:
  """Whether most of a file's time goes into operators that write int8."""
  return _share(profile, _INT8) >= _MOST


def is_float(profile: measurements.ProfileRecord) -> bool:
  return _share(profile, _FLOAT) >= _MOST


def _share(profile: measurements.ProfileRecord, dtypes: Sequence[str]) -> float:
  whole = sum(one.ms for one in profile.operators)
  own = sum(one.ms for one in profile.operators if one.dtype in dtypes)
  return own / whole if whole else 0.0


def why(
  record: measurements.Measurement,
  times: measurements.RatioRecord,
  own: measurements.ProfileRecord,
  other: measurements.ProfileRecord,
) -> str:
  """Returns what was seen of an int8 file that is no faster than a float one.

  Args:
    record: of the int8 file.
    times: how many times faster it is, as `faster` returns it.
    own: where its time goes.
    other: where that of the float file goes.
  """
  taken, before = _by_operator(own), _by_operator(other)
  most = sorted(taken, key=taken.get, reverse=True)[:_SHOWN]
  operators = ', '.join(
    f'{name} {taken[name]:.3f} ms'
    + (f' (float {before[name]:.3f})' if name in before else '')
    for name in most
  )
  parts = [
    f'int8 is not {_shown(times)}: its '
    f'operators, each timed alone, take {sum(taken.values()):.3f} ms, those of '
    f'the float file {sum(before.values()):.3f}; {operators}'
  ]
  delegated = record.runtime.delegated_percent
  if delegated is not None and delegated < 100:
    parts.append(f'XNNPACK runs {delegated:.1f} % of the operators')
  parts.append(without_dot_products(record.environment))
  return '; '.join(filter(None, parts))


def _shown(times: measurements.RatioRecord) -> str:
  """Such as 'faster than float here, 0.93 x'."""
  if times.latency <= 1 or not times.latency_ci95:
    return f'faster than float here, {times.latency:.2f} x'
  low, high = times.latency_ci95
  return (
    f'shown to be faster than float here, {times.latency:.2f} x '
    f'({low:.2f} to {high:.2f})'
  )


def _by_operator(profile: measurements.ProfileRecord) -> Mapping[str, float]:
  """Milliseconds by kind of operator."""
  found = collections.Counter()
  for one in profile.operators:
    found[one.operator] += one.ms
  return found


def without_dot_products(environment: Mapping[str, object]) -> str:
  """Returns that an x86 CPU names none, on which int8 may gain nothing, or ''."""
  flags = environment.get('cpu_flags') or ()
  if _X86 not in flags or any(flag in flags for flag in _DOT_PRODUCTS):
    return ''
  name = environment.get('cpu')
  return f'no int8 dot products (VNNI) are among the flags of {name}'
