import hashlib

import numpy as np
import pytest

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


def test_the_same_small_ones():
  digest = hashlib.sha256()
  for index in range(0, 100, 7):
    image, label = synthetic100.example(1, index, synthetic100.SMALL)
    assert image.shape == (32, 32, 3) and label == index
    digest.update(image.tobytes())
  # Renew only with the dataset's VERSION.
  assert (
    digest.hexdigest()
    == '9d9d6807ead714d27376fb377f0f6dc8ddedc31dffbab15e23e1b5f4a55e61a1'
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


@pytest.mark.long
def test_a_linear_classifier_on_pixels_does_not_solve_it():
  """Ridge regression on one-hot labels; the full set is no easier for it."""
  draw = lambda split, count: (
    np.stack(
      [
        synthetic100.draw(i % 100, (100, split, i))[::2, ::2]
        for i in range(count)
      ]
    ).reshape(count, -1)
    / 255,
    np.arange(count) % 100,
  )
  (train, labels), (test, expected) = draw(0, 1500), draw(1, 300)
  mean = train.mean(0)
  train, test = train - mean, test - mean
  gram = train @ train.T
  penalty = 0.1 * np.trace(gram) / len(gram)
  dual = np.linalg.solve(
    gram + penalty * np.eye(len(gram)), np.eye(100)[labels]
  )
  predicted = (test @ train.T @ dual).argmax(-1)
  assert (predicted == expected).mean() < 0.25
