"""A few real images to time a model on, without TensorFlow where it can be.

They are what evaluation shows, but for the last digits of resizing.
"""

import numpy as np

from tfcompress.core import types
from tfcompress.data import folders

_VALIDATION = 1  # of synthetic100


def images(spec: types.DataSpec, size: int, count: int) -> np.ndarray:
  """Returns uint8 (count, size, size, 3) of a dataset's validation split.

  Args:
    spec: which dataset.
    size: height and width in pixels.
    count: how many, of different classes where there are as many.

  Raises:
    ValueError: no such dataset, or no image that can be read.
  """
  if spec.dataset == 'synthetic100':
    from tfcompress.data import synthetic100

    drawn = [synthetic100.example(_VALIDATION, i)[0] for i in range(count)]
    return np.stack([_resized(image, size) for image in drawn])
  if folders.is_folder(spec):
    return _of_folder(spec, size, count)
  from tfcompress.data import pipelines, sources

  source = sources.load(spec, training=False)
  found, _ = pipelines.evenly_drawn(
    source,
    types.Split.VALIDATION,
    spec.transform,
    count=count,
    input_size=size,
  )
  return _filled(found, count)


def _resized(image: np.ndarray, size: int) -> np.ndarray:
  from PIL import Image

  bilinear = Image.Resampling.BILINEAR
  return np.asarray(Image.fromarray(image).resize((size, size), bilinear))


def _of_folder(spec: types.DataSpec, size: int, count: int) -> np.ndarray:
  root = folders.root_of(spec)
  paths, _ = folders.files(
    root, types.Split.VALIDATION, folders.class_names(root, training=False)
  )
  found = []
  for index in range(count):
    path = paths[index * len(paths) // count]
    try:
      found.append(_resized(_decoded(path), size))
    except OSError as error:
      if not spec.skip_corrupt_images:
        raise ValueError(
          f'{path}: the image cannot be read or decoded; remove it or pass '
          '--skip_corrupt_images'
        ) from error
  if not found:
    raise ValueError(f'{root}: {count} images tried, of which none decodes')
  return _filled(np.stack(found), count)


def _decoded(path: str) -> np.ndarray:
  from PIL import Image

  with Image.open(path) as image:
    return np.asarray(image.convert('RGB'))


def _filled(images: np.ndarray, count: int) -> np.ndarray:
  """As many images, again from the first where there are fewer."""
  return np.resize(images, (count, *images.shape[1:]))
