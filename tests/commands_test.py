"""The commands as a person runs them: real processes, real files."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests import cases, conftest
from tests.measurement import run_test
from tfcompress.core import measurements, records, types
from tfcompress.models import io

ROOT = pathlib.Path(__file__).parents[1]
COMMANDS = (
  'train', 'export', 'evaluate', 'compress', 'submit', 'leaderboard'
)  # fmt: skip
FILE = cases.path('f32.tflite')
FLAGFILES = sorted((ROOT / 'flags').rglob('*.cfg'))
TINY = (
  '--blocks=1,1',
  '--width_multiplier=0.125',
  '--input_size=48',
  '--internal_size=32',
  '--batch_size=6',
  '--epochs=2',
  '--crop=pad_and_crop',
  '--deterministic',
)


def run(command: str, *arguments: str, cwd=ROOT):
  environment = os.environ | {'PYTHONPATH': str(ROOT)}
  return subprocess.run(
    [sys.executable, '-m', f'tfcompress.{command}', *arguments],
    capture_output=True,
    text=True,
    cwd=cwd,
    env=environment,
    check=False,
  )


def error_of(result) -> str:
  """The one line that a refused command ends on."""
  assert result.returncode == 1, result.stderr
  assert 'Traceback' not in result.stderr
  lines = [line for line in result.stderr.splitlines() if line.strip()]
  assert len(lines) == 1 and lines[0].startswith('error: '), result.stderr
  return lines[0]


@pytest.mark.parametrize('command', COMMANDS)
def test_help_shows_the_flags_without_tensorflow(command):
  code = (
    'import sys, runpy\n'
    'sys.argv = ["x", "--help"]\n'
    'try: runpy.run_module("tfcompress.' + command + '", None, "__main__")\n'
    'except SystemExit as end: code = end.code\n'
    'heavy = {"tensorflow", "tf_keras", "numpy"} & set(sys.modules)\n'
    'print(code, heavy)\n'
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    cwd=ROOT,
    check=True,
  )
  assert result.stdout.splitlines()[-1] == '0 set()'
  assert '--dataset' in result.stdout
  assert f'python -m tfcompress.{command}' in result.stdout


@pytest.mark.parametrize(
  'path', FLAGFILES, ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_flagfile_belongs_to_the_command_it_names(path):
  first = path.read_text().splitlines()[0]
  command = re.match(r'# For tfcompress\.(\w+)', first)[1]
  nested = 'nested in' in first
  of_pipeline = path.parent.with_suffix('.cfg').is_file()  # compress_test.py
  code = (
    f'from tfcompress import {command} as c\n'
    f'c.FLAGS(["x", "--flagfile={path}"])\n'
    + (
      ''
      if nested or of_pipeline or command in ('evaluate', 'submit')
      else 'print(c._config())\n'
    )
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    cwd=ROOT,
    check=False,
  )
  assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
  ('command', 'arguments', 'message'),
  [
    ('train', '', '--stage is missing'),
    ('train', '--flagfile=flags/kb.cfg', 'flags/kb.cfg'),
    ('train', '--stge=kd', 'stge'),
    ('train', '--stage=baselin', 'baseline'),
    ('train', 'kd', "unexpected argument 'kd'"),
    ('train', '--stage=kd --output_dir=x', 'needs --teacher'),
    ('train', '--stage=prune --output_dir=x', 'needs --parent'),
    (
      'train',
      '--stage=kd --teacher=runs/no --output_dir=x',
      'no such artifact',
    ),
    ('train', '--stage=prune --parent=no --output_dir=x', 'flags/no.cfg'),
    ('train', '--stage=baseline --output_dir=x --alpha=1', 'no teacher'),
    (
      'train',
      '--stage=baseline --output_dir=x --mixup_alpha=1 --cutmix_alpha=1',
      'give one of them',
    ),
    (
      'train',
      '--stage=prune --parent=y --output_dir=x --prune_begin=.9',
      'must be below --prune_end',
    ),
    (
      'train',
      '--stage=prune --parent=x --output_dir=x',
      'the same folder',
    ),
    ('train', '--stage=baseline --output_dir=x --depth=19', '19'),
    (
      'train',
      '--stage=baseline --output_dir=x --epochs=0',
      '--epochs=0 needs --parent or --init_from',
    ),
    ('train', '--stage=baseline --output_dir=x --epochs=-1', 'epochs'),
    ('train', '--stage=baseline --output_dir=x --patience=0', 'patience'),
    (
      'train',
      '--stage=qat --parent=x --output_dir=y --epochs=0 --keep_best',
      '--keep_best needs an epoch or more',
    ),
    (
      'train',
      '--stage=baseline --output_dir=x --init_scaling=auto',
      '--init_scaling needs --init_from',
    ),
    ('train', '--stage=qat --output_dir=x', '--stage=qat needs --parent, an'),
    (
      'train',
      '--stage=slim --parent=x --output_dir=y',
      'needs one of --channel_ratio, --target_macs, --target_parameters, '
      '--target_latency; got none',
    ),
    (
      'train',
      '--stage=slim --parent=x --output_dir=y --channel_ratio=.3 '
      '--target_macs=50%',
      'got --channel_ratio and --target_macs',
    ),
    (
      'train',
      '--stage=slim --parent=x --output_dir=y --channel_ratio=1',
      'channel_ratio',
    ),
    (
      'train',
      '--stage=slim --parent=x --output_dir=y --clusters=4',
      '--clusters is for --stage=cluster, got slim',
    ),
    (
      'train',
      '--stage=cluster --parent=x --output_dir=y --clusters=1',
      'clusters',
    ),
    (
      'train',
      '--stage=prune --parent=x --output_dir=y --granularity=2:4 --scope=global',
      '--scope contradicts --granularity=2:4',
    ),
    (
      'train',
      '--stage=prune --init_from=setup.cfg --output_dir=y --rewind_epoch=1',
      '--rewind_epoch needs --parent',
    ),
    (
      'train',
      '--stage=qat --parent=x --init_from=y.h5 --output_dir=z',
      '--parent and --init_from: give one of them',
    ),
    (
      'train',
      '--stage=qat --parent=x --output_dir=z --alpha=.5',
      '--alpha needs --teacher',
    ),
    (
      'train',
      '--stage=kd --teacher=x --output_dir=z --distill_loss=dkd '
      '--mixup_alpha=1',
      '--distill_loss=dkd needs one class an image',
    ),
    (
      'train',
      '--stage=kd --teacher=x --parent=y --output_dir=z --generations=2',
      '--generations are trained anew',
    ),
    (
      'train',
      '--stage=qat --init_from=no.keras --output_dir=z',
      '--init_from=no.keras: no such file',
    ),
    ('export', '--output_dir=x', '--artifact is missing'),
    ('export', '--artifact=runs/no --output_dir=x', 'no such artifact folder'),
    ('evaluate', '', '--model is missing'),
    ('evaluate', '--model=no.tflite', 'no such model file'),
    ('export', '--min_snr_db=nan', 'nan: expected a finite number'),
    ('train', '--learning_rate=inf', 'inf: expected a finite number'),
    ('evaluate', '--model=README.md', 'unknown format'),
    ('evaluate', '--model=setup.cfg --parts=sise', "'sise' is none of"),
    (
      'evaluate',
      f'--model={FILE} --input_mean=',
      '--input_mean=: expected a number, or three separated by commas',
    ),
    (
      'evaluate',
      f'--model={FILE} --input_mean=1,2',
      '--input_mean=1,2: expected a number, or three separated by commas',
    ),
    (
      'evaluate',
      f'--model={FILE} --input_std=1,2,x',
      '--input_std=1,2,x: expected a number, or three',
    ),
    (
      'evaluate',
      f'--model={FILE} --input_std=0',
      '--input_std: expected numbers above zero',
    ),
    (
      'evaluate',
      f'--model={FILE} --input_scaling=unit --input_mean=1',
      '--input_scaling=unit beside --input_mean or --input_std: give the one',
    ),
  ],
)
def test_wrong_flags_are_one_line(command, arguments, message, tmp_path):
  shutil.copytree(ROOT / 'flags', tmp_path / 'flags')
  for name in ('README.md', 'setup.cfg'):
    shutil.copy(ROOT / name, tmp_path)
  before = sorted(tmp_path.rglob('*'))
  error = error_of(run(command, *arguments.split(), cwd=tmp_path))
  assert message in error
  assert sorted(tmp_path.rglob('*')) == before


def artifact_at(folder: pathlib.Path, **model) -> str:
  """What flags can see of an artifact: its manifest, and a model file."""
  manifest = types.Manifest(
    stage=types.Stage.BASELINE,
    model=types.ModelSpec(**model),
    data=types.DataSpec(NOWHERE),
    class_names=('a', 'b'),
    input_scaling=types.Normalization.RAW,
    metrics={},
    training={},
    parents=(),
    steps=('baseline',),
    sparsity=types.SparsityRecord(0.0, {}, 1, 1, 1),
    environment={},
  )
  records.write_json(folder / records.MANIFEST, manifest)
  (folder / records.MODEL).write_bytes(b'')
  return str(folder)


NOWHERE = 'folder:nowhere'
NO_IMAGES = f'{NOWHERE}: no such folder'
REFUSED = {
  'no images': ('train --stage=baseline --output_dir=x', NO_IMAGES),
  'no parent': (
    'train --stage=qat --parent=no --output_dir=x',
    '--parent=no: no such artifact',
  ),
  'no teacher': (
    'train --stage=qat --parent=artifact --teacher=no --output_dir=x',
    '--teacher=no: no such artifact',
  ),
  'no early epoch': (
    'train --stage=prune --parent=artifact --rewind_epoch=3 --output_dir=x',
    'artifact kept no early epoch',
  ),
  'no Keras file': (
    'train --stage=qat --init_from=manifest.json --output_dir=x',
    '--init_from=manifest.json: expected a .keras or .h5 file',
  ),
  'no target': (
    'train --stage=slim --parent=artifact --target_macs=half --output_dir=x',
    "target 'half': expected a number",
  ),
  'long warm-up': (
    'train --stage=baseline --epochs=1 --warmup_epochs=1 --output_dir=x',
    '--warmup_epochs=1 must be below --epochs=1',
  ),
  'no artifact': ('export --artifact=no --output_dir=x', 'no such artifact'),
  'images of an artifact': (
    'export --artifact=artifact --output_dir=x',
    NO_IMAGES,
  ),
  'option of another variant': (
    'export --artifact=artifact --output_dir=x --max_drop=1',
    'is not for --variant=int8',
  ),
  'same folder': (
    'export --artifact=artifact --output_dir=artifact',
    'are the same folder',
  ),
  'no images to measure on': (
    'evaluate --model=model.tflite',
    NO_IMAGES,
  ),
  'no images of a pipeline': (
    'compress --stages=baseline --output_dir=x',
    NO_IMAGES,
  ),
}


@pytest.mark.parametrize(
  ('arguments', 'message'), REFUSED.values(), ids=REFUSED
)
def test_what_is_wrong_is_said_before_tensorflow_is_loaded(
  arguments, message, tmp_path
):
  artifact_at(tmp_path / 'artifact')
  for name in ('manifest.json', 'model.tflite'):
    (tmp_path / name).write_bytes(b'{}')
  command, *given = arguments.split()
  if message == NO_IMAGES:
    given.append(f'--dataset={NOWHERE}')
  code = (
    'import sys, runpy\n'
    f'sys.argv = {["x", *given]!r}\n'
    f'try: runpy.run_module("tfcompress.{command}", None, "__main__")\n'
    'except SystemExit as end: code = end.code\n'
    'print(code, {"tensorflow", "tf_keras", "keras"} & set(sys.modules))\n'
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    cwd=tmp_path,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    check=True,
  )
  assert result.stdout.splitlines()[-1] == '1 set()'
  assert message in result.stderr.splitlines()[-1]
  assert not (tmp_path / 'x').exists()


SAME = (
  '--input_size=32 --width_multiplier=0.25 --depth=18 --internal_size=32 '
  '--blocks=2,2,2,2 --stage_widths=64,128,256,512 --normalization=imagenet '
  '--stem=conv7_pool'
)
PRUNED = '--stage=prune --parent=artifact '


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (PRUNED + SAME, ''),
    (
      PRUNED + '--depth=34',
      "--depth=34 contradicts --parent: the model is artifact's, of depth 18",
    ),
    (PRUNED + '--input_size=64', '--input_size=64 contradicts --parent'),
    (PRUNED + '--blocks=1,2,2,2', 'of blocks 2,2,2,2'),
    (PRUNED + '--granularity=2:4 --target_sparsity=.5 --scope=layer', ''),
    (
      PRUNED + '--granularity=1:4 --target_sparsity=.5',
      '--target_sparsity contradicts --granularity=1:4',
    ),
    (PRUNED + '--schedule=constant --initial_sparsity=0', ''),
    (
      PRUNED + '--schedule=constant --initial_sparsity=0.1',
      '--initial_sparsity=0.1 contradicts --schedule=constant',
    ),
    (PRUNED + '--epochs=0', ''),
    ('--stage=baseline --epochs=1', ''),
    ('--stage=qat --init_from=own.keras --input_size=32', ''),
    ('--stage=qat --init_from=own.keras --normalization=raw', ''),
    (
      '--stage=qat --init_from=own.keras --input_size=64',
      "--input_size=64 contradicts --init_from: the model is own.keras's, of "
      'input_size 32',
    ),
    (
      '--stage=qat --init_from=own.keras --depth=18',
      '--depth=18 contradicts --init_from',
    ),
  ],
)
def test_only_another_value_contradicts(arguments, message, tmp_path, own_file):
  artifact_at(tmp_path / 'artifact', input_size=32, width_multiplier=0.25)
  shutil.copy(own_file, tmp_path / 'own.keras')
  given = [*arguments.split(), '--output_dir=x', '--check_flags']
  result = run('train', *given, cwd=tmp_path)
  if message:
    assert message in error_of(result)
  else:
    assert result.returncode == 0, result.stderr


def test_a_wrong_dataset_is_one_line_and_leaves_nothing_behind(tmp_path):
  target = tmp_path / 'run'
  arguments = ('--stage=baseline', f'--output_dir={target}')
  result = run('train', *arguments, '--dataset=folder:nowhere')
  assert 'no such folder nowhere' in error_of(result)
  assert not target.exists()


def test_odd_images_are_said_and_unreadable_ones_end_it(folder, tmp_path):
  shutil.copytree(folder, tmp_path / 'images')
  split = (tmp_path / 'images' / 'validation').rename(tmp_path / 'images/test')
  shutil.copytree(split / 'blue', split / 'violet')
  (split / 'blue' / 'notes.txt').touch()
  (split / 'blue' / '0.JPEG').write_bytes(b'')
  shutil.rmtree(tmp_path / 'images' / 'train')
  result = run(
    'evaluate',
    f'--model={ROOT}/tests/cases/f32.tflite',
    f'--dataset=folder:{tmp_path}/images',
    '--parts=latency',
  )
  lines = [line for line in result.stderr.splitlines() if line.strip()]
  assert result.returncode == 1 and not result.stdout
  assert [line.partition(':')[0] for line in lines] == [
    'warning',
    'warning',
    'error',
  ]
  assert 'test/ is used' in lines[0] and 'test/blue/notes.txt' in lines[1]
  assert '/test/blue/0.JPEG: the image cannot be read' in lines[2]


def test_a_text_file_named_tflite_is_one_line(tmp_path):
  (tmp_path / 'model.tflite').write_text('no model, but some text')
  result = run('evaluate', f'--model={tmp_path}/model.tflite')
  assert 'not a .tflite file' in error_of(result)


def test_pixels_and_sizes_by_flags(tmp_path):
  dataset = cases.images('base', tmp_path)
  caffe = run(
    'evaluate', f'--model={cases.path("caffe.tflite")}',
    f'--dataset={dataset}', '--parts=accuracy', '--input_channels=bgr',
    '--input_mean=103.939,116.779,123.68', '--input_std=1',
    '--output_file=record.json', cwd=tmp_path,
  )  # fmt: skip
  assert caffe.returncode == 0, caffe.stderr
  record = records.read_measurement(tmp_path / 'record.json')
  assert record.accuracy.top1_percent == pytest.approx(100 * 47 / 48)
  assert record.dataset.preprocessing.mean == (103.939, 116.779, 123.68)
  assert 'bgr, as the flag says' in caffe.stdout
  smaller = run(
    'evaluate', f'--model={FILE}', '--parts=size', '--input_size=32'
  )
  assert 'made for images of 40 pixels, got --input_size=32' in smaller.stderr


def test_all_runtimes_are_tried_and_those_that_fail_named():
  onnxruntime = pytest.importorskip(
    'onnxruntime', reason='the extra onnx is not installed'
  )
  if 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
    pytest.skip('ONNX Runtime has CUDA')
  found = run(
    'evaluate', f'--model={cases.path("nchw_dyn_fixed.onnx")}',
    '--parts=size', '--runtime=all',
  )  # fmt: skip
  assert found.returncode == 0, found.stderr
  lines = found.stdout.splitlines()
  for name in ('onnxruntime ', 'openvino '):
    assert any(line.startswith(name) for line in lines)
  assert 'onnxruntime (gpu) not measured: ' in found.stdout


def test_the_whole_path_from_images_to_a_score(folder, tmp_path, pytestconfig):
  """Teacher by its flagfile, student, int8 export, measurement, record.

  With --all, other ways to compare that file, too.
  """
  flags = tmp_path / 'flags'
  flags.mkdir()
  tiny = '\n'.join(TINY)
  (flags / 'teacher.cfg').write_text(f'--stage=baseline\n{tiny}\n')
  dataset = f'--dataset=folder:{folder}'
  trained = run(
    'train', *TINY, dataset, '--stage=kd', '--teacher=runs/teacher',
    '--output_dir=runs/kd', cwd=tmp_path,
  )  # fmt: skip
  assert trained.returncode == 0, trained.stderr
  assert 'runs/teacher is not there yet: training it with' in trained.stdout
  teacher = records.read_manifest(tmp_path / 'runs' / 'teacher')
  manifest = records.read_manifest(tmp_path / 'runs' / 'kd')
  assert manifest.parents[0].path == 'runs/teacher'
  assert teacher.data == manifest.data

  again = run('train', '--flagfile=runs/kd/flags.cfg', cwd=tmp_path)
  assert 'runs/kd is there already' in again.stdout, again.stderr

  exported = run(
    'export', '--artifact=runs/kd', '--output_dir=exported/kd',
    '--calibration_examples=9', '--min_agreement_percent=0',
    '--min_snr_db=0', cwd=tmp_path,
  )  # fmt: skip
  assert exported.returncode == 0, exported.stderr
  assert exported.stderr == ''

  measured = run(
    'evaluate', '--model=exported/kd', '--baseline=measured', '--runs=10',
    '--output_file=results.json', cwd=tmp_path,
  )  # fmt: skip
  assert measured.returncode == 0, measured.stderr
  record = records.from_json(
    measurements.Measurement,
    json.loads((tmp_path / 'results.json').read_text()),
  )
  assert record.accuracy.num_examples == 12
  assert record.score.baseline.source.startswith('runs/teacher as float32')
  size = (tmp_path / 'exported' / 'kd' / 'model.tflite').stat().st_size
  assert record.size.bytes == size
  by_hand = 0.3 * record.score.size + 0.3 * record.score.latency
  by_hand += 0.4 * record.score.accuracy
  assert record.score.final == pytest.approx(by_hand)
  assert f'{record.score.final:.3f}' in measured.stdout

  if pytestconfig.getoption('--all'):
    require_compared(tmp_path, dataset, record)


def require_compared(tmp_path, dataset: str, record) -> None:
  """Compares an export with figures, a broken file and a ResNet-18."""
  size = (tmp_path / 'exported' / 'kd' / 'model.tflite').stat().st_size
  scored = run(
    'evaluate', '--model=exported/kd', '--parts=size', '--runs=10',
    '--baseline=results.json', '--baseline_size=1', cwd=tmp_path,
  )  # fmt: skip
  ratio = 1 / (size / 2**20)
  assert f'{ratio:.1f} x smaller' in scored.stdout, scored.stderr
  assert 'by flag: size_mib' in scored.stdout

  run_test.write_mean(tmp_path / 'four.tflite', 4)
  both = run(
    'evaluate', '--model=four.tflite', '--model=exported/kd',
    '--parts=size,accuracy', dataset, '--output_file=both.json', cwd=tmp_path,
  )  # fmt: skip
  assert 'four.tflite has 4 outputs' in error_of(both)
  assert 'score' not in both.stdout and 'ranked by top-1' in both.stdout
  refused, kept = records.read_json(tmp_path / 'both.json')['measurements']
  assert '4 outputs' in refused['failure'] and refused['accuracy'] is None
  top1 = record.accuracy.top1_percent
  assert kept['accuracy']['top1_percent'] == top1
  assert kept['score'] is kept['failure'] is None

  plain = run(
    'evaluate', '--model=exported/kd', '--parts=size,accuracy',
    '--baseline=plain', '--baseline_accuracy=50', '--output_file=plain.json',
    cwd=tmp_path,
  )  # fmt: skip
  assert plain.returncode == 0, plain.stderr
  record = json.loads((tmp_path / 'plain.json').read_text())
  # 11.2 million weights of 4 bytes.
  assert record['score']['baseline']['size_mib'] == pytest.approx(42.8, abs=0.1)
  top1 = record['accuracy']['top1_percent']
  assert record['score']['accuracy'] == pytest.approx(top1 / 50)
  assert record['score']['latency'] is None


@pytest.mark.long
def test_a_killed_run_ends_with_the_same_weights(tmp_path):
  """kill -9 in the middle of an epoch, then the same command again."""
  images = conftest.write_folder(tmp_path / 'images', train=40)
  command = [
    sys.executable, '-m', 'tfcompress.train', *TINY, '--stage=baseline',
    f'--dataset=folder:{images}', '--epochs=6',
    '--keep_best', '--patience=6', '--overwrite',
  ]  # fmt: skip
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  first = subprocess.run([*command, f'--output_dir={whole}'], cwd=ROOT)
  assert first.returncode == 0
  for epoch in (1, 3):
    child = subprocess.Popen([*command, f'--output_dir={killed}'], cwd=ROOT)
    wanted = killed / 'checkpoints' / f'ckpt-{epoch}.index'
    while not wanted.exists():
      assert child.poll() is None, 'the run ended before it could be killed'
      time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
  assert not (killed / 'manifest.json').exists()
  last = subprocess.run(
    [*command, f'--output_dir={killed}'],
    capture_output=True,
    text=True,
    cwd=ROOT,
  )
  assert 'continuing after epoch' in last.stdout
  assert 'keeping epoch' in last.stdout
  flags = (killed / 'flags.cfg').read_text()
  assert '--keep_best' in flags and 'overwrite' not in flags
  for a, b in zip(
    io.load(str(whole))[0].get_weights(), io.load(str(killed))[0].get_weights()
  ):
    np.testing.assert_array_equal(a, b)
