"""Images that TensorFlow decodes otherwise than everybody else, or not at all.

A BMP with a palette comes out of it wrong; so do GIFs with transparency. WebP with
alpha, JPEG in four colors and JPEG of 2^29 bytes and more of pixels it refuses.
"""

import io
import struct
from typing import BinaryIO

import numpy as np
from PIL import (
  BmpImagePlugin,
  GifImagePlugin,
  Image,
  JpegImagePlugin,
  WebPImagePlugin,
)

FORMATS = 'JPEG, PNG, BMP, GIF or WebP'
_MOST_PIXELS = 2**29  # More is a damaged header.
_ORIENTATION = 0x0112  # of EXIF
# What Pillow's readers raise for bytes that are no image.
_UNREADABLE = (
  OSError,
  SyntaxError,
  EOFError,
  IndexError,
  KeyError,
  TypeError,
  MemoryError,
  Image.DecompressionBombError,
  struct.error,
)


def decode(content: bytes) -> np.ndarray:
  """Decodes a JPEG, BMP, GIF or WebP to uint8 RGB (H, W, 3): its first frame.

  Raises:
    ValueError: the bytes are none of these.
  """
  try:
    with _opened(io.BytesIO(content)) as image:
      if image.width * image.height > _MOST_PIXELS:
        raise ValueError(f'{image.width}x{image.height} pixels are too many')
      return np.asarray(image.convert('RGB'))
  except _UNREADABLE as error:
    raise ValueError(f'no image that can be read: {error}') from error


def is_turned(path: bytes) -> bool:
  """Whether a JPEG or WebP says that it is to be shown turned or mirrored."""
  try:
    with open(path, 'rb') as file, _opened(file) as image:
      return image.getexif().get(_ORIENTATION, 1) not in (0, 1)
  except (ValueError, *_UNREADABLE):
    return False  # Whoever decodes it will say so.


def _opened(file: BinaryIO) -> Image.Image:
  """By its first bytes; Image.open refuses what has over 178 megapixels."""
  start = file.read(12)
  file.seek(0)
  if start.startswith(b'\xff\xd8\xff'):
    return JpegImagePlugin.JpegImageFile(file)
  if start.startswith(b'BM'):
    return BmpImagePlugin.BmpImageFile(file)
  if start.startswith((b'GIF87a', b'GIF89a')):
    return GifImagePlugin.GifImageFile(file)
  if start.startswith(b'RIFF') and start.endswith(b'WEBP'):
    return WebPImagePlugin.WebPImageFile(file)
  raise ValueError(f'expected {FORMATS}')
