"""The validation split during training and after it."""

import tensorflow as tf
import tf_keras

from tfcompress.core import types
from tfcompress.data import pipelines
from tfcompress.training import job as job_lib

_BATCH = 64


def stream(job: job_lib.Job) -> tf.data.Dataset:
  """Batches (images, one-hot targets) as the deployed model sees them inside."""
  num_classes = len(job.source.class_names)
  return _batches(job).map(
    lambda images, labels: (
      pipelines.as_seen_inside(images, job.spec.stem_size),
      tf.one_hot(labels, num_classes),
    )
  )


def metrics(model: tf_keras.Model, job: job_lib.Job) -> dict[str, float]:
  """Returns the figures of a finished model, in float32, as it is deployed.

  Returns:
    `top1_percent`, `top5_percent` and `cross_entropy` in nats.
  """
  predict = tf.function(lambda images: model(images, training=False))
  found = {
    'top1_percent': tf_keras.metrics.SparseCategoricalAccuracy(),
    'top5_percent': tf_keras.metrics.SparseTopKCategoricalAccuracy(5),
    'cross_entropy': tf_keras.metrics.SparseCategoricalCrossentropy(),
  }
  for images, labels in _batches(job):
    probabilities = predict(tf.cast(images, tf.float32))
    for metric in found.values():
      metric.update_state(labels, probabilities)
  values = {name: float(metric.result()) for name, metric in found.items()}
  for name in ('top1_percent', 'top5_percent'):
    values[name] *= 100
  return {name: round(value, 4) for name, value in values.items()}


def _batches(job: job_lib.Job) -> tf.data.Dataset:
  return pipelines.evaluation(
    job.source,
    types.Split.VALIDATION,
    job.config.data.transform,
    batch_size=_BATCH,
    input_size=job.spec.input_size,
  )
