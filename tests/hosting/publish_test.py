"""Results that come to the repository, and those that do not."""

import concurrent.futures
import dataclasses
import json
import subprocess
import sys
import time

import pytest

from tests.hosting import commits
from tests.hosting.api import serve
from tests.reports import sample_records
from tfcompress.competition import history, rules
from tfcompress.core import challenges, records
from tfcompress.hosting import artifact, publish, pull_request, repository

SHA = 'a' * 40
AT = '2026-11-20T23:30:00+00:00'
FAILED = challenges.Entry(
  id='7-first',
  username='ada',
  teamname='Engine',
  model_format='tflite',
  submitted=AT,
  evaluated='2026-11-20T23:40:00+00:00',
  status=challenges.Status.FAILED,
  reason='two models in it',
  pull_request=7,
)


def write(folder, entry=FAILED, record=None, sha=SHA):
  """Writes what the first workflow hands over."""
  folder.mkdir()
  number, author = entry.pull_request, entry.username
  proposed = pull_request.Proposal(number, author, sha, entry.submitted)
  pull_request.write(proposed, folder)
  entry = repository.with_record(folder, entry, record)
  records.write_json(folder / artifact.RESULT, entry)
  return folder / artifact.RESULT


def ranked(entry=FAILED, **changes) -> challenges.Entry:
  record = sample_records.four()[1]
  latency = dataclasses.replace(record.latency_ms, samples=())
  changes = {'status': challenges.Status.RANKED, 'reason': ''} | changes
  return dataclasses.replace(
    entry, record=dataclasses.replace(record, latency_ms=latency), **changes
  )


@pytest.fixture(scope='module')
def origin(tmp_path_factory):
  """What GitHub has of a challenge: no files are checked out."""
  root = tmp_path_factory.mktemp('hosting')
  files = {
    'challenge.toml': rules.text(challenges.Challenge()).encode(),
    'submissions/ada/model.tflite': b'a model',
    'history.jsonl': b'',
  }
  first = commits.repository(root / 'first', files)
  commits.git(root, 'clone', '--quiet', '--bare', str(first), 'origin.git')
  return root / 'origin.git'


@pytest.fixture
def folder(origin, tmp_path):
  """A clone as a workflow has it, of an origin of its own."""
  own = tmp_path / 'origin.git'
  commits.git(tmp_path, 'clone', '--quiet', '--bare', str(origin), str(own))
  commits.git(tmp_path, 'clone', '--quiet', f'file://{own}', 'clone')
  return tmp_path / 'clone'


@pytest.fixture
def api(monkeypatch):
  with serve() as found:
    for name, value in found.environment().items():
      monkeypatch.setenv(name, value)
    found.authors, found.heads = {7: 'ada'}, {7: SHA}
    yield found


def pushed(folder, path: str) -> str:
  return commits.git(folder.parent / 'origin.git', 'show', f'main:{path}')


def ids(folder) -> list[str]:
  lines = pushed(folder, 'history.jsonl').splitlines()
  return [json.loads(line)['entry']['id'] for line in lines]


def test_a_result_is_pushed_and_told(folder, api, tmp_path):
  record = sample_records.four()[1]
  result = write(tmp_path / 'result', ranked(), record)
  (folder / 'history.jsonl').write_text("the host's own change\n")
  entry = publish.publish(folder, result)
  assert ids(folder) == ['7-first']
  content = pushed(folder, 'records/7-first.json').encode() + b'\n'
  assert content == (result.parent / 'records/7-first.json').read_bytes()
  assert 'Engine' in pushed(folder, 'LEADERBOARD.md')
  (comment,) = api.texts(7)
  assert f'{entry.record.score.final:.4f}'[:5] in comment
  log = commits.git(folder.parent / 'origin.git', 'log', '-2', '--format=%an|%s', 'main')  # fmt: skip
  assert log.splitlines() == [
    'github-actions[bot]|Result of ada: ranked (7-first)',
    'somebody|a commit',
  ]
  # What was checked out is as it was, and no worktree is left.
  assert (folder / 'history.jsonl').read_text() == "the host's own change\n"
  assert len(commits.git(folder, 'worktree', 'list').splitlines()) == 1


def test_the_same_result_again_changes_nothing(folder, api, tmp_path):
  result = write(tmp_path / 'result')
  publish.publish(folder, result)
  before = commits.git(folder.parent / 'origin.git', 'rev-parse', 'main')
  publish.publish(folder, result)
  after = commits.git(folder.parent / 'origin.git', 'rev-parse', 'main')
  assert before == after
  (comment,) = api.texts(7)
  assert 'two models in it' in comment


def test_without_a_push_the_folder_alone_changes(folder, tmp_path):
  record = sample_records.four()[1]
  result = write(tmp_path / 'result', ranked(), record)
  publish.publish(folder, result, push=False)
  entries = history.read(folder / 'history.jsonl').entries
  assert [entry.id for entry in entries] == ['7-first']
  assert (folder / 'records/7-first.json').exists()
  assert ids(folder) == []


@pytest.mark.long
def test_eight_results_at_the_same_moment(folder, api, tmp_path, monkeypatch):
  monkeypatch.setattr(publish, '_MOST_SECONDS', 0.3)
  clones, results = [], []
  for number in range(1, 9):
    commits.git(tmp_path, 'clone', '--quiet', '--depth=1', f'file://{folder.parent}/origin.git', f'{number}')  # fmt: skip
    clones.append(tmp_path / str(number))
    entry = dataclasses.replace(
      FAILED, id=f'{number}-x', username=f'ada{number}', pull_request=number
    )
    results.append(write(tmp_path / f'result{number}', entry))
    api.authors[number], api.heads[number] = f'Ada{number}', SHA
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(publish.publish, clones, results))
  expected = [f'{number}-x' for number in range(1, 9)]
  assert sorted(ids(folder)) == expected
  commits.git(folder, 'pull', '--quiet')
  found = history.read(folder / 'history.jsonl')
  assert not found.damage and len(found.entries) == 8
  page = (folder / 'LEADERBOARD.md').read_text()
  assert all(f'ada{number}' in page for number in range(1, 9))
  assert all(len(api.texts(number)) == 1 for number in range(1, 9))


def test_a_publisher_that_is_killed_and_begins_again(folder, api, tmp_path):
  result = write(tmp_path / 'result')
  program = (
    'from tfcompress.hosting import publish; import sys; print(1, flush=True);'
    'publish.publish(*sys.argv[1:])'
  )
  command = [sys.executable, '-c', program, str(folder), str(result)]
  for seconds in (0.02, 0.05, 0.1, 0.15, 0.2):
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
      process.stdout.readline()  # What it imports is there.
      time.sleep(seconds)
      process.kill()
  publish.publish(folder, result)
  assert ids(folder) == ['7-first']
  assert len(api.texts(7)) == 1


def test_a_later_commit_is_not_told_of_an_earlier_one(folder, api, tmp_path):
  api.heads[7] = 'b' * 40
  publish.publish(folder, write(tmp_path / 'result'))
  assert ids(folder) == ['7-first'] and not api.comments


def test_a_pull_request_of_somebody_else(folder, api, tmp_path):
  api.authors[7] = 'bob'
  with pytest.raises(ValueError, match='of ada, but pull request 7 is of bob'):
    publish.publish(folder, write(tmp_path / 'result'))
  del api.authors[7]
  with pytest.raises(ValueError, match='GitHub: GET pulls/7: 404'):
    publish.publish(folder, write(tmp_path / 'again'))
  assert ids(folder) == [] and not api.comments


def test_a_branch_that_takes_nothing(folder, api, tmp_path):
  hook = folder.parent / 'origin.git/hooks/pre-receive'
  hook.write_text(f'#!/bin/sh\necho asked >> {tmp_path}/asked\nexit 1\n')
  hook.chmod(0o755)
  with pytest.raises(ValueError, match='hook declined') as error:
    publish.publish(folder, write(tmp_path / 'result'))
  assert '\n' not in str(error.value) and not api.comments
  assert (tmp_path / 'asked').read_text() == 'asked\n'  # Once, for it is final.
  assert len(commits.git(folder, 'worktree', 'list').splitlines()) == 1


RANKED = records.to_json(ranked())


def with_score(**changes) -> dict:
  score = RANKED['record']['score'] | changes
  return {'record': RANKED['record'] | {'score': score}}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'id': '../../x'}, 'id'),
    ({'id': 'a\nb'}, 'id'),
    ({'username': 'bob'}, "of 'bob', expected ada"),
    ({'pull_request': 8}, 'of pull request 8, expected 7'),
    ({'pull_request': None}, 'of pull request None, expected 7'),
    ({'submitted': '2020-01-01T00:00:00+00:00'}, 'submitted 2020'),
    ({'submitted': 'yesterday'}, 'Invalid isoformat'),
    ({'evaluated': '2026-11-20T23:40:00'}, 'without a time zone'),
    ({'status': 'won'}, "'won' is not a valid Status"),
    ({'status': 'failed'}, 'failed, but without a reason'),
    ({'record': None}, 'ranked, but without a score'),
    ({'reason': 'x' * 2001}, 'reason'),
    ({'reason': 'a\x1b[2J'}, 'reason'),
    ({'teamname': 'a\nb'}, 'teamname'),
    ({'sha256': 'abc'}, 'sha256'),
    ({'record_sha256': '0' * 64}, 'records/7-first.json: cannot be read'),
    ({'schema_version': 2}, 'schema version 2'),
    (with_score(final=None), 'ranked, but without a score'),
    (with_score(final=float('inf')), 'inf is no number'),
    (with_score(final=10**400), 'too large'),
    (with_score(final='9'), 'expected float'),
    ({'record': []}, 'expected dict'),
  ],
)
def test_results_that_no_evaluation_writes(changes, message, tmp_path):
  result = write(tmp_path / 'result', ranked())
  text = json.dumps(RANKED | changes).replace('Infinity', '1e999')
  result.write_text(text)
  with pytest.raises(ValueError, match='result.json: no ') as error:
    artifact.read(result)
  assert message in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('', 'not a JSON file'),
    ('[]', 'expected a JSON object'),
    ('{"a": NaN}', 'NaN is no JSON'),
    ('{"a":' * 30 + '1' + '}' * 30, 'nested more than 16 deep'),
    ('[' * 100_000, 'not a JSON file'),
    ('"' + 'x' * 2**23 + '"', 'larger than 4096 KiB'),
  ],
)
def test_files_that_hold_no_result(content, message, tmp_path):
  result = write(tmp_path / 'result')
  result.write_text(content)
  with pytest.raises(ValueError, match=message):
    artifact.read(result)
  result.unlink()
  result.symlink_to('/etc/passwd')
  with pytest.raises(ValueError, match='cannot be read'):
    artifact.read(result)


def test_another_record_than_that_of_the_entry(tmp_path):
  record = sample_records.four()[1]
  result = write(tmp_path / 'result', ranked(), record)
  path = result.parent / 'records/7-first.json'
  assert artifact.read(result).record == path.read_bytes()
  path.write_bytes(path.read_bytes() + b'\n')
  with pytest.raises(ValueError, match='another file than that of the entry'):
    artifact.read(result)
