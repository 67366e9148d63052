"""The private images of a challenge, brought from where its host keeps them."""

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Iterator

from tfcompress.core import challenges, records, types
from tfcompress.data import folders
from tfcompress.hosting import archives, downloads, kaggle_files
from tfcompress.reports import names

_FOLDER, _KAGGLE = 'folder:', 'kaggle:'
_MARKER = '.fetched.json'
_IGNORED = '.gitignore'
_BY_SYSTEMS = ('.', '__MACOSX')  # as what they add to archives begins


def fetch(
  challenge: challenges.Challenge, repository: pathlib.Path
) -> pathlib.Path | None:
  """Returns the folder of a challenge's images, fetched if it is not there yet.

  It comes into being whole or not at all. A download that was killed goes on
  where it was. Git ignores the folder.

  Args:
    challenge: whose data.source is fetched into the folder of data.dataset.
    repository: that a relative folder lies in.

  Returns:
    None where the challenge names no source.

  Raises:
    ValueError: the challenge's data says something else, what is there was not
      fetched, the source cannot be reached, or has something else.
    OSError: the disk is full, for example.
  """
  data = challenge.data
  if not data.source:
    return None
  target = _target(data, repository)
  if _is_fetched(target, data):
    print(f'{target} is there already, from {names.printable(data.source)}')
    return target
  work = target.with_name(f'.{target.name}.fetch')
  with _alone(work):
    archive = _archive(data, work)
    unpacked = work / 'unpacked'
    if unpacked.exists():  # A killed fetch left it.
      shutil.rmtree(unpacked)
    print(f'unpacking to {target}', flush=True)
    archives.unpack(archive, unpacked)
    found = _splits(unpacked, data.source)
    (found / _IGNORED).write_text('*\n')
    records.write_json(found / _MARKER, _marker(data))
    _replace(target, found, work / 'old')
  return target


def _target(data: challenges.Data, repository: pathlib.Path) -> pathlib.Path:
  if not data.dataset.startswith(_FOLDER):
    raise ValueError(
      f'data.dataset is {data.dataset!r}, expected folder:PATH, which '
      'data.source is fetched into'
    )
  path = pathlib.Path(data.dataset.removeprefix(_FOLDER)).expanduser()
  root = repository.resolve()
  target = (root / path).resolve()
  if root.is_relative_to(target):
    raise ValueError(
      f'data.dataset is {data.dataset!r}, which holds the repository itself; '
      'name a folder in it, such as folder:data/private'
    )
  return target


def _marker(data: challenges.Data) -> dict[str, str]:
  return {'source': data.source, 'sha256': data.sha256.lower()}


def _is_fetched(target: pathlib.Path, data: challenges.Data) -> bool:
  """Whether the wanted images are there; what is there may be outdated ones."""
  if not os.path.lexists(target):
    return False
  if not (target / _MARKER).is_file():
    raise ValueError(
      f'{target}: is there, and was not fetched; remove it, or empty '
      'data.source in challenge.toml to use it as it is'
    )
  return records.read_json(target / _MARKER) == _marker(data)


@contextlib.contextmanager
def _alone(work: pathlib.Path) -> Iterator[None]:
  """A folder to work in, for one process at a time; goes when all went well."""
  work.mkdir(parents=True, exist_ok=True)
  (work / _IGNORED).write_text('*\n')
  descriptor = os.open(work, os.O_RDONLY)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield
    shutil.rmtree(work)
  except BlockingIOError as error:
    raise ValueError(
      f'{work}: another process fetches this; wait for it'
    ) from error
  finally:
    os.close(descriptor)


def _archive(data: challenges.Data, work: pathlib.Path) -> pathlib.Path:
  """The archive of a source, downloaded or continued in a folder."""
  if data.source.startswith(_KAGGLE):
    name = data.source.removeprefix(_KAGGLE)
    return kaggle_files.download(name, work, data.sha256)
  # Named by its checksum: another one's beginning is not continued.
  archive = work / f'{data.sha256.lower()}.part'
  downloads.download(data.source, archive, data.sha256)
  return archive


def _splits(unpacked: pathlib.Path, source: str) -> pathlib.Path:
  """The folder with the splits: what was unpacked, or the only one in it."""
  found = [
    path for path in unpacked.iterdir() if not path.name.startswith(_BY_SYSTEMS)
  ]
  inner = found[0] if len(found) == 1 else unpacked
  for folder in (inner, unpacked):  # The one may be called `test`.
    if folders.validation_folder(folder):
      return folder
  shown = sorted(names.printable(path.name) for path in found)[:5]
  raise ValueError(
    f'{names.printable(source)}: holds {", ".join(shown) or "nothing"}, '
    f'expected {types.Split.VALIDATION.value}/{folders.IMAGES}'
  )


def _replace(
  target: pathlib.Path, found: pathlib.Path, old: pathlib.Path
) -> None:
  """Puts a folder where an outdated one may be."""
  if old.exists():
    shutil.rmtree(old)
  if target.exists():
    target.rename(old)
  found.rename(target)
