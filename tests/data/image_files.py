"""Image files of every kind, and the pixels that Pillow has of them."""

import io
import zlib

import numpy as np
from PIL import Image, PngImagePlugin


def picture(size=(37, 29), seed: int = 0) -> Image.Image:
  """Smooth colors with noise, RGB."""
  rng = np.random.RandomState(seed)
  colors = Image.fromarray(rng.randint(0, 256, (5, 6, 3)).astype(np.uint8))
  smooth = np.asarray(colors.resize(size, Image.Resampling.BICUBIC), np.int64)
  noisy = smooth + rng.randint(-10, 11, smooth.shape)
  return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
  """The bytes of an image's file."""
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def pixels(content: bytes) -> np.ndarray:
  """What Pillow has, uint8 (H, W, 3)."""
  with Image.open(io.BytesIO(content)) as image:
    return np.asarray(image.convert('RGB'))


def gray16(seed: int = 0) -> tuple[bytes, np.ndarray]:
  """A PNG of 16-bit gray, and its pixels' upper bytes as RGB."""
  levels = np.random.RandomState(seed).randint(0, 2**16, (9, 7))
  image = Image.fromarray(levels.astype(np.uint16))
  upper = (levels >> 8).astype(np.uint8)
  return encoded(image, 'PNG'), np.repeat(upper[..., None], 3, axis=2)


def with_long_text() -> bytes:
  """A PNG with more text than Pillow wants to read."""
  text = PngImagePlugin.PngInfo()
  text.add_text('comment', 'x' * 3_000_000, zip=True)
  return encoded(picture(), 'PNG', pnginfo=text)


def interlaced() -> tuple[bytes, np.ndarray]:
  """A PNG by Adam7, written by hand, and its pixels."""
  image = np.asarray(picture((11, 10)))
  passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
  passes += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
  rows = [
    b'\0' + row.tobytes()
    for top, left, down, right in passes
    for row in image[top::down, left::right]
    if row.size
  ]
  chunks = [
    (b'IHDR', b'\0\0\0\x0b\0\0\0\x0a\x08\x02\0\0\x01'),
    (b'IDAT', zlib.compress(b''.join(rows))),
    (b'IEND', b''),
  ]
  content = b'\x89PNG\r\n\x1a\n'
  for name, data in chunks:
    check = zlib.crc32(name + data).to_bytes(4, 'big')
    content += len(data).to_bytes(4, 'big') + name + data + check
  return content, image


def everything() -> dict[str, bytes]:
  """Files that Pillow reads as everybody should, by what they are."""
  color = picture()
  gray, ink = color.convert('L'), color.convert('CMYK')
  few, one = color.quantize(40), color.convert('1')
  clear = color.copy()
  clear.putalpha(picture(seed=1).convert('L'))
  more = {'save_all': True, 'append_images': [picture(seed=2)]}
  found = {
    f'jpeg {name} {quality} {sampling}': encoded(
      image, 'JPEG', quality=quality, subsampling=sampling, progressive=steps
    )
    for name, image in (('color', color), ('gray', gray), ('ink', ink))
    for quality in (20, 90)
    for sampling, steps in ((0, False), (1, False), (2, True))
  }
  for kind in ('PNG', 'BMP', 'GIF'):
    for name, image in (
      ('color', color),
      ('gray', gray),
      ('few', few),
      ('one', one),
      ('clear', clear),
    ):
      found[f'{kind} {name}'] = encoded(image, kind)
  for name, options in (('', {'quality': 70}), (' whole', {'lossless': True})):
    found[f'WebP color{name}'] = encoded(color, 'WEBP', **options)
    found[f'WebP clear{name}'] = encoded(clear, 'WEBP', **options)
  return found | {
    'PNG gray and clear': encoded(clear.convert('LA'), 'PNG'),
    'PNG one color clear': encoded(few, 'PNG', transparency=3),
    'PNG two colors': encoded(color.quantize(2), 'PNG', bits=1),
    'PNG moving': encoded(color, 'PNG', **more),
    'GIF one color clear': encoded(few, 'GIF', transparency=3),
    'GIF moving': encoded(color, 'GIF', **more),
    'WebP moving': encoded(color, 'WEBP', **more),
  }
