"""Whether images can stand for those that a model will see."""

from collections.abc import Sequence

import numpy as np
import tf_keras

_MOST_IMAGES = 64
_MOST_RATIO = 8.0


def require_pixels(images: np.ndarray) -> None:
  """Raises ValueError unless images (N, S, S, 3) are raw pixels, 0..255."""
  if images is None or not len(images):
    raise ValueError('no representative images, expected at least one')
  low, high = float(images.min()), float(images.max())
  if not np.isfinite([low, high]).all():
    raise ValueError(
      'the calibration images have values that are not finite, expected pixels '
      '0..255; leave out the images that have them'
    )
  if low < 0 or high > 255 or high <= 1:
    raise ValueError(
      f'the calibration images have values from {low:g} to {high:g}, expected '
      'raw pixels 0..255; the model scales them itself, so give them as they '
      'are in the image files'
    )


def require_classes(labels: np.ndarray, class_names: Sequence[str]) -> None:
  """Raises ValueError where labels (N,) are all of one class of several."""
  present = np.unique(labels)
  if len(present) == 1 < len(class_names):
    raise ValueError(
      f'the {len(labels)} calibration images are all of class '
      f'{class_names[present[0]]!r}, expected several of the '
      f'{len(class_names)} classes; raise --calibration_examples, or give '
      '--dataset the images that the model was trained on'
    )


def require_training_scale(model: tf_keras.Model, images: np.ndarray) -> None:
  """Raises ValueError where images are on another scale than in training.

  The first batch normalization remembers how far its inputs were spread in
  training. They are compared in the middle of the images, where nothing is
  padded. A model without one remembers nothing, and passes.

  Args:
    model: the trained one.
    images: (N, S, S, 3).
  """
  norm = next(filter(_remembers, model.layers), None)
  if norm is None:
    return
  until = tf_keras.Model(model.input, norm.input)
  images = images[:_MOST_IMAGES].astype(np.float32)
  values = until.predict(images, batch_size=32, verbose=0)
  rows, columns = (slice(n // 4, n - n // 4) for n in values.shape[1:3])
  spread = values[:, rows, columns].std(axis=(0, 1, 2))
  trained = np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
  ratio = float(np.median(spread / trained))
  if not 1 / _MOST_RATIO <= ratio <= _MOST_RATIO:
    raise ValueError(
      f'the calibration images (pixels {images.min():g} to {images.max():g}) '
      f'are on another scale than the model was trained on: before layer '
      f'{norm.name} they are spread {ratio:.2g} times as far, expected '
      f'{1 / _MOST_RATIO:g} to {_MOST_RATIO:g} times; give --dataset images '
      'like those of the training'
    )


def _remembers(layer: tf_keras.layers.Layer) -> bool:
  """Whether it is a batch normalization of images that was trained."""
  return (
    isinstance(layer, tf_keras.layers.BatchNormalization)
    and len(layer.inbound_nodes) == 1
    and len(layer.input_shape) == 4
    and list(layer.axis) == [3]
    and bool(np.any(layer.moving_variance.numpy() != 1))
  )
