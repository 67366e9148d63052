"""What may come in a pull request, and what comes in instead."""

import dataclasses
import stat

import pytest

from tests.hosting import commits
from tfcompress.core import challenges
from tfcompress.hosting import pull_request

CHALLENGE = challenges.Challenge(limits=challenges.Limits(model_mib=1))
MODEL = b'\x00\r\n\xff$Id$ a model'
BASE = {
  'README.md': b'the rules\n',
  'history.jsonl': b'',
  'submissions/bob/model.tflite': b"bob's",
  'submissions/bob/metadata.json': b'{}',
}
KELVIN, CYRILLIC_A = '\u212a', '\u0430'


@pytest.fixture
def repository(tmp_path):
  return commits.repository(tmp_path / 'repository', BASE)


def propose(repository, sha, login='ada', target=None):
  target = target or repository.parent / 'proposed'
  event = commits.event(sha, login)
  proposed = pull_request.proposal(event, repository, CHALLENGE, target)
  assert pull_request.read(target) == proposed
  assert not list(repository.parent.rglob('pwned'))
  return proposed, target


def refusal(repository, sha, login='ada') -> str:
  proposed, target = propose(repository, sha, login)
  assert [path.name for path in target.iterdir()] == ['proposal.json']
  assert proposed.refusal.isprintable()
  return proposed.refusal


def test_a_submission_is_taken_out_as_it_was_committed(repository):
  program = '100755', commits.blob(repository, b'import os\n')
  sha = commits.commit(
    repository,
    {
      'submissions/ada/model.saved_model/saved_model.pb': MODEL,
      'submissions/ada/model_loader.py': program,
      'submissions/ada/.gitattributes': b'* text eol=crlf ident filter=lfs\n',
      'submissions/ada/$(touch pwned)`touch pwned`;"\'': b'a name',
    },
  )
  proposed, target = propose(repository, sha)
  assert proposed == pull_request.Proposal(
    7, 'ada', sha, '2026-11-20T23:30:00+00:00'
  )
  folder = pull_request.submission_of(proposed, target)
  assert folder == target / 'submissions' / 'ada'
  found = {
    str(path.relative_to(folder)): path.read_bytes()
    for path in folder.rglob('*')
    if path.is_file()
  }
  assert found == {
    'model.saved_model/saved_model.pb': MODEL,
    'model_loader.py': b'import os\n',
    '.gitattributes': b'* text eol=crlf ident filter=lfs\n',
    '$(touch pwned)`touch pwned`;"\'': b'a name',
  }
  mode = stat.S_IMODE((folder / 'model_loader.py').stat().st_mode)
  assert not mode & 0o111


@pytest.mark.parametrize(
  ('change', 'named'),
  [
    ({'README.md': b'other rules'}, 'README.md'),
    ({'history.jsonl': None}, 'history.jsonl'),
    ({'.github/workflows/a.yml': b'on: push'}, '.github/workflows/a.yml'),
    ({'.gitmodules': b'[submodule]'}, '.gitmodules'),
    ({'submissions/bob/model.tflite': MODEL}, 'submissions/bob/model.tflite'),
    ({'submissions/bob/metadata.json': None}, 'submissions/bob/metadata.json'),
    ({'submissions/x': b'a file'}, 'submissions/x'),
    ({'Submissions/ada/x': b'x'}, 'Submissions/ada/x'),
    ({'submissions ': b'x'}, 'submissions '),
    ({f'submissions/{CYRILLIC_A}da/x': b'x'}, f'submissions/{CYRILLIC_A}da/x'),
    ({'submissions/ada /x': b'x'}, 'submissions/ada /x'),
    ({'submissions/ada\n/x': b'x'}, 'submissions/ada\ufffd/x'),
    ({'submissions/$(touch pwned)/x': b'x'}, 'submissions/$(touch pwned)/x'),
    ({'submissions/`touch pwned`': b'x'}, 'submissions/`touch pwned`'),
    ({'\x1b[2Jx': b'x'}, '\ufffd[2Jx'),
    ({'--output=pwned': b'x'}, '--output=pwned'),
  ],
)
def test_changes_elsewhere(change, named, repository):
  own = {'submissions/ada/model.tflite': MODEL}
  sentence = refusal(repository, commits.commit(repository, own | change))
  assert sentence.startswith(
    f'{named}: a pull request of ada may change files under submissions/ada/'
  )


def test_modes_and_kinds_of_others_are_theirs(repository):
  theirs = commits.git(repository, 'rev-parse', 'HEAD:README.md')
  change = {'submissions/bob/model.tflite': ('100755', theirs)}
  sentence = refusal(repository, commits.commit(repository, change))
  assert sentence.startswith('submissions/bob/model.tflite: ')
  change = {f'submissions/bob/{name}': None for name in ('model.tflite', 'metadata.json')}  # fmt: skip
  change['submissions/ada'] = b'a file'
  sentence = refusal(repository, commits.commit(repository, change))
  assert sentence.startswith('submissions/ada: ')


def test_a_link_in_place_of_all_submissions(repository):
  change = dict.fromkeys(path for path in BASE if path.startswith('submis'))
  change['submissions'] = commits.LINK, commits.blob(repository, b'/')
  sentence = refusal(repository, commits.commit(repository, change))
  assert sentence.startswith('submissions: a pull request of ada may change')


def test_a_letter_that_becomes_the_same_in_lower_case(repository):
  assert f'{KELVIN}aren'.lower() == 'karen'
  sha = commits.commit(repository, {f'submissions/{KELVIN}aren/x': b'x'})
  assert refusal(repository, sha, 'karen').startswith('submissions/')


def test_names_on_github_have_no_case(repository):
  sha = commits.commit(repository, {'submissions/AdA/model.tflite': MODEL})
  proposed, target = propose(repository, sha, 'aDa')
  assert (proposed.author, proposed.refusal) == ('AdA', '')
  written = pull_request.submission_of(proposed, target) / 'model.tflite'
  assert written.read_bytes() == MODEL


def test_one_participant_has_one_folder(repository):
  twice = {'submissions/Ada/x': b'x', 'submissions/ada/x': b'x'}
  sentence = refusal(repository, commits.commit(repository, twice))
  assert 'folders Ada and ada under submissions/' in sentence


@pytest.mark.parametrize(
  ('mode', 'what'),
  [(commits.LINK, 'is a link'), (commits.SUBMODULE, 'is a submodule')],
)
def test_what_is_no_file(mode, what, repository):
  sha = commits.git(repository, 'rev-parse', 'HEAD')
  if mode == commits.LINK:
    sha = commits.blob(repository, b'../bob/model.tflite')
  change = {'submissions/ada/model.tflite': (mode, sha)}
  sentence = refusal(repository, commits.commit(repository, change))
  assert sentence.startswith(f'submissions/ada/model.tflite {what}')


def with_own_folder(repository, *entries) -> str:
  """A commit of raw entries in the author's folder."""
  tree = lambda spec: commits.git(repository, 'rev-parse', f'HEAD{spec}')
  own = commits.raw_tree(repository, *entries)
  submissions = commits.raw_tree(
    repository,
    (commits.TREE, 'ada', own),
    (commits.TREE, 'bob', tree(':submissions/bob')),
  )
  root = commits.raw_tree(
    repository,
    (commits.FILE, 'README.md', tree(':README.md')),
    (commits.FILE, 'history.jsonl', tree(':history.jsonl')),
    (commits.TREE, 'submissions', submissions),
  )
  return commits.commit_tree(repository, root, tree(''))


@pytest.mark.parametrize('name', ['../bob/x', '..', '.git', '.GIT', 'a\nb', '\\x'])  # fmt: skip
def test_names_that_lead_elsewhere(name, repository):
  blob = commits.blob(repository, b'x')
  sha = with_own_folder(repository, (commits.FILE, name, blob))
  sentence = refusal(repository, sha)
  assert 'has a name that no file may have' in sentence
  assert (repository / 'submissions/bob/model.tflite').read_bytes() == b"bob's"


def test_a_name_that_is_there_twice(repository):
  blobs = [commits.blob(repository, content) for content in (b'1', b'2')]
  sha = with_own_folder(repository, *((commits.FILE, 'x', b) for b in blobs))
  assert 'is there twice' in refusal(repository, sha)


@pytest.mark.parametrize('place', ['ada', 'bob'])
def test_a_tree_that_has_itself_in_it_a_billion_times(place, repository):
  tree = commits.raw_tree(
    repository, (commits.FILE, 'x', commits.blob(repository, b'x'))
  )
  for _ in range(30):
    entries = [(commits.TREE, name, tree) for name in 'ab']
    tree = commits.raw_tree(repository, *entries)
  root = commits.raw_tree(
    repository,
    (
      commits.TREE,
      'submissions',
      commits.raw_tree(repository, (commits.TREE, place, tree)),
    ),
  )
  commits.git(repository, 'reset', '--hard', commits.commit(repository, {}, None))  # fmt: skip
  sha = commits.commit_tree(repository, root, 'HEAD')
  sentence = refusal(repository, sha)
  expected = 'expected at most' if place == 'ada' else 'may change files under'
  assert expected in sentence and f'submissions/{place}/' in sentence


def test_files_that_are_too_large_together(repository):
  change = {f'submissions/ada/{n}': b'%d' % n * (3 * 2**20) for n in (1, 2)}
  sentence = refusal(repository, commits.commit(repository, change))
  assert sentence.startswith('submissions/ada: 6.0 MiB, limit 1 MiB')


def test_a_pointer_of_git_lfs(repository):
  pointer = (
    b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'
  )
  change = {'submissions/ada/model.tflite': pointer}
  sentence = refusal(repository, commits.commit(repository, change))
  assert 'submissions/ada/model.tflite is a Git LFS pointer' in sentence


def test_own_files_may_go_but_not_all(repository):
  files = {'submissions/ada/a': b'a', 'submissions/ada/b': b'b'}
  both = commits.commit(repository, files)
  commits.git(repository, 'reset', '--quiet', '--hard', both)
  less = commits.commit(repository, {'submissions/ada/a': None})
  proposed, target = propose(repository, less)
  assert not proposed.refusal
  folder = pull_request.submission_of(proposed, target)
  assert [path.name for path in folder.iterdir()] == ['b']
  none = commits.commit(repository, dict.fromkeys(files))
  proposed, _ = propose(repository, none, target=target.with_name('none'))
  assert 'there is nothing to evaluate' in proposed.refusal


def test_what_others_did_meanwhile_is_no_change(repository):
  sha = commits.commit(repository, {'submissions/ada/model.tflite': MODEL})
  newer = {'README.md': b'newer', 'submissions/eve/model.pt': b'x'}
  later = commits.commit(repository, newer)
  commits.git(repository, 'reset', '--quiet', '--hard', later)
  assert not propose(repository, sha)[0].refusal


def test_commits_that_have_nothing_in_common(repository):
  files = {'submissions/ada/model.tflite': MODEL}
  sha = commits.commit(repository, files, parent=None)
  assert 'no commit in common' in refusal(repository, sha)
  with pytest.raises(ValueError, match='^git cat-file: fatal: '):
    propose(repository, 'a' * 40)


@pytest.mark.parametrize(
  ('changed', 'message'),
  [
    ({'number': 0}, 'pull request 0: expected a number above 0'),
    ({'number': '7; id'}, "pull request '7; id': expected a number"),
    ({'user': {'login': 'dependabot[bot]'}}, 'from a person'),
    ({'user': {'login': '../bob'}}, 'expected letters'),
    ({'user': {'login': 'ada\n'}}, 'expected letters'),
    ({'user': None}, 'no event of a pull request'),
    ({'head': {'sha': '--help'}}, 'expected 40 or 64 hex digits'),
    ({'head': {'sha': 'main'}}, 'expected 40 or 64 hex digits'),
    ({'updated_at': 'now'}, 'no event of a pull request'),
    ({'updated_at': '2026-11-20T23:30:00'}, 'expected a time zone'),
    (None, 'no event of a pull request'),
  ],
)
def test_events_of_something_else(changed, message):
  event = commits.event('a' * 40)
  told = event['pull_request']
  event['pull_request'] = changed if changed is None else told | changed
  with pytest.raises(ValueError, match=message) as error:
    pull_request.of_event(event)
  assert '\n' not in str(error.value)


def test_a_proposal_is_read_as_it_was_written(tmp_path):
  proposed = pull_request.of_event(commits.event('a' * 40))
  proposed = pull_request.refused(proposed, ValueError('a\x1b[2J\nb'))
  assert proposed.refusal == 'a\ufffd[2J\ufffdb'
  pull_request.write(proposed, tmp_path)
  assert pull_request.read(tmp_path) == proposed
  forged = dataclasses.replace(proposed, author='../bob')
  pull_request.write(forged, tmp_path)
  with pytest.raises(ValueError, match='no proposal'):
    pull_request.read(tmp_path)
