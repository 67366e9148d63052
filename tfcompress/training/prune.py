"""Stage `prune`: magnitude pruning of a parent while it trains on."""

import functools

import tensorflow_model_optimization as tfmot
import tf_keras

from tfcompress.models import heads
from tfcompress.training import job as job_lib
from tfcompress.training import losses, schedules, trainee


def prepare(job: job_lib.Job) -> trainee.Trainee:
  """Returns the network with every kernel behind a mask that grows."""
  schedule = schedules.pruning(job.config.prune, job.total_steps)
  masked = tf_keras.models.clone_model(
    heads.with_logits(job.network),
    clone_function=lambda layer: _masked(layer, schedule),
  )
  return trainee.Trainee(
    model=masked,
    network=lambda: tfmot.sparsity.keras.strip_pruning(masked),
    loss=functools.partial(
      losses.cross_entropy, label_smoothing=job.config.label_smoothing
    ),
    callbacks=(tfmot.sparsity.keras.UpdatePruningStep(),),
  )


def _masked(layer: tf_keras.layers.Layer, schedule) -> tf_keras.layers.Layer:
  """A convolution or dense layer behind a mask; any other as it is."""
  if not hasattr(layer, 'kernel'):
    return layer
  return tfmot.sparsity.keras.prune_low_magnitude(layer, schedule)
