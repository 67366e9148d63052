"""Private images, from servers that are not always well."""

import dataclasses
import hashlib
import importlib.util
import io
import os
import pathlib
import socket
import subprocess
import sys
import tarfile
import time
import zipfile

import numpy as np
import pytest

from tests import needs
from tests.hosting import web
from tfcompress.core import challenges
from tfcompress.hosting import downloads, fetch

IMAGES = {
  f'validation/{name}/{index}.png': np.random.RandomState(index).bytes(50_000)
  for name in ('blue', 'red')
  for index in range(2)
}
TARGET = pathlib.Path('data/private')


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
  monkeypatch.setattr(downloads, '_WAIT_SECONDS', 0.01)
  monkeypatch.setenv('no_proxy', '127.0.0.1')


def zipped(files=IMAGES) -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w') as archive:
    for name, content in files.items():
      archive.writestr(name, content)
  return file.getvalue()


def challenge(source: str, content: bytes, **fields) -> challenges.Challenge:
  data = challenges.Data(
    dataset=f'folder:{TARGET}',
    source=source,
    sha256=hashlib.sha256(content).hexdigest(),
  )
  data = dataclasses.replace(data, **fields)
  return dataclasses.replace(challenges.Challenge(), data=data)


def refusal(found: challenges.Challenge, repository: pathlib.Path) -> str:
  """The sentence that fetching ends on; nothing half is there."""
  with pytest.raises(ValueError) as error:
    fetch.fetch(found, repository)
  assert not (repository / TARGET / 'validation').exists()
  sentence = str(error.value)
  assert sentence.isprintable()
  return sentence


def test_images_are_fetched_once(tmp_path, capsys):
  content = zipped()
  with web.serve(content) as server:
    wanted = challenge(server.url, content)
    folder = fetch.fetch(wanted, tmp_path)
    assert folder == tmp_path / TARGET
    assert web.files_of(folder) == IMAGES
    assert fetch.fetch(wanted, tmp_path) == folder
  assert 'is there already' in capsys.readouterr().out
  assert server.starts == [0]
  assert [path.name for path in folder.parent.iterdir()] == ['private']


def test_git_does_not_see_them(tmp_path):
  content = zipped()
  subprocess.run(['git', 'init', '-q', tmp_path], check=True)
  with web.serve(content) as server:
    fetch.fetch(challenge(server.url, content), tmp_path)
  seen = subprocess.run(
    ['git', 'status', '--porcelain', '--untracked-files=all'],
    cwd=tmp_path, capture_output=True, check=True,
  )  # fmt: skip
  assert seen.stdout == b''


def test_other_images_take_their_place(tmp_path):
  with web.serve(zipped()) as server:
    fetch.fetch(challenge(server.url, server.content), tmp_path)
    server.content = zipped({'validation/green/0.png': b'new'})
    folder = fetch.fetch(challenge(server.url, server.content), tmp_path)
  assert web.files_of(folder) == {'validation/green/0.png': b'new'}


def test_an_only_folder_is_looked_through(tmp_path):
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode='w:gz') as archive:
    for name, content in (IMAGES | {'../__MACOSX/x': b'junk'}).items():
      name = os.path.normpath(f'images/{name}')
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))
  content = file.getvalue()
  with web.serve(content, 'images.tar.gz') as server:
    folder = fetch.fetch(challenge(server.url, content), tmp_path)
  assert web.files_of(folder) == IMAGES


def test_broken_connections_go_on_where_they_were(tmp_path, capsys):
  content = zipped()
  with web.serve(content) as server:
    server.break_after = [70_000, 10, 50_000]
    folder = fetch.fetch(challenge(server.url, content), tmp_path)
  assert web.files_of(folder) == IMAGES
  assert server.starts == [0, 70_000, 70_010, 120_010]
  assert 'download: 100%' in capsys.readouterr().err


def test_a_server_without_parts_begins_anew(tmp_path):
  content = zipped()
  with web.serve(content) as server:
    server.ranges, server.break_after = False, [70_000]
    folder = fetch.fetch(challenge(server.url, content), tmp_path)
  assert web.files_of(folder) == IMAGES
  assert server.starts == [0, 70_000]


def test_a_server_that_is_busy_or_stalls_for_a_while(tmp_path, monkeypatch):
  monkeypatch.setattr(downloads, '_TIMEOUT_SECONDS', 0.2)
  content = zipped()
  with web.serve(content) as server:
    server.status = 503
    sentence = refusal(challenge(server.url, content), tmp_path)
  assert '503' in sentence and 'it goes on from 0.0 MiB' in sentence
  with socket.create_server(('127.0.0.1', 0)) as silent:
    url = f'http://127.0.0.1:{silent.getsockname()[1]}/images.zip'
    sentence = refusal(challenge(url, content), tmp_path)
  assert 'not reached (timed out); check the network' in sentence


_KILLED = """
import pathlib, sys
from tests.hosting import fetch_test
from tfcompress.hosting import fetch
wanted = fetch_test.challenge(sys.argv[1], b'', sha256=sys.argv[2])
fetch.fetch(wanted, pathlib.Path(sys.argv[3]))
"""


def test_a_killed_download_goes_on(tmp_path):
  content = zipped()
  sha256 = hashlib.sha256(content).hexdigest()
  part = tmp_path / 'data' / '.private.fetch' / f'{sha256}.part'
  with socket.create_server(('127.0.0.1', 0)) as silent:
    url = f'http://127.0.0.1:{silent.getsockname()[1]}/images.zip'
    process = subprocess.Popen(
      [sys.executable, '-c', _KILLED, url, sha256, tmp_path]
    )
    connection, _ = silent.accept()
    with connection:
      connection.recv(4096)
      head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n'
      connection.sendall(head.encode() + content[:99_999])
      deadline = time.monotonic() + 10
      while not part.exists() or part.stat().st_size < 99_999:
        assert time.monotonic() < deadline
        time.sleep(0.01)
      process.kill()
      process.wait()
  assert not (tmp_path / TARGET).exists()
  with web.serve(content) as server:
    folder = fetch.fetch(challenge(server.url, content), tmp_path)
  assert server.starts == [99_999]
  assert web.files_of(folder) == IMAGES


def test_unpacking_that_was_killed_begins_anew(tmp_path):
  content = zipped()
  wanted = challenge('', content)
  work = tmp_path / 'data' / '.private.fetch'
  half = work / 'unpacked' / 'validation' / 'red'
  half.mkdir(parents=True)
  (half / 'old.png').write_bytes(b'half an image')
  (work / f'{wanted.data.sha256}.part').write_bytes(content)
  with web.serve(content) as server:
    folder = fetch.fetch(challenge(server.url, content), tmp_path)
  assert server.starts == [len(content)]  # There is no more.
  assert web.files_of(folder) == IMAGES
  assert not work.exists()


def test_a_wrong_checksum(tmp_path):
  content = zipped()
  with web.serve(content) as server:
    wanted = challenge(server.url, b'another')
    sentence = refusal(wanted, tmp_path)
    got = hashlib.sha256(content).hexdigest()
    assert f'SHA-256 {got}, expected {wanted.data.sha256}' in sentence
    refusal(wanted, tmp_path)
  assert server.starts == [0, 0]  # Nothing wrong is continued.


def test_an_address_that_leads_nowhere(tmp_path):
  with web.serve(b'text') as server:
    server.status = 404
    sentence = refusal(challenge(server.url, b''), tmp_path)
    assert sentence == (
      f'{server.url}: HTTP Error 404: Not Found; check data.source in '
      'challenge.toml'
    )
    server.status = 200
    for address in ('file:///etc/passwd', 'ftp://127.0.0.1/x', 'data:,x'):
      server.redirects['/images.zip'] = address
      assert '302' in refusal(challenge(server.url, b''), tmp_path)
    server.redirects['/images.zip'] = '/images.zip'
    assert 'infinite loop' in refusal(challenge(server.url, b''), tmp_path)
  sentence = refusal(challenge(server.url, b''), tmp_path)
  assert 'not reached' in sentence and 'check the network' in sentence


def test_a_redirection_within_the_web(tmp_path):
  content = zipped()
  with web.serve(content) as server:
    server.redirects['/images.zip'] = '/elsewhere?signed=1'
    folder = fetch.fetch(challenge(server.url, content), tmp_path)
  assert web.files_of(folder) == IMAGES


@pytest.mark.parametrize(
  ('fields', 'sentence'),
  [
    ({'source': 'file:///etc/passwd'}, 'expected an http or https URL'),
    ({'source': 'http://'}, 'expected an http or https URL'),
    ({'sha256': ''}, "data.sha256 is '', expected the 64 hexadecimal digits"),
    ({'dataset': 'synthetic100'}, 'expected folder:PATH'),
    ({'dataset': 'folder:.'}, 'holds the repository itself'),
    ({'dataset': 'folder:..'}, 'holds the repository itself'),
    ({'source': 'kaggle:name'}, 'expected kaggle:OWNER/NAME or'),
    ({'source': 'kaggle:../x'}, 'expected kaggle:OWNER/NAME or'),
  ],
)
def test_what_a_challenge_cannot_say(fields, sentence, tmp_path):
  fields = {'source': 'http://127.0.0.1:9/x'} | fields
  wanted = challenge(fields.pop('source'), b'', **fields)
  assert sentence in refusal(wanted, tmp_path)


def test_a_challenge_without_a_source(tmp_path):
  assert fetch.fetch(challenges.Challenge(), tmp_path) is None
  assert not list(tmp_path.iterdir())


def test_a_folder_of_the_host_is_left_alone(tmp_path):
  own = tmp_path / TARGET / 'own.txt'
  own.parent.mkdir(parents=True)
  own.write_text('mine')
  sentence = refusal(challenge('http://127.0.0.1:9/x', b''), tmp_path)
  assert 'was not fetched; remove it, or empty data.source' in sentence
  assert own.read_text() == 'mine'


def test_an_archive_of_something_else(tmp_path):
  content = zipped({'a/x': b'', 'b/x': b''})
  with web.serve(content) as server:
    sentence = refusal(challenge(server.url, content), tmp_path)
  assert 'holds a, b, expected validation/CLASS/*.{jpg,' in sentence


def test_two_at_once(tmp_path):
  with fetch._alone(tmp_path / 'data' / '.private.fetch'):
    sentence = refusal(challenge('http://127.0.0.1:9/x', b''), tmp_path)
  assert 'another process fetches this; wait for it' in sentence


def kaggle(source: str, home: pathlib.Path, sha256: str = '', **variables):
  """Fetches with Kaggle's client in a process of its own: it reads them once.

  Returns what the process said, and its exit code.
  """
  code = f"""
import dataclasses, pathlib, sys
from tests.hosting import fetch_test
from tfcompress.hosting import fetch
wanted = fetch_test.challenge({source!r}, b'', sha256={sha256!r})
try:
  fetch.fetch(wanted, pathlib.Path({str(home)!r}))
except ValueError as error:
  sys.exit(f'error: {{error}}')
"""
  kept = {name: os.environ[name] for name in ('PATH', 'PYTHONPATH')
          if name in os.environ}  # fmt: skip
  done = subprocess.run(
    [sys.executable, '-c', code],
    env=kept | {'HOME': str(home)} | variables,
    capture_output=True, text=True, check=False, timeout=60,
  )  # fmt: skip
  return done.stderr + done.stdout, done.returncode


def loopback(server: web.Server) -> dict[str, str]:
  """What leads the client to a server: its own for tests, behind a proxy."""
  return {
    'KAGGLE_API_ENVIRONMENT': 'LOCALHOST',
    'http_proxy': server.url.rpartition('/')[0],
    'KAGGLE_USERNAME': 'host',
    'KAGGLE_KEY': 'secret',
  }


@needs.kaggle
@pytest.mark.parametrize(
  ('source', 'path'),
  [
    (
      'kaggle:owner/images/3',
      '/api/v1/datasets.DatasetApiService/DownloadDataset',
    ),
    (
      'kaggle:competitions/images',
      '/api/v1/competitions.CompetitionApiService/DownloadDataFiles',
    ),
  ],
)
def test_kaggle(source, path, tmp_path):
  files = {'validation/red/0.png': np.random.RandomState(0).bytes(1_500_000)}
  with web.serve(zipped(files)) as server:
    server.redirects[path] = 'http://localhost/stored/archive.zip?signed=1'
    server.break_after = [1_200_000]
    said, code = kaggle(source, tmp_path, **loopback(server))
    assert not code, said
    assert web.files_of(tmp_path / TARGET) == files
    requests = [(method, at) for method, at, *_ in server.requests]
    assert requests[0] == ('POST', path)
    basic = server.requests[0][3]['Authorization']
    assert basic == 'Basic aG9zdDpzZWNyZXQ='  # of host:secret
    assert server.starts[-1] == 2**20  # It keeps whole MiB.
    said, code = kaggle(source, tmp_path, **loopback(server))
    assert not code and 'is there already' in said
    assert len(server.requests) == len(requests)


@needs.kaggle
def test_what_kaggle_refuses(tmp_path):
  source = 'kaggle:owner/images'
  with web.serve(b'text') as server:
    said, code = kaggle(source, tmp_path, sha256='0' * 64, **loopback(server))
    assert code and 'SHA-256 982d9e3eb996f559e633f4d194def3761d90' in said
    server.status = 403
    said, code = kaggle(source, tmp_path, **loopback(server))
  assert code and 'error: kaggle:owner/images: 403' in said
  said, code = kaggle(source, tmp_path, **loopback(server))
  assert code and 'check the name' in said and 'Traceback' not in said
  secrets = {'KAGGLE_USERNAME': '', 'KAGGLE_KEY': ''}
  for variables in ({}, secrets):
    said, code = kaggle(source, tmp_path, **variables)
    assert code and said.startswith('error: kaggle:owner/images: no secrets')
  assert not (tmp_path / TARGET).exists()


@pytest.mark.skipif(
  importlib.util.find_spec('kaggle') is not None,
  reason='the package kaggle is installed',
)
def test_without_kaggles_client(tmp_path):
  sentence = refusal(challenge('kaggle:owner/images', b''), tmp_path)
  assert "run python -m pip install 'kaggle>=" in sentence
