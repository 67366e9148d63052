"""A challenge from an empty folder to its leaderboard, by its commands."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests import needs
from tests.hosting import sample_submissions
from tfcompress.competition import board, history, scoring
from tfcompress.core import challenges, measurements, records, types
from tfcompress.hosting import baseline as baseline_lib
from tfcompress.hosting import hosts, repository, verification

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).parents[2]
RANKED, FAILED = challenges.Status.RANKED, challenges.Status.FAILED


def leaderboard(*arguments: str, folder: pathlib.Path, code: int = 0):
  return command('leaderboard', *arguments, folder=folder, code=code)


def command(module: str, *arguments: str, folder: pathlib.Path, code: int = 0):
  """Runs a command of ours in a folder; returns what it says."""
  ran = subprocess.run(
    [sys.executable, '-m', f'tfcompress.{module}', *arguments],
    cwd=folder,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert ran.returncode == code, ran.stdout + ran.stderr
  if code:
    [line] = ran.stderr.splitlines()
    assert line.startswith('error: ')
  return ran.stdout + ran.stderr


@pytest.fixture(scope='module')
def hosted(exported, data, tmp_path_factory) -> pathlib.Path:
  """A challenge whose submissions have been evaluated."""
  root = tmp_path_factory.mktemp('hosted')
  leaderboard(
    'init', 'challenge', '--title=Colors', '--num_classes=3',
    '--image_size=48', f'--dataset={data.dataset}', f'--public={data.dataset}',
    f'--baseline={exported[types.Variant.FLOAT32]}', folder=root,
  )  # fmt: skip
  folder = root / 'challenge'
  # What TensorFlow and PyTorch take to start is most of the time.
  for was, now in (
    ('runs = 1000', 'runs = 20'),
    ('seconds = 2.0', 'seconds = 0.0'),
    ('processes = 5', 'processes = 1'),
  ):
    change(folder / challenges.CHALLENGE, was, now)
  sample_submissions.write(folder, exported[types.Variant.INT8])
  leaderboard('evaluate', '--all', folder=folder)
  return folder


def change(path: pathlib.Path, was: str, now: str) -> None:
  text = path.read_text()
  assert was in text
  path.write_text(text.replace(was, now))


@pytest.fixture
def entries(hosted) -> dict[str, challenges.Entry]:
  found = history.read(hosted / challenges.HISTORY)
  assert not found.damage
  first = found.entries[: len(sample_submissions.NAMES)]
  return {entry.username: entry for entry in first}


def test_every_submission_has_its_result(entries):
  assert list(entries) == sorted(sample_submissions.NAMES)
  failed = entries.pop(sample_submissions.BROKEN)
  assert failed.status is FAILED and failed.record is None
  assert 'heidi/model.tflite' in failed.reason and '/tmp' not in failed.reason
  for entry in entries.values():
    assert (entry.status, entry.reason) == (RANKED, '')
    assert entry.record.accuracy.top1_percent >= 90
    assert entry.record.latency_ms.samples == ()


@needs.pytorch
def test_pytorch_is_a_format_of_theirs(entries):
  assert entries[sample_submissions.OF_TORCH].model_format == 'pytorch'


def test_the_scores_by_hand(hosted, entries):
  base = records.read_measurement(str(hosted / challenges.BASELINE))
  for entry in entries.values():
    if entry.status is FAILED:
      continue
    record = entry.record
    files = [hosted / 'submissions' / entry.username / name for name in (
      pathlib.Path(record.model.path).name, 'model_loader.py'
    )]  # fmt: skip
    size = sum(
      one.stat().st_size
      for file in files
      for one in ([file] if file.is_file() else file.rglob('*'))
      if one.is_file()
    )
    assert record.size.bytes == size
    assert record.score.size == pytest.approx(base.size.bytes / size)
    assert record.score.latency == record.ratio.latency
    assert record.score.accuracy == pytest.approx(
      record.accuracy.top1_percent / base.accuracy.top1_percent
    )
    assert record.score.final == pytest.approx(
      0.3 * base.size.bytes / size
      + 0.3 * record.ratio.latency
      + 0.4 * record.accuracy.top1_percent / base.accuracy.top1_percent,
      rel=0,
      abs=1e-9,
    )


def test_the_whole_measurement_is_kept_apart(hosted, entries):
  entry = entries['ada']
  path = hosted / challenges.RECORDS / f'{entry.id}.json'
  assert records.sha256(path) == entry.record_sha256
  whole = records.read_measurement(str(path))
  assert len(whole.latency_ms.samples) == whole.latency_ms.runs >= 20
  assert entry.sha256 == records.sha256(hosted / 'submissions/ada/model.tflite')


def test_the_pages(hosted, entries):
  text = (hosted / 'LEADERBOARD.md').read_text()
  page = (hosted / 'leaderboard.html').read_text()
  best = max(
    (entry for entry in entries.values() if entry.status is RANKED),
    key=lambda entry: entry.record.score.final,
  )
  [first] = [line for line in text.splitlines() if line.startswith('| 1 ')]
  assert f'| {best.username} |' in first
  assert f'{best.record.score.final:.3f}' in first
  for entry in entries.values():
    assert entry.username in text and entry.username in page
    assert (hosted / 'leaderboard' / f'{entry.id}.html').is_file()
  baseline = (hosted / 'BASELINE.md').read_text()
  record = records.read_measurement(str(hosted / challenges.BASELINE))
  assert f'{record.size.mib:.3f}' in baseline


def test_what_has_its_result_is_not_measured_again(hosted):
  said = leaderboard('evaluate', '--all', folder=hosted)
  assert said.count('has its result') == len(sample_submissions.NAMES)


def test_the_best_are_as_ranked(hosted, tmp_path):
  folder = tmp_path / 'begun'  # with one result, of what opens fast
  shutil.copytree(hosted, folder)
  first, *_ = (hosted / challenges.HISTORY).read_bytes().splitlines(True)
  (folder / challenges.HISTORY).write_bytes(first)
  challenge = repository.read(folder)
  images = hosts.images(folder, challenge.data, challenge.data.dataset)
  host = hosts.Host(folder, challenge, images, folder / '.environments')
  figures = baseline_lib.figures(folder, challenge)
  [check] = verification.verify(host, figures, 1)
  assert check.standing.entry.username == 'ada' and not check.difference
  # Runs are too few to compare times, size and accuracy are the same.
  then = check.standing.entry.record.score
  assert (check.score.size, check.score.accuracy) == (then.size, then.accuracy)


def test_one_outside_the_window_is_void(hosted):
  """Seconds before it opens, though the clock on the wall there says later."""
  rules = hosted / challenges.CHALLENGE
  opens = '[window]\nopens = 2000-01-01T00:00:00+01:00'
  change(rules, '[window]', opens)
  try:
    said = leaderboard(
      'evaluate', '--submission=submissions/ada',
      '--submitted=2000-01-01T04:59:59+06:00', folder=hosted, code=1,
    )  # fmt: skip
  finally:
    change(rules, opens, '[window]')
  assert 'error: void: ' in said
  found = history.read(hosted / challenges.HISTORY).entries
  assert found[-1].status is challenges.Status.VOID
  assert found[-1].submitted == '1999-12-31T22:59:59+00:00'
  [standing] = [
    one for one in board.standings(found) if one.entry.username == 'ada'
  ]
  assert standing.entry.status is RANKED


def test_a_participant_checks_what_they_hand_in(hosted, exported):
  made = command(
    'submit', f'--export={exported[types.Variant.INT8]}', '--username=zoe',
    '--teamname=Zoe & Co', folder=hosted,
  )  # fmt: skip
  assert 'submissions/zoe: model.tflite' in made
  metadata = json.loads((hosted / 'submissions/zoe/metadata.json').read_text())
  assert metadata['teamname'] == 'Zoe & Co'
  assert metadata['tfcompress']['input_scaling'] == 'raw'
  said = command('submit', '--check=submissions/zoe', folder=hosted)
  assert 'submissions/zoe keeps the rules; its score' in said
  (hosted / 'submissions/zoe/notes.txt').write_text('x')
  said = command('submit', '--check=submissions/zoe', folder=hosted, code=1)
  assert 'notes.txt' in said


@pytest.mark.parametrize(
  ('arguments', 'sentence'),
  [
    ((), 'no command; expected one of init, '),
    (('judge',), "'judge' is no command"),
    (('init',), 'expected the folder to write'),
    (('init', '.'), 'there is something already'),
    (('render', 'x'), "unexpected argument 'x'"),
    (('render', '--top=2'), '--top is no flag of render'),
    (('evaluate',), 'expected one of --submission=DIR, --all and'),
    (('evaluate', '--submission=nobody'), 'no such folder'),
    (('evaluate', '--all', '--submitted=2026-01-01'), 'add a time zone'),
    (('baseline', '--challenge=nowhere'), 'nowhere/challenge.toml: no such'),
    (('publish',), '--result is missing'),
  ],
)
def test_wrong_arguments_are_one_line(hosted, arguments, sentence):
  assert sentence in leaderboard(*arguments, folder=hosted, code=1)


def test_the_original_baseline_is_what_nobody_measured():
  assert (
    measurements.BaselineRecord(44.7, 23.5, 69.76, 'challenge')
    == scoring.CHALLENGE_BASELINE
  )
