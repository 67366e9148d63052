"""A TOML file as a dataclass; a mistake is named by its line and key."""

import dataclasses
import datetime
import enum
import os
import pathlib
import re
import tomllib
import typing
from collections.abc import Mapping

from tfcompress.competition import plain_files, rule_keys
from tfcompress.core import errors

_TABLE = re.compile(r'\s*\[\[?([^\[\]]+)\]')
_KEY = re.compile(r'([^=#\[\]]+)=')
_PLACE = re.compile(r' \(at (?:line (\d+), column \d+|end of document)\)$')
_ZONE = 'add a time zone, as in 2026-05-01T00:00:00+02:00'
_LONGEST = 60  # of what is shown of a value

Keys = Mapping[str, rule_keys.Key]


@dataclasses.dataclass(frozen=True)
class File:
  """Where the mistakes of a file are.

  Attributes:
    path: of the file.
    keys: what its numbers may be, by 'TABLE.KEY'.
    lines: of its tables and keys.
  """

  path: str
  keys: Keys
  lines: Mapping[str, int]

  def mistake(self, key: str, text: str) -> ValueError:
    """Returns the error to raise for a key, or for a table."""
    table = key.rpartition('.')[0]
    line = self.lines.get(key) or self.lines.get(table) or 1
    return ValueError(
      f'{self.path}, line {line}, {plain_files.shown(key)}: {text}'
    )


def read(path: str | os.PathLike, kind: type, keys: Keys):
  """Reads a file whose tables are dataclasses within a dataclass.

  A table or a key that is not there has its default. But a key that may be None
  is None where its table is there.

  Args:
    path: of the file.
    kind: the dataclass.
    keys: what its numbers may be, by 'TABLE.KEY'.

  Returns:
    an instance, and where mistakes of the file are.

  Raises:
    ValueError: it cannot be read, is no TOML, or has keys or values that the
      dataclass does not have.
  """
  text = _text(path)
  file = File(plain_files.shown(path), keys, _lines(text))
  return _table(file, '', kind, _parsed(file, text)), file


def shown(value: object) -> str:
  """Returns a value as TOML writes it, on one short line."""
  if isinstance(value, datetime.date | datetime.time):
    return value.isoformat()
  if isinstance(value, bool):
    return str(value).lower()
  text = 'a table' if isinstance(value, dict) else repr(value)
  return text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...'


def _text(path: str | os.PathLike) -> str:
  try:
    return (
      pathlib.Path(path).read_bytes().decode('utf-8-sig').replace('\r\n', '\n')
    )
  except UnicodeDecodeError as error:
    line = error.object.count(b'\n', 0, error.start) + 1
    raise ValueError(
      f'{plain_files.shown(path)}, line {line}: not UTF-8 ({error.reason})'
    ) from error
  except OSError as error:
    raise ValueError(
      f'{plain_files.shown(path)}: cannot be read ({error.strerror})'
    ) from error


def _lines(text: str) -> dict[str, int]:
  """Where keys and tables begin, counted from 1."""
  found, table, quoted = {}, '', False
  for number, line in enumerate(text.split('\n'), 1):
    in_text = quoted
    quoted ^= (line.count('"""') + line.count("'''")) % 2 == 1
    if in_text:
      continue
    if header := _TABLE.match(line):
      table = name = _name(header[1])
    elif key := _KEY.match(line):
      name = f'{table}.{_name(key[1])}' if table else _name(key[1])
    else:
      continue
    parts = name.split('.')
    for length in range(1, len(parts) + 1):
      found.setdefault('.'.join(parts[:length]), number)
  return found


def _name(text: str) -> str:
  """A key as it is called, without blanks and quotation marks."""
  return '.'.join(part.strip(' \t"\'') for part in text.split('.'))


def _parsed(file: File, text: str) -> dict[str, object]:
  try:
    return tomllib.loads(text)
  except RecursionError as error:
    raise ValueError(f'{file.path}: nested too deep') from error
  except ValueError as error:
    message = errors.first_line(error)
    place = _PLACE.search(message)
    if place is None:  # a number with thousands of digits
      raise ValueError(f'{file.path}: {message}') from error
    lines = text.rstrip('\n').split('\n')
    number = min(int(place[1] or len(lines)), len(lines))
    before = [key for key, line in file.lines.items() if line <= number]
    key = f', {plain_files.shown(before[-1])}' if before else ''
    raise ValueError(
      f'{file.path}, line {number}{key}: not TOML, got '
      f'{shown(lines[number - 1].strip())}: {message[: place.start()]}'
    ) from error


def _table(file: File, table: str, kind: type, content: Mapping[str, object]):
  hints = typing.get_type_hints(kind)
  prefix = f'{table}.' if table else ''
  for name, value in content.items():
    if name not in hints:
      raise _unknown(file, table, name, value, hints)
  found = {
    name: None
    for name, hint in hints.items()
    if type(None) in typing.get_args(hint)
  }
  for name, value in content.items():
    found[name] = _value(file, f'{prefix}{name}', hints[name], value)
  return kind(**found)


def _unknown(
  file: File, table: str, name: str, value: object, hints: Mapping[str, type]
) -> ValueError:
  tables = [one for one in hints if dataclasses.is_dataclass(hints[one])]
  keys = [one for one in hints if one not in tables]
  if table:
    return file.mistake(
      f'{table}.{name}',
      f'unknown key, known in [{table}]: {", ".join(keys)}',
    )
  if isinstance(value, dict):
    return file.mistake(name, f'unknown table, known: {", ".join(tables)}')
  return file.mistake(name, f'unknown key, known: {", ".join(keys)}')


def _value(file: File, key: str, hint: type, value: object):
  """A value of TOML as one of a field's type."""
  if dataclasses.is_dataclass(hint):
    if not isinstance(value, dict):
      raise file.mistake(key, f'got {shown(value)}, expected a table, [{key}]')
    return _table(file, key, hint, value)
  args = typing.get_args(hint)
  if typing.get_origin(hint) is tuple:
    return _tuple(file, key, args[0], value)
  return _one(file, key, args[0] if args else hint, value)


def _tuple(file: File, key: str, kind: type, value: object) -> tuple:
  if not isinstance(value, list):
    raise file.mistake(key, f'got {shown(value)}, expected a list, [...]')
  found = tuple(_one(file, key, kind, one) for one in value)
  if issubclass(kind, enum.Enum):
    if not found:
      raise file.mistake(key, f'got [], expected some of {_members(kind)}')
    if len(set(found)) < len(found):
      raise file.mistake(key, f'got {shown(value)}, expected each but once')
  return found


def _one(file: File, key: str, kind: type, value: object):
  if issubclass(kind, enum.Enum):
    if value not in [member.value for member in kind]:
      raise file.mistake(
        key, f'got {shown(value)}, expected one of {_members(kind)}'
      )
    return kind(value)
  if kind is datetime.datetime:
    return _moment(file, key, value)
  if kind in (int, float):
    return _number(file, key, kind, value)
  if not isinstance(value, str) or not value.isprintable():
    raise file.mistake(
      key, f'got {shown(value)}, expected printable text in quotation marks'
    )
  return value


def _members(kind: type[enum.Enum]) -> str:
  return ', '.join(repr(member.value) for member in kind)


def _moment(file: File, key: str, value: object) -> datetime.datetime:
  if isinstance(value, datetime.datetime) and value.tzinfo:
    return value
  if isinstance(value, datetime.date):
    raise file.mistake(key, f'got {shown(value)}, expected a moment: {_ZONE}')
  raise file.mistake(
    key,
    f'got {shown(value)}, expected a date and time without quotation marks: '
    f'{_ZONE}',
  )


def _number(file: File, key: str, kind: type, value: object):
  limits = file.keys[key]
  is_number = isinstance(value, int | kind) and not isinstance(value, bool)
  # A NaN is in no range.
  if (
    not is_number
    or not limits.low <= value <= limits.high
    or (limits.above and value == limits.low)
  ):
    what = 'a whole number' if kind is int else 'a number'
    span = f'from {limits.low} to {limits.high}'
    if limits.above:
      span = f'above {limits.low} and at most {limits.high}'
    raise file.mistake(key, f'got {shown(value)}, expected {what} {span}')
  return kind(value)
