"""A picture as a part of a page that may be light or dark.

Text stays text, in the page's font; the page says what the colors are, with
its variables `--ink`, `--ground`, `--line`, `--faint` and `--model-0` to
`--model-6`.
"""

import contextlib
import io
import re
import warnings
from xml.etree import ElementTree

from tfcompress.reports import plots

FONT_POINTS = 9.5
DPI = 72  # what matplotlib takes for SVG, whatever a figure says
_VARIABLES = {
  '#000000': 'ink',
  '#ffffff': 'ground',
  '#ebebeb': 'line',
  '#e6e6e6': 'line',
  '#666666': 'faint',
  '#808080': 'faint',
  **{color: f'model-{i}' for i, color in enumerate(plots.COLORS)},
}
_COLOR = re.compile('#[0-9a-f]{6}')
_FONT = re.compile(r'font: (?:(bold|\d+) )?([\d.]+px) [^;]*')


@contextlib.contextmanager
def style():
  """Settings to draw with; a stranger's `$` begins no formula."""
  import matplotlib

  settings = {
    'text.parse_math': False,
    'font.size': FONT_POINTS,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.axisbelow': True,
    'grid.color': '#ebebeb',
    'svg.fonttype': 'none',
  }
  with matplotlib.rc_context(settings), warnings.catch_warnings():
    # The reader's own fonts may have the letters that this one lacks.
    warnings.filterwarnings('ignore', 'Glyph .* missing')
    yield


def figure(width_inches: float, height_inches: float):
  """Returns an empty matplotlib Figure."""
  from matplotlib import figure as figures
  from matplotlib.backends import backend_agg

  picture = figures.Figure(
    (width_inches, height_inches), dpi=DPI, layout='constrained'
  )
  backend_agg.FigureCanvasAgg(picture)
  return picture


def inline(picture, name: str, description: str) -> str:
  """Returns a Figure as an `<svg>` element to put into a page.

  Args:
    picture: drawn in `style`.
    name: of letters and digits, that no other picture of the page has.
    description: for those who do not see it.
  """
  import matplotlib

  buffer = io.StringIO()
  nothing = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
  with style(), matplotlib.rc_context({'svg.hashsalt': name}):
    picture.savefig(buffer, format='svg', transparent=True, metadata=nothing)
  root = ElementTree.fromstring(buffer.getvalue())
  for parent in list(root.iter()):
    for child in list(parent):
      if _local(child.tag) == 'style':  # It would hold for the whole page.
        parent.remove(child)
  for element in root.iter():
    element.tag = _local(element.tag)
    element.attrib = {
      _local(key): _value(_local(key), value, name)
      for key, value in element.attrib.items()
    }
  for key in ('width', 'height', 'version'):
    root.attrib.pop(key, None)
  root.attrib.update({'role': 'img', 'aria-label': description})
  return ElementTree.tostring(root, encoding='unicode')


def _local(name: str) -> str:
  """A name without its XML namespace, which a page needs not."""
  return name.rpartition('}')[2]


def _value(key: str, value: str, name: str) -> str:
  """An attribute for the page: its colors, and names that are the picture's."""
  if key == 'id':
    return f'{name}-{value}'
  if key == 'href' and value.startswith('#'):
    return f'#{name}-{value[1:]}'
  value = value.replace('url(#', f'url(#{name}-')
  if key != 'style':
    return value
  value = _FONT.sub(_font, value)
  return _COLOR.sub(_variable, value)


def _font(match: re.Match) -> str:
  weight, size = match.groups()
  return f'font-size: {size}' + (f'; font-weight: {weight}' if weight else '')


def _variable(match: re.Match) -> str:
  variable = _VARIABLES.get(match.group())
  return f'var(--{variable})' if variable else match.group()
