"""Networks that are brought in, and stages that end far below their parent."""

import dataclasses

import numpy as np
import pytest
import tf_keras

from tests import conftest
from tfcompress.core import configs, records, types
from tfcompress.training import brought, job, outcome, run

OWN = 180.0  # mean of the channel that is an image's class; of others 60
Scaling = types.Normalization


def knows_one_scale(
  scaling: types.Normalization, order=(0, 1, 2)
) -> tf_keras.Model:
  """Sees in a channel's mean whether it is OWN within 10, on one scale alone.

  Label c is channel 2 - c; `order` says which output it becomes.
  """
  scale, offset = np.array(scaling.scale), np.array(scaling.offset)
  center, width = OWN * scale + offset, 10 * scale
  away = tf_keras.layers.Dense(6, activation='relu')
  near = tf_keras.layers.Dense(3, activation='relu')
  last = tf_keras.layers.Dense(3, activation='softmax')
  image = tf_keras.Input((40, 40, 3))
  x = tf_keras.layers.GlobalAveragePooling2D()(image)
  model = tf_keras.Model(image, last(near(away(x))))
  away.set_weights([np.hstack([np.eye(3), -np.eye(3)]), np.r_[-center, center]])
  near.set_weights([-np.vstack([np.diag(1 / width)] * 2), np.ones(3)])
  to_class = np.zeros((3, 3))
  for label, output in enumerate(order):
    to_class[2 - label, output] = 10
  last.set_weights([to_class, np.zeros(3)])
  return model


@pytest.fixture
def config(baseline_config, tmp_path) -> configs.TrainConfig:
  return dataclasses.replace(
    baseline_config, model=None, epochs=0, output_dir=str(tmp_path / 'run')
  )


def init(model, scaling, tmp_path) -> configs.InitConfig:
  path = str(tmp_path / 'own.keras')
  model.save(path)
  return configs.InitConfig(path, scaling)


@pytest.mark.parametrize('scaling', Scaling)
def test_auto_finds_the_scale_of_a_network(scaling, config, tmp_path, capsys):
  own = init(knows_one_scale(scaling), None, tmp_path)
  manifest = run.run(dataclasses.replace(config, init=own), '')
  assert manifest.model.normalization is scaling
  assert manifest.metrics['top1_percent'] == 100
  said = capsys.readouterr()
  assert f'--init_scaling=auto: {scaling.value}; top-1 of 12' in said.out
  for one in Scaling:
    share = '100.0' if one is scaling else '0.0'  # all classes tie
    assert f'{one.value} {share} %' in said.out
  assert 'warning' not in said.err


@pytest.mark.parametrize(
  ('scaling', 'order', 'message'),
  [
    (Scaling.RAW, (0, 1, 2), 'the order of its classes or the scaling of its'),
    (Scaling.UNIT, (1, 2, 0), 'wrong; try --init_scaling=auto'),
    (None, (1, 2, 0), 'it is untrained, the order of its classes may be wrong'),
  ],
)
def test_a_network_at_chance_is_said(
  scaling, order, message, config, tmp_path, capsys
):
  own = init(knows_one_scale(Scaling.UNIT, order), scaling, tmp_path)
  run.run(dataclasses.replace(config, init=own), '')
  said = ' '.join(capsys.readouterr().err.split())
  assert 'on 12 validation images, no more than chance' in said
  assert message in said


def test_a_network_of_uneven_classes_is_not_far_below_itself(
  config, tmp_path, monkeypatch, capsys
):
  """Its figures are of the same images, not of evenly drawn ones."""
  images = conftest.write_folder(tmp_path / 'images')
  for name in ('red', 'green'):
    for index in (1, 2, 3):
      next((images / 'validation' / name).glob(f'{index}.*')).unlink()
  own = init(knows_one_scale(Scaling.RAW, (0, 2, 1)), Scaling.RAW, tmp_path)
  data = types.DataSpec(dataset=f'folder:{images}')
  monkeypatch.setattr(brought, '_IMAGES', 3)
  manifest = run.run(dataclasses.replace(config, init=own, data=data), '')
  assert manifest.metrics['top1_percent'] == pytest.approx(
    100 * 4 / 6, abs=1e-3
  )
  assert 'points below' not in capsys.readouterr().err


@pytest.mark.parametrize('scaling', [Scaling.UNIT, Scaling.RAW])
def test_a_teacher_at_chance_is_said(scaling, config, tmp_path, capsys):
  path = str(tmp_path / 'teacher.keras')
  knows_one_scale(Scaling.UNIT).save(path)
  distill = configs.DistillConfig(teacher=(path,), teacher_scaling=scaling)
  own = init(knows_one_scale(Scaling.RAW), Scaling.RAW, tmp_path)
  config = dataclasses.replace(
    config, stage=types.Stage.KD, init=own, distill=distill
  )
  outcome.warn_of_teachers(job.prepare(config))
  said = capsys.readouterr().err
  if scaling is Scaling.UNIT:
    assert not said
  else:
    assert f'the teacher {path} has top-1 0.0 % on 12 validation' in said
    assert 'another --teacher_scaling than raw' in said


def test_scales_that_are_alike_are_said(monkeypatch, capsys):
  numbers = np.arange(100)
  right = iter([numbers < 60, numbers >= 41, numbers < 5, numbers < 0])
  monkeypatch.setattr(brought, 'labelled', lambda *_: (numbers, numbers))
  monkeypatch.setattr(brought, 'right', lambda *_: next(right))
  model = knows_one_scale(Scaling.RAW)
  assert brought.scaling_of(model, None, None) is Scaling.RAW
  assert capsys.readouterr().err == (
    'warning: no scaling is clearly the best: raw 60.0 %, unit 59.0 %; '
    '--init_scaling says which it was trained on\n'
  )


def test_a_stage_far_below_its_parent_is_said(config, own, capsys):
  parent = records.read_manifest(own).metrics['top1_percent']
  pruned = dataclasses.replace(
    config,
    stage=types.Stage.PRUNE,
    parent=own,
    prune=configs.PruneConfig(target_sparsity=0.99),
    optimizer=configs.OptimizerConfig(learning_rate=0.0, warmup_epochs=0.0),
    epochs=1,
  )
  top1 = run.run(pruned, '').metrics['top1_percent']
  assert top1 < parent - 5
  said = capsys.readouterr().err.splitlines()[-1]
  assert said == (
    f'warning: {pruned.output_dir} has top-1 {top1:.2f} %, '
    f'{parent - top1:.1f} points below the {parent:.2f} % of {own}, which it '
    'is made of; try more --epochs, or a lower --target_sparsity'
  )


def test_a_stage_a_little_below_its_parent_is_not_said(config, capsys):
  outcome.warn_below(config, outcome.Start('parent', 60.0), 55.1)
  outcome.warn_below(config, None, 1.0)
  assert not capsys.readouterr().err
  outcome.warn_below(config, outcome.Start('parent', 60.0), 54.9)
  assert '5.1 points below the 60.00 % of parent' in capsys.readouterr().err


@pytest.mark.parametrize('taught', [True, False])
def test_who_has_a_teacher_is_not_told_to_take_one(taught, config, capsys):
  distill = configs.DistillConfig(teacher=('parent',)) if taught else None
  config = dataclasses.replace(
    config, stage=types.Stage.SLIM, epochs=1, distill=distill
  )
  outcome.warn_below(config, outcome.Start('parent', 60.0), 50.0)
  said = capsys.readouterr().err
  assert ('--teacher with the parent' in said) != taught
  assert 'or fewer channels to remove' in said
