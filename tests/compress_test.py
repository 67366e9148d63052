"""The pipeline as a person runs it: killed, resumed, run again."""

import csv
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.commands_test import ROOT, error_of
from tfcompress.core import records, types

PIPELINES = sorted(
  path
  for path in (ROOT / 'flags').rglob('*.cfg')
  if path.with_suffix('').is_dir()
)
FILES = ('1_baseline_float32', '1_baseline_int8', '2_slim_int8')
FLAGFILES = {
  'p.cfg': (
    '--stages=baseline,slim\n--output_dir=out\n--variants=int8\n--runs=10\n'
    '--seconds=0\n--processes=1\n'
    '--min_agreement_percent=0\n--min_snr_db=-100\n--calibration_examples=9\n'
    '--parity_examples=12\n'
  ),
  'images.cfg': (
    '--batch_size=6\n--crop=pad_and_crop\n--mixed_precision=none\n'
    '--learning_rate=0.05\n'
  ),
  'p/baseline.cfg': (
    '--flagfile=images.cfg\n--stage=baseline\n--width_multiplier=0.125\n'
    '--blocks=1,1\n--input_size=48\n--internal_size=32\n--epochs=4\n'
  ),
  'p/slim.cfg': (
    '--flagfile=images.cfg\n--stage=slim\n--channel_ratio=0.5\n--epochs=12\n'
  ),
  'p/qat.cfg': '--flagfile=images.cfg\n--stage=qat\n--alpha=0.5\n',
  'p/prune.cfg': '--flagfile=images.cfg\n--stage=prune\n--clusters=9\n',
  'round.cfg': '--flagfile=p.cfg\n--flagfile=round.cfg\n',
  'taught.cfg': '--stage=slim\n--channel_ratio=.5\n--teacher=runs/big\n',
}


def compress(folder, *arguments: str, path=ROOT, **kwargs):
  return subprocess.run(
    [sys.executable, '-m', 'tfcompress.compress', *arguments],
    capture_output=True,
    text=True,
    cwd=folder,
    env=os.environ | {'PYTHONPATH': str(path)},
    check=False,
    **kwargs,
  )


@pytest.fixture
def home(tmp_path) -> pathlib.Path:
  """A folder with the flagfiles of a tiny pipeline."""
  for name, text in FLAGFILES.items():
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
  return tmp_path


@pytest.mark.parametrize(
  'path', PIPELINES, ids=lambda path: str(path.relative_to(ROOT))
)
def test_the_flags_of_every_pipeline_pass(path, tmp_path):
  result = compress(
    ROOT, f'--flagfile={path}', '--dry_run', f'--output_dir={tmp_path}/out'
  )
  assert result.returncode == 0, result.stderr
  assert result.stdout.startswith('to do:    python -m tfcompress.train ')
  assert not list(tmp_path.iterdir())


def commands_of(name, tmp_path):
  result = compress(
    ROOT,
    f'--flagfile=flags/{name}',
    '--dry_run',
    f'--output_dir={tmp_path}',
    '--dataset=cifar100',
  )
  lines = result.stdout.replace(str(tmp_path), 'out').splitlines()
  return [line.partition('tfcompress.')[2] for line in lines]


def test_the_pipeline_of_all_stages(tmp_path):
  train = [c for c in commands_of('pipeline.cfg', tmp_path) if c[:5] == 'train']
  assert [command.partition('.cfg ')[2] for command in train] == [
    '--output_dir=out/1_baseline --dataset=cifar100',
    '--output_dir=out/2_slim --parent=out/1_baseline --dataset=cifar100',
    '--output_dir=out/3_kd --parent=out/2_slim --teacher=out/1_baseline '
    '--dataset=cifar100',
    '--output_dir=out/4_prune --parent=out/3_kd --teacher=out/1_baseline '
    '--dataset=cifar100',
    '--output_dir=out/5_qat --parent=out/4_prune --teacher=out/1_baseline '
    '--dataset=cifar100',
  ]


def test_every_stage_has_a_flagfile_in_the_shipped_pipeline(tmp_path):
  folder = ROOT / 'flags' / 'pipeline'
  stages = {stage.value for stage in types.Stage}
  assert {path.stem for path in folder.glob('*.cfg')} == stages
  result = compress(
    ROOT,
    '--flagfile=flags/pipeline.cfg',
    '--stages=baseline,cluster,qat',
    '--dry_run',
    f'--output_dir={tmp_path}',
  )
  assert result.returncode == 0, result.stderr
  assert (
    'tfcompress.train --flagfile=flags/pipeline/cluster.cfg '
    f'--output_dir={tmp_path}/2_cluster --parent={tmp_path}/1_baseline '
    f'--teacher={tmp_path}/1_baseline'
  ) in result.stdout


def test_the_classic_pipelines(tmp_path):
  distilled = commands_of('pipelines/resnet50_to_18.cfg', tmp_path)
  assert distilled[3] == (
    'train --flagfile=flags/pipelines/resnet50_to_18/kd.cfg '
    '--output_dir=out/4_kd --teacher=out/3_qat --dataset=cifar100'
  )
  pruned = commands_of('pipelines/global_prune_kd.cfg', tmp_path)
  assert pruned[1].endswith(
    '--output_dir=out/2_prune --parent=out/1_baseline '
    '--teacher=out/1_baseline --dataset=cifar100'
  )
  channels = commands_of('pipelines/channels_kd_dynamic.cfg', tmp_path)
  assert '/resnet50.cfg --output_dir=runs/' in channels[1]
  assert '--artifact=out/2_slim --variant=dynamic' in ' '.join(channels)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ('', '--stages is missing; give it, or --flagfile=flags/pipeline.cfg'),
    ('--flagfile=p.cfg --stages=slm', "'slm' is none of baseline"),
    (
      '--flagfile=p.cfg --stages=slim,baseline',
      'stage 1, slim (p/slim.cfg): h',
    ),
    (
      '--flagfile=p.cfg --stages=baseline,qat,slim',
      'stage 2, qat (p/qat.cfg): nothing is trained on after qat',
    ),
    (
      '--flagfile=p.cfg --stages=baseline,kd',
      'kd has no p/kd.cfg; give kd:FLA',
    ),
    (
      '--flagfile=p.cfg --stages=baseline,kd:p/slim.cfg',
      'stage 2, kd (p/slim.cfg): the flagfile is for --stage=slim',
    ),
    ('--flagfile=p.cfg --stages=baseline,kd:no.cfg', 'no.cfg'),
    (
      '--flagfile=p.cfg --stages=baseline,prune',
      'stage 2, prune (p/prune.cfg): --clusters is for --stage=cluster, got',
    ),
    (
      '--flagfile=p.cfg --stages=baseline,slim:taught.cfg',
      'stage 2, slim (taught.cfg): --teacher=runs/big: no such artifact, nor '
      'a flagfile big.cfg or flags/big.cfg to train it with',
    ),
    ('--flagfile=p.cfg --variants=int3', "--variants: 'int3' is none of float"),
    ('--flagfile=p.cfg --variants=', '--variants: expected some of float32'),
    ('--flagfile=p.cfg --runs=0', 'runs'),
    ('--flagfile=p.cfg --output_dir=a,b', 'a comma separates the teachers'),
    ('--flagfile=round.cfg', 'flagfile round.cfg is nested in itself'),
    ('--flagfile=p.cfg --output_dir=p.cfg/x', 'p.cfg/x: cannot write there'),
  ],
)
def test_what_cannot_work_is_one_line_before_anything_runs(
  arguments, message, home
):
  before = sorted(home.rglob('*'))
  assert message in error_of(compress(home, *arguments.split()))
  assert sorted(home.rglob('*')) == before


def kill_in_the_middle(folder: pathlib.Path, command: list[str]) -> None:
  """kill -9 as soon as the second stage has two epochs behind it.

  Of the last one's checkpoint it may not know yet.
  """
  with (folder / 'log').open('w') as log:
    child = subprocess.Popen(
      command, cwd=folder, stdout=log, stderr=log,
      env=os.environ | {'PYTHONPATH': str(ROOT)},
    )  # fmt: skip
  while not (folder / 'out/2_slim/checkpoints/ckpt-2.index').exists():
    assert child.poll() is None, (folder / 'log').read_text()
    time.sleep(0.01)
  child.send_signal(signal.SIGKILL)
  child.wait()


@pytest.mark.long
def test_a_pipeline_is_killed_goes_on_and_is_there(home, folder):
  arguments = ['--flagfile=p.cfg', f'--dataset=folder:{folder}']
  command = [sys.executable, '-m', 'tfcompress.compress', *arguments]
  kill_in_the_middle(home, command)
  assert not (home / 'out/2_slim/manifest.json').exists()

  resumed = compress(home, *arguments)
  assert resumed.returncode == 0, resumed.stderr
  assert '[1/8] 1_baseline: there already' in resumed.stdout
  assert 'continuing after epoch' in resumed.stdout
  require_result(home / 'out', resumed.stdout)
  require_skipped(home, arguments)
  require_refused(home, arguments)


def require_result(out: pathlib.Path, printed: str) -> None:
  """Table, Markdown and CSV say what the records say."""
  with (out / 'comparison.csv').open() as file:
    lines = list(csv.DictReader(file))
  assert tuple(line['name'] for line in lines) == FILES
  page = (out / 'comparison.md').read_text()
  reference = json.loads((out / f'records/{FILES[0]}.json').read_text())
  for line in lines:
    name = line['name']
    record = json.loads((out / f'records/{name}.json').read_text())
    file = out / 'exported' / name / 'model.tflite'
    assert int(line['size_bytes']) == file.stat().st_size
    assert record['model']['sha256'] == records.sha256(file)
    assert int(line['gzip_bytes']) == record['size']['gzip_bytes']
    assert float(line['latency_ms']) == record['latency_ms']['mean']
    assert float(line['peak_memory_mib']) == record['memory_mib']['peak']
    assert float(line['top1_percent']) == record['accuracy']['top1_percent']
    assert record['latency_ms']['runs'] >= 10
    made = json.loads((file.parent / 'metadata.json').read_text())['tfcompress']
    parity = made['parity']['agreement_percent']
    assert float(line['agreement_percent']) == parity
    dtype = line['name'].rpartition('_')[2]
    assert line['weights'] == f'{dtype} 7'
    for figure in ('size', 'latency', 'accuracy'):
      assert name == FILES[0] or record['score'][figure] is not None
    if name != FILES[0]:
      ratio = reference['size']['bytes'] / record['size']['bytes']
      assert float(line['size_ratio']) == pytest.approx(ratio)
      assert float(line['score']) == record['score']['final']
    for text in (printed, page):
      assert f'{record["latency_ms"]["mean"]:.3f}' in text
      assert name in text
  assert lines[2]['stages'] == 'baseline+slim'
  slim = records.read_manifest(out / '2_slim')
  assert slim.parents[0].path == 'out/1_baseline'
  assert (out / 'comparison.png').read_bytes().startswith(b'\x89PNG')


def require_skipped(home: pathlib.Path, arguments: list[str]) -> None:
  """All is there: nothing runs, nothing imports TensorFlow."""
  (home / 'poison').mkdir()
  for name in ('tensorflow', 'tf_keras', 'ai_edge_litert'):
    (home / 'poison' / f'{name}.py').write_text('raise SystemExit("imported")')
  page = (home / 'out/comparison.md').read_text()
  path = f'{home}/poison:{ROOT}'
  again = compress(home, *arguments, path=path, timeout=10)
  assert again.returncode == 0, again.stderr
  assert again.stdout.count('there already, same flags and inputs') == 8
  assert '$ python' not in again.stdout
  assert (home / 'out/comparison.md').read_text() == page


def require_refused(home: pathlib.Path, arguments: list[str]) -> None:
  """Other flags, and a network that is not what it was."""
  error = error_of(compress(home, *arguments, '--runs=20'))
  assert error == (
    'error: out: the measurement of 1_baseline_float32 was made with other '
    'flags (--runs=10 there, --runs=20 now), and 2 more; use the same flags, '
    'or another --output_dir, or remove out/records to make anew what is in it'
  )
  flagfile = home / 'p/baseline.cfg'
  flagfile.write_text(f'{flagfile.read_text()}--seed=7\n')
  error = error_of(compress(home, *arguments))
  assert (
    'out: stage 1, baseline (p/baseline.cfg) was made with other flags (no '
    '--seed there, --seed=7 now), and 1 more'
  ) in error
  assert error.endswith(
    'or remove out/1_baseline out/2_slim to make anew what is in it'
  )
  flagfile.write_text(FLAGFILES['p/baseline.cfg'])
  shutil.copy(home / 'out/2_slim/model.keras', home / 'out/1_baseline')
  error = error_of(compress(home, *arguments))
  assert '1_baseline/model.keras), and 1 more' in error
