"""Repositories, and commits that no well-meaning git would make."""

import hashlib
import os
import pathlib
import subprocess

FILE, LINK, SUBMODULE, TREE = '100644', '120000', '160000', '40000'
_ENVIRONMENT = {
  **{k: v for k, v in os.environ.items() if not k.startswith('GIT_')},
  'GIT_CONFIG_GLOBAL': '/dev/null',
  'GIT_CONFIG_NOSYSTEM': '1',
  'GIT_AUTHOR_NAME': 'somebody',
  'GIT_AUTHOR_EMAIL': 'somebody@example.org',
  'GIT_COMMITTER_NAME': 'somebody',
  'GIT_COMMITTER_EMAIL': 'somebody@example.org',
}


def git(folder: pathlib.Path, *arguments: str, stdin: bytes = b'') -> str:
  done = subprocess.run(
    ['git', '-C', str(folder), *arguments],
    input=stdin,
    capture_output=True,
    check=True,
    env=_ENVIRONMENT,
  )
  return done.stdout.decode().strip()


def blob(folder: pathlib.Path, content: bytes) -> str:
  return git(folder, 'hash-object', '-w', '--stdin', stdin=content)


def raw_tree(folder: pathlib.Path, *entries: tuple[str, str, str]) -> str:
  """A tree of modes, names and objects, as they are given."""
  content = b''.join(
    f'{mode} {name}\0'.encode() + bytes.fromhex(sha)
    for mode, name, sha in entries
  )
  object_ = b'tree %d\0' % len(content) + content
  arguments = '-t', 'tree', '-w', '--literally', '--stdin'
  sha = git(folder, 'hash-object', *arguments, stdin=content)
  assert sha == hashlib.sha1(object_).hexdigest()
  return sha


def commit_tree(folder: pathlib.Path, tree: str, *parents: str) -> str:
  of = [word for parent in parents for word in ('-p', parent)]
  return git(folder, 'commit-tree', *of, '-m', 'a commit', tree)


def commit(
  folder: pathlib.Path,
  files: dict[str, bytes | tuple[str, str] | None],
  parent: str | None = 'HEAD',
) -> str:
  """Adds files to a commit's, checking nothing out.

  Args:
    folder: of the repository.
    files: by path; a mode and an object in place of the content of a file, and
      None for one that is to go.
    parent: None for a commit that has none.
  """
  lines = []
  for path, content in files.items():
    mode, sha = FILE, '0' * 40
    if isinstance(content, tuple):
      mode, sha = content
    elif content is None:
      mode = '0'
    else:
      sha = blob(folder, content)
    lines.append(f'{mode} {sha}\t{path}\0'.encode())
  of = [parent] if parent else []
  git(folder, 'read-tree', *(of or ['--empty']))
  git(folder, 'update-index', '-z', '--index-info', stdin=b''.join(lines))
  return commit_tree(folder, git(folder, 'write-tree'), *of)


def repository(folder: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
  """A repository whose branch main has some files, in a new folder."""
  folder.mkdir()
  git(folder, 'init', '--quiet', '--initial-branch=main')
  sha = commit(folder, files, parent=None)
  git(folder, 'reset', '--quiet', '--hard', sha)
  return folder


def event(sha: str, login: str = 'ada', number: int = 7) -> dict:
  """What GitHub says of a pull request, as far as anybody reads it."""
  return {
    'action': 'synchronize',
    'number': number,
    'pull_request': {
      'number': number,
      'user': {'login': login, 'type': 'User'},
      'head': {'sha': sha, 'ref': '"; touch pwned; $(touch pwned) `id`'},
      'base': {'ref': 'main'},
      'title': '$(touch pwned)\n::set-output name=x::y',
      'updated_at': '2026-11-20T23:30:00Z',
    },
    'repository': {'default_branch': 'main', 'full_name': 'host/challenge'},
  }
