"""A network that is brought in: on which scale, and whether it knows the images."""

import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.core import chance, ranks, types
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
  scores: Callable[[tf.Tensor], tf.Tensor],
  images: np.ndarray,
  labels: np.ndarray,
) -> np.ndarray:
  """Returns which images a network puts in their class, bool (N,).

  Args:
    scores: of raw images (B, S, S, 3), (B, C); a function that is traced once.
    images: raw pixels, uint8 (N, S, S, 3).
    labels: of them.
  """
  found = [
    ranks.of(
      scores(images[i : i + _BATCH].astype(np.float32)).numpy(),
      labels[i : i + _BATCH],
    )
    for i in range(0, len(images), _BATCH)
  ]
  return np.concatenate(found) == 0


def scaling_of(
  model: tf_keras.Model, source: sources.Source, data: types.DataSpec
) -> types.Normalization:
  """Returns the scaling of pixels with which a model classifies best.

  All are tried on labelled images; a line says so where none is clearly the best.
  """
  images, labels = labelled(source, data, model.input_shape[1])
  predict = tf.function(
    lambda pixels: model(pixels, training=False), reduce_retracing=True
  )
  tried = {
    scaling: right(
      lambda pixels, by=scaling: predict(pixels * by.scale + by.offset),
      images,
      labels,
    )
    for scaling in types.Normalization
  }
  best = max(tried, key=lambda scaling: tried[scaling].sum())
  percent = lambda scaling: (
    f'{scaling.value} {100 * tried[scaling].mean():.1f} %'
  )
  print(
    f'--init_scaling=auto: {best.value}; top-1 of {len(labels)} validation '
    f'images with {", ".join(map(percent, tried))}',
    flush=True,
  )
  if rivals := chance.rivals(tried, best):
    print(
      f'warning: no scaling is clearly the best: {percent(best)}, '
      f'{", ".join(map(percent, rivals))}; --init_scaling says which it was '
      'trained on',
      file=sys.stderr,
      flush=True,
    )
  return best
