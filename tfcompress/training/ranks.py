"""Where a network puts the true class, as metrics of training."""

from collections.abc import Callable

import tensorflow as tf

_TOP = 5


def of(labels: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
  """Returns how many other classes are as likely as the label's, or more, (N,).

  As `core.ranks.of`: ties count against a network, and so does a
  score that is no number.

  Args:
    labels: (N,), whole numbers.
    scores: (N, C), higher is likelier.
  """
  own = tf.gather(scores, labels, axis=-1, batch_dims=1)[:, None]
  reached = tf.logical_not(scores < own)  # By the label's own class too.
  return tf.reduce_sum(tf.cast(reached, tf.int32), axis=-1) - 1


def metrics(num_classes: int) -> list[Callable[..., tf.Tensor]]:
  """Returns what Keras shows of one-hot targets: top-1, and top-5 of more."""
  return [top1, top5] if num_classes > _TOP else [top1]


def top1(targets: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
  """Returns 1 where the true class is likelier than all others, (N,)."""
  return _within(1, targets, scores)


def top5(targets: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
  """Returns 1 where fewer than five classes come before the true one, (N,)."""
  return _within(_TOP, targets, scores)


def _within(k: int, targets: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
  return tf.cast(of(tf.argmax(targets, axis=-1), scores) < k, tf.float32)
