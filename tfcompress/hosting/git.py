"""Git, run so that nothing which strangers wrote commands it.

Their names reach no shell, and their files no folder: trees are listed and
files read as objects of the repository, which neither checks them out nor
heeds their attributes, hooks or submodules.
"""

from __future__ import annotations

import base64
import dataclasses
import os
import re
import subprocess
from typing import BinaryIO

_SECONDS = 600.0  # that one call may take
_SHA = re.compile('[0-9a-f]{40}|[0-9a-f]{64}')
_SETTINGS = {
  'core.hooksPath': '/dev/null',
  'core.fsmonitor': 'false',
  'protocol.ext.allow': 'never',
  'submodule.recurse': 'false',
  'commit.gpgSign': 'false',
  # As whom it commits: the account that a workflow's comments are of, too.
  'user.name': 'github-actions[bot]',
  'user.email': '41898282+github-actions[bot]@users.noreply.github.com',
}
_VARIABLES = {
  'GIT_CONFIG_NOSYSTEM': '1',
  'GIT_LITERAL_PATHSPECS': '1',
  'GIT_NO_REPLACE_OBJECTS': '1',
  'GIT_TERMINAL_PROMPT': '0',
  'LC_ALL': 'C',
}


@dataclasses.dataclass(frozen=True)
class TreeEntry:
  """What a name in a tree stands for.

  Attributes:
    mode: six octal digits, such as '100644' of a plain file.
    kind: 'blob', 'tree' or 'commit', the last of a submodule.
    sha: of the object.
    size: in bytes; 0 of what is no blob.
  """

  mode: str
  kind: str
  sha: str
  size: int


def run(
  repository: str | os.PathLike,
  *arguments: str,
  into: BinaryIO | None = None,
  token: str = '',
  server: str = 'https://github.com',
) -> str:
  """Runs git in a repository's folder.

  Args:
    repository: the folder.
    *arguments: of git, the first names what it is to do.
    into: a file that takes its output, which is '' then.
    token: that `server` lets it in with; no other server sees it, nor does a
      file or the list of processes.
    server: its address.

  Returns:
    Its output; what is no UTF-8 in it is as `os.fsdecode` has it.

  Raises:
    ValueError: it fails, or takes too long.
  """
  try:
    done = subprocess.run(
      ['git', '-C', os.fspath(repository), *arguments],
      stdin=subprocess.DEVNULL,
      stdout=into or subprocess.PIPE,
      stderr=subprocess.PIPE,
      env=_environment(token, server),
      timeout=_SECONDS,
      check=False,
    )
  except subprocess.TimeoutExpired as error:
    raise ValueError(
      f'git {arguments[0]}: not done after {_SECONDS:g} s'
    ) from error
  if done.returncode:
    raise ValueError(f'git {arguments[0]}: {_complaint(done)}')
  return os.fsdecode(done.stdout or b'')


def require_sha(sha: object, name: str) -> str:
  """Returns an object's name; raises ValueError if it is none."""
  if not isinstance(sha, str) or not _SHA.fullmatch(sha):
    raise ValueError(f'{name}: expected 40 or 64 hex digits, got {sha!r:.60}')
  return sha


def require_commit(repository: str | os.PathLike, sha: str) -> None:
  """Raises ValueError unless the repository has a commit of this name."""
  require_sha(sha, 'commit')
  run(repository, 'cat-file', '-e', f'{sha}^{{commit}}')


def tree(repository: str | os.PathLike, sha: str) -> dict[str, TreeEntry]:
  """Returns what a tree, or a commit's, holds by name, without its subtrees'.

  Raises:
    ValueError: there is no such tree, or it has a name twice.
  """
  require_sha(sha, 'tree')
  listed = run(repository, 'ls-tree', '-z', '-l', '--full-tree', sha)
  entries = {}
  for line in filter(None, listed.split('\0')):
    described, _, name = line.partition('\t')
    mode, kind, of_object, size = described.split()
    if name in entries:
      raise ValueError(f'tree {sha}: {name!r} is there twice')
    size = int(size) if size.isdigit() else 0
    entries[name] = TreeEntry(mode, kind, of_object, size)
  return entries


def _environment(token: str, server: str) -> dict[str, str]:
  """Ours without what a caller's git left in it, such as GIT_DIR."""
  settings = dict(_SETTINGS)
  if token:
    login = base64.b64encode(f'x-access-token:{token}'.encode()).decode()
    settings[f'http.{server}/.extraheader'] = f'Authorization: Basic {login}'
  numbered = {'GIT_CONFIG_COUNT': str(len(settings))}
  for number, (key, value) in enumerate(settings.items()):
    numbered[f'GIT_CONFIG_KEY_{number}'] = key
    numbered[f'GIT_CONFIG_VALUE_{number}'] = value
  inherited = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith('GIT_')
  }
  return inherited | _VARIABLES | numbered


def _complaint(done: subprocess.CompletedProcess) -> str:
  """The line of its errors that says why."""
  lines = done.stderr.decode(errors='replace').strip().splitlines()
  telling = [
    line for line in lines if line.startswith(('fatal:', 'error:', ' !'))
  ]
  return (telling or lines or [f'exit code {done.returncode}'])[0].strip()
