"""Files from the web, verified, and continued where a download broke off."""

import contextlib
import http.client
import os
import pathlib
import string
import time
import urllib.error
import urllib.parse
import urllib.request

import tqdm

from tfcompress.core import errors, records
from tfcompress.reports import names

_SCHEMES = ('http', 'https')
_TIMEOUT_SECONDS = 60.0  # without a byte
_FRUITLESS_ATTEMPTS = 4
_WAIT_SECONDS = 1.0  # before the second of them, and then twice as long
_CHUNK = 2**18
_PARTIAL, _RANGE_BEYOND_END = 206, 416
_BUSY = (429, 500, 502, 503, 504)
_SHOWN = 200


class _BrokenError(Exception):
  """A transfer that ended too early; another attempt may end it."""


class _Redirects(urllib.request.HTTPRedirectHandler):
  """Follows a server to the web only, not to files of this machine."""

  def redirect_request(self, request, file, code, message, headers, url):
    if urllib.parse.urlsplit(url).scheme not in _SCHEMES:
      raise urllib.error.HTTPError(
        url, code, 'a redirection that is not to http or https', headers, file
      )
    return super().redirect_request(request, file, code, message, headers, url)


def download(url: str, path: pathlib.Path, sha256: str) -> None:
  """Downloads a file, or what is missing of it at `path`.

  Args:
    url: http or https.
    path: is made, or continued; after a wrong checksum it is gone.
    sha256: of the whole file, hexadecimal.

  Raises:
    ValueError: the URL or checksum is none, the server does not have the file,
      cannot be reached, or has another one.
  """
  _require_address(url, sha256)
  path.parent.mkdir(parents=True, exist_ok=True)
  fruitless = 0
  while True:
    before = _size(path)
    try:
      _transfer(url, path)
      break
    except _BrokenError as error:
      fruitless = 0 if _size(path) > before else fruitless + 1
      if fruitless >= _FRUITLESS_ATTEMPTS:
        raise ValueError(
          f'{_shown(url)}: {errors.first_line(error)}; check the network and '
          'run it again: it goes on from '
          f'{_size(path) / 2**20:.1f} MiB'
        ) from error
      time.sleep(_WAIT_SECONDS * 2 ** max(0, fruitless - 1))
  verify(path, sha256, _shown(url))


def verify(path: pathlib.Path, sha256: str, source: str) -> None:
  """Removes a file and raises ValueError unless it has this checksum.

  Args:
    path: of the file.
    sha256: hexadecimal.
    source: of the file, for the message.
  """
  got = records.sha256(path)
  if got != sha256.lower():
    path.unlink()
    raise ValueError(
      f'{source}: SHA-256 {got}, expected {sha256.lower()}; it is removed: '
      'correct data.sha256, or run it again if the network may be at fault'
    )


def _require_address(url: str, sha256: str) -> None:
  parts = urllib.parse.urlsplit(url)
  if parts.scheme not in _SCHEMES or not parts.hostname:
    raise ValueError(f'{_shown(url)}: expected an http or https URL')
  if len(sha256) != 64 or not set(sha256) <= set(string.hexdigits):
    raise ValueError(
      f'{_shown(url)}: data.sha256 is {_shown(sha256)!r}, expected the 64 '
      'hexadecimal digits that sha256sum prints of the archive'
    )


def _transfer(url: str, path: pathlib.Path) -> None:
  """Appends what is missing of a file; raises _BrokenError if some still is."""
  start = _size(path)
  with _response(url, start) as response:
    if response is None:  # There is no more: the checksum tells.
      return
    resumed = response.status == _PARTIAL
    if resumed and not _begins_at(response, start):
      raise _BrokenError('the server sent another part than was asked for')
    start = start if resumed else 0
    length = response.headers.get('Content-Length', '')
    total = start + int(length) if length.isdecimal() else None
    with (
      path.open('ab' if resumed else 'wb') as file,
      tqdm.tqdm(
        total=total, initial=start, unit='B', unit_scale=True, desc='download'
      ) as bar,
    ):
      while chunk := _read(response):
        file.write(chunk)
        file.flush()  # A kill loses nothing either.
        bar.update(len(chunk))
  if total is not None and _size(path) < total:
    raise _BrokenError(f'broken off after {_size(path)} of {total} bytes')


@contextlib.contextmanager
def _response(url: str, start: int):
  """A server's answer; None if it has no byte at `start` or behind."""
  request = urllib.request.Request(url, headers={'User-Agent': 'tfcompress'})
  if start:
    request.add_header('Range', f'bytes={start}-')
  opener = urllib.request.build_opener(_Redirects)
  try:
    response = opener.open(request, timeout=_TIMEOUT_SECONDS)
  except urllib.error.HTTPError as error:
    with error:
      reason = names.shortened(names.printable(str(error)), _SHOWN)
    if error.code == _RANGE_BEYOND_END and start:
      yield None
      return
    if error.code in _BUSY:
      raise _BrokenError(reason) from error
    raise ValueError(
      f'{_shown(url)}: {reason}; check data.source in challenge.toml'
    ) from error
  except (OSError, http.client.HTTPException) as error:
    reason = errors.first_line(getattr(error, 'reason', error))
    raise _BrokenError(f'not reached ({reason})') from error
  with response:
    yield response


def _begins_at(response, start: int) -> bool:
  got = response.headers.get('Content-Range', '')
  return got.startswith(f'bytes {start}-')


def _read(response) -> bytes:
  try:
    return response.read1(_CHUNK)
  except (OSError, http.client.HTTPException) as error:
    raise _BrokenError(f'broken off ({errors.first_line(error)})') from error


def _size(path: pathlib.Path) -> int:
  try:
    return os.path.getsize(path)
  except FileNotFoundError:
    return 0


def _shown(url: str) -> str:
  return names.shortened(names.printable(url), _SHOWN)
