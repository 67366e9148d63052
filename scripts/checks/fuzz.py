"""Damaged files: each ends in scores or in one sentence that names the file."""

import collections
import dataclasses
import multiprocessing
import pathlib
import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import connection

import mutations
import numpy as np
import openings
import tqdm

from tfcompress.core import measurements

# Those that open within a second come first.
_FORMATS = (
  '.tflite int8', '.tflite float32', '.onnx NCHW', 'TorchScript',
  'state dict, loader', 'frozen .pb', 'SavedModel, TF 2', 'tf_keras .h5',
  'Keras 3 .h5', 'tf_keras .keras', 'Keras 3 .keras',
)  # fmt: skip
_COUNT, _SEED = 1000, 0
_fork = multiprocessing.get_context('fork')


def check(count: int = _COUNT, seed: int = _SEED) -> int:
  """Opens damaged files; prints what must not be, and a table.

  File `number` is made from that number alone, so that `check(1, number)` makes
  it again, and a part of the numbers can be checked at a time.

  Args:
    count: of files.
    seed: the first file's number.

  Returns:
    The exit code, 1 if any file ended otherwise than it may.
  """
  counts = collections.defaultdict(collections.Counter)
  kept = pathlib.Path(tempfile.gettempdir()) / 'tfcompress-fuzz'
  with tempfile.TemporaryDirectory() as folder:
    originals = _originals(pathlib.Path(folder))
    numbers = [
      number
      for number in range(seed, seed + count)
      if _format(number) in originals
    ]
    numbers.sort(key=lambda number: number % len(_FORMATS))
    _require_that_whole_ones_open(originals, numbers)
    cases = (_case(originals, number, folder) for number in numbers)
    for case, (end, message) in openings.ends(cases, len(numbers), 'fuzz'):
      counts[case.format][end] += 1
      if end == openings.FAILED:
        tqdm.tqdm.write(_failure(case, message, kept))
      _remove(case)
  _print(counts)
  return int(any(ends[openings.FAILED] for ends in counts.values()))


def _format(number: int) -> str:
  return _FORMATS[number % len(_FORMATS)]


def _originals(root: pathlib.Path) -> dict[str, measurements.OpenConfig]:
  """Writes the files to damage; a process of its own imports TensorFlow."""
  ours, theirs = _fork.Pipe()
  writer = _fork.Process(target=_write, args=(root, theirs))
  writer.start()
  theirs.close()
  try:
    found = ours.recv()
  except EOFError:
    raise SystemExit(
      'error: the files to damage could not be written'
    ) from None
  writer.join()
  return found


def _write(root: pathlib.Path, channel: connection.Connection) -> None:
  import samples

  size = samples.SIZE
  images = np.random.RandomState(0).randint(0, 256, (4, size, size, 3))
  files = {one.name: one.file for one in samples.write(root, images)}
  channel.send({name: files[name] for name in _FORMATS if name in files})


def _require_that_whole_ones_open(originals, numbers: Sequence[int]) -> None:
  """Ends the program if a file is refused before it is damaged."""
  names = dict.fromkeys(map(_format, numbers))
  cases = [
    openings.Case(place, name, 'whole', originals[name])
    for place, name in enumerate(names)
  ]
  for case, (end, message) in openings.ends(cases, len(cases), 'whole files'):
    if end != openings.OPENED:
      raise SystemExit(f'error: {case.format} does not open whole: {message}')


def _case(originals: Mapping, number: int, folder: str) -> openings.Case:
  name, rng = _format(number), random.Random(number)
  contents = {
    one: _content(file).read_bytes() for one, file in originals.items()
  }
  mutation, content = mutations.mutate(contents.pop(name), contents, rng)
  original = originals[name]
  given = pathlib.Path(original.model)
  path = pathlib.Path(folder) / f'fuzz_{number}{given.suffix}'
  if given.is_dir():
    shutil.copytree(given, path)
  file = dataclasses.replace(original, model=str(path))
  _content(file).write_bytes(content)
  return openings.Case(number, name, mutation, file)


def _content(file: measurements.OpenConfig) -> pathlib.Path:
  """The file that is damaged; of a folder, the graph."""
  path = pathlib.Path(file.model)
  return path / 'saved_model.pb' if path.is_dir() else path


def _remove(case: openings.Case) -> None:
  path = pathlib.Path(case.file.model)
  shutil.rmtree(path) if path.is_dir() else path.unlink()


def _failure(case: openings.Case, message: str, kept: pathlib.Path) -> str:
  """What to print of a failure; the file is kept."""
  source = pathlib.Path(case.file.model)
  kept.mkdir(exist_ok=True)
  if source.is_dir():
    shutil.copytree(source, kept / source.name, dirs_exist_ok=True)
  else:
    shutil.copy(source, kept)
  return (
    f'{case.format}, {case.mutation}\n  {message}\n  kept as '
    f'{kept / source.name}; again: scripts/check fuzz 1 {case.number}'
  )


def _print(counts: Mapping[str, collections.Counter]) -> None:
  columns = ('files', *openings.ENDS)
  print(f'{"":<22}' + ''.join(f'{name:>19}' for name in columns))
  total = collections.Counter()
  for ends in counts.values():
    total += ends
  for name, ends in (*counts.items(), ('all', total)):
    figures = (ends.total(), *(ends[one] for one in openings.ENDS))
    print(f'{name:<22}' + ''.join(f'{figure:>19}' for figure in figures))
