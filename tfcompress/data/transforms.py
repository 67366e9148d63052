"""Functions on one image, the same eagerly and inside tf.data.

Images are uint8 (H, W, 3) as decoded. Evaluation transforms return uint8, the
pixels that every model file gets; training transforms return float32 0..255.
"""

import tensorflow as tf

from tfcompress.core import configs, types
from tfcompress.data import pillow

_PNG, _JPEG = b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff'
_MOST_JPEG_BYTES = 2**29  # TensorFlow refuses more.


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
  image: tf.Tensor, size: int, config: configs.AugmentConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """Makes a random view of a uint8 image.

  Args:
    image: uint8 (H, W, 3).
    size: pixels a side.
    config: which changes.
    seed: int32 (2,); the same seed gives the same view.

  Returns:
    The view, float32 (size, size, 3), and whether it is mirrored, a bool.
  """
  crop_seed, flip_seed = tf.unstack(
    tf.random.experimental.stateless_split(seed, 2)
  )
  if config.crop is configs.TrainTransform.RANDOM_RESIZED_CROP:
    view = _random_resized_crop(image, size, config.crop_min_area, crop_seed)
  else:
    view = tf.cast(_resize(image, (size, size)), tf.float32)
    if config.crop is configs.TrainTransform.PAD_AND_CROP:
      padding = max(1, config.crop_padding * size // 64)
      view = _pad_and_crop(view, size, padding, crop_seed)
  mirrored = tf.constant(False)
  if config.flip:
    mirrored = tf.random.stateless_uniform([], flip_seed) < 0.5
    view = tf.where(mirrored, view[:, ::-1], view)
  return tf.ensure_shape(view, [size, size, 3]), mirrored


def mix(
  images: tf.Tensor,
  targets: tf.Tensor,
  config: configs.AugmentConfig,
  seed: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
  """Mixes every image with another of its batch, by mixup or by CutMix.

  Args:
    images: float32 (B, S, S, 3).
    targets: float32 (B, C), rows sum to one.
    config: one of `mixup_alpha` and `cutmix_alpha` above zero.
    seed: int32 (2,).

  Returns:
    Images and targets of the same shapes; targets are mixed by the share that
    each image has of the result.
  """
  alpha = config.mixup_alpha or config.cutmix_alpha
  share_seed, box_seed = tf.unstack(
    tf.random.experimental.stateless_split(seed, 2)
  )
  share = _stateless_beta(alpha, share_seed)
  others = tf.reverse(images, [0])
  if config.mixup_alpha:
    mixed = share * images + (1 - share) * others
  else:
    box = _random_box(tf.shape(images)[1], 1 - share, box_seed)
    mixed = tf.where(box[None, :, :, None], others, images)
    share = 1 - tf.reduce_mean(tf.cast(box, tf.float32))
  return mixed, share * targets + (1 - share) * tf.reverse(targets, [0])


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


def _random_resized_crop(image, size, min_area, seed):
  """A crop of random area and aspect 3/4 to 4/3 (Szegedy 2015), resized."""
  uniform = tf.random.stateless_uniform([4], seed)
  height_width = tf.cast(tf.shape(image)[:2], tf.float32)
  area = min_area + (1 - min_area) * uniform[0]
  aspect = tf.exp((2 * uniform[1] - 1) * tf.math.log(4 / 3))
  shares = tf.minimum(tf.sqrt([area * aspect, area / aspect]), 1.0)
  crop = tf.maximum(tf.cast(shares * height_width, tf.int32), 1)
  room = tf.cast(tf.shape(image)[:2] - crop + 1, tf.float32)
  top, left = tf.unstack(tf.cast(uniform[2:] * room, tf.int32))
  view = image[top : top + crop[0], left : left + crop[1]]
  return tf.image.resize(view, (size, size))


def _pad_and_crop(image, size, padding, seed):
  padded = tf.pad(image, [[padding] * 2, [padding] * 2, [0, 0]], 'REFLECT')
  offset = tf.random.stateless_uniform(
    [2], seed, maxval=2 * padding + 1, dtype=tf.int32
  )
  return padded[offset[0] : offset[0] + size, offset[1] : offset[1] + size]


def _stateless_beta(alpha, seed):
  """One draw of Beta(alpha, alpha), as a ratio of two gamma draws."""
  first, second = tf.unstack(tf.random.stateless_gamma([2], seed, alpha))
  return first / tf.maximum(first + second, 1e-12)


def _random_box(size, area, seed):
  """Mask (S, S) of a square of `area` around a random point, clipped."""
  center = tf.random.stateless_uniform(
    [2, 1], seed, maxval=size, dtype=tf.int32
  )
  half = tf.sqrt(area) * tf.cast(size, tf.float32) / 2
  distance = tf.abs(tf.range(size)[None] - center)
  inside = tf.cast(distance, tf.float32) < half
  return inside[0][:, None] & inside[1][None, :]
