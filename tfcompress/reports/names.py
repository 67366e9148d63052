"""What models are called beside each other."""

import collections
import os
import pathlib
from collections.abc import Sequence

from tfcompress.core import errors, measurements

printable = errors.printable


def short(records: Sequence[measurements.Measurement]) -> list[str]:
  """Returns a name for each: its path without the parts that all share.

  One file in several runtimes is told apart by them.
  """
  paths = [pathlib.PurePath(record.model.path).parts for record in records]
  whole = paths
  while _share(paths, 0):
    paths = [path[1:] for path in paths]
  if whole and whole[0][: -len(paths[0])] == ('/',):
    paths = whole  # Without it they would be no paths from here.
  while len(paths) > 1 and _share(paths, -1):
    paths = [path[:-1] for path in paths]
  names = [printable('/'.join(path).replace('//', '/')) for path in paths]
  return _told_apart(names, records)


def _share(paths: Sequence[tuple[str, ...]], place: int) -> bool:
  """Whether all have the same part there, and others beside it."""
  return all(len(path) > 1 for path in paths) and (
    len({path[place] for path in paths}) == 1
  )


def _told_apart(
  names: list[str], records: Sequence[measurements.Measurement]
) -> list[str]:
  """Adds runtimes, and then numbers, to names that are there twice."""
  count = collections.Counter(names)
  names = [
    f'{name} ({record.runtime.name})'
    if count[name] > 1 and record.runtime
    else name
    for name, record in zip(names, records)
  ]
  seen = collections.Counter()
  for index, name in enumerate(names):
    seen[name] += 1
    if seen[name] > 1:
      names[index] = f'{name} #{seen[name]}'
  return names


def fitting(names: Sequence[str], characters: int) -> list[str]:
  """Returns names to draw, which may be no longer than that.

  What they begin with alike goes first, where the ends would not tell them
  apart.
  """
  found = [shortened(name, characters) for name in names]
  if len(set(found)) < len(set(names)):
    alike = len(os.path.commonprefix(list(names)))
    found = [shortened(f'…{name[alike:]}', characters) for name in names]
  return found


def shortened(text: str, characters: int) -> str:
  """Returns `text` with its middle left out, if it is too long."""
  if len(text) <= characters:
    return text
  end = characters // 2
  return f'{text[: characters - end - 1]}…{text[-end:]}'
