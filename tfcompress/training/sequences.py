"""Runs that take other runs first: slimming in steps, born-again students."""

import dataclasses
import math
import pathlib
from collections.abc import Iterator

from tfcompress.core import configs
from tfcompress.training import budget

PLAN = 'checkpoints/plan.json'  # which channels went; a restart keeps to it
_STEPS = 'steps'
_GENERATIONS = 'generations'


def expand(config: configs.TrainConfig) -> Iterator[configs.TrainConfig]:
  """Yields the runs that make up a config, the one that ends it last.

  Those before it write into folders inside its own.

  Raises:
    ValueError: fewer epochs than steps.
  """
  if config.slim and config.slim.slim_steps > 1:
    yield from _slim_steps(config)
  elif config.distill and config.distill.generations > 1:
    yield from _generations(config)
  else:
    yield config


def _slim_steps(config: configs.TrainConfig) -> Iterator[configs.TrainConfig]:
  """Surgeries that each leave the same share of what is there."""
  steps = config.slim.slim_steps
  if 0 < config.epochs < steps:
    raise ValueError(
      f'--slim_steps={steps} needs an epoch each, got --epochs={config.epochs}'
    )
  done = 0
  for step in range(1, steps + 1):
    last = step == steps
    epochs = round(config.epochs * step / steps) - done
    done += epochs
    one = dataclasses.replace(
      config,
      output_dir=config.output_dir if last else _inside(config, _STEPS, step),
      epochs=epochs,
      optimizer=_for_share(config.optimizer, epochs / max(1, config.epochs)),
      slim=_one_step(config.slim, step),
    )
    if step > 1:
      first_plan = f'{_inside(config, _STEPS, 1)}/{PLAN}'
      one = dataclasses.replace(
        one,
        parent=_inside(config, _STEPS, step - 1),
        init=None,
        slim=dataclasses.replace(one.slim, first_plan=first_plan),
      )
    yield one


def _for_share(
  optimizer: configs.OptimizerConfig, share: float
) -> configs.OptimizerConfig:
  """The optimizer of a part of the epochs, with that share of the warm-up."""
  warmup_epochs = optimizer.warmup_epochs * share
  return dataclasses.replace(optimizer, warmup_epochs=warmup_epochs)


def _one_step(slim: configs.SlimConfig, step: int) -> configs.SlimConfig:
  steps = slim.slim_steps
  ratio = slim.channel_ratio
  return dataclasses.replace(
    slim,
    channel_ratio=None if ratio is None else 1 - (1 - ratio) ** (step / steps),
    target_macs=_root(slim.target_macs, steps),
    target_parameters=_root(slim.target_parameters, steps),
    target_latency=_root(slim.target_latency, steps),
    slim_steps=1,
    progress=1 / (steps - step + 1),
  )


def _root(target: str, steps: int) -> str:
  """A share of the whole as the share that each step keeps."""
  if not target.endswith('%'):
    return target
  share = budget.target_of(target, 1.0, 1.0)
  return f'{100 * math.pow(share, 1 / steps)!r}%'


def _generations(config: configs.TrainConfig) -> Iterator[configs.TrainConfig]:
  """Students of one kind, each taught by the one before (Furlanello 2018)."""
  count = config.distill.generations
  teacher, attention = config.distill.teacher, config.distill.attention
  for generation in range(1, count + 1):
    last = generation == count
    output_dir = (
      config.output_dir if last else _inside(config, _GENERATIONS, generation)
    )
    distill = dataclasses.replace(
      config.distill, teacher=teacher, attention=attention, generations=1
    )
    yield dataclasses.replace(
      config,
      output_dir=output_dir,
      distill=distill,
      seed=config.seed + generation - 1,
    )
    teacher = (output_dir,)
    # From now on the teacher has the student's layers.
    attention = tuple(pair.partition(':')[0] for pair in attention)


def _inside(config: configs.TrainConfig, kind: str, index: int) -> str:
  return str(pathlib.Path(config.output_dir) / kind / str(index))
