"""What `transforms.evaluation` does, in NumPy, equal to the last bit.

For who wants a few generated images and would wait seconds for TensorFlow.
"""

import numpy as np

from tfcompress.core import types

_ONE, _HALF = np.float32(1), np.float32(0.5)


def evaluation(
  image: np.ndarray, size: int, transform: types.EvaluationTransform
) -> np.ndarray:
  """Brings a square uint8 image (H, H, 3) to uint8 (size, size, 3)."""
  if transform is types.EvaluationTransform.CHALLENGE:
    return _resized(image, size)
  short = round(size * 256 / 224)
  start = (short - size) // 2
  return _resized(image, short)[start : start + size, start : start + size]


def _resized(image: np.ndarray, size: int) -> np.ndarray:
  pixels = image.astype(np.float32)
  resize = _averaged if size < len(image) else _interpolated
  return (resize(pixels, size) + _HALF).astype(np.uint8)


def _interpolated(pixels: np.ndarray, size: int) -> np.ndarray:
  """Between the four nearest pixels, first along rows."""
  place = (np.arange(size, dtype=np.float32) + _HALF) * (
    np.float32(len(pixels)) / np.float32(size)
  ) - _HALF
  below = np.floor(place)
  share = place - below
  low = np.maximum(below.astype(int), 0)
  high = np.minimum(np.ceil(place).astype(int), len(pixels) - 1)
  left, right = pixels[:, low], pixels[:, high]
  rows = left + (right - left) * share[:, None]
  top, bottom = rows[low], rows[high]
  return top + (bottom - top) * share[:, None, None]


def _averaged(pixels: np.ndarray, size: int) -> np.ndarray:
  """By a triangle as wide as two of the new pixels."""
  weights = _triangles(len(pixels), size)
  rows = _weighed(weights, pixels)
  return _weighed(weights, rows.swapaxes(0, 1)).swapaxes(0, 1)


def _weighed(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
  """Sums of rows, added one after the other: the order is in the last bit."""
  return sum(
    weight[:, None, None] * row for weight, row in zip(weights.T, rows)
  )


def _triangles(pixels: int, size: int) -> np.ndarray:
  """How much of each pixel is in each of `size` new ones, float32."""
  width = _ONE / (np.float32(size) / np.float32(pixels))
  centers = (np.arange(size, dtype=np.float32) + _HALF) * width
  distance = np.arange(pixels, dtype=np.float32) + _HALF - centers[:, None]
  weights = np.maximum(0, _ONE - np.abs(distance * (_ONE / width)))
  return weights * (_ONE / weights.cumsum(axis=1)[:, -1:])
