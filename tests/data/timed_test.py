import dataclasses
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.data import image_files
from tfcompress.core import types
from tfcompress.data import (
  pipelines,
  sources,
  synthetic100,
  timed,
  transforms,
)


def evaluated(data: types.DataSpec, size: int) -> np.ndarray:
  """All validation images as evaluation shows them."""
  batches = pipelines.evaluation(
    sources.load(data, training=False),
    types.Split.VALIDATION,
    data.transform,
    batch_size=12,
    input_size=size,
  )
  return np.concatenate([images for images, _ in batches.as_numpy_iterator()])


@pytest.mark.parametrize('size', [32, 64])
@pytest.mark.parametrize('transform', types.EvaluationTransform)
def test_images_are_those_that_evaluation_shows(transform, size, data):
  data = dataclasses.replace(data, transform=transform)
  images = timed.images(data, size, 12)
  np.testing.assert_array_equal(images, evaluated(data, size))


def test_unusual_files_are_timed_as_they_are_evaluated(tmp_path):
  files = {'deep.PNG': image_files.gray16()[0]}
  files['text.png'] = image_files.with_long_text()
  files |= {
    f'{name}.jpg': content for name, content in image_files.everything().items()
  }
  for place, (name, content) in enumerate(files.items()):
    path = tmp_path / 'val' / 'ab'[place % 2] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
  data = types.DataSpec(f'folder:{tmp_path}')
  images = timed.images(data, 20, len(files))
  np.testing.assert_array_equal(images, evaluated(data, 20))


def test_few_images_are_taken_again(data):
  images = timed.images(data, 16, 30)
  assert len(images) == 30
  assert len({image.tobytes() for image in images}) == 12


@pytest.mark.parametrize('transform', types.EvaluationTransform)
def test_generated_images_go_through_the_same_transform(transform):
  """By TensorFlow's numbers in NumPy; 21 and 56 have sums that end on a tie."""
  data = types.DataSpec(transform=transform)
  for size in (8, 18, 21, 32, 49, 56, 63, 64, 65, 96, 128, 192, 224, 299):
    for index, image in enumerate(timed.images(data, size, 3)):
      original, _ = synthetic100.example(1, index)
      expected = transforms.evaluation(original, size, transform)
      np.testing.assert_array_equal(image, expected)


def test_generated_images_need_no_tensorflow():
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
