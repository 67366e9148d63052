"""Stage `prune`: weights of a parent become zero while it trains on."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.core import configs
from tfcompress.models import clusters, graph
from tfcompress.training import (
  constraints,
  masks,
  preflight,
  rewind,
  schedules,
  trainee,
)
from tfcompress.training import job as job_lib


def prepare(job: job_lib.Job) -> trainee.Trainee:
  """Returns the network with kernels behind masks that grow, or stand.

  Without an epoch to train in, all of the target is masked at once.

  Raises:
    ValueError: a granularity or pattern that fits no layer, or an epoch to
      rewind to that the parent did not keep.
  """
  config = job.config.prune
  network = job.trainable(job.model)
  kernels = graph.kernels(network)
  pruned = _pruned(network, kernels, job.config)
  kept = constraints.preserving(
    {name: kernels[name] for name in kernels.keys() - pruned}
  )
  masked = {
    name: constraints.Constraint(
      kernels[name],
      mask=constraints.mask_of_zeros(kernels[name].numpy()),
      clusters=clusters.members(kernels[name].numpy()),
    )
    for name in kernels
    if name in pruned
  }
  if config.rewind_epoch is None and not job.config.epochs:
    _mask(masked, config, config.target_sparsity)
    return trainee.Trainee(network, (*kept, *masked.values()))
  if config.rewind_epoch is None:
    schedule = schedules.pruning(config, job.total_steps)
    callback = _GrowingMasks(masked, config, schedule)
    settled_step = schedule.end_step + 1
  else:
    _mask(masked, config, config.target_sparsity)
    rewind.restore(network, job.config.parent, config.rewind_epoch)
    for constraint in masked.values():
      constraint.apply()
    callback = _StandingMasks(masked)
    settled_step = 0
  return trainee.Trainee(
    network,
    (*kept, *masked.values()),
    callbacks=(callback,),
    settled_step=settled_step,
  )


def _pruned(
  network: tf_keras.Model,
  kernels: Mapping[str, tf.Variable],
  config: configs.TrainConfig,
) -> set[str]:
  """Names of the layers to prune; says what the zeros will be worth."""
  granularity = masks.parse(config.prune.granularity)
  excluded = graph.matching(kernels, config.exclude)
  fits = {
    name
    for name, kernel in kernels.items()
    if masks.fits(
      granularity, kernel.shape, graph.is_depthwise(network.get_layer(name))
    )
  }
  if not fits - excluded:
    raise ValueError(
      f'--granularity={granularity} and --exclude={",".join(config.exclude)} '
      f'leave no layer to prune; the kernels are '
      + ', '.join(f'{name} {tuple(k.shape)}' for name, k in kernels.items())
    )
  report = preflight.check(
    network,
    config.prune.target_sparsity,
    config.prune.granularity,
    excluded | (kernels.keys() - fits),
  )
  print(preflight.text(report), flush=True)
  return fits - excluded


class _StandingMasks(tf_keras.callbacks.Callback):
  """Takes the masks from the zeros that a checkpoint has, if there is one."""

  def __init__(self, masked: Mapping[str, constraints.Constraint]):
    super().__init__()
    self._masked = masked

  def on_train_begin(self, logs=None):
    del logs
    for constraint in self._masked.values():
      constraint.set_mask(constraints.mask_of_zeros(constraint.kernel.numpy()))


class _GrowingMasks(_StandingMasks):
  """Masks more and more of the smallest weights, as the schedule says."""

  def __init__(
    self,
    masked: Mapping[str, constraints.Constraint],
    config: configs.PruneConfig,
    schedule,
  ):
    super().__init__(masked)
    self._config = config
    self._schedule = schedule
    self._seen = 0

  def on_train_begin(self, logs=None):
    super().on_train_begin(logs)
    self._seen = int(self.model.optimizer.iterations)

  def on_train_batch_end(self, batch, logs=None):
    """Masks if a step since the last call was due; a call may be some steps."""
    del batch, logs
    step = int(self.model.optimizer.iterations)
    due = [
      float(sparsity)
      for due, sparsity in map(self._schedule, range(self._seen, step))
      if due
    ]
    if due:
      _mask(self._masked, self._config, due[-1])
    self._seen = step


def _mask(
  masked: Mapping[str, constraints.Constraint],
  config: configs.PruneConfig,
  sparsity: float,
) -> None:
  """Masks this share of the weights, the smallest; what is zero stays zero."""
  granularity = masks.parse(config.granularity)
  kernels = {name: c.kernel.numpy() for name, c in masked.items()}
  if config.scope is configs.PruningScope.GLOBAL:
    found = masks.global_magnitude(kernels, sparsity, granularity)
  else:
    found = {
      name: _mask_of(name, kernel, sparsity, granularity)
      for name, kernel in kernels.items()
    }
  for name, mask in found.items():
    masked[name].set_mask(mask & constraints.mask_of_zeros(kernels[name]))


def _mask_of(
  name: str,
  kernel: np.ndarray,
  sparsity: float,
  granularity: masks.Granularity,
) -> np.ndarray:
  """One kernel's mask; of equal weights in a cluster just as many as needed."""
  if clusters.members(kernel) is None:
    return masks.magnitude(kernel, sparsity, granularity)
  return masks.global_magnitude({name: kernel}, sparsity, granularity)[name]
