"""Stage `prune`: magnitude pruning of a parent while it trains on."""

import functools

import tensorflow_model_optimization as tfmot
import tf_keras

from tfcompress.core import types
from tfcompress.models import heads
from tfcompress.training import losses, schedules, trainee


class _FollowOptimizer(tf_keras.callbacks.Callback):
  """Gives every pruned layer the optimizer's step, also after a restart."""

  def on_train_begin(self, logs=None):
    del logs
    self._layers = [
      layer
      for layer in self.model.layers
      if isinstance(layer, tfmot.sparsity.keras.PruneLowMagnitude)
    ]

  def on_train_batch_begin(self, batch, logs=None):
    del batch, logs
    for layer in self._layers:
      layer.pruning_step.assign(self.model.optimizer.iterations)


def prepare(
  network: tf_keras.Model, config: types.TrainConfig, total_steps: int
) -> trainee.Trainee:
  """Returns the network with every kernel behind a mask that grows."""
  schedule = schedules.pruning(config.prune, total_steps)
  masked = tfmot.sparsity.keras.prune_low_magnitude(network, schedule)
  return trainee.Trainee(
    model=heads.with_logits(masked),
    network=lambda: tfmot.sparsity.keras.strip_pruning(masked),
    loss=functools.partial(
      losses.cross_entropy, label_smoothing=config.label_smoothing
    ),
    callbacks=(_FollowOptimizer(),),
  )
