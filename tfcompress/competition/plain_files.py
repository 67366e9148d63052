"""A stranger's files: plain ones alone, read as bytes, no link followed."""

import contextlib
import itertools
import os
import pathlib
import stat
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from tfcompress.core import errors

MOST_FILES = 1000  # with folders
MOST_FOLDERS = 10  # in each other; others walk through them by recursion
_CHUNK_BYTES = 2**20
_LONGEST = 200
# Without waiting, should a pipe have taken the file's place.
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def shown(path: str | os.PathLike) -> str:
  """Returns a path as one line that commands no terminal."""
  text = str(path)
  if len(text) > _LONGEST:
    text = f'…{text[1 - _LONGEST :]}'
  return errors.printable(text)


def walk(folder: pathlib.Path) -> Mapping[str, int | None]:
  """Returns all that is in a folder, by its path from there.

  A file has its size in bytes, a folder None and comes before what is in it.

  Raises:
    ValueError: it is no folder, cannot be read, or has something in it that is
      neither a file of one name nor a folder, a name that is not printable,
      more than MOST_FILES, or more than MOST_FOLDERS in each other.
  """
  _require_folder(folder)
  found, waiting = {}, [folder]
  while waiting:
    for entry in _entries(waiting.pop()):
      path = pathlib.Path(entry.path)
      name = path.relative_to(folder).as_posix()
      with _named(path):
        size = _size(folder, name, entry.stat(follow_symlinks=False))
      found[name] = size
      if size is None:
        waiting.append(path)
      if name.count('/') > MOST_FOLDERS:
        raise ValueError(
          f'{shown(folder)}: more than {MOST_FOLDERS} folders in each other'
        )
    if len(found) > MOST_FILES:
      raise ValueError(
        f'{shown(folder)}: more than {MOST_FILES} files and folders'
      )
  return found


def read_bytes(path: pathlib.Path, most: int) -> bytes:
  """Returns what is in a file.

  Raises:
    ValueError: it cannot be read, is no plain file, or has more than `most`
      bytes.
  """
  with _open(path) as file:
    content = file.read(most + 1)
  if len(content) > most:
    raise ValueError(f'{shown(path)}: larger than {most / 2**10:g} KiB')
  return content


def copy(source: pathlib.Path, target: pathlib.Path, size: int) -> None:
  """Writes a new file that has the bytes of another, so many as are expected.

  Raises:
    ValueError: it cannot be read, is no plain file, or of another size.
  """
  left = size + 1
  with _open(source) as file, target.open('xb') as copied:
    while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
      copied.write(chunk)
      left -= len(chunk)
  if left != 1:
    raise ValueError(f'{shown(source)}: changed while it was copied')


def _require_folder(folder: pathlib.Path) -> None:
  if folder.is_symlink():
    raise ValueError(f'{shown(folder)}: is a link, expected a folder')
  if not folder.is_dir():
    what = (
      'is a file, expected a folder' if folder.exists() else 'no such folder'
    )
    raise ValueError(f'{shown(folder)}: {what}')


def _entries(folder: pathlib.Path) -> list[os.DirEntry]:
  """What is in a folder, by name; of too many, as many as show it."""
  with _named(folder), os.scandir(folder) as entries:
    return sorted(
      itertools.islice(entries, MOST_FILES + 1), key=lambda entry: entry.name
    )


def _size(folder: pathlib.Path, name: str, info: os.stat_result) -> int | None:
  """The size of a file, None of a folder; raises ValueError for all else."""
  if not name.isprintable():
    raise ValueError(
      f'{shown(folder)}: a name is not printable, {name[-_LONGEST:]!r}'
    )
  if stat.S_ISDIR(info.st_mode):
    return None
  if stat.S_ISLNK(info.st_mode):
    what = 'a link'
  elif not stat.S_ISREG(info.st_mode):
    what = 'no file'
  elif info.st_nlink > 1:
    what = f'a file of {info.st_nlink} names (hard links)'
  else:
    return info.st_size
  raise ValueError(
    f'{shown(folder)}: {shown(name)} is {what}, expected files and folders of '
    'its own'
  )


@contextlib.contextmanager
def _open(path: pathlib.Path) -> Iterator[BinaryIO]:
  with _named(path):
    handle = os.open(path, _OPEN)
  try:
    info = os.fstat(handle)
    if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
      raise ValueError(f'{shown(path)}: no plain file')
    yield os.fdopen(handle, 'rb', closefd=False)
  finally:
    os.close(handle)


@contextlib.contextmanager
def _named(path: pathlib.Path) -> Iterator[None]:
  """Names the file that the system's error is about."""
  try:
    yield
  except OSError as error:
    raise ValueError(
      f'{shown(path)}: cannot be read ({error.strerror})'
    ) from error
