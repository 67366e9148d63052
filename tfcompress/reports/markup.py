"""Markdown whose text was chosen by strangers."""

import re
import unicodedata
from collections.abc import Sequence

from tfcompress.reports import names

_ENTITIES = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '|': '&#124;',
  '`': '&#96;',
}
_STRUCTURE = re.compile(r'([\\*_\[\]~$#])')
# Invisible, and no letter: what follows is no name, number or address to link.
_JOINER = '\u2060'
_LINKED = re.compile(r'([@#])(?=\w)|(:)(?=//)')
_ADDRESS = re.compile(r'\b(www)(?=\.)|\b(gh)(?=-\d)', re.IGNORECASE)
_ISOLATED = '\u2068', '\u2069'  # what is between them reads as it likes
_MAX_CHARACTERS = 500


def escaped(text: str, characters: int = _MAX_CHARACTERS) -> str:
  """Returns `text` as one line that Markdown takes for nothing but text.

  No table column, HTML or formula begins in it, nobody is mentioned and
  nothing is linked, as GitHub does with '@name', '#1' and addresses. Of a
  longer one than that the middle is left out.
  """
  plain = names.shortened(names.printable(text), characters)
  linked = _LINKED.sub(rf'\g<0>{_JOINER}', plain)
  linked = _ADDRESS.sub(rf'\g<0>{_JOINER}', linked)
  safe = _STRUCTURE.sub(r'\\\1', linked)
  safe = ''.join(_ENTITIES.get(letter, letter) for letter in safe)
  return safe.join(_ISOLATED) if _is_right_to_left(safe) else safe


def code(text: str) -> str:
  """Returns `text` as code; not for a table."""
  plain = names.printable(text)
  longest = max(map(len, re.findall('`+', plain)), default=0)
  fence = '`' * (longest + 1)
  pad = ' ' if longest else ''
  return f'{fence}{pad}{plain}{pad}{fence}'


def table(
  header: Sequence[str], rows: Sequence[Sequence[str]], named: int
) -> str:
  """Returns a table of escaped cells; all but `named` columns are figures."""
  rule = ['---'] * named + ['---:'] * (len(header) - named)
  return '\n'.join(f'| {" | ".join(row)} |' for row in (header, rule, *rows))


def environment():
  """Returns the jinja2 environment of templates in Markdown.

  What they print is escaped; `code` prints text as code, `markdown` what is
  Markdown already.
  """
  import jinja2
  import markupsafe

  made = jinja2.Environment(
    loader=jinja2.PackageLoader('tfcompress.reports'),
    autoescape=False,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    finalize=lambda value: (
      escaped(value)
      if isinstance(value, str) and not isinstance(value, markupsafe.Markup)
      else value
    ),
  )
  made.filters['code'] = lambda text: markupsafe.Markup(code(text))
  made.filters['markdown'] = markupsafe.Markup
  return made


def _is_right_to_left(text: str) -> bool:
  return any(
    unicodedata.bidirectional(letter) in ('R', 'AL') for letter in text
  )
