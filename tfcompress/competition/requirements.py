"""A participant's requirements.txt: exact versions of packages on a list."""

import pathlib
import re
from collections.abc import Sequence

import packaging.requirements
import packaging.utils

from tfcompress.competition import plain_files

_COMMENT = re.compile(r'(^|\s)#.*')
# No address, path, variable, line break or word that pip takes for an option:
# the texts of a marker could hold all of them.
_PLAIN = re.compile(r'(?!.* -)[\w.+!,;()\[\]<>=~" -]+', re.ASCII)
ANY = '*'  # among the packages of a challenge: whatever there is
_MOST_BYTES, _MOST_LINES, _LONGEST_LINE = 2**16, 50, 300


def check(path: pathlib.Path, packages: Sequence[str]) -> tuple[str, ...]:
  """Returns the requirements in a file, each on one line without a comment.

  They, and not the file, are what an installer may be given: a file can hold
  options, and lines that another reader takes for something else.

  Args:
    path: of the file.
    packages: that it may name; `ANY` among them allows all.

  Raises:
    ValueError: the file is too large or no UTF-8, or a line of it, which is
      named by its number, is not 'NAME==VERSION' of one of the packages. Extras
      and environment markers may be there.
  """
  allowed = sorted({packaging.utils.canonicalize_name(p) for p in packages})
  path = pathlib.Path(path)
  found = []
  for number, line in enumerate(_text(path).splitlines(), 1):
    line = ' '.join(_COMMENT.sub('', line).split())
    if not line:
      continue
    try:
      found.append(_requirement(line, allowed))
    except ValueError as error:
      raise ValueError(
        f'{plain_files.shown(path)}, line {number}: {error}'
      ) from error
  if len(found) > _MOST_LINES:
    raise ValueError(
      f'{plain_files.shown(path)}: {len(found)} requirements, expected at most '
      f'{_MOST_LINES}'
    )
  return tuple(found)


def _text(path: pathlib.Path) -> str:
  content = plain_files.read_bytes(path, _MOST_BYTES)
  try:
    return content.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise ValueError(
      f'{plain_files.shown(path)}: not UTF-8 ({error.reason} at byte '
      f'{error.start})'
    ) from error


def _requirement(line: str, allowed: Sequence[str]) -> str:
  """A line in the one way to write it; raises ValueError if it is none."""
  if len(line) > _LONGEST_LINE:
    raise ValueError(
      f'{len(line)} characters, expected at most {_LONGEST_LINE}'
    )
  if line.startswith('-'):
    raise ValueError(f'got the option {line!r}, expected NAME==VERSION')
  try:
    found = packaging.requirements.Requirement(line)
  except (packaging.requirements.InvalidRequirement, RecursionError) as error:
    raise ValueError(f'got {line!r}, expected NAME==VERSION') from error
  if found.url:
    raise ValueError(f'got an address, {line!r}, expected NAME==VERSION')
  pins = [(one.operator, one.version.endswith('.*')) for one in found.specifier]
  if pins != [('==', False)]:
    raise ValueError(
      f'got {line!r}, expected one exact version, as in {found.name}==1.2.3'
    )
  name = packaging.utils.canonicalize_name(found.name)
  if name not in allowed and ANY not in allowed:
    raise ValueError(
      f'the package {found.name!r} is not allowed; the challenge allows '
      f'{", ".join(allowed) or "none"}'
    )
  written = str(found)
  if not _PLAIN.fullmatch(written):
    raise ValueError(
      f'got {line!r}, expected a marker of letters, digits and comparisons'
    )
  return written
