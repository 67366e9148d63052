"""Learning rates and warm-ups that nobody gave."""

import dataclasses

import pytest

from tfcompress.core import configs, types
from tfcompress.training import defaults

SCRATCH = configs.TrainConfig(types.Stage.BASELINE, 'x')
INIT = configs.InitConfig('own.keras')


def chosen(**fields) -> tuple[str, ...]:
  return defaults.chosen(dataclasses.replace(SCRATCH, **fields))


@pytest.mark.parametrize(
  ('fields', 'rate', 'warmup'),
  [
    ({}, 0.1, 1),
    ({'epochs': 1}, 0.1, 0.25),
    ({'epochs': 3}, 0.1, 0.75),
    ({'epochs': 60}, 0.1, 1),
    ({'stage': types.Stage.KD}, 0.1, 1),
    ({'stage': types.Stage.KD, 'parent': 'a', 'epochs': 3}, 0.05, 0.3),
    ({'parent': 'a', 'epochs': 1}, 0.02, 0.1),
    ({'init': INIT, 'epochs': 30}, 0.02, 1),
    ({'stage': types.Stage.SLIM, 'parent': 'a', 'epochs': 5}, 0.05, 0.5),
    ({'stage': types.Stage.PRUNE, 'parent': 'a', 'epochs': 2}, 0.02, 0.2),
    ({'stage': types.Stage.CLUSTER, 'init': INIT, 'epochs': 2}, 0.005, 0.2),
    ({'stage': types.Stage.QAT, 'parent': 'a', 'epochs': 1}, 0.005, 0.1),
  ],
)
def test_they_follow_the_stage_and_its_start(fields, rate, warmup):
  expected = (f'--learning_rate={rate:g}', f'--warmup_epochs={warmup:g}')
  assert chosen(**fields) == expected
  adamw = configs.OptimizerConfig(configs.Optimizer.ADAMW)
  (text, _) = chosen(optimizer=adamw, **fields)
  assert float(text.partition('=')[2]) == pytest.approx(rate / 100)


def test_early_weights_are_trained_as_new_ones():
  prune = configs.PruneConfig(rewind_epoch=1)
  stage = types.Stage.PRUNE
  assert chosen(stage=stage, parent='a', prune=prune)[0] == (
    '--learning_rate=0.1'
  )


def test_what_is_given_stays():
  given = configs.OptimizerConfig(learning_rate=0.0, warmup_epochs=0.0)
  config = dataclasses.replace(SCRATCH, optimizer=given, epochs=1)
  assert defaults.complete(config) == config
  assert defaults.chosen(config) == ()
  half = configs.OptimizerConfig(learning_rate=0.3)
  assert chosen(optimizer=half) == ('--warmup_epochs=1',)


def test_nothing_is_chosen_for_no_training():
  assert chosen(epochs=0, parent='a') == ()


@pytest.mark.parametrize('epochs', [1, 2])
def test_a_warm_up_that_is_given_must_leave_something(epochs):
  given = configs.OptimizerConfig(warmup_epochs=2.0)
  config = dataclasses.replace(SCRATCH, optimizer=given, epochs=epochs)
  with pytest.raises(ValueError, match=f'=2 must be below --epochs={epochs}'):
    defaults.complete(config)
  defaults.complete(dataclasses.replace(config, epochs=0))


def test_the_chosen_flags_are_the_chosen_config():
  config = dataclasses.replace(SCRATCH, epochs=7, parent='a')
  values = [float(flag.partition('=')[2]) for flag in defaults.chosen(config)]
  optimizer = configs.OptimizerConfig(
    learning_rate=values[0], warmup_epochs=values[1]
  )
  again = dataclasses.replace(config, optimizer=optimizer)
  assert defaults.complete(config) == again
