"""A network that is brought in: on which scale, and whether it knows the images."""

import math

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.core import types
from tfcompress.data import pipelines, sources

_IMAGES = 200
_BATCH = 50


def labelled(
  source: sources.Source, data: types.DataSpec, size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns validation images, uint8 (N, S, S, 3), S = size, and labels (N,).

  Raises:
    ValueError: there are none, or one does not decode.
  """
  if not source.num_examples[types.Split.VALIDATION]:
    raise ValueError(f'{source.name}: no labelled validation images')
  with pipelines.naming_corrupt_images(source):
    return pipelines.evenly_drawn(
      source,
      types.Split.VALIDATION,
      data.transform,
      count=_IMAGES,
      input_size=size,
    )


def right(
  model: tf_keras.Model,
  images: np.ndarray,
  labels: np.ndarray,
  scaling: types.Normalization = types.Normalization.RAW,
) -> int:
  """Returns how many images a model (B, S, S, 3) -> (B, C) puts in their class.

  Args:
    model: which.
    images: raw pixels.
    labels: of them.
    scaling: done to the pixels first.
  """
  scale, offset = np.float32(scaling.scale), np.float32(scaling.offset)
  predict = tf.function(
    lambda pixels: model(pixels * scale + offset, training=False)
  )
  found = [
    predict(images[i : i + _BATCH].astype(np.float32)).numpy().argmax(-1)
    for i in range(0, len(images), _BATCH)
  ]
  return int((np.concatenate(found) == labels).sum())


def scaling_of(
  model: tf_keras.Model, source: sources.Source, data: types.DataSpec
) -> types.Normalization:
  """Returns the scaling of pixels with which a model classifies best.

  As `evaluate` finds it: all are tried on labelled images.
  """
  images, labels = labelled(source, data, model.input_shape[1])
  tried = {s: right(model, images, labels, s) for s in types.Normalization}
  best = max(tried, key=tried.get)
  shares = ', '.join(
    f'{s.value} {100 * count / len(labels):.1f} %' for s, count in tried.items()
  )
  print(
    f'--init_scaling=auto: {best.value}; top-1 of {len(labels)} validation '
    f'images with {shares}',
    flush=True,
  )
  return best


def is_chance(count: int, of: int, classes: int) -> bool:
  """Whether guessing gives so many right answers, within two deviations."""
  mean = of / classes
  return count <= mean + 2 * math.sqrt(mean * (1 - 1 / classes))
