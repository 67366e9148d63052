"""What a submission says of itself: the three keys of metadata.json."""

import dataclasses
import json
import os
import pathlib
import re

from tfcompress.competition import plain_files
from tfcompress.core import challenges

_WANTED = 'expected a JSON object with username, teamname and model_format'
_MOST_BYTES = 2**20  # with the key that our export writes
_LONGEST_USERNAME, _LONGEST_TEAMNAME, _LONGEST_QUOTE = 39, 80, 60
_USERNAME = re.compile('[A-Za-z0-9]+(-[A-Za-z0-9]+)*')


@dataclasses.dataclass(frozen=True)
class Metadata:
  """The keys of metadata.json, which may have others.

  Attributes:
    username: of the participant, on GitHub.
    teamname: to be shown.
    model_format: of the model.
  """

  username: str
  teamname: str
  model_format: challenges.ModelFormat


def read(folder: pathlib.Path) -> Metadata:
  """Returns what the metadata.json in a folder says.

  Raises:
    ValueError: there is none, or it breaks a rule.
  """
  if not os.path.lexists(path := folder / challenges.METADATA):
    raise ValueError(
      f'{plain_files.shown(folder)}: no {path.name} in it; {_WANTED}'
    )
  content = _content(path)
  shown = plain_files.shown(path)
  told = {
    field.name: _text(shown, content, field.name)
    for field in dataclasses.fields(Metadata)
  }
  _require_username(shown, told['username'])
  _require_teamname(shown, told['teamname'])
  return Metadata(
    told['username'],
    told['teamname'],
    _model_format(shown, told['model_format']),
  )


def require_owner(
  folder: pathlib.Path, username: str, author: str = ''
) -> None:
  """Raises ValueError unless a folder is called as its owner.

  Args:
    folder: of the submission.
    username: whose it says to be.
    author: who hands it in; '' if that is not known. Capital and small letters
      are the same in a name on GitHub, but not in that of a folder.
  """
  shown = plain_files.shown(folder)
  _require_username(shown, username)
  name = pathlib.Path(os.path.abspath(folder)).name
  if name != username:
    raise ValueError(
      f'{shown}: username is {username!r}, expected the name of the folder, '
      f'{_quoted(name)}'
    )
  if author and author.lower() != username.lower():
    raise ValueError(
      f'{shown}: username is {username!r}, expected who hands it in, '
      f'{_quoted(author)}'
    )


def _content(path: pathlib.Path) -> dict[str, object]:
  shown = plain_files.shown(path)
  data = plain_files.read_bytes(path, _MOST_BYTES)
  try:
    content = json.loads(
      data.decode('utf-8-sig'), parse_constant=_refuse_constant
    )
  except RecursionError as error:
    raise ValueError(f'{shown}: nested too deep; {_WANTED}') from error
  except ValueError as error:
    raise ValueError(f'{shown}: not JSON ({error}); {_WANTED}') from error
  if not isinstance(content, dict):
    raise ValueError(f'{shown}: got {_kind(content)}; {_WANTED}')
  return content


def _refuse_constant(name: str) -> None:
  raise ValueError(f'{name} is no JSON')


def _text(shown: str, content: dict[str, object], key: str) -> str:
  if key not in content:
    raise ValueError(f'{shown}: no {key}; {_WANTED}')
  value = content[key]
  if not isinstance(value, str):
    raise ValueError(f'{shown}: {key} is {_kind(value)}, expected text')
  return value


def _kind(value: object) -> str:
  """What JSON calls a value, which may be too large to show."""
  if value is None:
    return 'null'
  names = {
    dict: 'an object',
    list: 'a list',
    str: 'text',
    bool: 'a truth value',
  }
  return names.get(type(value), 'a number')


def _quoted(text: str) -> str:
  """A stranger's text as one short line."""
  if len(text) > _LONGEST_QUOTE:
    return f'{text[:_LONGEST_QUOTE]!r}...'
  return repr(text)


def _require_username(shown: str, username: str) -> None:
  if len(username) > _LONGEST_USERNAME or not _USERNAME.fullmatch(username):
    raise ValueError(
      f'{shown}: username is {_quoted(username)}, expected a name on GitHub: '
      f'letters, digits and single dashes, at most {_LONGEST_USERNAME}'
    )


def _require_teamname(shown: str, teamname: str) -> None:
  if (
    len(teamname) > _LONGEST_TEAMNAME
    or not teamname.isprintable()
    or not teamname.strip()
  ):
    raise ValueError(
      f'{shown}: teamname is {_quoted(teamname)}, expected 1 to '
      f'{_LONGEST_TEAMNAME} printable characters'
    )


def _model_format(shown: str, name: str) -> challenges.ModelFormat:
  try:
    return challenges.ModelFormat(name)
  except ValueError as error:
    known = ', '.join(one.value for one in challenges.ModelFormat)
    raise ValueError(
      f'{shown}: model_format is {_quoted(name)}, expected one of {known}'
    ) from error
