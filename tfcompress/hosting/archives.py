"""Archives from elsewhere, unpacked without trust in what they hold."""

import contextlib
import dataclasses
import lzma
import pathlib
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from tfcompress.core import errors, numbers
from tfcompress.reports import names

_ZIP = (b'PK\3\4', b'PK\5\6')
_ENCRYPTED = 1  # among a zip member's flags
_CHUNK = 2**20
_SHOWN = 80
_DEEPEST = 32  # Removing folders recurses.
_DAMAGED = (
  tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Limits:
  """What an archive may hold.

  Attributes:
    entries: files and folders.
    mib: of all files together, unpacked.
  """

  entries: int = 2_000_000
  mib: float = 256 * 1024


@dataclasses.dataclass(frozen=True)
class _Entry:
  """A file or folder of an archive; `content` is None of a folder."""

  name: str
  size: int
  content: contextlib.AbstractContextManager[BinaryIO] | None


def unpack(
  archive: pathlib.Path, target: pathlib.Path, limits: Limits = Limits()
) -> None:
  """Unpacks a zip or tar archive into a new folder.

  Files and folders only: what would lead out of the folder, or is anything
  else, is an error. Modes, owners and times are not taken over.

  Args:
    archive: the file; its content tells its kind.
    target: is made; what is in it after an error is incomplete.
    limits: on what is unpacked.

  Raises:
    ValueError: the archive is damaged, of an unknown kind, beyond the limits,
      or holds what it may not.
  """
  target.mkdir(parents=True)
  left = int(limits.mib * 2**20)
  try:
    for count, entry in enumerate(_entries(archive), 1):
      if count > limits.entries:
        raise ValueError(
          f'{archive}: more than {limits.entries} files and folders'
        )
      path = target / _safe(entry.name, archive)
      if entry.content is None:
        path.mkdir(parents=True, exist_ok=True)
        continue
      fits = entry.size <= left
      left -= _write(path, entry.content, left) if fits else entry.size
      if left < 0:
        raise ValueError(
          f'{archive}: more than {numbers.plain(limits.mib)} MiB unpacked'
        )
  except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
    raise ValueError(
      f'{archive}: holds {_shown(entry.name)} twice, or as a file and a folder'
    ) from error
  except (*_DAMAGED, NotImplementedError, OSError) as error:
    if getattr(error, 'errno', None):  # It is the disk.
      raise
    raise ValueError(
      f'{archive}: not an archive that can be read '
      f'({names.printable(errors.first_line(error))}); expected .zip or .tar.gz'
    ) from error


def _write(path: pathlib.Path, content, most: int) -> int:
  """Writes a new file; returns its size, or more than `most` and stops there."""
  path.parent.mkdir(parents=True, exist_ok=True)
  size = 0
  with content as source, path.open('xb') as file:
    while size <= most and (chunk := source.read(_CHUNK)):
      file.write(chunk)
      size += len(chunk)
  return size


def _safe(name: str, archive: pathlib.Path) -> pathlib.PurePosixPath:
  """A name as a path that stays in the folder it is put into."""
  path = pathlib.PurePosixPath(name)
  if (
    path.is_absolute() or '..' in path.parts or '\\' in name
    or not name.isprintable() or len(path.parts) > _DEEPEST
  ):  # fmt: skip
    raise ValueError(
      f'{archive}: holds {_shown(name)}, expected relative paths of printable '
      f"characters, without '..' and backslashes, at most {_DEEPEST} deep"
    )
  return path


def _shown(name: str) -> str:
  return repr(names.shortened(names.printable(name), _SHOWN))


def _entries(archive: pathlib.Path) -> Iterator[_Entry]:
  with archive.open('rb') as file:
    start = file.read(4)
  return (_of_zip if start in _ZIP else _of_tar)(archive)


def _of_zip(archive: pathlib.Path) -> Iterator[_Entry]:
  with zipfile.ZipFile(archive) as opened:
    for info in opened.infolist():
      kind = stat.S_IFMT(info.external_attr >> 16)
      if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _special(archive, info.filename)
      if info.flag_bits & _ENCRYPTED:
        raise ValueError(f'{archive}: encrypted; expected one without password')
      content = None if info.is_dir() else opened.open(info)
      yield _Entry(info.filename, info.file_size, content)


def _of_tar(archive: pathlib.Path) -> Iterator[_Entry]:
  with tarfile.open(archive) as opened:
    for member in opened:
      if not (member.isfile() or member.isdir()):
        raise _special(archive, member.name)
      content = None if member.isdir() else opened.extractfile(member)
      yield _Entry(member.name, member.size, content)
      opened.members.clear()  # It would keep them all.


def _special(archive: pathlib.Path, name: str) -> ValueError:
  return ValueError(
    f'{archive}: {_shown(name)} is a link or a device; '
    'expected files and folders only'
  )
