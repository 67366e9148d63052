"""A leaderboard's figures against those of evaluate and plain arithmetic.

Results and records are read as the JSON they are, so that no code of ours
stands between a file and the comparison.
"""

import math
import pathlib
import re
from collections.abc import Mapping

WEIGHTS = (0.3, 0.3, 0.4)  # of size, latency and accuracy
_POINTS = 0.05  # of top-1: batches of another size may round otherwise
_EXACT = 1e-9
_NUMBER = re.compile(r'\d+(?:\.\d+)?')
_ROW = '{:<7}{:<22}{:>10}{:>8}{:>8}{:>23}{:>23}{:>9}{:>9}  {}'
HEADER = _ROW.format(
  '', '', 'bytes', 'top-1', 'again', 'times faster', 'again', 'score',
  'by hand', '',
)  # fmt: skip
CAPTION = """
again: what evaluate says of the same file. ok: bytes (a loader counts) and top-1
are equal, the 95 % intervals of how many times faster it is than the baseline
overlap, the score is that of the figures to 1e-9, and both pages show them.
Noise: they do not overlap, but others used the machine meanwhile."""

Result = dict  # a line of history.jsonl, or a record of evaluate
Cells = list[list[str]]  # the numbers of each


def board(path: pathlib.Path) -> dict[str, Cells]:
  """Returns the numbers of LEADERBOARD.md, by participant.

  Those of a participant are in the cells of size, latency, top-1 and score.
  """
  rows = [
    [cell.strip() for cell in line.split('|')[1:-1]]
    for line in path.read_text().splitlines()
    if re.match(r'\| \d', line)
  ]
  return {
    name: [_NUMBER.findall(cell) for cell in cells[2:6]]
    for _, name, *cells in rows
  }


def row(
  what: str,
  entry: Result,
  again: Result,
  base: Result,
  cells: Cells,
  page: str,
  loader_bytes: int = 0,
) -> tuple[str, bool]:
  """Returns a line of the table, and whether all in it is as it must be.

  Args:
    what: is handed in.
    entry: a ranked result.
    again: what evaluate says of its model.
    base: what evaluate says of the baseline.
    cells: of LEADERBOARD.md.
    page: leaderboard.html.
    loader_bytes: of a loader beside the model.
  """
  record = entry['record']
  size = again['size']['bytes'] + loader_bytes
  top1, top1_again = (
    one['accuracy']['top1_percent'] for one in (record, again)
  )
  ratio, ratio_again = record['ratio'], again['ratio']
  by_hand = _by_hand(base, size, ratio['latency'], top1)
  final = record['score']['final']
  overlap = _overlap(ratio['latency_ci95'], ratio_again['latency_ci95'])
  shown = _shown(record, base)
  wrong = {
    'bytes': record['size']['bytes'] != size,
    'top-1': abs(top1 - top1_again) > _POINTS,
    'latency': not (overlap or is_busy(record) or is_busy(again)),
    'score': not math.isclose(final, by_hand, rel_tol=0, abs_tol=_EXACT),
    'LEADERBOARD.md': cells != shown,
    'leaderboard.html': any(text not in page for one in shown for text in one),
  }
  differing = ', '.join(name for name, is_wrong in wrong.items() if is_wrong)
  verdict = f'WRONG: {differing}' if differing else 'ok'
  text = _ROW.format(
    entry['username'], what, size, f'{top1:.2f}', f'{top1_again:.2f}',
    _times(ratio), _times(ratio_again), f'{final:.3f}', f'{by_hand:.3f}',
    verdict if overlap or differing else 'ok, noise',
  )  # fmt: skip
  return text, not differing


def failed(what: str, entry: Result) -> str:
  """Returns the line of a result that is not ranked."""
  text = f'{entry["status"]}: {entry["reason"]}'
  return f'{entry["username"]:<7}{what:<22}{text}'


def is_busy(record: Result) -> bool:
  """Whether others used the machine so much that its times tell little."""
  return record['machine']['busy']


def _by_hand(base: Result, size: int, latency: float, top1: float) -> float:
  """The final score; latency is how many times faster than the baseline."""
  parts = (
    base['size']['bytes'] / size,
    latency,
    top1 / base['accuracy']['top1_percent'],
  )
  return sum(weight * part for weight, part in zip(WEIGHTS, parts))


def _overlap(one: list[float], other: list[float]) -> bool:
  return one[0] <= other[1] and other[0] <= one[1]


def _shown(record: Result, base: Mapping) -> Cells:
  """What the leaderboard's cells must have of a result."""
  size, accuracy = record['size']['bytes'], record['accuracy']
  ratio, score = record['ratio'], record['score']
  text = lambda digits, *numbers: [f'{one:.{digits}f}' for one in numbers]
  return [
    text(3, size / 2**20) + text(2, base['size']['bytes'] / size),
    text(3, record['latency_ms']['mean'])
    + text(2, ratio['latency'], *ratio['latency_ci95']),
    text(2, accuracy['top1_percent'], *accuracy['top1_ci95_percent']),
    text(3, score['final'], *score['final_ci95']),
  ]


def _times(ratio: Result) -> str:
  low, high = ratio['latency_ci95']
  return f'{ratio["latency"]:.2f} ({low:.2f} to {high:.2f})'
