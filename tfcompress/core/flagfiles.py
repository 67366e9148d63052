"""Flagfiles of trainings whose artifacts are wanted and not there yet."""

import pathlib
from collections.abc import Iterable

from tfcompress.core import records

_FOLDER = pathlib.Path('flags')


def is_model(path: str) -> bool:
  """Whether a parent or teacher is there: a model file, a finished artifact."""
  return (
    pathlib.Path(path).is_file()
    or (pathlib.Path(path) / records.MANIFEST).is_file()
  )


def that_trains(artifact: str, folders: Iterable[pathlib.Path]) -> pathlib.Path:
  """Returns the flagfile of an artifact's name, in `folders` or in flags/.

  Raises:
    ValueError: there is none.
  """
  name = f'{pathlib.Path(artifact).name}.cfg'
  places = dict.fromkeys(folder / name for folder in (*folders, _FOLDER))
  for place in places:
    if place.is_file():
      return place
  raise ValueError(
    f'{artifact}: no such artifact, nor a flagfile '
    f'{" or ".join(map(str, places))} to train it with'
  )
