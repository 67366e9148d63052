"""Runs that go on, end early, or begin anew in a folder that holds one."""

import csv
import dataclasses
import json
import math
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfcompress.core import configs, processes, records, types
from tfcompress.data import pipelines
from tfcompress.models import io
from tfcompress.training import begun, defaults, run

STEPS = 6  # an epoch: 36 images in batches of 6


@pytest.fixture
def config(baseline_config, own_file, tmp_path) -> configs.TrainConfig:
  return dataclasses.replace(
    baseline_config,
    output_dir=str(tmp_path / 'run'),
    init=configs.InitConfig(own_file),
    model=None,
    epochs=2,
  )


@pytest.fixture(scope='module')
def finished(
  baseline_config, own_file, tmp_path_factory
) -> configs.TrainConfig:
  """The config of a training of two epochs that is there."""
  config = dataclasses.replace(
    baseline_config,
    output_dir=str(tmp_path_factory.mktemp('runs') / 'finished'),
    init=configs.InitConfig(own_file),
    model=None,
    epochs=2,
  )
  run.run(config, '')
  return config


@pytest.fixture
def there(finished, tmp_path) -> configs.TrainConfig:
  """A copy of it to change."""
  folder = shutil.copytree(finished.output_dir, tmp_path / 'there')
  return dataclasses.replace(finished, output_dir=str(folder))


def rows(config: configs.TrainConfig) -> list[dict[str, str]]:
  path = pathlib.Path(config.output_dir) / 'logs' / 'history.csv'
  with path.open() as file:
    return list(csv.DictReader(file))


def forget_last_epoch(folder: pathlib.Path, epoch: int) -> None:
  """Leaves a run as if it had been killed before that epoch's checkpoint."""
  (folder / 'manifest.json').unlink()
  for file in (folder / 'checkpoints').glob(f'ckpt-{epoch}*'):
    file.unlink()
  state = folder / 'checkpoints' / 'checkpoint'
  text = state.read_text().replace(f'ckpt-{epoch}', f'ckpt-{epoch - 1}')
  state.write_text(text)


def same_weights(first: str, second: str) -> None:
  pairs = zip(io.load(first)[0].get_weights(), io.load(second)[0].get_weights())
  for a, b in pairs:
    np.testing.assert_array_equal(a, b)


def test_the_best_epoch_is_kept_and_patience_ends_a_run(config):
  """What history says by hand; a killed run ends with the same weights."""
  config = dataclasses.replace(
    config,
    epochs=12,
    keep_best=True,
    patience=2,
    optimizer=configs.OptimizerConfig(learning_rate=0.3, warmup_epochs=0),
  )
  manifest = run.run(config, '')
  top1 = [float(row['val_top1']) for row in rows(config)]
  best = top1.index(max(top1)) + 1
  assert len(top1) == best + 2 < 12
  assert manifest.training['best_epoch'] == best
  assert manifest.training['epochs_done'] == best + 2
  assert manifest.metrics['top1_percent'] == pytest.approx(
    100 * max(top1), abs=1e-3
  )
  killed = config.output_dir + '_killed'
  folder = shutil.copytree(config.output_dir, killed)
  forget_last_epoch(pathlib.Path(folder), best + 2)
  again = dataclasses.replace(config, output_dir=killed)
  assert run.run(again, '').training['best_epoch'] == best
  assert len(rows(again)) == best + 2
  same_weights(config.output_dir, killed)


@pytest.mark.long
def test_a_best_epoch_without_a_checkpoint_is_forgotten(config):
  """Killed after the weights were kept, before the epoch's checkpoint."""
  config = dataclasses.replace(config, keep_best=True)
  first = run.run(config, '').training['best_epoch']
  folder = pathlib.Path(config.output_dir)
  best = folder / 'checkpoints' / 'best'
  with np.load(best / f'{first}.npz') as file:
    kept = dict(file)
  zeros = {name: np.zeros_like(array) for name, array in kept.items()}
  np.savez(best / '2.npz', **zeros | {'top1': 2.0})
  if first == 2:
    np.savez(best / '1.npz', **kept | {'top1': -1.0})
  whole = shutil.copytree(folder, f'{folder}_whole')
  forget_last_epoch(folder, 2)
  assert run.run(config, '').training['best_epoch'] == first
  same_weights(str(whole), str(folder))


def test_only_epochs_that_are_pruned_as_asked_can_be_the_best(config, own):
  config = dataclasses.replace(
    config,
    stage=types.Stage.PRUNE,
    parent=own,
    init=None,
    prune=configs.PruneConfig(target_sparsity=0.6, prune_end=0.75),
    optimizer=configs.OptimizerConfig(learning_rate=1e-3),
    epochs=4,
    keep_best=True,
    patience=1,
  )
  manifest = run.run(config, '')
  top1 = [float(row['val_top1']) for row in rows(config)]
  assert max(top1[:3]) >= top1[3]
  assert manifest.training['best_epoch'] == 4
  assert manifest.sparsity.total == pytest.approx(0.6, abs=0.01)


def test_more_epochs_extend_a_finished_run(there, monkeypatch, capsys):
  """On the schedule of all epochs; what is there stays until it is done."""
  two = rows(there)
  rate = configs.OptimizerConfig(learning_rate=0.05, warmup_epochs=1.0)
  longer = dataclasses.replace(there, epochs=4, optimizer=rate)
  original = pipelines.train

  def poisoned(*args, **kwargs):
    return original(*args, **kwargs).map(lambda x, y: (x * np.nan, y))

  monkeypatch.setattr(pipelines, 'train', poisoned)
  with pytest.raises(ValueError, match='the loss became nan in epoch 3'):
    run.run(longer, '')
  assert records.read_manifest(there.output_dir).training['epochs'] == 2
  monkeypatch.setattr(pipelines, 'train', original)
  manifest = run.run(longer, '--epochs=4\n')
  assert manifest.training['epochs'] == manifest.training['epochs_done'] == 4
  assert records.read_manifest(there.output_dir) == manifest
  assert rows(there)[:2] == two and len(rows(there)) == 4
  steps = 4 * STEPS - STEPS  # after a warm-up of an epoch
  for row in rows(there)[2:]:
    share = (int(row['epoch']) * STEPS - 1 - STEPS) / steps  # its last step
    expected = 0.05 * (1 + math.cos(math.pi * share)) / 2
    assert float(row['learning_rate']) == pytest.approx(expected, abs=1e-6)
  out = capsys.readouterr().out
  at_first = 0.05 * (1 + math.cos(math.pi / 3)) / 2
  assert (
    '2 epochs are done: going on to 4 on the schedule of 4 epochs, with a '
    f'learning rate of {at_first:.3g} at first'
  ) in out
  assert 'continuing after epoch 2 of 4' in out


@pytest.mark.long
def test_an_extended_run_that_was_killed_ends_with_the_same_weights(there):
  longer = dataclasses.replace(there, epochs=4)
  run.run(longer, '')
  killed = shutil.copytree(there.output_dir, there.output_dir + '_killed')
  forget_last_epoch(pathlib.Path(killed), 4)
  run.run(dataclasses.replace(longer, output_dir=str(killed)), '')
  same_weights(there.output_dir, str(killed))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'epochs': 1}, '--epochs=1: .* has done 2 already; give more to go on'),
    (
      {'seed': 9},
      r'begun with other flags or parents \(config.seed 1 there, 9 now\)',
    ),
    ({'epochs': 4, 'seed': 9}, 'config.epochs 2 there, 4 now; .*config.seed 1'),
  ],
)
def test_what_does_not_go_on_is_refused(change, message, finished):
  before = records.sha256(finished.output_dir)
  with pytest.raises(ValueError, match=message):
    run.run(dataclasses.replace(finished, **change), '')
  assert records.sha256(finished.output_dir) == before


def test_without_checkpoints_nothing_goes_on(there):
  for file in pathlib.Path(there.output_dir, 'checkpoints').glob('*ck*'):
    file.unlink()
  with pytest.raises(ValueError, match='its checkpoints are gone, so it canno'):
    run.run(dataclasses.replace(there, epochs=3), '')


def test_a_run_of_an_older_version_goes_on(there):
  """It knew fewer settings; those that it did not are at their defaults."""
  path = pathlib.Path(there.output_dir, 'checkpoints', 'config.json')
  note = json.loads(path.read_text())
  for name in ('keep_best', 'patience', 'keep_epoch'):
    del note['config'][name]
  path.write_text(json.dumps(note))
  complete = defaults.complete(there)
  assert begun.look(path.parents[1], complete) is begun.Found.FINISHED


def test_overwrite_begins_anew(there, own):
  """What others put into the folder stays, as does all while flags are wrong."""
  folder = pathlib.Path(there.output_dir)
  (folder / 'notes.txt').write_text('mine')
  before = records.sha256(folder)
  wrong = dataclasses.replace(
    there,
    stage=types.Stage.PRUNE,
    parent=own,
    init=None,
    exclude=('nothing_*',),
    prune=configs.PruneConfig(),
  )
  with pytest.raises(ValueError, match='matches no layer'):
    run.run(wrong, '', overwrite=True)
  assert records.sha256(folder) == before
  other = dataclasses.replace(there, seed=9, epochs=1)
  with pytest.raises(ValueError, match='or --overwrite to begin anew'):
    run.run(other, '')
  assert records.sha256(folder) == before
  assert run.run(other, '', overwrite=True).training['seed'] == 9
  assert len(rows(other)) == 1
  assert (folder / 'notes.txt').read_text() == 'mine'
  # A run that was killed goes on, one that is finished begins anew.
  checkpoint = folder / 'checkpoints' / 'ckpt-1.index'
  made = checkpoint.stat().st_mtime_ns
  (folder / 'manifest.json').unlink()
  run.run(other, '', overwrite=True)
  assert checkpoint.stat().st_mtime_ns == made
  run.run(other, '', overwrite=True)
  assert checkpoint.stat().st_mtime_ns > made


def test_overwrite_keeps_what_is_there_where_an_image_is_none(
  there, folder, tmp_path
):
  images = shutil.copytree(folder, tmp_path / 'images')
  next((images / 'train' / 'red').glob('11.*')).write_bytes(b'no image')
  data = types.DataSpec(f'folder:{images}')
  before = records.sha256(there.output_dir)
  with pytest.raises(ValueError, match='train/red/11.*: the image cannot be'):
    run.run(dataclasses.replace(there, data=data), '', overwrite=True)
  assert records.sha256(there.output_dir) == before


def test_more_generations_are_refused_before_any_is_trained(there, own):
  distill = configs.DistillConfig(teacher=(own,), generations=2)
  more = dataclasses.replace(there, stage=types.Stage.KD, distill=distill)
  before = records.sha256(there.output_dir)
  with pytest.raises(ValueError, match='begun with other flags or parents'):
    run.run(more, '')
  assert records.sha256(there.output_dir) == before


def test_overwrite_removes_no_folder_of_others(there, config):
  folder = pathlib.Path(config.output_dir)
  (folder / 'logs').mkdir(parents=True)
  (folder / 'manifest.json').write_text('{"name": "a web page"}')
  before = records.sha256(folder)
  with pytest.raises(ValueError, match='not a manifest of schema version'):
    run.run(config, '', overwrite=True)
  assert records.sha256(folder) == before
  model = f'{there.output_dir}/model.keras'
  own = dataclasses.replace(
    there, init=configs.InitConfig(model, types.Normalization.RAW)
  )
  before = records.sha256(there.output_dir)
  with pytest.raises(ValueError, match='--overwrite would remove .*model.kera'):
    run.run(own, '', overwrite=True)
  assert records.sha256(there.output_dir) == before


def test_a_run_without_a_checkpoint_may_become_one_of_no_epochs(there):
  for file in pathlib.Path(there.output_dir, 'checkpoints').glob('*ck*'):
    file.unlink()
  pathlib.Path(there.output_dir, 'manifest.json').unlink()
  manifest = run.run(dataclasses.replace(there, epochs=0), '')
  assert manifest.training['epochs'] == 0


def test_runs_of_several_are_alone_in_their_folder(config, own):
  teachers = configs.DistillConfig(teacher=(own,), generations=2)
  config = dataclasses.replace(config, stage=types.Stage.KD, distill=teachers)
  with processes.alone(config.output_dir, 'is training into it'):
    with pytest.raises(ValueError, match='another process is training into it'):
      run.run(config, '')
    assert not list(pathlib.Path(config.output_dir).iterdir())


@pytest.mark.long
def test_overwrite_of_runs_of_several(config, own, monkeypatch):
  """Each generation is made anew, and none is while it is only continued."""
  config = dataclasses.replace(
    config,
    stage=types.Stage.KD,
    distill=configs.DistillConfig(teacher=(own,), generations=2),
    epochs=1,
  )
  run.run(config, '')
  root = pathlib.Path(config.output_dir)
  first = root / 'generations' / '1' / 'manifest.json'
  made = first.stat().st_mtime_ns
  with pytest.raises(ValueError, match='begun with other --epochs; the runs'):
    run.run(dataclasses.replace(config, epochs=2), '')
  (root / 'manifest.json').unlink()
  run.run(config, '', overwrite=True)
  assert first.stat().st_mtime_ns == made
  run.run(config, '', overwrite=True)
  assert first.stat().st_mtime_ns > made
  assert tf.train.latest_checkpoint(root / 'checkpoints').endswith('ckpt-1')
  # Ended in the first: the flags to go on with are there.
  monkeypatch.setattr(pipelines, 'train', lambda *args, **kwargs: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    run.run(config, '--its=flags\n', overwrite=True)
  assert (root / 'flags.cfg').read_text().startswith('--its=flags\n')
