import dataclasses

import pytest

from tfcompress.core import configs, types
from tfcompress.training import sequences


def slim(**kwargs) -> configs.TrainConfig:
  return configs.TrainConfig(
    stage=types.Stage.SLIM,
    output_dir='runs/slim',
    parent='runs/baseline',
    model=None,
    epochs=10,
    optimizer=configs.OptimizerConfig(warmup_epochs=1),
    slim=configs.SlimConfig(slim_steps=3, **kwargs),
  )


def test_steps_leave_the_same_share_of_what_is_there():
  steps = list(sequences.expand(slim(channel_ratio=0.488)))
  assert [step.output_dir for step in steps] == [
    'runs/slim/steps/1', 'runs/slim/steps/2', 'runs/slim',
  ]  # fmt: skip
  assert [step.parent for step in steps] == [
    'runs/baseline', 'runs/slim/steps/1', 'runs/slim/steps/2',
  ]  # fmt: skip
  assert [step.epochs for step in steps] == [3, 4, 3]
  assert [s.optimizer.warmup_epochs for s in steps] == [0.3, 0.4, 0.3]
  # 0.8^3 = 1 - 0.488, each a share of what the first step began with.
  ratios = [step.slim.channel_ratio for step in steps]
  assert ratios == pytest.approx([0.2, 0.36, 0.488])
  plan = 'runs/slim/steps/1/checkpoints/plan.json'
  assert [step.slim.first_plan for step in steps] == ['', plan, plan]
  assert {step.slim.slim_steps for step in steps} == {1}


def test_a_share_is_reached_by_roots_and_a_number_on_the_way():
  shares = [
    s.slim.target_macs for s in sequences.expand(slim(target_macs='12.5%'))
  ]
  assert [float(share.removesuffix('%')) for share in shares] == [50, 50, 50]
  numbers = list(sequences.expand(slim(target_latency='0.5')))
  assert [n.slim.target_latency for n in numbers] == ['0.5'] * 3
  assert [n.slim.progress for n in numbers] == [1 / 3, 1 / 2, 1]


def test_steps_need_epochs():
  config = dataclasses.replace(slim(channel_ratio=0.3), epochs=2)
  with pytest.raises(ValueError, match='--slim_steps=3 needs an epoch each'):
    list(sequences.expand(config))


def test_a_generation_teaches_the_next():
  config = configs.TrainConfig(
    stage=types.Stage.KD,
    output_dir='runs/kd',
    distill=configs.DistillConfig(
      teacher=('runs/a', 'runs/b'), attention=('mine:theirs',), generations=3
    ),
  )
  generations = list(sequences.expand(config))
  assert [(g.distill.teacher, g.output_dir) for g in generations] == [
    (('runs/a', 'runs/b'), 'runs/kd/generations/1'),
    (('runs/kd/generations/1',), 'runs/kd/generations/2'),
    (('runs/kd/generations/2',), 'runs/kd'),
  ]
  assert [g.seed for g in generations] == [1, 2, 3]
  assert [g.distill.attention for g in generations] == [
    ('mine:theirs',), ('mine',), ('mine',),
  ]  # fmt: skip


def test_a_target_that_is_none_is_said_before_anything_runs():
  with pytest.raises(ValueError, match="target '-50%': expected a number"):
    list(sequences.expand(slim(target_macs='-50%')))
