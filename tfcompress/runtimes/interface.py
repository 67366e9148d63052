"""What every runtime offers, and numbers on both sides of it.

A backend takes and returns arrays in the model's own dtypes; `encode` and
`decode` bring pixels and probabilities there and back, apart from what is
timed.
"""

import pathlib
from typing import Protocol

import numpy as np

from tfcompress.core import measurements, records, types

# Lowest and highest value of pixels, as networks are trained on them.
_PIXEL_RANGES = ((0, 255), (-128, 127), (0, 1), (-1, 1))


class Backend(Protocol):
  """An opened model with one image input and one output.

  Its class takes the path of a file or SavedModel folder and an OpenConfig, and
  raises ValueError where the file cannot be opened, or has other than one input
  and one output.
  """

  inputs: tuple[measurements.TensorInfo, ...]
  outputs: tuple[measurements.TensorInfo, ...]

  def predict(self, batch: np.ndarray) -> np.ndarray:
    """Runs images in the input's dtype and layout to (B, C) in the output's.

    Only returns when the device is done; what it returns is the caller's own.

    Args:
      batch: contiguous (B, S, S, 3), or (B, 3, S, S) of a model whose input is
        so; B is the file's own batch size where that is fixed.

    Raises:
      ValueError: the runtime cannot run the file on that.
    """

  def info(self) -> measurements.RuntimeRecord:
    """Returns what a record says of this runtime."""

  def close(self) -> None:
    """Frees the model."""


def encode(
  images: np.ndarray,
  info: measurements.TensorInfo,
  preprocessing: types.Preprocessing,
) -> np.ndarray:
  """Brings uint8 images to the values, dtype and layout that an input expects.

  Args:
    images: uint8 (B, S, S, 3), RGB.
    info: the input. Raw pixels pass into one that takes bytes as they are.
    preprocessing: what the model expects of its pixels.
  """
  if preprocessing.channels is types.Channels.BGR:
    images = images[..., ::-1]
  encoded = _encoded(images, info, preprocessing)
  if channels_first(info):
    encoded = encoded.transpose(0, 3, 1, 2)
  return np.ascontiguousarray(encoded)


def _encoded(images, info, preprocessing) -> np.ndarray:
  if preprocessing.is_raw and takes_bytes(info):
    if info.dtype == 'uint8':
      return images
    return (images ^ 128).view(np.int8)  # 128 less, wrapped around
  pixels = images.astype(np.float32)
  if not preprocessing.is_raw:
    pixels = (pixels - preprocessing.mean) / preprocessing.std
    pixels = pixels.astype(np.float32)
  if info.scale is None:
    return pixels.astype(info.dtype)
  limits = np.iinfo(info.dtype)
  quantized = np.round(pixels / info.scale) + info.zero_point
  return quantized.clip(limits.min, limits.max).astype(info.dtype)


def takes_bytes(info: measurements.TensorInfo) -> bool:
  """Whether the bytes of an image are an input's own numbers.

  Those of a uint8 input always are, as every user of such a file has it: its
  scale is of what the network was trained on, be that pixels from -1 to 1. Those
  of an int8 input are, less 128, where its scale says that it spans pixels.
  """
  if info.dtype != 'int8' or info.scale is None:
    return info.dtype in ('uint8', 'int8')
  low, high = ((end - info.zero_point) * info.scale for end in (-128, 127))
  return any(
    abs(low - first) <= info.scale and abs(high - last) <= info.scale
    for first, last in _PIXEL_RANGES
  )


def shape_of(info: measurements.TensorInfo, image_size: int) -> tuple[int, ...]:
  """Returns the shape of one inference's input, where some of it is free."""
  batch, *image = info.shape
  sides = tuple(image_size if side < 0 else side for side in image)
  return (max(1, batch), *sides)


def channels_first(info: measurements.TensorInfo) -> bool:
  """Whether an image input is (B, 3, S, S), as PyTorch has it."""
  return len(info.shape) == 4 and info.shape[1] == 3 != info.shape[3]


def decode(raw: np.ndarray, info: measurements.TensorInfo) -> np.ndarray:
  """Returns an output (B, C) as float32, dequantized where it is quantized."""
  raw = raw.reshape(len(raw), -1)
  if info.scale is None:
    return raw.astype(np.float32)
  return ((raw.astype(np.float32) - info.zero_point) * info.scale).astype(
    np.float32
  )


def side_of(info: measurements.TensorInfo) -> int | None:
  """Returns the height and width of an image input; None where they are free.

  Raises:
    ValueError: no input of a square RGB image.
  """
  if len(info.shape) == 4:
    _, *image = info.shape
    channels = image.pop(0 if channels_first(info) else -1)
    sides = set(image) - {-1}
    if channels == 3 and len(sides) < 2:
      return sides.pop() if sides else None
  raise ValueError(
    f'takes {info.shape}, expected one square RGB image, (1, S, S, 3) or '
    '(1, 3, S, S)'
  )


def image_size(backend: Backend, config: measurements.OpenConfig) -> int:
  """Returns the height and width in pixels of what a backend is given.

  Raises:
    ValueError: the model takes no single square RGB image.
  """
  try:
    return side_of(backend.inputs[0]) or config.size_of_any
  except ValueError as error:
    raise ValueError(f'{config.model}: {error}') from error


def file_of(path: str) -> pathlib.Path:
  """Returns the file or folder that holds the model of `path`.

  An artifact folder stands for its model.keras, an export folder for its
  model.tflite.

  Raises:
    ValueError: nothing there, or nothing that is a model.
  """
  given = pathlib.Path(path)
  if not given.exists():
    raise ValueError(f'{path}: no such model file or folder')
  if not path.isprintable():
    raise ValueError(
      f'{path!a}: a name that is not text, which runtimes refuse; rename it'
    )
  if given.is_dir():
    for name in (records.MODEL, records.EXPORTED):
      if (given / name).is_file():
        return given / name
    if not (given / 'saved_model.pb').is_file():
      raise ValueError(
        f'{path}: a folder without {records.MODEL}, {records.EXPORTED} or '
        'saved_model.pb, so no model'
      )
  elif not given.stat().st_size:
    raise ValueError(f'{path}: the file is empty')
  return given
