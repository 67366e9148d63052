"""Every stage: a config and artifacts in, an artifact out."""

import csv
import dataclasses
import fcntl
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import conftest
from tfcompress.core import records, types
from tfcompress.data import pipelines
from tfcompress.models import io
from tfcompress.training import run

FAST = {'epochs': 2}


@pytest.fixture
def config(baseline_config, tmp_path) -> types.TrainConfig:
  return dataclasses.replace(
    baseline_config, output_dir=str(tmp_path / 'run'), **FAST
  )


def as_stage(config, stage: types.Stage, baseline: str) -> types.TrainConfig:
  """The config of a stage that starts from the baseline."""
  if stage is types.Stage.BASELINE:
    return config
  if stage is types.Stage.KD:
    distill = types.DistillConfig(teacher=(baseline,))
    model = dataclasses.replace(conftest.TINY_SPEC, width_multiplier=0.0625)
    return dataclasses.replace(
      config, stage=stage, model=model, distill=distill
    )
  own = {
    types.Stage.SLIM: {'slim': types.SlimConfig(channel_ratio=0.5)},
    types.Stage.PRUNE: {
      'prune': types.PruneConfig(target_sparsity=0.6, prune_end=0.8)
    },
    types.Stage.CLUSTER: {'cluster': types.ClusterConfig(clusters=8)},
    types.Stage.QAT: {},
  }[stage]
  return dataclasses.replace(
    config, stage=stage, parent=baseline, model=None, **own
  )


@pytest.mark.parametrize('precision', ['none', 'bfloat16'])
@pytest.mark.parametrize('stage', types.Stage)
def test_every_stage_makes_a_whole_artifact(
  stage, precision, config, baseline, tmp_path
):
  config = dataclasses.replace(
    as_stage(config, stage, baseline),
    mixed_precision=types.MixedPrecision(precision),
  )
  before = records.sha256(baseline)
  manifest = run.run(config, '--stage=x\n')
  assert records.sha256(baseline) == before
  assert manifest == records.read_manifest(config.output_dir)
  model, _ = io.load(config.output_dir)
  assert {w.dtype.name for w in model.weights} == {'float32'}
  assert all(np.isfinite(w).all() for w in model.get_weights())
  assert manifest.steps[-1] == stage.value
  assert 0 <= manifest.metrics['top1_percent'] <= 100
  assert (tmp_path / 'run' / 'flags.cfg').read_text() == '--stage=x\n'
  with (tmp_path / 'run' / 'logs' / 'history.csv').open() as file:
    assert [row['epoch'] for row in csv.DictReader(file)] == ['1', '2']
  roles = {types.Stage.BASELINE: [], types.Stage.KD: ['teacher']}
  expected = roles.get(stage, ['parent'])
  assert [parent.role for parent in manifest.parents] == expected
  for parent in manifest.parents:
    assert parent.sha256 == records.sha256(f'{baseline}/model.keras')


def test_the_baseline_learns(baseline):
  metrics = records.read_manifest(baseline).metrics
  assert metrics['top1_percent'] > 80


@pytest.mark.parametrize('schedule', types.PruningSchedule)
def test_pruning_makes_the_zeros_it_says(schedule, config, baseline):
  config = as_stage(config, types.Stage.PRUNE, baseline)
  prune = dataclasses.replace(config.prune, schedule=schedule)
  manifest = run.run(dataclasses.replace(config, prune=prune), '')
  model, _ = io.load(config.output_dir)
  kernels = [layer.kernel for layer in model.layers if hasattr(layer, 'kernel')]
  for kernel in kernels:
    zeros = float((kernel.numpy() == 0).mean())
    assert zeros == pytest.approx(0.6, abs=1 / kernel.shape.num_elements())
  assert manifest.sparsity.total == pytest.approx(0.6, abs=0.01)
  assert len(manifest.sparsity.per_layer) == len(kernels) == 21
  assert manifest.sparsity.nonzero_bytes < 0.5 * manifest.sparsity.raw_bytes
  assert manifest.sparsity.gzip_bytes < 0.7 * manifest.sparsity.raw_bytes


def test_a_finished_run_is_left_alone(config, capsys):
  first = run.run(config, '')
  before = records.sha256(config.output_dir)
  assert run.run(config, '') == first
  assert records.sha256(config.output_dir) == before
  assert 'is there already' in capsys.readouterr().out


def test_a_stopped_run_ends_with_the_same_weights(config, baseline):
  """Stops after the first epoch, as if killed before the second's end."""
  config = dataclasses.replace(
    as_stage(config, types.Stage.PRUNE, baseline), epochs=3
  )
  run.run(config, '')
  whole = io.load(config.output_dir)[0].get_weights()
  stopped = dataclasses.replace(config, output_dir=config.output_dir + '_2')
  folder = shutil.copytree(config.output_dir, stopped.output_dir)
  folder = pathlib.Path(folder)
  (folder / 'manifest.json').unlink()
  (folder / 'model.keras').unlink()
  for file in (folder / 'checkpoints').glob('ckpt-3*'):
    file.unlink()
  state = folder / 'checkpoints' / 'checkpoint'
  state.write_text(state.read_text().replace('ckpt-3', 'ckpt-2'))
  run.run(stopped, '')
  for a, b in zip(whole, io.load(stopped.output_dir)[0].get_weights()):
    np.testing.assert_array_equal(a, b)
  with (folder / 'logs' / 'history.csv').open() as file:
    assert [row['epoch'] for row in csv.DictReader(file)] == ['1', '2', '3']


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (
      {'epochs': 3},
      'begun with other flags or parents .config.epochs 2 there, 3 now',
    ),
    ({'model': types.ModelSpec(depth=34)}, 'model.depth 18 there, 34 now'),
  ],
)
def test_a_checkpoint_of_another_config_is_refused(change, message, config):
  run.run(config, '')
  before = records.sha256(config.output_dir)
  with pytest.raises(ValueError, match=message):
    run.run(dataclasses.replace(config, **change), '')
  assert records.sha256(config.output_dir) == before


def test_a_parent_that_changed_is_noticed(config, baseline, tmp_path):
  teacher = shutil.copytree(baseline, tmp_path / 'teacher')
  config = as_stage(config, types.Stage.KD, str(teacher))
  run.run(config, '')
  model, manifest = io.load(str(teacher))
  model.get_layer('logits').bias.assign([1, 2, 3])
  io.save(str(teacher), model, manifest)
  with pytest.raises(ValueError, match='parents.0.sha256 .* there'):
    run.run(config, '')


def test_two_processes_do_not_train_into_one_folder(config):
  folder = pathlib.Path(config.output_dir)
  folder.mkdir()
  other = os.open(folder, os.O_RDONLY)
  fcntl.flock(other, fcntl.LOCK_EX)
  with pytest.raises(ValueError, match='another process is training into it'):
    run.run(config, '')
  os.close(other)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
  config, monkeypatch
):
  """The third epoch's batches hold a NaN; two good checkpoints are there."""
  folder = pathlib.Path(config.output_dir)
  original = pipelines.train

  def poisoned(*args, epochs, **kwargs):
    steps = 36 // config.batch_size
    batches = original(*args, epochs=epochs, **kwargs).enumerate()
    return batches.map(
      lambda i, batch: (tf.where(i < 2 * steps, batch[0], np.nan), batch[1])
    )

  monkeypatch.setattr(pipelines, 'train', poisoned)
  config = dataclasses.replace(config, epochs=4)
  with pytest.raises(ValueError, match='the loss became nan in epoch 3'):
    run.run(config, '')
  assert not (folder / 'manifest.json').exists()
  latest = tf.train.latest_checkpoint(folder / 'checkpoints')
  assert latest.endswith('ckpt-2')
  reader = tf.train.load_checkpoint(latest)
  for name, _ in tf.train.list_variables(latest):
    value = reader.get_tensor(name)
    assert isinstance(value, bytes) or np.isfinite(value).all()


def test_a_teacher_of_other_classes_is_refused(config, baseline, tmp_path):
  root = conftest.write_folder(tmp_path / 'images')
  for split in types.Split:
    (root / split.value / 'red').rename(root / split.value / 'scarlet')
  config = dataclasses.replace(
    as_stage(config, types.Stage.KD, baseline),
    data=types.DataSpec(dataset=f'folder:{root}'),
  )
  with pytest.raises(ValueError, match='a teacher of 3 classes'):
    run.run(config, '')


@pytest.mark.parametrize('suffix', ['.keras', '.h5'])
def test_a_teacher_may_be_a_file(suffix, config, baseline, tmp_path):
  path = str(tmp_path / f'teacher{suffix}')
  model, _ = io.load(baseline)
  model.save(path)
  distill = types.DistillConfig(teacher=(path,))
  config = dataclasses.replace(
    config, stage=types.Stage.KD, distill=distill, epochs=1
  )
  manifest = run.run(config, '')
  assert manifest.parents[0].path == path
  assert manifest.parents[0].sha256 == records.sha256(path)


def test_a_teacher_may_be_a_keras_3_file_on_another_scale(config, tmp_path):
  import keras

  image = keras.layers.Input((20, 20, 3))
  x = keras.layers.GlobalAveragePooling2D()(image)
  model = keras.Model(image, keras.layers.Dense(3, activation='softmax')(x))
  path = str(tmp_path / 'teacher.keras')
  model.save(path)
  distill = types.DistillConfig(
    teacher=(path,), teacher_scaling=types.Normalization.UNIT
  )
  from tfcompress.training import teacher as teacher_lib

  (opened,) = teacher_lib.load(distill, ('a', 'b', 'c'), 'float32')
  images = np.full((2, 20, 20, 3), 51, np.float32)
  logits = opened.outputs(images)[0].numpy()
  expected = np.log(np.array(model(images / 255)))
  np.testing.assert_allclose(logits, expected, atol=1e-5)
  with pytest.raises(ValueError, match='a teacher of 3 classes, expected the'):
    teacher_lib.load(distill, ('a', 'b'), 'float32')


@pytest.mark.parametrize('split', types.Split)
def test_an_image_that_does_not_decode_is_named(split, config, tmp_path):
  root = conftest.write_folder(tmp_path / 'images')
  (root / split.value / 'red' / '2.JPEG').write_bytes(b'no image')
  data = types.DataSpec(dataset=f'folder:{root}')
  with pytest.raises(ValueError, match=f'{split.value}/red/2.JPEG: the image'):
    run.run(dataclasses.replace(config, data=data), '')
  data = dataclasses.replace(data, skip_corrupt_images=True)
  skipping = dataclasses.replace(
    config, data=data, epochs=1, output_dir=config.output_dir + '_skip'
  )
  assert run.run(skipping, '').data == data


def test_too_few_images_for_a_batch(config):
  with pytest.raises(ValueError, match='36 training images, fewer than'):
    run.run(dataclasses.replace(config, batch_size=37), '')


def test_an_output_folder_that_cannot_be_written(config, tmp_path):
  blocked = tmp_path / 'file'
  blocked.write_text('in the way')
  config = dataclasses.replace(config, output_dir=str(blocked / 'run'))
  with pytest.raises(ValueError, match='cannot write there'):
    run.run(config, '')


def test_golden_numbers_of_a_training():
  """One step of a tiny network; renew the figures only with the arithmetic."""
  from tfcompress.models import heads, resnet
  from tfcompress.training import losses, schedules

  tf_keras.utils.set_random_seed(1)
  spec = dataclasses.replace(conftest.TINY_SPEC, input_size=32, num_classes=3)
  model = heads.with_logits(resnet.build(spec))
  images = np.random.RandomState(0).rand(4, 32, 32, 3) * 255
  optimizer = schedules.optimizer(
    types.OptimizerConfig(learning_rate=0.1, warmup_epochs=0), 10, 1
  )
  model.compile(optimizer, losses.cross_entropy)
  targets = np.eye(3)[[0, 1, 2, 0]].astype(np.float32)
  seen = [model.train_on_batch(images, targets) for _ in range(3)]
  np.testing.assert_allclose(seen, GOLDEN_LOSSES, rtol=2e-3)


GOLDEN_LOSSES = (1.694576, 0.865814, 0.476727)
