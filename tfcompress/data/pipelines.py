"""The three streams of images: training, evaluation, calibration.

Decoding and augmentation run in tf.data; what is random is a function of the
seed, the epoch and the example's place in it, so a stream can start at any
epoch and be the same.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfcompress.core import configs, types
from tfcompress.data import sources, transforms

_BATCHES_READY = 3
# From examples' indices (B,) int64 and whether they are mirrored, bool (B,).
Extra = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
_split = tf.random.experimental.stateless_split
_fold_in = tf.random.experimental.stateless_fold_in


def train(
  source: sources.Source,
  config: configs.AugmentConfig,
  *,
  batch_size: int,
  views: Sequence[transforms.View],
  seed: int,
  epochs: range,
  extra: Extra | None = None,
) -> tf.data.Dataset:
  """Streams augmented batches of all `epochs` on end.

  Args:
    source: the image set.
    config: random changes.
    batch_size: B; a last, smaller batch of an epoch is dropped.
    views: what networks see; S is the size of the first.
    seed: of order and augmentation, from 1 on.
    epochs: which, counted from 0; the same epoch is always the same.
    extra: what else is known of each image, for a third element of a batch;
      there is no second view then.

  Returns:
    Batches of float32 images (B, S, S, 3), 0..255, and targets (B, classes),
    rows of which sum to one; then a tuple of the other views, if there are any.
  """

  handles = source.handles(types.Split.TRAIN)

  def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
    order_seed, view_seed, mix_seed = tf.unstack(
      _split([tf.constant(seed, tf.int64), epoch], 3)
    )
    # Beside its own seed, shuffle reads that of the process, which may be 0.
    tf.compat.v1.set_random_seed(seed)
    dataset = handles.enumerate().shuffle(
      source.shuffle_buffer,
      seed=tf.cast(order_seed[0], tf.int64),
      reshuffle_each_iteration=False,
    )
    view = _view(source, config, views, view_seed)
    dataset = dataset.enumerate().map(view, _cores())
    dataset = dataset.batch(batch_size, drop_remainder=True)
    dataset = dataset.map(
      lambda seen, targets, index, mirrored: (
        (seen, targets) + ((extra(index, mirrored),) if extra else ())
      )
    )
    if config.mixup_alpha or config.cutmix_alpha:
      dataset = dataset.enumerate().map(
        lambda index, batch: transforms.mix(
          *batch, config, _fold_in(mix_seed, index)
        )
      )
    return dataset.map(
      lambda seen, targets, *more: (
        (seen[0], targets, *more) + ((seen[1:],) if seen[1:] else ())
      )
    )

  starts = tf.data.Dataset.range(epochs.start, epochs.stop)
  return _streamed(starts.flat_map(one_epoch))


def _view(source, config: configs.AugmentConfig, views, seed):
  """From a place in the order and an example to its views and its target.

  After them come the example's index in the split and whether it is mirrored.
  """
  num_classes = len(source.class_names)

  def view(place, example):
    index, (handle, label) = example
    image = transforms.decode(source.read(handle))
    view_seed = _fold_in(seed, place)
    seen, mirrored = transforms.training(image, views, config, view_seed)
    return seen, tf.one_hot(label, num_classes), index, mirrored

  return view


def still(
  source: sources.Source,
  config: configs.AugmentConfig,
  *,
  batch_size: int,
  views: Sequence[transforms.View],
) -> tf.data.Dataset:
  """Streams every training image once, in order, as `train` shows it.

  Args:
    source: the image set.
    config: of changes, none of them random but the flip, which is left out.
    batch_size: B; the last batch may be smaller.
    views: what networks see.

  Returns:
    Batches of tuples of float32 images (B, S, S, 3), 0..255, each of its S.
  """
  unflipped = dataclasses.replace(config, flip=False)
  view = _view(source, unflipped, views, tf.zeros(2, tf.int32))
  numbered = source.handles(types.Split.TRAIN).enumerate()
  seen = numbered.enumerate().map(view, _cores()).map(lambda seen, *_: seen)
  return _streamed(seen.batch(batch_size))


def evaluation(
  source: sources.Source,
  split: types.Split,
  transform: types.EvaluationTransform,
  *,
  batch_size: int,
  input_size: int,
  order: int | None = None,
) -> tf.data.Dataset:
  """Streams every example of a split once.

  Args:
    source: the image set.
    split: of it.
    transform: how images are brought to size.
    batch_size: B.
    input_size: S.
    order: a seed; None streams them as the source has them.

  Returns:
    Batches of uint8 images (B, S, S, 3) with S the input size and int64 labels
    (B,); the last batch may be smaller.
  """
  handles = source.handles(split)
  if order is not None:
    handles = handles.shuffle(source.shuffle_buffer, seed=order)
  return _transformed(handles, source, transform, batch_size, input_size)


def as_seen_inside(images: tf.Tensor, size: int) -> tf.Tensor:
  """Returns images (B, S, S, 3) as a model resizes them: float32, T = size."""
  pixels = tf.cast(images, tf.float32)
  if images.shape[1] == size:
    return pixels
  return tf.image.resize(pixels, (size, size))


def evenly_drawn(
  source: sources.Source,
  split: types.Split,
  transform: types.EvaluationTransform,
  *,
  count: int,
  input_size: int,
  seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns `count` random examples of a split, as many of each class.

  Classes differ by at most one example while they have enough of them.

  Returns:
    uint8 images (N, S, S, 3) and int64 labels (N,), N at most `count`.
  """
  handles = source.handles(split)
  labels = np.array(list(handles.map(lambda _, label: label)))
  chosen = np.zeros(len(labels), bool)
  chosen[_evenly(labels, count, np.random.RandomState(seed))] = True
  mask = tf.constant(chosen)
  drawn = handles.enumerate().filter(lambda index, _: mask[index])
  drawn = drawn.map(lambda _, example: example)
  batches = list(
    _transformed(drawn, source, transform, 64, input_size).as_numpy_iterator()
  )
  return tuple(np.concatenate(parts) for parts in zip(*batches))


@contextlib.contextmanager
def naming_corrupt_images(source: sources.Source) -> Iterator[None]:
  """Turns an image's error inside into a ValueError that names the image."""
  try:
    yield
  except sources.UNREADABLE as error:
    names = (
      sources.first_corrupt(source, split) for split in source.num_examples
    )
    name = next(filter(None, names), None)
    if name is None:
      raise
    raise ValueError(sources.unreadable(name)) from error


def _evenly(labels: np.ndarray, count: int, rng) -> np.ndarray:
  """Indices of `count` examples, round robin over the classes."""
  order = rng.permutation(len(labels))
  by_class = order[np.argsort(labels[order], kind='stable')]
  sorted_labels = labels[by_class]
  first = np.searchsorted(sorted_labels, sorted_labels)
  rank = np.arange(len(labels)) - first
  return by_class[np.argsort(rank, kind='stable')][:count]


def _transformed(handles, source, transform, batch_size, input_size):
  """Decodes and transforms examples in order and batches all of them."""

  def one(handle, label):
    image = transforms.decode(source.read(handle))
    return transforms.evaluation(image, input_size, transform), label

  return _streamed(handles.map(one, _cores()).batch(batch_size))


def _streamed(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Keeps some batches ready.

  tf.data's tuner is off: it finds what _cores says, and an iterator that is
  done waits seconds for the tuner's thread.
  """
  options = tf.data.Options()
  options.autotune.enabled = False
  return dataset.prefetch(_BATCHES_READY).with_options(options)


def _cores() -> int:
  return len(os.sched_getaffinity(0))
