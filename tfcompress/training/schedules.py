"""What changes over training: the learning rate and the sparsity."""

from collections.abc import Iterable

import tensorflow as tf
import tf_keras

from tfcompress.core import configs

_MASK_UPDATES = 40  # how often masks are renewed between begin and end


class _FusedSGD(tf_keras.optimizers.SGD):
  """SGD with Nesterov momentum, each variable's update in one kernel."""

  def update_step(self, gradient, variable):
    """As the parent class, which takes six operations for it."""
    accumulator = self.momentums[self._index_dict[self._var_key(variable)]]
    tf.raw_ops.ResourceApplyKerasMomentum(
      var=variable.handle,
      accum=accumulator.handle,
      lr=tf.cast(self.learning_rate, variable.dtype),
      grad=gradient,
      momentum=tf.cast(self.momentum, variable.dtype),
      use_nesterov=True,
    )


def learning_rate(
  config: configs.OptimizerConfig, steps_per_epoch: int, epochs: int
) -> tf_keras.optimizers.schedules.LearningRateSchedule:
  """Linear warm-up to the peak, then half a cosine to zero (Loshchilov 2017)."""
  total = steps_per_epoch * epochs
  warmup = min(round(config.warmup_epochs * steps_per_epoch), total - 1)
  return tf_keras.optimizers.schedules.CosineDecay(
    initial_learning_rate=0.0 if warmup else config.learning_rate,
    decay_steps=total - warmup,
    warmup_target=config.learning_rate if warmup else None,
    warmup_steps=warmup,
  )


def optimizer(
  config: configs.OptimizerConfig,
  steps_per_epoch: int,
  epochs: int,
  undecayed: Iterable[tf.Variable] = (),
) -> tf_keras.optimizers.Optimizer:
  """Returns the optimizer with its schedule.

  Args:
    config: which, and its settings.
    steps_per_epoch: of the schedule.
    epochs: likewise.
    undecayed: what weight decay leaves alone: all but kernels.
  """
  common = {
    'learning_rate': learning_rate(config, steps_per_epoch, epochs),
    'weight_decay': config.weight_decay,
    'global_clipnorm': config.clip_norm or None,
    'jit_compile': False,  # XLA's CPU convolutions are ten times slower.
  }
  if config.optimizer is configs.Optimizer.ADAMW:
    result = tf_keras.optimizers.AdamW(**common)
  else:
    result = _FusedSGD(momentum=config.momentum, nesterov=True, **common)
  result.exclude_from_weight_decay(var_list=list(undecayed))
  return result


def pruning(config: configs.PruneConfig, total_steps: int):
  """Returns TF-MOT's schedule with begin and end in steps.

  The mask is renewed for the last time exactly at the end, when the target is
  reached.
  """
  begin = round(config.prune_begin * total_steps)
  last = min(round(config.prune_end * total_steps), total_steps - 1)
  constant = config.schedule is configs.PruningSchedule.CONSTANT
  if constant:  # It needs no more than the step that it begins with.
    begin = min(begin, max(last, 0))
  span = last - begin
  if span < 1 and not constant:
    raise ValueError(
      f'pruning from {config.prune_begin:g} to {config.prune_end:g} of {total_steps} steps '
      'leaves no step to prune in; widen --prune_begin and --prune_end, train '
      'longer, or mask at once by --schedule=constant'
    )
  frequency = max(1, span // _MASK_UPDATES)
  end = begin + span // frequency * frequency
  # Here, since it takes most of a second and other stages do without.
  import tensorflow_model_optimization as tfmot

  library = tfmot.sparsity.keras
  if constant:
    return library.ConstantSparsity(
      config.target_sparsity, begin, end, frequency
    )
  return library.PolynomialDecay(
    config.initial_sparsity,
    config.target_sparsity,
    begin,
    end,
    frequency=frequency,
  )
