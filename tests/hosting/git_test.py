"""Git as it is run in a stranger's repository, or on the way to a server."""

import base64
import http.server
import threading

import pytest

from tests.hosting import commits
from tfcompress.hosting import git


@pytest.fixture
def repository(tmp_path):
  return commits.repository(tmp_path / 'repository', {'a/b': b'12', 'c': b''})


def test_a_tree_and_what_is_in_it(repository):
  sha = commits.git(repository, 'rev-parse', 'HEAD')
  found = git.tree(repository, sha)
  assert found['c'] == git.TreeEntry(
    '100644', 'blob', 'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391', 0
  )
  assert (found['a'].kind, found['a'].size) == ('tree', 0)
  assert git.tree(repository, found['a'].sha)['b'].size == 2


def test_errors_are_one_line(repository):
  with pytest.raises(ValueError, match='^git ls-tree: fatal: ') as error:
    git.tree(repository, '0' * 40)
  assert '\n' not in str(error.value)
  with pytest.raises(ValueError, match='expected 40 or 64 hex digits'):
    git.tree(repository, '--help')
  with pytest.raises(ValueError, match='^git cat-file: error: .* commit type'):
    git.require_commit(repository, commits.blob(repository, b'no commit'))


def test_neither_hooks_nor_the_callers_variables_count(
  repository, tmp_path, monkeypatch
):
  other = commits.repository(tmp_path / 'other', {'x': b'x'})
  monkeypatch.setenv('GIT_DIR', str(other / '.git'))
  hook = repository / '.git/hooks/post-checkout'
  hook.write_text(f'#!/bin/sh\ntouch {tmp_path}/hooked\n')
  hook.chmod(0o755)
  git.run(repository, 'checkout', '--quiet', '--detach')
  assert git.run(repository, 'ls-files').split() == ['a/b', 'c']
  assert not (tmp_path / 'hooked').exists()
  commits.git(repository, 'checkout', '--quiet', '--detach')
  assert (tmp_path / 'hooked').exists()  # It works without us.


def test_one_server_alone_sees_the_token(repository):
  seen = []

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      seen.append(self.headers['Authorization'])
      self.send_error(404)

    def log_message(self, *_):
      pass

  with http.server.HTTPServer(('127.0.0.1', 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f'http://127.0.0.1:{server.server_port}'
    for own in (url, 'https://github.com'):
      with pytest.raises(ValueError, match='^git fetch: fatal: ') as error:
        git.run(repository, 'fetch', f'{url}/x.git', token='t0ken', server=own)
      assert 't0ken' not in str(error.value)
    server.shutdown()
    thread.join()
  basic = base64.b64encode(b'x-access-token:t0ken').decode()
  assert seen[0] == f'Basic {basic}'
  assert len(seen) > 1 and set(seen[1:]) == {None}
  assert 't0ken' not in (repository / '.git/config').read_text()
