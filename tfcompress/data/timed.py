"""A few real images to time a model on: those that evaluation shows.

Generated ones need no TensorFlow, which takes seconds to import.
"""

import importlib
import os
import threading

import numpy as np

from tfcompress.core import types
from tfcompress.data import folders, resizing

_VALIDATION = 1  # of synthetic100


def images(spec: types.DataSpec, size: int, count: int) -> np.ndarray:
  """Returns uint8 (count, size, size, 3) of a dataset's validation split.

  Args:
    spec: which dataset, and how its images are brought to size.
    size: height and width in pixels.
    count: how many, of different classes where there are as many.

  Raises:
    ValueError: no such dataset, or no image that can be read.
  """
  if not needs_tensorflow(spec):
    return _generated(spec, size, count)
  import tensorflow as tf

  draw = _of_folder if folders.is_folder(spec) else _of_tfds
  with tf.device('/CPU:0'):  # As pipelines do: a GPU rounds otherwise.
    found = draw(spec, size, count)
  return np.resize(found, (count, *found.shape[1:]))  # from the first again


def needs_tensorflow(spec: types.DataSpec) -> bool:
  """Whether `images` takes it."""
  return spec.dataset not in types.GENERATED


def begin_import() -> threading.Thread:
  """Imports TensorFlow, which takes seconds, beside what goes on."""
  load = lambda: importlib.import_module('tfcompress.data.transforms')
  thread = threading.Thread(target=load)
  thread.start()
  return thread


def _generated(spec: types.DataSpec, size: int, count: int) -> np.ndarray:
  from tfcompress.data import synthetic100

  style = synthetic100.STYLES[spec.dataset]
  drawn = [synthetic100.example(_VALIDATION, i, style)[0] for i in range(count)]
  return np.stack([resizing.evaluation(i, size, spec.transform) for i in drawn])


def _of_tfds(spec: types.DataSpec, size: int, count: int) -> np.ndarray:
  from tfcompress.data import pipelines, sources

  found, _ = pipelines.evenly_drawn(
    sources.load(spec, training=False),
    types.Split.VALIDATION,
    spec.transform,
    count=count,
    input_size=size,
  )
  return found


def _of_folder(spec: types.DataSpec, size: int, count: int) -> np.ndarray:
  """Some of a folder, with no look at the others."""
  import tensorflow as tf

  from tfcompress.data import sources, transforms

  listed = folders.read(spec, training=False)
  paths = listed.images[types.Split.VALIDATION].paths
  found = []
  for index in range(count):
    path = paths[index * len(paths) // count]
    try:
      image = transforms.decode(tf.io.read_file(path))
    except sources.UNREADABLE as error:
      if not spec.skip_corrupt_images:
        name = sources.unreadable(os.fsdecode(path))
        raise ValueError(name) from error
      continue
    found.append(transforms.evaluation(image, size, spec.transform).numpy())
  if not found:
    raise ValueError(
      f'{listed.root}: {count} images tried, of which none decodes'
    )
  return np.stack(found)
