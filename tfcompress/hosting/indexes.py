"""Where pip gets packages from on this machine."""

import ast
import importlib.util
import os
import pathlib
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping

from tfcompress.core import errors

# pip's settings by what they hold; no other reaches the pip of a stranger's
# requirements.
_FIND_LINKS = 'find-links'
_INDEXES = ('index-url', 'extra-index-url', _FIND_LINKS)
_CERTIFICATES = ('cert', 'client-cert')
_PLAIN = (
  'no-index', 'trusted-host', 'proxy', 'timeout', 'default-timeout', 'retries'
)  # fmt: skip
_SETTINGS = (*_INDEXES, *_CERTIFICATES, *_PLAIN)
_SECTIONS = ('global', 'install', ':env:')  # A later one wins.
# Of the network; proxies are written in both ways.
_PROXIES = ('http_proxy', 'https_proxy', 'no_proxy', 'all_proxy')
_CERTIFICATE_VARIABLES = (
  'SSL_CERT_FILE', 'SSL_CERT_DIR', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'
)  # fmt: skip
_PASSED_ON = (
  'PATH', *_PROXIES, *map(str.upper, _PROXIES), *_CERTIFICATE_VARIABLES
)  # fmt: skip
_FILE = 'file:'


def settings() -> dict[str, str]:
  """Returns what pip is told here of indexes and the network, by its options.

  Local folders are absolute.

  Raises:
    ValueError: there is no pip beside this interpreter.
  """
  if importlib.util.find_spec('pip') is None:
    raise ValueError(
      f'no pip in {sys.prefix}, which installs what submissions require; '
      'install the package pip'
    )
  listed = subprocess.run(
    [sys.executable, '-m', 'pip', 'config', 'list'],
    capture_output=True,
    text=True,
    stdin=subprocess.DEVNULL,
    check=False,
  )
  if listed.returncode:
    raise ValueError(f'pip config list: {errors.first_line(listed.stderr)}')
  found = {}
  for section in _SECTIONS:
    for line in listed.stdout.splitlines():
      name, _, value = line.partition('=')
      key = name.removeprefix(f'{section}.')
      if key != name and key in _SETTINGS:
        found[key] = _absolute(ast.literal_eval(value))
  return found


def variables(
  settings: Mapping[str, str], scratch: pathlib.Path
) -> dict[str, str]:
  """Returns the variables of a pip that has these settings and no others.

  Args:
    settings: as the function of that name returns them.
    scratch: the folder for its files.
  """
  own = {
    'HOME': str(scratch),
    'TMPDIR': str(scratch),
    'LANG': 'C.UTF-8',
    'PIP_CONFIG_FILE': os.devnull,
    'PIP_NO_CACHE_DIR': '1',
    'PIP_DISABLE_PIP_VERSION_CHECK': '1',
    'PIP_RETRIES': '2',
  }
  given = {
    f'PIP_{key.upper().replace("-", "_")}': value
    for key, value in settings.items()
  }
  passed_on = {
    name: os.environ[name] for name in _PASSED_ON if name in os.environ
  }
  return passed_on | own | given


def paths(settings: Mapping[str, str]) -> Iterator[str]:
  """Yields the files and folders that settings name, absolute."""
  found = [settings.get(key, '') for key in _CERTIFICATES]
  found += [os.environ.get(name, '') for name in _CERTIFICATE_VARIABLES]
  for key in _INDEXES:
    local = list(map(_path_of, settings.get(key, '').split()))
    found += local
    if key != _FIND_LINKS:  # An index may link to files in a folder beside it.
      found += [os.path.dirname(path.rstrip('/')) for path in local]
  for path in found:
    if os.path.isabs(path) and path != '/' and os.path.exists(path):
      yield path


def _path_of(word: str) -> str:
  """The path in an index's address; '' of one that is elsewhere."""
  if word.startswith(_FILE):
    return urllib.request.url2pathname(urllib.parse.urlsplit(word).path)
  return word if os.path.isabs(word) else ''


def _absolute(value: str) -> str:
  """Words, those that are paths of something made absolute."""
  return ' '.join(
    os.path.abspath(word) if os.path.exists(word) else word
    for word in map(os.path.expanduser, value.split())
  )
