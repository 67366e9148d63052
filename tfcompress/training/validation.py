"""The validation split during training and after it."""

import tensorflow as tf
import tf_keras

from tfcompress.core import types
from tfcompress.data import pipelines
from tfcompress.training import job as job_lib
from tfcompress.training import ranks

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
    `top1_percent`, `top5_percent` where there are more classes, and
    `cross_entropy` in nats.
  """
  predict = tf.function(lambda images: model(images, training=False))
  num_classes = len(job.source.class_names)
  loss = tf_keras.metrics.CategoricalCrossentropy()
  hits = {
    metric: tf_keras.metrics.Mean() for metric in ranks.metrics(num_classes)
  }
  for images, labels in _batches(job):
    probabilities = predict(tf.cast(images, tf.float32))
    targets = tf.one_hot(labels, num_classes)
    loss.update_state(targets, probabilities)
    for metric, mean in hits.items():
      mean.update_state(metric(targets, probabilities))
  values = {
    f'{metric.__name__}_percent': 100 * float(mean.result())
    for metric, mean in hits.items()
  }
  values['cross_entropy'] = float(loss.result())
  return {name: round(value, 4) for name, value in values.items()}


def _batches(job: job_lib.Job) -> tf.data.Dataset:
  return pipelines.evaluation(
    job.source,
    types.Split.VALIDATION,
    job.config.data.transform,
    batch_size=_BATCH,
    input_size=job.spec.input_size,
  )
