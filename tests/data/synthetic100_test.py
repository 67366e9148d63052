import hashlib

import numpy as np

from tfcompress.data import synthetic100


def test_the_same_bytes_on_every_machine():
  digest = hashlib.sha256()
  for index in range(0, 100, 7):
    digest.update(synthetic100.draw(index, (100, 0, index)).tobytes())
  # Renew only with the dataset's VERSION.
  assert (
    digest.hexdigest()
    == '0747ec706c2dd0e4f16473894782f6110b4ac9504128e04daaa93385e474e64f'
  )


def test_a_class_is_a_shape_crossed_with_a_texture():
  names = synthetic100.CLASS_NAMES
  assert len(set(names)) == 100
  assert names[0] == 'disc_solid' and names[99] == 'chevron_zigzag'


def test_shapes_cover_similar_areas():
  side = 400
  v, u = np.mgrid[-1100:1100:400j, -1100:1100:400j].astype(np.int64)
  areas = {
    name: shape(u, v).sum() / side**2
    for name, shape in synthetic100.SHAPES.items()
  }
  assert min(areas.values()) > 0.2 and max(areas.values()) < 0.5


def test_images_differ_by_seed_and_use_all_channels():
  first = synthetic100.draw(5, (1, 0, 5))
  second = synthetic100.draw(5, (1, 0, 6))
  assert first.shape == (64, 64, 3) and first.dtype == np.uint8
  assert (first != second).mean() > 0.5
  np.testing.assert_array_equal(first, synthetic100.draw(5, (1, 0, 5)))
