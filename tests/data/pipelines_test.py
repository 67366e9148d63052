import numpy as np
import pytest
import tensorflow as tf

from tfcompress.core import configs, types
from tfcompress.data import pipelines, sources, transforms

CHALLENGE = types.EvaluationTransform.CHALLENGE


@pytest.fixture
def source(data) -> sources.Source:
  return sources.load(data)


def stream(source, epochs: range, seed: int = 7, sizes=(32,), **augment):
  dataset = pipelines.train(
    source,
    configs.AugmentConfig(**augment),
    batch_size=8,
    views=[transforms.View(size) for size in sizes],
    seed=seed,
    epochs=epochs,
  )
  return list(dataset.as_numpy_iterator())


@pytest.mark.parametrize('batch_size', [1, 5, 12, 100])
def test_evaluation_counts_every_example_once(source, batch_size):
  batches = pipelines.evaluation(
    source,
    types.Split.VALIDATION,
    CHALLENGE,
    batch_size=batch_size,
    input_size=48,
  )
  images, labels = zip(*batches.as_numpy_iterator())
  assert np.concatenate(images).shape == (12, 48, 48, 3)
  assert images[0].dtype == np.uint8
  np.testing.assert_array_equal(np.bincount(np.concatenate(labels)), [4, 4, 4])
  assert len({image.tobytes() for image in np.concatenate(images)}) == 12


@pytest.mark.parametrize('seed', [0, 3])
def test_evaluation_in_another_order_is_of_the_same_examples(source, seed):
  tf.random.set_seed(seed)

  def labels(order: int | None) -> list[int]:
    batches = pipelines.evaluation(
      source, types.Split.VALIDATION, CHALLENGE,
      batch_size=5, input_size=32, order=order,
    )  # fmt: skip
    return np.concatenate([y for _, y in batches.as_numpy_iterator()]).tolist()

  assert labels(None) == [0] * 4 + [1] * 4 + [2] * 4
  assert labels(5) == labels(5) != labels(None)
  assert sorted(labels(5)) == sorted(labels(6)) == labels(None)


@pytest.mark.parametrize('augment', [{}, {'mixup_alpha': 0.2}])
def test_a_stream_can_start_at_any_epoch(source, augment):
  whole = stream(source, range(3), **augment)
  rest = stream(source, range(1, 3), **augment)
  assert (len(whole), len(rest)) == (3 * 4, 2 * 4)
  for (images, targets), (other_images, other_targets) in zip(whole[4:], rest):
    np.testing.assert_array_equal(images, other_images)
    np.testing.assert_array_equal(targets, other_targets)


def test_the_views_of_two_networks_are_of_the_same_images(source):
  """The second network changes nothing of what the first one sees."""
  alone = stream(source, range(1))
  beside = stream(source, range(1), sizes=(32, 48))
  assert [len(batch) for batch in beside] == [3] * 4
  for (images, targets), (first, same, (second,)) in zip(alone, beside):
    np.testing.assert_array_equal(images, first)
    np.testing.assert_array_equal(targets, same)
    assert second.shape == (8, 48, 48, 3)
    means = [x.mean((1, 2)) for x in (first, second)]
    np.testing.assert_allclose(*means, atol=4)


def test_epochs_and_seeds_differ(source):
  first, second = stream(source, range(1)), stream(source, range(1, 2))
  other = stream(source, range(1), seed=8)
  order = lambda batches: np.concatenate([t.argmax(-1) for _, t in batches])
  assert not np.array_equal(order(first), order(second))
  assert not np.array_equal(order(first), order(other))
  assert not np.array_equal(first[0][0], other[0][0])


@pytest.mark.parametrize('seed', [0, 3])
def test_the_seed_of_the_process_changes_nothing(source, seed):
  first = stream(source, range(1))
  tf.random.set_seed(seed)
  again = stream(source, range(1))
  for (images, _), (other_images, _) in zip(first, again, strict=True):
    np.testing.assert_array_equal(images, other_images)


def test_a_folder_is_shuffled_as_a_whole(source):
  """Its files come in order of their classes; a short buffer would keep it."""
  assert source.shuffle_buffer == 36
  first = [t.argmax(-1) for _, t in stream(source, range(20))][::4]
  share = np.bincount(np.concatenate(first)) / (20 * 8)
  np.testing.assert_allclose(share, 1 / 3, atol=0.1)


def test_an_epoch_sees_no_example_twice(source):
  none = configs.TrainTransform.NONE
  batches = stream(source, range(1), crop=none, flip=False)
  images = np.concatenate([images for images, _ in batches])
  assert len({image.tobytes() for image in images}) == 32


def test_evenly_drawn_images_are_as_evaluated(source):
  images, labels = pipelines.evenly_drawn(
    source, types.Split.TRAIN, CHALLENGE, count=7, input_size=32
  )
  assert images.shape == (7, 32, 32, 3) and images.dtype == np.uint8
  assert sorted(np.bincount(labels)) == [2, 2, 3]
  # The class's own channel is 120 brighter.
  assert (images.mean((1, 2)).argmax(-1) == 2 - labels).all()
