"""Every stage: a config and artifacts in, an artifact out."""

import csv
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import conftest, needs
from tfcompress.core import configs, records, types
from tfcompress.data import pipelines
from tfcompress.models import io
from tfcompress.training import job, run, teacher_cache

SMALL_SPEC = dataclasses.replace(conftest.TINY_SPEC, blocks=(1, 1))


@pytest.fixture(scope='session')
def small(baseline_config, tmp_path_factory) -> str:
  """The folder of a trained ResNet of two blocks."""
  folder = str(tmp_path_factory.mktemp('runs') / 'small')
  run.run(
    dataclasses.replace(baseline_config, model=SMALL_SPEC, output_dir=folder),
    '',
  )
  return folder


@pytest.fixture
def config(baseline_config, tmp_path) -> configs.TrainConfig:
  return dataclasses.replace(
    baseline_config,
    model=SMALL_SPEC,
    output_dir=str(tmp_path / 'run'),
    epochs=2,
  )


@pytest.fixture
def quick(config, own_file) -> configs.TrainConfig:
  """Trains a smaller network, for what does not depend on which."""
  init = configs.InitConfig(init_from=own_file)
  return dataclasses.replace(config, init=init, model=None)


@pytest.fixture(scope='session')
def finished(
  baseline_config, own_file, tmp_path_factory
) -> configs.TrainConfig:
  """The config of a training that is there."""
  config = dataclasses.replace(
    baseline_config,
    output_dir=str(tmp_path_factory.mktemp('runs') / 'finished'),
    init=configs.InitConfig(init_from=own_file),
    model=None,
    epochs=2,
  )
  run.run(config, '')
  return config


def as_stage(config, stage: types.Stage, parent: str) -> configs.TrainConfig:
  """The config of a stage that starts from `parent`."""
  if stage is types.Stage.BASELINE:
    return config
  if stage is types.Stage.KD:
    distill = configs.DistillConfig(teacher=(parent,))
    student = None
    if config.model:
      student = dataclasses.replace(config.model, width_multiplier=0.0625)
    return dataclasses.replace(
      config, stage=stage, model=student, distill=distill
    )
  own = {
    types.Stage.SLIM: {'slim': configs.SlimConfig(channel_ratio=0.5)},
    types.Stage.PRUNE: {
      'prune': configs.PruneConfig(target_sparsity=0.6, prune_end=0.8)
    },
    types.Stage.CLUSTER: {'cluster': configs.ClusterConfig(clusters=8)},
    types.Stage.QAT: {},
  }[stage]
  return dataclasses.replace(
    config, stage=stage, parent=parent, init=None, model=None, **own
  )


@pytest.mark.parametrize(
  ('stage', 'precision'),
  [
    *((stage, 'none') for stage in types.Stage),
    pytest.param(types.Stage.PRUNE, 'bfloat16', marks=needs.bfloat16),
    pytest.param(types.Stage.KD, 'bfloat16', marks=needs.bfloat16),
  ],
)
def test_every_stage_makes_a_whole_artifact(
  stage, precision, config, small, tmp_path
):
  config = dataclasses.replace(
    as_stage(config, stage, small),
    mixed_precision=configs.MixedPrecision(precision),
  )
  before = records.sha256(small)
  manifest = run.run(config, '--stage=x\n')
  assert records.sha256(small) == before
  assert manifest == records.read_manifest(config.output_dir)
  model, _ = io.load(config.output_dir)
  assert {w.dtype.name for w in model.weights} == {'float32'}
  assert all(np.isfinite(w).all() for w in model.get_weights())
  assert manifest.steps[-1] == stage.value
  assert 0 <= manifest.metrics['top1_percent'] <= 100
  warmup = 0.2 if manifest.parents and stage is not types.Stage.KD else 0.5
  assert manifest.training['optimizer']['warmup_epochs'] == warmup
  text = (tmp_path / 'run' / 'flags.cfg').read_text()
  assert text == f'--stage=x\n--warmup_epochs={warmup}\n'
  with (tmp_path / 'run' / 'logs' / 'history.csv').open() as file:
    assert [row['epoch'] for row in csv.DictReader(file)] == ['1', '2']
  roles = {types.Stage.BASELINE: [], types.Stage.KD: ['teacher']}
  expected = roles.get(stage, ['parent'])
  assert [parent.role for parent in manifest.parents] == expected
  for parent in manifest.parents:
    assert parent.sha256 == records.sha256(f'{small}/model.keras')


def test_the_baseline_learns(baseline):
  metrics = records.read_manifest(baseline).metrics
  assert metrics['top1_percent'] > 80
  assert 'top5_percent' not in metrics  # Of three classes it says nothing.


@pytest.mark.parametrize('schedule', configs.PruningSchedule)
def test_pruning_makes_the_zeros_it_says(schedule, config, small):
  config = as_stage(config, types.Stage.PRUNE, small)
  prune = dataclasses.replace(config.prune, schedule=schedule)
  manifest = run.run(dataclasses.replace(config, prune=prune), '')
  model, _ = io.load(config.output_dir)
  kernels = [layer.kernel for layer in model.layers if hasattr(layer, 'kernel')]
  for kernel in kernels:
    zeros = float((kernel.numpy() == 0).mean())
    assert zeros == pytest.approx(0.6, abs=1 / kernel.shape.num_elements())
  assert manifest.sparsity.total == pytest.approx(0.6, abs=0.01)
  assert len(manifest.sparsity.per_layer) == len(kernels) == 7
  assert manifest.sparsity.nonzero_bytes < 0.5 * manifest.sparsity.raw_bytes
  assert manifest.sparsity.gzip_bytes < 0.7 * manifest.sparsity.raw_bytes


def test_a_finished_run_is_left_alone(finished, capsys):
  first = records.read_manifest(finished.output_dir)
  before = records.sha256(finished.output_dir)
  assert run.run(finished, '') == first
  assert records.sha256(finished.output_dir) == before
  assert 'is there already' in capsys.readouterr().out


def test_a_stopped_run_ends_with_the_same_weights(quick, own):
  """Stops after the first epoch, as if killed before the second's end."""
  config = dataclasses.replace(
    as_stage(quick, types.Stage.PRUNE, own), epochs=3
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


def test_a_parent_that_changed_is_noticed(quick, own, tmp_path):
  teacher = shutil.copytree(own, tmp_path / 'teacher')
  config = as_stage(quick, types.Stage.KD, str(teacher))
  run.run(config, '')
  model, manifest = io.load(str(teacher))
  model.get_layer('logits').bias.assign([1, 2, 3])
  io.save(str(teacher), model, manifest)
  with pytest.raises(ValueError, match='parents.1.sha256 .* there'):
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
  quick, monkeypatch
):
  """The third epoch's batches hold a NaN; two good checkpoints are there."""
  folder = pathlib.Path(quick.output_dir)
  original = pipelines.train

  def poisoned(*args, epochs, **kwargs):
    steps = 36 // config.batch_size
    batches = original(*args, epochs=epochs, **kwargs).enumerate()
    return batches.map(
      lambda i, batch: (tf.where(i < 2 * steps, batch[0], np.nan), batch[1])
    )

  monkeypatch.setattr(pipelines, 'train', poisoned)
  config = dataclasses.replace(quick, epochs=4)
  with pytest.raises(ValueError, match='the loss became nan in epoch 3'):
    run.run(config, '')
  assert not (folder / 'manifest.json').exists()
  latest = tf.train.latest_checkpoint(folder / 'checkpoints')
  assert latest.endswith('ckpt-2')
  reader = tf.train.load_checkpoint(latest)
  for name, _ in tf.train.list_variables(latest):
    value = reader.get_tensor(name)
    assert isinstance(value, bytes) or np.isfinite(value).all()


def test_a_teacher_of_other_classes_is_refused(config, small, tmp_path):
  root = conftest.write_folder(tmp_path / 'images')
  for split in types.Split:
    (root / split.value / 'red').rename(root / split.value / 'scarlet')
  config = dataclasses.replace(
    as_stage(config, types.Stage.KD, small),
    data=types.DataSpec(dataset=f'folder:{root}'),
  )
  with pytest.raises(ValueError, match='a teacher of 3 classes'):
    run.run(config, '')


@pytest.mark.parametrize(
  'suffix', ['.keras', pytest.param('.h5', marks=pytest.mark.long)]
)
def test_a_teacher_may_be_a_file(suffix, quick, own, tmp_path):
  path = str(tmp_path / f'teacher{suffix}')
  model, _ = io.load(own)
  model.save(path)
  distill = configs.DistillConfig(teacher=(path,))
  config = dataclasses.replace(
    quick, stage=types.Stage.KD, distill=distill, epochs=1
  )
  manifest = run.run(config, '')
  assert manifest.parents[-1].path == path
  assert manifest.parents[-1].sha256 == records.sha256(path)


def test_a_teacher_may_be_a_keras_3_file_on_another_scale(config, tmp_path):
  import keras

  image = keras.layers.Input((20, 20, 3))
  x = keras.layers.GlobalAveragePooling2D()(image)
  model = keras.Model(image, keras.layers.Dense(3, activation='softmax')(x))
  path = str(tmp_path / 'teacher.keras')
  model.save(path)
  distill = configs.DistillConfig(
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


@pytest.mark.parametrize(
  'split',
  [
    types.Split.TRAIN,
    pytest.param(types.Split.VALIDATION, marks=pytest.mark.long),
  ],
)
def test_an_image_that_does_not_decode_is_named(split, quick, tmp_path):
  root = conftest.write_folder(tmp_path / 'images')
  (root / split.value / 'red' / '2.JPEG').write_bytes(b'no image')
  data = types.DataSpec(dataset=f'folder:{root}')
  with pytest.raises(ValueError, match=f'{split.value}/red/2.JPEG: the image'):
    run.run(dataclasses.replace(quick, data=data), '')
  data = dataclasses.replace(data, skip_corrupt_images=True)
  skipping = dataclasses.replace(
    quick, data=data, epochs=1, output_dir=quick.output_dir + '_skip'
  )
  assert run.run(skipping, '').data == data


@pytest.mark.parametrize(('batch', 'left'), [(25, 11), (36, 0), (34, 2)])
def test_images_that_an_epoch_leaves_out_are_said(batch, left, quick, capsys):
  job.prepare(dataclasses.replace(quick, batch_size=batch))
  said = f'of {batch} images alone, so it leaves out {left} of 36, others each'
  assert (said in capsys.readouterr().out) == (left > 3.6)


def test_a_batch_is_at_most_all_images(quick, capsys):
  """One epoch of one step, with what fits it: nothing else need be given."""
  plain = dataclasses.replace(
    quick, batch_size=128, epochs=1, optimizer=configs.OptimizerConfig()
  )
  manifest = run.run(plain, '')
  assert manifest.training['batch_size'] == 36
  said = capsys.readouterr().out
  assert '--batch_size=128 is above the 36 training images' in said
  assert '--learning_rate=0.02 --warmup_epochs=0.1\n' in said
  assert 'is there already' not in said
  assert run.run(plain, '') == manifest
  assert 'is there already' in capsys.readouterr().out


def test_flags_that_were_chosen_make_the_same_run(finished, capsys):
  chosen = (pathlib.Path(finished.output_dir) / 'flags.cfg').read_text()
  assert chosen == '--warmup_epochs=0.2\n'
  optimizer = dataclasses.replace(finished.optimizer, warmup_epochs=0.2)
  run.run(dataclasses.replace(finished, optimizer=optimizer), '')
  assert 'is there already' in capsys.readouterr().out


def without_training_images(config, folder, tmp_path):
  """A config that changes its parent and has validation images alone."""
  root = tmp_path / 'images'
  shutil.copytree(folder / 'validation', root / 'validation')
  data = types.DataSpec(dataset=f'folder:{root}')
  return dataclasses.replace(config, data=data, epochs=0)


@pytest.mark.parametrize(
  ('granularity', 'scope', 'expected'),
  [
    ('element', 'layer', 0.6),
    ('element', 'global', 0.6),
    ('2:4', 'layer', 0.5),
  ],
)
def test_pruning_without_training_masks_at_once(
  granularity, scope, expected, quick, own, folder, tmp_path
):
  config = as_stage(quick, types.Stage.PRUNE, own)
  config = dataclasses.replace(
    without_training_images(config, folder, tmp_path),
    prune=configs.PruneConfig(
      target_sparsity=0.6,
      granularity=granularity,
      scope=configs.PruningScope(scope),
    ),
    exclude=('stem', 'logits'),
  )
  run.run(config, '')
  before, after = io.load(own)[0], io.load(config.output_dir)[0]
  names = [layer.name for layer in before.layers if hasattr(layer, 'kernel')]
  names = [name for name in names if name not in config.exclude]
  kernel_of = lambda model, name: model.get_layer(name).kernel.numpy()
  kernels = {name: kernel_of(before, name) for name in names}
  every = np.abs(np.concatenate([k.ravel() for k in kernels.values()]))
  zeros = 0
  for name, kernel in kernels.items():
    left = kernel_of(after, name)
    zeros += (left == 0).sum()
    np.testing.assert_array_equal(left[left != 0], kernel[left != 0])
    magnitudes = every if scope == 'global' else np.abs(kernel)
    if granularity == 'element':  # The smallest went, and only they.
      limit = np.quantile(magnitudes, 0.6)
      assert np.abs(kernel[left == 0]).max() <= limit * 1.1
  assert zeros / len(every) == pytest.approx(expected, abs=0.01)
  for name in config.exclude:
    np.testing.assert_array_equal(
      kernel_of(before, name), kernel_of(after, name)
    )


def test_a_constant_schedule_prunes_in_a_single_step(quick, own):
  config = as_stage(quick, types.Stage.PRUNE, own)
  prune = dataclasses.replace(
    config.prune, schedule=configs.PruningSchedule.CONSTANT
  )
  config = dataclasses.replace(config, prune=prune, epochs=1, batch_size=36)
  assert run.run(config, '').sparsity.total == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize('stage', [types.Stage.SLIM, types.Stage.CLUSTER])
def test_other_stages_without_training_do_all_they_do(
  stage, quick, own, folder, tmp_path
):
  config = without_training_images(
    as_stage(quick, stage, own), folder, tmp_path
  )
  manifest = run.run(config, '')
  if stage is types.Stage.CLUSTER:
    assert max(manifest.clusters.values()) <= 8
  else:
    whole = records.read_manifest(own).model.channels
    inner = manifest.model.channels['inner']
    assert inner == whole['inner'] / 2


def test_ranges_of_qat_need_training_images(quick, own, folder, tmp_path):
  config = as_stage(quick, types.Stage.QAT, own)
  config = without_training_images(config, folder, tmp_path)
  with pytest.raises(ValueError, match='no folder train/'):
    run.run(config, '')
  whole = dataclasses.replace(config, data=quick.data)
  assert run.run(whole, '').quantized


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
  undecayed = [w for w in model.trainable_weights if 'kernel' not in w.name]
  optimizer = schedules.optimizer(
    configs.OptimizerConfig(learning_rate=0.1, warmup_epochs=0),
    10,
    1,
    undecayed,
  )
  model.compile(optimizer, losses.cross_entropy)
  targets = np.eye(3)[[0, 1, 2, 0]].astype(np.float32)
  seen = [model.train_on_batch(images, targets) for _ in range(3)]
  np.testing.assert_allclose(seen, GOLDEN_LOSSES, rtol=2e-3)


GOLDEN_LOSSES = (1.694576, 0.865814, 0.476727)


@pytest.mark.long
def test_a_lottery_ticket_begins_with_the_weights_of_an_early_epoch(
  quick, own, tmp_path
):
  """Frankle 2019: the mask of the end on the weights of the beginning."""
  parent = dataclasses.replace(
    quick, output_dir=str(tmp_path / 'parent'), keep_epoch=1
  )
  run.run(parent, '')
  ticket = dataclasses.replace(
    as_stage(quick, types.Stage.PRUNE, parent.output_dir),
    prune=configs.PruneConfig(target_sparsity=0.5, rewind_epoch=1),
    optimizer=configs.OptimizerConfig(learning_rate=0.0, weight_decay=0.0),
  )
  run.run(ticket, '')
  trained = io.load(parent.output_dir)[0]
  got = io.load(ticket.output_dir)[0]
  with np.load(f'{parent.output_dir}/epochs/1.npz') as file:
    early = dict(
      zip((w.name for w in trained.weights), (file[n] for n in file.files))
    )
  name = 'wide'
  last = trained.get_layer(name).kernel
  mask = np.abs(last) >= np.quantile(np.abs(last), 0.5)
  expected = np.where(mask, early[last.name], 0)
  np.testing.assert_allclose(got.get_layer(name).kernel, expected, atol=1e-7)
  assert np.abs(early[last.name] - last).max() > 1e-4

  wrong = dataclasses.replace(
    ticket,
    output_dir=str(tmp_path / 'wrong'),
    prune=configs.PruneConfig(rewind_epoch=2),
  )
  with pytest.raises(ValueError, match='kept epoch 1; train it with --keep'):
    run.run(wrong, '')
  wrong = dataclasses.replace(wrong, parent=own)
  with pytest.raises(ValueError, match='kept no early epoch; train it'):
    run.run(wrong, '')


@pytest.mark.long
def test_a_slimmed_run_that_was_stopped_keeps_to_its_plan(config, small):
  """The weights have changed when it goes on, the channels must not."""
  config = as_stage(config, types.Stage.SLIM, small)
  config = dataclasses.replace(
    config,
    slim=configs.SlimConfig(
      channel_ratio=0.5, importance=configs.Importance.TAYLOR
    ),
  )
  first = run.run(config, '')
  folder = pathlib.Path(config.output_dir)
  (folder / 'manifest.json').unlink()
  plan = json.loads((folder / 'checkpoints' / 'plan.json').read_text())
  plan['kept']['stage2_block1_conv1'].pop()  # As no criterion would choose.
  (folder / 'checkpoints' / 'plan.json').write_text(json.dumps(plan))
  for file in (folder / 'checkpoints').glob('ckpt*'):
    file.unlink()
  (folder / 'checkpoints' / 'checkpoint').unlink()
  second = run.run(config, '')
  name = 'stage2_block1_conv1'
  assert second.model.channels[name] == first.model.channels[name] - 1


@pytest.mark.long
def test_a_teachers_outputs_are_kept_where_views_are_few(
  quick, own, tmp_path, monkeypatch
):
  """The weights are those that the teacher in every step would have made.

  The student sees larger images than the teacher.
  """
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  augment = configs.AugmentConfig(crop=configs.TrainTransform.NONE)
  config = dataclasses.replace(
    as_stage(quick, types.Stage.KD, own), augment=augment, epochs=3
  )
  larger = dataclasses.replace(SMALL_SPEC, input_size=40, internal_size=None)
  config = dataclasses.replace(config, init=None, model=larger)
  kept = run.run(config, '')
  (file,) = (tmp_path / 'cache' / 'tfcompress' / 'teachers').iterdir()
  assert np.load(file).shape == (36, 2, 1, 3)
  monkeypatch.setattr(teacher_cache, 'of', lambda job: None)
  other = dataclasses.replace(config, output_dir=str(tmp_path / 'live'))
  live = run.run(other, '')
  assert kept.metrics == pytest.approx(live.metrics, abs=1e-3)
  pairs = zip(
    io.load(config.output_dir)[0].get_weights(),
    io.load(other.output_dir)[0].get_weights(),
  )
  for a, b in pairs:
    np.testing.assert_allclose(a, b, atol=1e-3)


@pytest.mark.long
def test_generations_teach_one_another(quick, own, tmp_path):
  config = as_stage(quick, types.Stage.KD, own)
  distill = dataclasses.replace(
    config.distill, teacher=(own, own), generations=2
  )
  manifest = run.run(dataclasses.replace(config, distill=distill), '')
  first = f'{config.output_dir}/generations/1'
  teachers = lambda m: [p.path for p in m.parents if p.role == 'teacher']
  assert teachers(manifest) == [first]
  assert teachers(records.read_manifest(first)) == [own, own]


@pytest.mark.parametrize(
  ('stage', 'change', 'message'),
  [
    (
      types.Stage.SLIM,
      {'slim': configs.SlimConfig(channel_ratio=0.99)},
      'would leave stem_conv and 1 more, of 8 channels, without any',
    ),
    (
      types.Stage.SLIM,
      {'slim': configs.SlimConfig(target_latency='0.001')},
      r'0.001 ms, int8 on LiteRT, one thread is out of reach.* has 1; raise',
    ),
    (
      types.Stage.SLIM,
      {'exclude': ('stage9_*',)},
      r'--exclude=stage9_\* matches no layer; the layers are stem_conv, ',
    ),
    (
      types.Stage.PRUNE,
      {'prune': configs.PruneConfig(granularity='4:2')},
      "granularity '4:2': expected element, M:N",
    ),
    (
      types.Stage.PRUNE,
      {'prune': configs.PruneConfig(granularity='7x1'), 'exclude': ('stem*',)},
      'leave no layer to prune; the kernels are stem_conv',
    ),
    (
      types.Stage.CLUSTER,
      {'exclude': ('*',)},
      'leave no layer with weights enough',
    ),
    (
      types.Stage.KD,
      {
        'distill': configs.DistillConfig(
          teacher=('',), attention=('stem_relu:stage9_relu',)
        )
      },
      "--attention: no feature map of a layer 'stage9_relu' in resnet18; it",
    ),
  ],
)
def test_what_cannot_be_done_is_said(stage, change, message, config, small):
  if 'distill' in change:
    distill = dataclasses.replace(change['distill'], teacher=(small,))
    change = {'distill': distill}
  config = dataclasses.replace(as_stage(config, stage, small), **change)
  with pytest.raises(ValueError, match=message):
    run.run(config, '', lambda model: 1.0)
  assert not (pathlib.Path(config.output_dir) / 'manifest.json').exists()


@pytest.mark.long
def test_nothing_follows_qat(quick, own, tmp_path):
  qat = as_stage(quick, types.Stage.QAT, own)
  qat = dataclasses.replace(qat, epochs=1, output_dir=str(tmp_path / 'qat'))
  run.run(qat, '')
  for stage in types.Stage:
    one = as_stage(quick, stage, qat.output_dir)
    if one.parent:
      with pytest.raises(ValueError, match=f'stage={stage.value} after qat is'):
        run.run(one, '')
  init = configs.InitConfig(f'{qat.output_dir}/model.keras')
  with pytest.raises(ValueError, match='a network that went through qat'):
    run.run(dataclasses.replace(quick, init=init, model=None), '')


def test_a_wrong_name_does_not_claim_the_folder(quick, own):
  """What is refused before training begins may be corrected and run."""
  config = dataclasses.replace(as_stage(quick, types.Stage.KD, own), epochs=1)
  distill = dataclasses.replace(
    config.distill, attention=('stem_rel:stem_relu',)
  )
  with pytest.raises(ValueError, match='--attention, the student: no feature'):
    run.run(dataclasses.replace(config, distill=distill), '')
  distill = dataclasses.replace(config.distill, attention=('stem_relu',))
  run.run(dataclasses.replace(config, distill=distill), '')


def test_an_image_that_does_not_decode_is_named_in_calibration(
  quick, own, tmp_path
):
  root = conftest.write_folder(tmp_path / 'images')
  (root / 'train' / 'red' / '2.JPEG').write_bytes(b'no image')
  config = dataclasses.replace(
    as_stage(quick, types.Stage.QAT, own),
    data=types.DataSpec(dataset=f'folder:{root}'),
  )
  with pytest.raises(ValueError, match='train/red/2.JPEG: the image cannot'):
    run.run(config, '')
