"""`synthetic100`: 100 classes of RGB images drawn from a seed, a TFDS set.

A class is one of ten shapes filled with one of ten textures. Position, scale,
rotation, colors, texture phase, clutter, occlusion and noise are random. All
arithmetic on pixels is on integers and the random numbers come from NumPy's
frozen `RandomState`, so every machine draws the same bytes. `synthetic100_small`
is of half the size, in pixels and in number: large objects without clutter.
"""

import dataclasses
import math

import numpy as np
import tensorflow_datasets as tfds

from tfcompress.core import types

_SEED = 100
_SUPERSAMPLING = 2  # subpixels a side, for smooth edges
_UNIT = 1024  # fixed point: the radius of a shape in its own coordinates


@dataclasses.dataclass(frozen=True)
class Style:
  """What images of a set are like.

  Attributes:
    size: pixels a side.
    clutter: whether small shapes of no class lie behind and before the object.
    radius: of the object, least and greatest, in percent of half the image.
    turn: of the object, at most, in degrees.
    room: how much of the free space its place is drawn from, in percent.
    num_train: training images.
    num_validation: validation images.
  """

  size: int
  clutter: bool
  radius: tuple[int, int]
  turn: int
  room: int
  num_train: int
  num_validation: int


FULL = Style(
  size=64, clutter=True, radius=(75, 105), turn=15, room=100,
  num_train=10_000, num_validation=2_000,
)  # fmt: skip
SMALL = Style(
  size=32, clutter=False, radius=(85, 105), turn=5, room=50,
  num_train=5_000, num_validation=1_000,
)  # fmt: skip
STYLES = dict(zip(types.GENERATED, (FULL, SMALL), strict=True))


def _half_planes(u, v, count, distance):
  """How many of `count` half planes around the center hold each point."""
  inside = np.zeros(u.shape, np.int64)
  for i in range(count):
    cos, sin = _cos_sin(i / count)
    inside += u * cos + v * sin < distance * _UNIT
  return inside


def _cos_sin(turn: float) -> tuple[int, int]:
  """Cosine and sine of a share of a full turn, in fixed point."""
  angle = 2 * math.pi * turn
  return round(_UNIT * math.cos(angle)), round(_UNIT * math.sin(angle))


def _box(u, v, half_u, half_v):
  return (np.abs(u) < half_u) & (np.abs(v) < half_v)


def _disc(u, v, radius):
  return u * u + v * v < radius * radius


# Each takes int64 coordinates, the shape's radius being _UNIT, and returns
# where the shape is. Areas are alike, so that size tells nothing.
SHAPES = {
  'disc': lambda u, v: _disc(u, v, 800),
  'ring': lambda u, v: _disc(u, v, 960) & ~_disc(u, v, 520),
  'square': lambda u, v: _box(u, v, 710, 710),
  'triangle': lambda u, v: _half_planes(u, v, 3, 540) == 3,
  'star': lambda u, v: _half_planes(u, v, 5, 390) >= 4,
  'plus': lambda u, v: _box(u, v, 960, 330) | _box(u, v, 330, 960),
  'crescent': lambda u, v: _disc(u, v, 960) & ~_disc(u - 480, v, 800),
  'half_disc': lambda u, v: _disc(u + 350, v, 1000) & (u > -350),
  'bar': lambda u, v: _box(u, v, 1020, 400),
  'chevron': lambda u, v: (
    _box(u, v, 960, 960) & (np.abs(u - np.abs(v) + 420) < 420)
  ),
}


def _cells(x, period):
  return x // period


def _zigzag(u, v, period):
  wave = np.abs(u % (4 * period) - 2 * period)
  return _cells(v + wave, period) % 2


def _dots(u, v, period):
  half = period // 2
  return _disc(u % period - half, v % period - half, period * 3 // 8)


def _grid(u, v, period):
  line = period // 4
  return (u % period < line) | (v % period < line)


def _spokes(u, v):
  parity = np.zeros(u.shape, bool)
  for i in range(5):
    cos, sin = _cos_sin(i / 10)
    parity ^= u * sin - v * cos > 0
  return parity


def _speckle(u, v, period, rng):
  table = rng.randint(0, 2, 4096)
  return table[(_cells(u, period) * 61 + _cells(v, period) * 7 + 2048) % 4096]


def _radius(u, v):
  return np.sqrt((u * u + v * v).astype(np.float64)).astype(np.int64)


# Each takes coordinates, a period and a RandomState and returns how much of the
# second color a point has, 0 to 1 or a boolean, as whole 256ths or a mask.
TEXTURES = {
  'solid': lambda u, v, period, rng: np.zeros(u.shape, np.int64),
  'stripes': lambda u, v, period, rng: _cells(u, period) % 2,
  'checker': lambda u, v, period, rng: (
    (_cells(u, period) + _cells(v, period)) % 2
  ),
  'dots': lambda u, v, period, rng: _dots(u, v, period * 3 // 2),
  'circles': lambda u, v, period, rng: _cells(_radius(u, v), period) % 2,
  'spokes': lambda u, v, period, rng: _spokes(u, v),
  'speckle': lambda u, v, period, rng: _speckle(u, v, period // 2, rng),
  'gradient': lambda u, v, period, rng: None,
  'grid': lambda u, v, period, rng: _grid(u, v, period * 3 // 2),
  'zigzag': lambda u, v, period, rng: _zigzag(u, v, period),
}

CLASS_NAMES = tuple(
  f'{shape}_{texture}' for shape in SHAPES for texture in TEXTURES
)


def draw(label: int, seed: tuple[int, ...], style: Style = FULL) -> np.ndarray:
  """Draws one image of class `label`.

  Args:
    label: index into CLASS_NAMES.
    seed: whole numbers; the same ones draw the same image.
    style: of the image.

  Returns:
    uint8 (S, S, 3), S as the style says.
  """
  rng = np.random.RandomState(list(seed))
  shape, texture = divmod(label, len(TEXTURES))
  canvas = _background(rng, style.size * _SUPERSAMPLING)
  if style.clutter:
    for _ in range(rng.randint(0, 4)):
      _paint_clutter(canvas, rng)
  _paint_object(canvas, rng, shape, texture, style)
  if style.clutter and rng.randint(0, 3) == 0:
    _paint_clutter(canvas, rng)
  return _with_noise(_averaged(canvas), rng)


def example(
  split: int, index: int, style: Style = FULL
) -> tuple[np.ndarray, int]:
  """Returns the image, uint8 (S, S, 3), and label of an example.

  Args:
    split: 0 for training, 1 for validation.
    index: within it.
    style: of the set.
  """
  label = index % len(CLASS_NAMES)
  return draw(label, (_SEED, split, index), style), label


def _background(rng, side: int) -> np.ndarray:
  """A gradient between two colors, int64 (S, S, 3) on the subpixel grid."""
  first, second = rng.randint(0, 256, (2, 3))
  y, x = np.mgrid[:side, :side]
  cos, sin = _cos_sin(rng.randint(0, 360) / 360)
  share = (x - side // 2) * cos + (y - side // 2) * sin
  share = (share * 128 // (side * _UNIT // 2) + 128).clip(0, 256)[..., None]
  return first + ((second - first) * share >> 8)


def _local_grid(side, center, radius, turn):
  """Coordinates u, v of every subpixel in a rotated shape's own frame."""
  y, x = np.mgrid[:side, :side]
  cos, sin = _cos_sin(turn)
  dx, dy = x - center[0], y - center[1]
  return (dx * cos + dy * sin) // radius, (dy * cos - dx * sin) // radius


def _place(canvas, rng, radius: tuple[int, int], turn: float, room=100):
  """A random frame: its radius is in percent of half the image."""
  low, high = radius
  half = len(canvas) // 2
  radius = max(2, half * rng.randint(low, high + 1) // 100)
  room = max(1, (half - radius * 3 // 4) * room // 100)
  center = half + rng.randint(-room, room + 1, 2)
  return _local_grid(len(canvas), center, radius, turn)


def _paint_clutter(canvas, rng) -> None:
  """A small shape in one color, of no class's texture."""
  u, v = _place(canvas, rng, (10, 22), rng.randint(0, 360) / 360)
  shape = list(SHAPES.values())[rng.randint(0, len(SHAPES))]
  canvas[shape(u, v)] = rng.randint(0, 256, 3)


def _paint_object(canvas, rng, shape: int, texture: int, style: Style) -> None:
  turn = rng.randint(-style.turn, style.turn + 1) / 360
  u, v = _place(canvas, rng, style.radius, turn, style.room)
  mask = list(SHAPES.values())[shape](u, v)
  first, second = _two_colors(rng)
  period = rng.randint(360, 440)
  phase_u, phase_v = rng.randint(0, 2 * period, 2)
  name = list(TEXTURES)[texture]
  if name == 'gradient':
    share = ((u + _UNIT) * 256 // (2 * _UNIT)).clip(0, 256)
  else:
    if name not in ('circles', 'spokes'):
      u, v = u + phase_u, v + phase_v
    share = TEXTURES[name](u, v, period, rng).astype(np.int64) * 256
  color = first + (second - first) * share[mask][:, None] // 256
  canvas[mask] = color


def _two_colors(rng) -> np.ndarray:
  """Two RGB colors whose channels differ by over 300 in sum."""
  while True:
    colors = rng.randint(0, 256, (2, 3))
    if np.abs(colors[0] - colors[1]).sum() > 300:
      return colors


def _averaged(canvas) -> np.ndarray:
  n = _SUPERSAMPLING
  size = len(canvas) // n
  blocks = canvas.reshape(size, n, size, n, 3)
  return blocks.sum(axis=(1, 3)) // (n * n)


def _with_noise(image, rng) -> np.ndarray:
  """Adds noise of a random strength, the sum of two uniform numbers."""
  strength = rng.randint(2, 16)
  noise = rng.randint(-strength, strength + 1, (2, *image.shape)).sum(axis=0)
  return (image + noise).clip(0, 255).astype(np.uint8)


class Synthetic100(tfds.core.GeneratorBasedBuilder):
  """Ten shapes crossed with ten textures, drawn from a seed."""

  VERSION = tfds.core.Version('1.0.0')
  STYLE = FULL

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=__doc__,
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(
            shape=(self.STYLE.size, self.STYLE.size, 3),
            encoding_format='png',
          ),
          'label': tfds.features.ClassLabel(names=list(CLASS_NAMES)),
        }
      ),
      supervised_keys=('image', 'label'),
    )

  def _split_generators(self, dl_manager):
    del dl_manager  # Nothing is downloaded.
    return {
      'train': self._generate_examples(0, self.STYLE.num_train),
      'validation': self._generate_examples(1, self.STYLE.num_validation),
    }

  def _generate_examples(self, split: int, count: int):
    for index in range(count):
      image, label = example(split, index, self.STYLE)
      yield index, {'image': image, 'label': label}


class Synthetic100Small(Synthetic100):
  """The same classes in images that a CPU learns in minutes."""

  STYLE = SMALL
