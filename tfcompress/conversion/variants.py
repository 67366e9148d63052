"""The table of variants: what the numbers of an exported file are.

float32, float16, dynamic and int8 are the converter's own. The others are made
by litert-quantizer from the converter's float32 file, and their names decode:

- static: every tensor has a calibrated range, and the file computes in
  integers. mixed is static, with kernels of two widths.
- dynamic: tensors are float32; a layer rounds its input to int8 as it runs, by
  that input's own range.
- weight_only: kernels are stored rounded, and computed with in float32.
- wi8, wi4: kernels are int8 or int4, symmetric, with a scale per output channel.
- ai8: what layers pass on is int8. afp32: it is float32.

| variant | kernels | between layers | input and output |
|---|---|---|---|
| float32 | float32 | float32 | float32 |
| float16 | float16 | float32 | float32 |
| dynamic | int8 from 1024 weights on | float32 | float32 |
| int8 | int8 | int8, calibrated | uint8, int8 or float32 |
| static_wi8_ai8 | int8 | int8, calibrated | uint8, int8 or float32 |
| static_wi4_ai8 | int4 | int8, calibrated | uint8, int8 or float32 |
| mixed_wi4_wi8_ai8 | int4 and int8 | int8, calibrated | uint8, int8 or float32 |
| dynamic_wi8_afp32 | int8 | float32 | float32 |
| dynamic_wi4_afp32 | int4 | float32 | float32 |
| weight_only_wi8_afp32 | int8 | float32 | float32 |
| weight_only_wi4_afp32 | int4 | float32 | float32 |

A depthwise kernel is never int4, which litert-quantizer does not offer: it is
int8 there. Kernels that stay in higher precision are float32 (--keep_float); by
--max_drop they go from int4 to int8, and from there to float32, but for those of
the mixed variant, which end at int8.

Of litert-quantizer's algorithms, MSE and OCTAV choose ranges of convolutions'
kernels (--kernel_ranges); GPTQ, OSCAR, rotations and blocks are for dense layers
alone. A clipped int8 kernel loses, a clipped int4 one may gain: of a small ResNet
at 32x32, 10 classes, on 300 images, float32 77.7 % (medians, one thread):

| variant | kernels' ranges | top-1, % | SNR, dB | bytes | ms |
|---|---|---|---|---|---|
| int8 | min_max | 78.7 | 30.3 | 92,352 | 0.05 |
| static_wi8_ai8 | min_max | 78.3 | 31.6 | 92,336 | 0.05 |
| static_wi8_ai8 | mse | 77.3 | 22.4 | 92,336 | 0.05 |
| static_wi8_ai8 | octav | 77.3 | 31.3 | 92,336 | 0.05 |
| static_wi4_ai8 | min_max | 59.7 | 4.6 | 51,824 | 0.09 |
| static_wi4_ai8 | mse | 67.3 | 8.3 | 51,824 | 0.09 |
| static_wi4_ai8 | octav | 66.7 | 7.6 | 51,824 | 0.09 |
| int8 kernels, int16 activations, not offered | min_max | 78.3 | 34.4 | 92,512 | 0.98 |

Of a larger ResNet-18 of 100 classes, clipping cost 1 to 10 dB with int4 too; the
check against the parent tells. int16 activations have LiteRT's reference kernels
alone, and no SPACE_TO_DEPTH.

What is fast, measured on LiteRT's CPU backend: int8 everywhere but in a dynamic
depthwise convolution, int4 in dense layers that are not weight-only.
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Callable, Mapping

from tfcompress.core import types

if typing.TYPE_CHECKING:
  import tensorflow as tf  # Only who converts waits for it.

FLOAT_BITS = 32


class Mode(enum.Enum):
  """What is done about the tensors between layers."""

  FLOAT = 'float'
  STATIC = 'static'
  DYNAMIC = 'dynamic'
  WEIGHT_ONLY = 'weight_only'


def _float16(converter: tf.lite.TFLiteConverter) -> None:
  import tensorflow as tf

  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  converter.target_spec.supported_types = [tf.float16]


def _dynamic(converter: tf.lite.TFLiteConverter) -> None:
  import tensorflow as tf

  converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _int8(converter: tf.lite.TFLiteConverter) -> None:
  import tensorflow as tf

  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How to make a variant.

  Attributes:
    mode: what is done about the tensors between layers.
    configure: sets a converter up; None where litert-quantizer makes it.
    bits: what a number of a kernel can have, of litert-quantizer's variants:
      all kernels start with the first, the most sensitive may get the next.
    max_drop: points of top-1 that may be lost, unless the user says so.
    instead: another variant: of the converter's, one of litert-quantizer that
      comes closest; of litert-quantizer's, one with faster kernels.
  """

  mode: Mode
  configure: Callable[[tf.lite.TFLiteConverter], None] | None = None
  bits: tuple[int, ...] = ()
  max_drop: float | None = None
  instead: types.Variant | None = None

  @property
  def calibrated(self) -> bool:
    """Whether it needs representative images."""
    return self.mode is Mode.STATIC

  @property
  def io_dtypes(self) -> tuple[types.IoDtype, ...]:
    """What input and output can be, the default first."""
    return tuple(types.IoDtype) if self.calibrated else (types.IoDtype.FLOAT32,)

  @property
  def stem_bits(self) -> int | None:
    """Bits of a weight of any network's first layer; None where they vary."""
    if self.mode is Mode.FLOAT:
      return FLOAT_BITS
    if self.configure is None:
      return 8 if self.bits[0] == 8 else None
    return 8 if self.mode is Mode.STATIC else None  # Dynamic: large ones only.


_V = types.Variant
_WI8, _WI4, _MIXED = (8, FLOAT_BITS), (4, 8, FLOAT_BITS), (4, 8)

RECIPES = {
  _V.FLOAT32: Recipe(
    Mode.FLOAT, lambda converter: None, instead=_V.STATIC_WI8_AI8
  ),
  _V.FLOAT16: Recipe(Mode.FLOAT, _float16, instead=_V.WEIGHT_ONLY_WI8_AFP32),
  _V.DYNAMIC: Recipe(Mode.DYNAMIC, _dynamic, instead=_V.DYNAMIC_WI8_AFP32),
  _V.INT8: Recipe(Mode.STATIC, _int8, instead=_V.STATIC_WI8_AI8),
  _V.STATIC_WI8_AI8: Recipe(Mode.STATIC, bits=_WI8),
  _V.STATIC_WI4_AI8: Recipe(Mode.STATIC, bits=_WI4, instead=_V.STATIC_WI8_AI8),
  _V.MIXED_WI4_WI8_AI8: Recipe(
    Mode.STATIC, bits=_MIXED, max_drop=1.0, instead=_V.STATIC_WI8_AI8
  ),
  _V.DYNAMIC_WI8_AFP32: Recipe(
    Mode.DYNAMIC, bits=_WI8, instead=_V.STATIC_WI8_AI8
  ),
  _V.DYNAMIC_WI4_AFP32: Recipe(
    Mode.DYNAMIC, bits=_WI4, instead=_V.DYNAMIC_WI8_AFP32
  ),
  _V.WEIGHT_ONLY_WI8_AFP32: Recipe(
    Mode.WEIGHT_ONLY, bits=_WI8, instead=_V.STATIC_WI8_AI8
  ),
  _V.WEIGHT_ONLY_WI4_AFP32: Recipe(
    Mode.WEIGHT_ONLY, bits=_WI4, instead=_V.WEIGHT_ONLY_WI8_AFP32
  ),
}

_NO_INT4 = (
  "LiteRT's CPU backend (XNNPACK) has int4 kernels for dense layers only"
)
_UNPACKED = 'int4 weights are widened to float32 anew for every image'
# Why a kernel is slow, by what it is: mode, operator, numbers.
_SLOW = {
  (Mode.STATIC, 'conv_2d', 'int4'): _NO_INT4,
  (Mode.DYNAMIC, 'conv_2d', 'int4'): _NO_INT4,
  (Mode.DYNAMIC, 'depthwise_conv_2d', 'int8'): (
    "LiteRT's CPU backend (XNNPACK) has no depthwise convolution of float32 "
    'with int8'
  ),
  (Mode.WEIGHT_ONLY, 'conv_2d', 'int4'): _UNPACKED,
  (Mode.WEIGHT_ONLY, 'fully_connected', 'int4'): _UNPACKED,
}


def io_dtype(
  variant: types.Variant, wanted: types.IoDtype | None
) -> types.IoDtype:
  """Returns the dtype of input and output.

  Raises:
    ValueError: the variant cannot have the wanted one.
  """
  possible = RECIPES[variant].io_dtypes
  if wanted is None:
    return possible[0]
  if wanted not in possible:
    raise ValueError(
      f'--io_dtype={wanted.value} contradicts --variant={variant.value}: '
      f'expected {" or ".join(dtype.value for dtype in possible)}'
    )
  return wanted


def require_options(config: types.ExportConfig) -> None:
  """Raises ValueError where an option is not for the variant."""
  recipe, name = RECIPES[config.variant], config.variant.value
  io_dtype(config.variant, config.io_dtype)
  chosen = config.calibration is not types.Calibration.MIN_MAX
  clips = config.kernel_ranges is not types.KernelRange.MIN_MAX
  given = {
    '--sensitivity': config.sensitivity,
    f'--keep_float={config.keep_float}': config.keep_float > 0,
    f'--max_drop={config.max_drop}': config.max_drop is not None,
    f'--calibration={config.calibration.value}': chosen,
    f'--kernel_ranges={config.kernel_ranges.value}': clips,
  }
  for flag, is_given in given.items():
    if is_given and recipe.configure is not None:
      raise ValueError(
        f'{flag} is not for --variant={name}, which the converter makes as a '
        f'whole; use --variant={recipe.instead.value}'
      )
  if chosen and not recipe.calibrated:
    raise ValueError(
      f'--calibration={config.calibration.value} is not for --variant={name}, '
      'whose activations have no calibrated ranges; leave it out, or use '
      f'--variant={types.Variant.STATIC_WI8_AI8.value}'
    )


def remedies(
  variant: types.Variant, *, chosen: bool = False, trained: bool = False
) -> str:
  """Returns what brings a file nearer to its parent, the cheapest first.

  Args:
    variant: what it was made as.
    chosen: max_drop has chosen already which layers are in float32.
    trained: the artifact was trained for int8, so nothing else can be chosen.
  """
  if trained:
    return 'train its parent longer with --stage=qat, or export that parent'
  recipe = RECIPES[variant]
  if recipe.mode is Mode.FLOAT:
    return 'choose another --variant'
  calibrate = ['raise --calibration_examples'] if recipe.calibrated else []
  keep = 'keep layers in float32 by --keep_float or --max_drop'
  if recipe.configure is not None:
    keep += f' (with --variant={recipe.instead.value})'
  train = (
    ['train the artifact on with --stage=qat'] if recipe.calibrated else []
  )
  kept = [] if chosen else [keep]
  return ', '.join([*calibrate, *kept, *train, 'choose another --variant'])


def slowness(
  variant: types.Variant, kernels: Mapping[tuple[str, str], int]
) -> str:
  """Returns why a file is slow and what to take instead, or nothing.

  Args:
    variant: what it was made as.
    kernels: how many it has, by operator, such as 'conv_2d', and dtype.
  """
  recipe = RECIPES[variant]
  slow = {
    key: (count, _SLOW[recipe.mode, *key])
    for key, count in kernels.items()
    if (recipe.mode, *key) in _SLOW
  }
  if not slow:
    return ''
  counts = ' and '.join(
    f'{count} {operator} of {dtype}'
    for (operator, dtype), (count, _) in slow.items()
  )
  reasons = '; '.join(dict.fromkeys(reason for _, reason in slow.values()))
  return (
    f'--variant={variant.value}: {counts} have no fast kernel: {reasons}; '
    f'for speed take --variant={recipe.instead.value}'
  )
