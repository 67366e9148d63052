"""Datasets and competitions of Kaggle, by its own client."""

import contextlib
import importlib.util
import io
import pathlib
import re

from tfcompress.core import errors, extras
from tfcompress.hosting import downloads
from tfcompress.reports import names

_COMPETITION = 'competitions/'
_NAME = re.compile(r'[\w-]+/[\w.-]+(/[0-9]+)?')
_BEGUN = '.kaggle-partial'  # as the client's notes on what it has begun end
_SHOWN = 200


def download(name: str, folder: pathlib.Path, sha256: str) -> pathlib.Path:
  """Returns the archive of a dataset or competition, downloaded to a folder.

  The client takes the user's secrets from KAGGLE_API_TOKEN, or KAGGLE_USERNAME
  and KAGGLE_KEY, or from its files in the home folder. It goes on with what it
  has begun.

  Args:
    name: 'OWNER/NAME', 'OWNER/NAME/VERSION' or 'competitions/NAME'.
    folder: where it goes to.
    sha256: of the archive; '' where it may be another one.

  Raises:
    ValueError: there is no client, it has no secrets, the download failed, or
      it is another archive.
  """
  if not _NAME.fullmatch(name):
    raise ValueError(
      f'data.source is {_shown(f"kaggle:{name}")}, expected '
      'kaggle:OWNER/NAME or kaggle:competitions/NAME'
    )
  client = _client(name)
  print(f'downloading kaggle:{name}', flush=True)
  own = folder / name.replace('/', '.')
  own.mkdir(exist_ok=True)
  try:
    if name.startswith(_COMPETITION):
      client.competition_download_files(
        name.removeprefix(_COMPETITION), str(own), quiet=True
      )
    else:
      client.dataset_download_files(name, str(own), quiet=True)
  except (OSError, ValueError) as error:
    raise ValueError(
      f'kaggle:{name}: {_shown(errors.first_line(error))}; check the name, '
      "its owner's leave for this account, and the network"
    ) from error
  archive = next(path for path in own.iterdir() if path.suffix != _BEGUN)
  if sha256:
    downloads.verify(archive, sha256, f'kaggle:{name}')
  return archive


def _client(name: str):
  """Kaggle's client, signed in."""
  if importlib.util.find_spec('kaggle') is None:
    raise ValueError(
      f'kaggle:{name}: the package kaggle is not installed; run '
      f'{extras.install("kaggle")}'
    )
  said = io.StringIO()  # A page on how to sign in, of which we have a line.
  try:
    with contextlib.redirect_stdout(said):
      import kaggle

      kaggle.api.authenticate()
  except SystemExit as error:
    raise _no_secrets(name) from error
  except (OSError, ValueError) as error:
    raise ValueError(
      f'kaggle:{name}: cannot sign in ({_shown(errors.first_line(error))}); '
      'check the network'
    ) from error
  secrets = kaggle.api.config_values
  # A workflow sets a secret that its repository lacks to nothing.
  if not secrets.get('token') and not (
    secrets.get('username') and secrets.get('key')
  ):
    raise _no_secrets(name)
  return kaggle.api


def _no_secrets(name: str) -> ValueError:
  return ValueError(
    f'kaggle:{name}: no secrets, or refused ones; set KAGGLE_USERNAME and '
    'KAGGLE_KEY, or KAGGLE_API_TOKEN, to those of an account that may read it'
  )


def _shown(text: str) -> str:
  return names.shortened(names.printable(text), _SHOWN)
