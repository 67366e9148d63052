"""What every runtime offers, and numbers on both sides of it.

A backend takes and returns arrays in the model's own dtypes; `encode` and
`decode` bring pixels and probabilities there and back, apart from what is
timed.
"""

import pathlib
from typing import Protocol

import numpy as np

from tfcompress.core import measurements, records, types


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
  scaling: types.Normalization,
) -> np.ndarray:
  """Brings uint8 images to the values, dtype and layout that an input expects.

  Args:
    images: uint8 (B, S, S, 3).
    info: the input; raw pixels 0..255 pass into a uint8 input as they are where
      its scale is one.
    scaling: what the model expects of its pixels.
  """
  encoded = _encoded(images, info, scaling)
  if channels_first(info):
    encoded = encoded.transpose(0, 3, 1, 2)
  return np.ascontiguousarray(encoded)


def _encoded(images, info, scaling) -> np.ndarray:
  raw = scaling is types.Normalization.RAW
  as_is = info.scale in (None, 1.0) and not info.zero_point
  if raw and as_is and info.dtype == 'uint8':
    return images
  pixels = images.astype(np.float32)
  if not raw:
    pixels = (pixels * scaling.scale + scaling.offset).astype(np.float32)
  if info.scale is None:
    return pixels.astype(info.dtype)
  limits = np.iinfo(info.dtype)
  quantized = np.round(pixels / info.scale) + info.zero_point
  return quantized.clip(limits.min, limits.max).astype(info.dtype)


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


def image_size(backend: Backend, config: measurements.OpenConfig) -> int:
  """Returns the height and width in pixels of a backend's image input.

  Raises:
    ValueError: the model takes no single square RGB image.
  """
  shapes = [info.shape for info in backend.inputs]
  shape = shapes[0] if len(shapes) == 1 else ()
  if len(shape) == 4:
    channels = shape[1] if channels_first(backend.inputs[0]) else shape[3]
    sides = set(shape[2:] if channels_first(backend.inputs[0]) else shape[1:3])
    if channels == 3 and len(sides) == 1:
      size = sides.pop()
      return size if size > 0 else config.image_size
  raise ValueError(
    f'{config.model}: inputs {shapes}, expected one square RGB image, (1, S, S, 3) or '
    '(1, 3, S, S)'
  )


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
