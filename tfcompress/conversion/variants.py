"""The table of variants: what the numbers of an exported file are.

| variant | weights | activations | input and output |
|---|---|---|---|
| float32 | float32 | float32 | float32 |
| float16 | float16 | float32 | float32 |
| dynamic | int8 | float32 between, int8 inside operators | float32 |
| int8 | int8 per channel | int8, calibrated | uint8, int8 or float32 |
"""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from tfcompress.core import types

Representative = Callable[[], Iterable[list[np.ndarray]]]


def _float16(converter: tf.lite.TFLiteConverter) -> None:
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  converter.target_spec.supported_types = [tf.float16]


def _dynamic(converter: tf.lite.TFLiteConverter) -> None:
  converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _int8(converter: tf.lite.TFLiteConverter) -> None:
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How to make a variant.

  Attributes:
    configure: sets a converter up.
    calibrated: whether it needs representative images.
    io_dtypes: what input and output can be, the default first.
  """

  configure: Callable[[tf.lite.TFLiteConverter], None]
  calibrated: bool
  io_dtypes: tuple[types.IoDtype, ...]


_FLOAT_IO = (types.IoDtype.FLOAT32,)

RECIPES = {
  types.Variant.FLOAT32: Recipe(lambda converter: None, False, _FLOAT_IO),
  types.Variant.FLOAT16: Recipe(_float16, False, _FLOAT_IO),
  types.Variant.DYNAMIC: Recipe(_dynamic, False, _FLOAT_IO),
  types.Variant.INT8: Recipe(_int8, True, tuple(types.IoDtype)),
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
