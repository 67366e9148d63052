import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tfcompress.core import types
from tfcompress.data import pipelines, sources, timed


def evaluated(data: types.DataSpec, size: int) -> np.ndarray:
  """All validation images as evaluation shows them."""
  batches = pipelines.evaluation(
    sources.load(data),
    types.Split.VALIDATION,
    data.transform,
    batch_size=12,
    input_size=size,
  )
  return np.concatenate([images for images, _ in batches.as_numpy_iterator()])


def test_images_are_those_that_evaluation_shows(data):
  images = timed.images(data, 32, 12)
  assert (images.shape, images.dtype) == ((12, 32, 32, 3), np.uint8)
  expected = evaluated(data, 32)
  # Smaller, Pillow averages where TensorFlow picks; colors stay.
  np.testing.assert_allclose(images.mean((1, 2)), expected.mean((1, 2)), atol=2)


def test_few_images_are_taken_again(data):
  images = timed.images(data, 16, 30)
  assert len(images) == 30
  assert len({image.tobytes() for image in images}) == 12


def test_synthetic_images_need_no_tensorflow():
  code = (
    'import sys\n'
    'from tfcompress.core import types\n'
    'from tfcompress.data import timed\n'
    'images = timed.images(types.DataSpec(), 224, 8)\n'
    'print(images.shape, images.std() > 10, "tensorflow" in sys.modules)\n'
  )
  result = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert result.stdout == '(8, 224, 224, 3) True False\n'


def test_images_that_do_not_decode(folder, tmp_path):
  root = tmp_path / 'images'
  shutil.copytree(folder, root)
  for path in (root / 'validation' / 'blue').iterdir():
    path.write_bytes(b'no image')
  data = types.DataSpec(f'folder:{root}')
  with pytest.raises(ValueError, match='blue.*remove it or pass --skip'):
    timed.images(data, 16, 12)
  data = types.DataSpec(f'folder:{root}', skip_corrupt_images=True)
  assert len({image.tobytes() for image in timed.images(data, 16, 12)}) == 8
  for path in pathlib.Path(root, 'validation').glob('*/*'):
    path.write_bytes(b'no image')
  with pytest.raises(ValueError, match='12 images tried, of which none'):
    timed.images(data, 16, 12)
