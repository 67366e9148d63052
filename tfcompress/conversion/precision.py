"""Which layers stay in higher precision, so that a file is good enough.

Layers rise in the order of their sensitivity: all of them one step, from int4
to int8, before the first of them goes on to float32. How many must rise is
searched by doubling and then halving the difference, each try a file of its
own: a drop that falls with every layer that rises gives the fewest.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

from tfcompress.conversion import (
  float_files,
  parity,
  rounding,
  sensitivity,
  variants,
)
from tfcompress.core import types

Report = Callable[[tuple[types.LayerSensitivity, ...]], None]


@dataclasses.dataclass(frozen=True)
class Attempt:
  """A file and how good it is.

  Attributes:
    content: the file.
    bits: of each layer's weights, by name.
    parity: with its parent.
    is_within: whether its drop is what was asked for.
  """

  content: bytes
  bits: Mapping[str, int]
  parity: parity.Parity
  is_within: bool


def choose(
  file: float_files.FloatFile,
  config: types.ExportConfig,
  known: parity.HeldOut,
  report: Report,
) -> Attempt:
  """Quantizes a file as `keep_float` and `max_drop` of a config say.

  Args:
    file: what to quantize.
    config: of the export.
    known: the images to compare on.
    report: is given the sensitivities, where they are measured.

  Returns:
    A file within max_drop, or the one of the smallest drop found.

  Raises:
    ValueError: keep_float is more than there are layers.
  """
  if config.keep_float > len(file.layers):
    raise ValueError(
      f'--keep_float={config.keep_float}: the network has '
      f'{len(file.layers)} layers with a kernel, expected at most that'
    )
  attempt = functools.partial(_attempt, file, config, known)
  bits, tried = file.lowest_bits(), {}
  if not (config.sensitivity or config.keep_float):
    tried[0] = attempt(bits)
    if tried[0].is_within:
      return tried[0]
  ranked = sensitivity.measure(file, known)
  report(ranked)
  names = [layer.layer for layer in ranked]
  bits |= dict.fromkeys(names[: config.keep_float], variants.FLOAT_BITS)
  steps = risen(bits, {layer.name: layer.bits for layer in file.layers}, names)
  return fewest(
    lambda count: tried.get(count) or attempt(steps[count]), len(steps) - 1
  )


def limit(config: types.ExportConfig) -> float | None:
  """Returns the points of top-1 that may be lost; None for any."""
  if config.max_drop is None:
    return variants.RECIPES[config.variant].max_drop
  return config.max_drop


def risen(
  bits: Mapping[str, int],
  possible: Mapping[str, Sequence[int]],
  names: Sequence[str],
) -> list[dict[str, int]]:
  """Returns the bits of all layers after 0, 1, 2... steps of one layer.

  Args:
    bits: of every layer at first.
    possible: the bits that each can have.
    names: of the layers, the first to rise first.
  """
  steps = [dict(bits)]
  for higher in sorted(set().union(*possible.values())):
    for name in names:
      if steps[-1][name] < higher and higher in possible[name]:
        steps.append(steps[-1] | {name: higher})
  return steps


def fewest(attempt: Callable[[int], Attempt], most: int) -> Attempt:
  """Returns the attempt of the lowest count found to be within the limit.

  Args:
    attempt: makes the one of a count.
    most: the highest count.

  Returns:
    It, or the one of the smallest drop where none is.
  """
  attempt = functools.cache(attempt)
  counts = [0]
  while not attempt(counts[-1]).is_within and counts[-1] < most:
    counts.append(min(2 * counts[-1] or 1, most))
  if not attempt(counts[-1]).is_within:
    return min(map(attempt, counts), key=lambda one: one.parity.top1_drop)
  low, high = counts[-2] if len(counts) > 1 else -1, counts[-1]
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (low, middle) if attempt(middle).is_within else (middle, high)
  return attempt(high)


def _attempt(
  file: float_files.FloatFile,
  config: types.ExportConfig,
  known: parity.HeldOut,
  bits: Mapping[str, int],
) -> Attempt:
  """Makes a file and compares it with its parent."""
  dtype = variants.io_dtype(file.variant, config.io_dtype)
  content = rounding.quantized(file, bits, dtype)
  result = parity.measure_content(content, known)
  most = limit(config)
  if most is not None:
    higher = sum(bits[layer.name] > layer.bits[0] for layer in file.layers)
    print(
      f'{higher} of {len(file.layers)} layers in higher precision: '
      f'{result.top1_drop:.2f} points of top-1 lost, at most {most:g} wanted'
    )
  is_within = most is None or result.top1_drop <= most
  return Attempt(content, bits, result, is_within)
