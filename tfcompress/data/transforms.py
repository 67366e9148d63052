"""Functions on one image, the same eagerly and inside tf.data.

Images are uint8 (H, W, 3) as decoded. Evaluation transforms return uint8, the
pixels that every model file gets; training transforms return float32 0..255.
"""

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from tfcompress.core import configs, types
from tfcompress.data import pillow

_PNG, _JPEG = b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff'
_MOST_JPEG_BYTES = 2**29  # TensorFlow refuses more.


@dataclasses.dataclass(frozen=True)
class View:
  """What a network sees of an image.

  Attributes:
    size: pixels a side.
    through: pixels a side of its input, where it resizes that to `size` by
      itself, which averages no pixels.
  """

  size: int
  through: int | None = None


def decode(encoded: tf.Tensor) -> tf.Tensor:
  """Decodes a JPEG, PNG, BMP, GIF or WebP to uint8 RGB (H, W, 3).

  Its first bytes say which it is. The pixels are those of libjpeg and Pillow, bit
  for bit; of 16 bits the upper 8 count, of several frames the first.

  Raises:
    tf.errors.InvalidArgumentError: the bytes are no image.
  """
  image = tf.cond(
    _starts(encoded, _PNG),
    lambda: tf.io.decode_png(encoded, channels=3),
    lambda: tf.cond(
      _starts(encoded, _JPEG),
      lambda: _decode_jpeg(encoded),
      lambda: _decode_with_pillow(encoded),
    ),
  )
  return tf.ensure_shape(image, [None, None, 3])


def evaluation(
  image: tf.Tensor, size: int, transform: types.EvaluationTransform
) -> tf.Tensor:
  """Brings a uint8 image to uint8 (size, size, 3) for evaluation."""
  if transform is types.EvaluationTransform.CHALLENGE:
    return _to_uint8(_resize(image, (size, size)))
  short = round(size * 256 / 224)
  height_width = tf.shape(image)[:2]
  # Whole-number arithmetic: float32 would lose a pixel of some sizes.
  target = height_width * short // tf.reduce_min(height_width)
  resized = _to_uint8(_resize(image, target))
  top, left = tf.unstack((target - size) // 2)
  return tf.ensure_shape(
    resized[top : top + size, left : left + size], [size, size, 3]
  )


def training(
  image: tf.Tensor,
  views: Sequence[View],
  config: configs.AugmentConfig,
  seed: tf.Tensor,
) -> tuple[tuple[tf.Tensor, ...], tf.Tensor]:
  """Makes a random view of a uint8 image, in the size of each network.

  Args:
    image: uint8 (H, W, 3).
    views: of the networks; all see the same part of the image, each resized
      once, from the image itself.
    config: which changes.
    seed: int32 (2,); the same seed gives the same view.

  Returns:
    The views, float32 (size, size, 3), and whether they are mirrored, a bool.
  """
  crop_seed, flip_seed = tf.unstack(
    tf.random.experimental.stateless_split(seed, 2)
  )
  if config.crop is configs.TrainTransform.RANDOM_RESIZED_CROP:
    image = _random_crop(image, config.crop_min_area, crop_seed)
  seen = [_seen(image, view) for view in views]
  if config.crop is configs.TrainTransform.PAD_AND_CROP:
    seen = [_pad_and_crop(x, config.crop_padding, crop_seed) for x in seen]
  mirrored = tf.constant(False)
  if config.flip:
    mirrored = tf.random.stateless_uniform([], flip_seed) < 0.5
    seen = [tf.where(mirrored, x[:, ::-1], x) for x in seen]
  shapes = ([view.size, view.size, 3] for view in views)
  return tuple(map(tf.ensure_shape, seen, shapes)), mirrored


def mix(
  views: Sequence[tf.Tensor],
  targets: tf.Tensor,
  config: configs.AugmentConfig,
  seed: tf.Tensor,
) -> tuple[tuple[tf.Tensor, ...], tf.Tensor]:
  """Mixes every image with another of its batch, by mixup or by CutMix.

  Args:
    views: of the same images, each float32 (B, S, S, 3) of its own S.
    targets: float32 (B, C), rows sum to one.
    config: one of `mixup_alpha` and `cutmix_alpha` above zero.
    seed: int32 (2,).

  Returns:
    Views and targets of the same shapes; targets are mixed by the share that
    each image has of the result, in the first view.
  """
  alpha = config.mixup_alpha or config.cutmix_alpha
  share_seed, box_seed = tf.unstack(
    tf.random.experimental.stateless_split(seed, 2)
  )
  share = _stateless_beta(alpha, share_seed)
  if config.mixup_alpha:
    mixed = tuple(x * share + (1 - share) * x[::-1] for x in views)
  else:
    boxes = [_random_box(x.shape[1], 1 - share, box_seed) for x in views]
    mixed = tuple(
      tf.where(box[None, :, :, None], x[::-1], x)
      for box, x in zip(boxes, views)
    )
    share = 1 - tf.reduce_mean(tf.cast(boxes[0], tf.float32))
  return mixed, share * targets + (1 - share) * targets[::-1]


def _seen(image, view: View):
  """An image, or a part of one, as a network sees it, float32."""
  size = (view.size, view.size)
  if view.through is None:
    return tf.cast(_resize(image, size), tf.float32)
  # An image is first made smaller as in use, but not larger, which would cost
  # time and hardly change what the network then takes of it.
  through = (view.through, view.through)
  image = tf.cond(
    tf.reduce_any(tf.shape(image)[:2] > through),
    lambda: tf.image.resize(image, through, antialias=True),
    lambda: tf.cast(image, tf.float32),
  )
  return tf.image.resize(image, size)


def _starts(encoded, signature: bytes):
  return tf.strings.substr(encoded, 0, len(signature)) == signature


def _decode_jpeg(encoded):
  shape = tf.cast(tf.io.extract_jpeg_shape(encoded), tf.int64)
  refused = (shape[2] > 3) | (3 * shape[0] * shape[1] >= _MOST_JPEG_BYTES)
  return tf.cond(
    refused,
    lambda: _decode_with_pillow(encoded),
    # The default is a fast DCT, off by several levels.
    lambda: tf.io.decode_jpeg(
      encoded, channels=3, dct_method='INTEGER_ACCURATE'
    ),
  )


# As a graph, so that bytes and errors are the same eagerly.
@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def _decode_with_pillow(encoded):
  return tf.numpy_function(pillow.decode, [encoded], tf.uint8, stateful=False)


def _resize(image, target):
  """Bilinear; with antialiasing where the image shrinks, as PIL does."""
  shrinks = tf.reduce_any(tf.shape(image)[:2] > target)
  return tf.cond(
    shrinks,
    lambda: tf.image.resize(image, target, antialias=True),
    lambda: tf.image.resize(image, target),
  )


def _to_uint8(image):
  return tf.cast(image + 0.5, tf.uint8)


def _random_crop(image, min_area, seed):
  """A crop of random area and aspect 3/4 to 4/3 (Szegedy 2015)."""
  uniform = tf.random.stateless_uniform([4], seed)
  height_width = tf.cast(tf.shape(image)[:2], tf.float32)
  area = min_area + (1 - min_area) * uniform[0]
  aspect = tf.exp((2 * uniform[1] - 1) * tf.math.log(4 / 3))
  shares = tf.minimum(tf.sqrt([area * aspect, area / aspect]), 1.0)
  crop = tf.maximum(tf.cast(shares * height_width, tf.int32), 1)
  room = tf.cast(tf.shape(image)[:2] - crop + 1, tf.float32)
  top, left = tf.unstack(tf.cast(uniform[2:] * room, tf.int32))
  return image[top : top + crop[0], left : left + crop[1]]


def _pad_and_crop(image, padding_at_64, seed):
  """A shift of at most the padding; the same share of it at every size."""
  size = image.shape[0]
  padding = max(1, padding_at_64 * size // 64)
  padded = tf.pad(image, [[padding] * 2, [padding] * 2, [0, 0]], 'REFLECT')
  share = tf.random.stateless_uniform([2], seed)
  top, left = tf.unstack(tf.cast(share * (2 * padding + 1), tf.int32))
  return padded[top : top + size, left : left + size]


def _stateless_beta(alpha, seed):
  """One draw of Beta(alpha, alpha), as a ratio of two gamma draws."""
  first, second = tf.unstack(tf.random.stateless_gamma([2], seed, alpha))
  return first / tf.maximum(first + second, 1e-12)


def _random_box(size, area, seed):
  """Mask (S, S) of a square of `area` around a random point, clipped.

  The same seed gives the same point at every size.
  """
  share = tf.random.stateless_uniform([2, 1], seed)
  center = tf.cast(share * size, tf.int32)
  half = tf.sqrt(area) * size / 2
  distance = tf.abs(tf.range(size)[None] - center)
  inside = tf.cast(distance, tf.float32) < half
  return inside[0][:, None] & inside[1][None, :]
