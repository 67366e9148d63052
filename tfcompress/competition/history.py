"""The history of a challenge: a file that only ever grows, a result a line.

A line is JSON in ASCII and ends with LF alone:

  {"sha256": "HEX", "previous": "HEX", "entry": {...}}

`sha256` is that of the line's bytes from '"previous"' to its last brace, and
`previous` is the `sha256` of the line before, '' of the first. A line that was
changed, removed, added or moved is so found by whoever reads the file. Lines
that are missing at its end are not, nor is a file that someone has computed
anew from the first line on: the past of the repository shows these.

What a writer that was killed leaves is a last line that is no JSON. It is not
a result. Readers name it, and the next writer first puts it aside into
FILE.damaged-N. Nothing is ever deleted.

Writers hold a lock on the file itself, which the system frees when they die.
A git that checks out another version puts a new file in its place, and what is
written to the old one is gone: writers look whether theirs is still the file of
its name when they are done, and else try again.
"""

import dataclasses
import fcntl
import hashlib
import io
import itertools
import json
import os
import pathlib
import re

from tfcompress.core import challenges, records

_ID = re.compile('[A-Za-z0-9-]+')
_BODY = len('{"sha256": "", ') + 64  # where begins what the SHA-256 is of
_SHOWN = 12  # digits of it in a message


@dataclasses.dataclass(frozen=True)
class History:
  """What a history file holds.

  Attributes:
    entries: in the order in which they were appended.
    damage: at its end, one sentence; '' if there is none.
  """

  entries: tuple[challenges.Entry, ...] = ()
  damage: str = ''


@dataclasses.dataclass(frozen=True)
class _Lines:
  """The good lines of a file.

  Attributes:
    entries: of each line, as JSON has it.
    last_sha256: of the last one, '' if there is none.
    size: of them all, in bytes.
  """

  entries: tuple[dict, ...]
  last_sha256: str
  size: int


def append(path: str | os.PathLike, entry: challenges.Entry) -> bool:
  """Appends a result, unless it is there: whoever was killed may try again.

  Any number of processes may do so at the same time.

  Args:
    path: the file; it is made if it is not there, its folder is not.
    entry: the result.

  Returns:
    Whether it was appended; if not, there is one of its id. Either way it is
    on the disk, not only on its way there.

  Raises:
    ValueError: the id is none, the entry holds a number that is not finite,
      or the file is damaged elsewhere than at its end.
  """
  path = pathlib.Path(path)
  if not _ID.fullmatch(entry.id):
    raise ValueError(
      f'id {entry.id!r}: expected letters, digits and dashes; choose another'
    )
  while True:
    with path.open('a+b', buffering=0) as file:
      fcntl.flock(file, fcntl.LOCK_EX)
      appended = _append(file, path, entry)
      if _is_still(file, path):
        return appended


def read(path: str | os.PathLike) -> History:
  """Returns what a file holds; one that is not there holds nothing.

  It waits for a writer to end.

  Raises:
    ValueError: the file is damaged elsewhere than at its end, or an entry is
      of another schema version.
  """
  try:
    with open(path, 'rb') as file:
      fcntl.flock(file, fcntl.LOCK_SH)
      content = file.read()
  except FileNotFoundError:
    return History()
  lines = _lines(content, path)
  entries = tuple(
    _entry(value, f'{path}: line {number}')
    for number, value in enumerate(lines.entries, 1)
  )
  return History(entries, _damage(path, entries, len(content) - lines.size))


def _append(file: io.FileIO, path: pathlib.Path, entry) -> bool:
  """Appends to a file that is locked."""
  file.seek(0)
  content = file.readall()
  lines = _lines(content, path)
  if lines.size < len(content):
    _put_aside(path, content[lines.size :])
    file.truncate(lines.size)
  good = content[: lines.size]
  # An editor may have taken the end of the last line, which is whole without.
  new = b'\n' if good and not good.endswith(b'\n') else b''
  is_there = any(one.get('id') == entry.id for one in lines.entries)
  if not is_there:
    new += _line(entry, lines.last_sha256)
  while new:
    new = new[file.write(new) :]
  os.fsync(file.fileno())
  _sync_folder(path)
  return not is_there


def _is_still(file: io.FileIO, path: pathlib.Path) -> bool:
  """Whether an open file is still the one of its name."""
  try:
    return os.path.samestat(os.fstat(file.fileno()), path.stat())
  except FileNotFoundError:
    return False


def _put_aside(path: pathlib.Path, tail: bytes) -> None:
  """Writes what is no line into a file of its own, before it is cut off."""
  for number in itertools.count(1):
    aside = path.with_name(f'{path.name}.damaged-{number}')
    try:
      with aside.open('xb') as file:
        file.write(tail)
        file.flush()
        os.fsync(file.fileno())
      break
    except FileExistsError:
      # Whoever wrote it may have been killed before the tail was cut off.
      if aside.read_bytes() == tail:
        break
  _sync_folder(path)


def _sync_folder(path: pathlib.Path) -> None:
  """Brings the names in a file's folder to the disk."""
  folder = os.open(path.parent, os.O_RDONLY)
  try:
    os.fsync(folder)
  finally:
    os.close(folder)


def _line(entry: challenges.Entry, previous: str) -> bytes:
  content = {'previous': previous, 'entry': records.to_json(entry)}
  body = json.dumps(content, allow_nan=False).removeprefix('{').encode()
  return _start(_sha256(body)) + body + b'\n'


def _start(sha256: str) -> bytes:
  """What a line begins with."""
  return f'{{"sha256": "{sha256}", '.encode()


def _sha256(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()


def _lines(content: bytes, path: str | os.PathLike) -> _Lines:
  """The good lines; raises ValueError for damage that others follow."""
  entries, last, size, unreadable = [], '', 0, 0
  for number, line in enumerate(io.BytesIO(content), 1):
    value = _parsed(line)
    if value is None:
      unreadable = unreadable or number
    elif unreadable:
      raise _damaged(path, unreadable, 'no JSON, though others follow it')
    else:
      sha256 = _sha256(line.removesuffix(b'\n')[_BODY:])
      if wrong := _wrong(value, line[:_BODY], sha256, last):
        raise _damaged(path, number, wrong)
      entries.append(value['entry'])
      last = sha256
      size += len(line)
  return _Lines(tuple(entries), last, size)


def _parsed(line: bytes) -> dict | None:
  """The object that a line holds; None of a line that is not whole."""
  try:
    value = json.loads(line.decode())
  except (ValueError, RecursionError):
    return None
  return value if isinstance(value, dict) else None


def _wrong(value: dict, start: bytes, sha256: str, previous: str) -> str:
  """What is wrong with a line that is whole; '' where nothing is.

  Args:
    value: what it holds.
    start: its bytes before `_BODY`.
    sha256: of those from there on.
    previous: that of the line before.
  """
  if start != _start(sha256):
    return (
      f'it was changed: its sha256 is {_short(value.get("sha256"))}, expected '
      f'{_short(sha256)} of what follows it'
    )
  if value.get('previous') != previous:
    return (
      f'it follows {_short(value.get("previous"))}, expected '
      f'{_short(previous)}: a line was removed, added or moved'
    )
  return '' if isinstance(value.get('entry'), dict) else 'it has no entry'


def _short(sha256: object) -> str:
  return ascii(str(sha256)[:_SHOWN])


def _damaged(path: str | os.PathLike, number: int, wrong: str) -> ValueError:
  return ValueError(
    f'{path}: line {number}: {wrong}; take the file as it was from the '
    f"repository's past (git log -- {pathlib.Path(path).name})"
  )


def _entry(value: dict, place: str) -> challenges.Entry:
  try:
    return records.from_json(challenges.Entry, value)
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(
      f'{place}: not an entry of schema version '
      f'{challenges.Entry.schema_version} ({error}); another version of '
      'tfcompress wrote it, install that'
    ) from error


def _damage(path: str | os.PathLike, entries, size: int) -> str:
  """A sentence on the bytes after the last good line."""
  if not size:
    return ''
  after = f'after entry {entries[-1].id}' if entries else 'at its beginning'
  return (
    f'{path}: {size} bytes {after} are no whole line, as a writer that was '
    'killed leaves it; all before them is good, and the next entry puts them '
    f'aside into {pathlib.Path(path).name}.damaged-N'
  )
