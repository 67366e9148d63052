"""The learning rate and warm-up of a training that names none.

A network of random weights wants a high rate. One that has learned is to keep
most of it: less is undone the less a stage breaks.
"""

import dataclasses

from tfcompress.core import configs, types

_FROM_SCRATCH = 0.1  # of SGD, as are the others
_FINE_TUNING = {
  types.Stage.BASELINE: 0.02,
  types.Stage.KD: 0.05,
  types.Stage.SLIM: 0.05,
  types.Stage.PRUNE: 0.02,
  types.Stage.CLUSTER: 0.005,
  types.Stage.QAT: 0.005,
}
_ADAMW = 0.01  # of SGD's rate; its steps do not shrink with the gradients
_MOST_WARMUP_EPOCHS = 1.0
_WARMUP, _FINE_TUNING_WARMUP = 0.25, 0.1  # at most these shares of the epochs


def complete(config: configs.TrainConfig) -> configs.TrainConfig:
  """Returns a config with a learning rate and a warm-up.

  Raises:
    ValueError: the warm-up that was given leaves no epoch to train in.
  """
  given = config.optimizer
  warmup = given.warmup_epochs
  if warmup is None:
    share = _FINE_TUNING_WARMUP if _is_trained(config) else _WARMUP
    warmup = round(min(_MOST_WARMUP_EPOCHS, share * config.epochs), 4)
  elif config.epochs and warmup >= config.epochs:
    raise ValueError(
      f'--warmup_epochs={warmup:g} must be below --epochs={config.epochs}'
    )
  rate = given.learning_rate
  optimizer = dataclasses.replace(
    given,
    learning_rate=_rate(config) if rate is None else rate,
    warmup_epochs=warmup,
  )
  return dataclasses.replace(config, optimizer=optimizer)


def chosen(config: configs.TrainConfig) -> tuple[str, ...]:
  """Returns what `complete` adds to a config, as flags."""
  if not config.epochs:
    return ()
  now = complete(config).optimizer
  return tuple(
    f'--{name}={getattr(now, name):g}'
    for name in ('learning_rate', 'warmup_epochs')
    if getattr(config.optimizer, name) is None
  )


def _rate(config: configs.TrainConfig) -> float:
  rate = _FROM_SCRATCH
  if _is_trained(config):
    rate = _FINE_TUNING[config.stage]
  if config.optimizer.optimizer is configs.Optimizer.ADAMW:
    rate *= _ADAMW
  return float(f'{rate:.6g}')


def _is_trained(config: configs.TrainConfig) -> bool:
  """Whether training starts from weights that have learned.

  Those that pruning goes back to, of an early epoch, have not.
  """
  rewinds = config.prune and config.prune.rewind_epoch is not None
  return bool(config.parent or config.init) and not rewinds
