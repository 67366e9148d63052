"""Runs that take other runs first: slimming in steps, born-again students."""

import dataclasses
import math
import pathlib
from collections.abc import Iterator

from tfcompress.core import configs

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
  """Surgeries that each remove the same share of what is left."""
  steps = config.slim.slim_steps
  if config.epochs < steps:
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
      slim=_one_step(config.slim, step),
      keep_epoch=config.keep_epoch if last else None,
    )
    if step > 1:
      parent = _inside(config, _STEPS, step - 1)
      one = dataclasses.replace(one, parent=parent, init=None)
    yield one


def _one_step(slim: configs.SlimConfig, step: int) -> configs.SlimConfig:
  steps = slim.slim_steps
  ratio = slim.channel_ratio
  return dataclasses.replace(
    slim,
    channel_ratio=None if ratio is None else 1 - (1 - ratio) ** (1 / steps),
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
  share = float(target.removesuffix('%')) / 100
  return f'{100 * math.pow(share, 1 / steps)!r}%'


def _generations(config: configs.TrainConfig) -> Iterator[configs.TrainConfig]:
  """Students of one kind, each taught by the one before (Furlanello 2018)."""
  count = config.distill.generations
  teacher = config.distill.teacher
  for generation in range(1, count + 1):
    last = generation == count
    output_dir = (
      config.output_dir if last else _inside(config, _GENERATIONS, generation)
    )
    distill = dataclasses.replace(
      config.distill, teacher=teacher, generations=1
    )
    yield dataclasses.replace(config, output_dir=output_dir, distill=distill)
    teacher = (output_dir,)


def _inside(config: configs.TrainConfig, kind: str, index: int) -> str:
  return str(pathlib.Path(config.output_dir) / kind / str(index))
