"""Every format in every runtime, against what the file's own library says."""

import collections
import dataclasses
import os
import pathlib
import tempfile

import numpy as np
import samples
import tensorflow as tf

from tfcompress.core import measurements, types
from tfcompress.data import synthetic100
from tfcompress.measurement import accuracy
from tfcompress.runtimes import load

Runtime = measurements.Runtime
_RUNTIMES = [runtime for runtime in Runtime if runtime is not Runtime.NULL]
_IMAGES = 200
_SOFTWARE_GPU = '/usr/lib/chromium/vk_swiftshader_icd.json'
# Half of the images differ from the next one by that, at least.
_TELLING = 0.1
_NAME_WIDTH, _WIDTH = 28, 14
_CAPTION = f"""
Probabilities of {_IMAGES} images in the evaluator's process, against the file's
own library (for OpenVINO and the GPU on a .tflite: LiteRT on the CPU): largest
absolute difference; ok within {samples.EQUAL:g}. Blank: not a runtime of the format."""


@dataclasses.dataclass(frozen=True)
class Cell:
  """How a runtime does on a file.

  Attributes:
    difference: from the reference, largest of all probabilities; None where the
      runtime refuses the file.
    note: why it refuses or differs.
    is_failure: whether that is wrong.
  """

  difference: float | None
  note: str = ''
  is_failure: bool = False


class Notes:
  """Sentences below a table, each once, by number."""

  def __init__(self):
    self._numbers = collections.OrderedDict()

  def mark(self, cell: Cell) -> str:
    """Returns a cell's text, with the number of its note."""
    text = '-'
    if cell.difference is not None:
      is_ok = cell.difference <= samples.EQUAL
      text = f'{"ok " if is_ok else ""}{cell.difference:.1g}'
    if not cell.note:
      return text
    number = self._numbers.setdefault(cell.note, len(self._numbers) + 1)
    return f'{text} [{number}]'

  def print(self) -> None:
    for note, number in self._numbers.items():
      print(f'[{number}] {note}')


def check() -> int:
  """Prints the table; returns the exit code, 1 if anything is wrong."""
  if os.path.exists(_SOFTWARE_GPU):
    os.environ.setdefault('VK_DRIVER_FILES', _SOFTWARE_GPU)
  notes, failures = Notes(), 0
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    images, data = _dataset(root / 'images')
    header = ''.join(f'{one.value:<{_WIDTH}}' for one in _RUNTIMES)
    print(f'{"":<{_NAME_WIDTH}}{header}', flush=True)
    for sample in samples.write(root, images):
      cells = _row(sample, images, data)
      failures += sum(cell.is_failure for cell in cells.values())
      texts = (
        notes.mark(cells[one]) if one in cells else '' for one in _RUNTIMES
      )
      row = ''.join(f'{text:<{_WIDTH}}' for text in texts)
      print(f'{sample.name:<{_NAME_WIDTH}}{row}'.rstrip(), flush=True)
  print(_CAPTION)
  notes.print()
  print(f'{failures} wrong')
  return int(failures > 0)


def _dataset(root: pathlib.Path) -> tuple[np.ndarray, types.DataSpec]:
  """A folder of PNGs, and the same pixels, uint8 (N, 64, 64, 3), in order."""
  examples = [synthetic100.example(1, index) for index in range(_IMAGES)]
  examples.sort(key=lambda example: example[1])
  for index, (image, label) in enumerate(examples):
    png = tf.io.encode_png(image).numpy()
    for split in ('train', 'validation'):
      path = root / split / f'{label:03}' / f'{index:03}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(png)
  images = np.stack([image for image, _ in examples])
  return images, types.DataSpec(f'folder:{root}')


def _row(sample, images: np.ndarray, data) -> dict[Runtime, Cell]:
  """Cells of the runtimes that open a file."""
  if sample.size != images.shape[1]:
    resized = tf.image.resize(images, (sample.size, sample.size))
    images = (resized.numpy() + 0.5).astype(np.uint8)
  expected = sample.reference(images)
  _require_telling(sample, expected)
  path = sample.file.model
  return {
    runtime: _cell(sample, runtime, expected, data)
    for runtime in load.runtimes_of(path)
  }


def _require_telling(sample, expected: np.ndarray) -> None:
  """Raises ValueError where one image's scores could pass as another's."""
  pairs = np.abs(expected[1:] - expected[:-1]).max(axis=1)
  if np.median(pairs) < _TELLING:
    raise ValueError(
      f'{sample.name}: images differ by {np.median(pairs):.3f}, expected at '
      f'least {_TELLING}; the sample tells nothing'
    )


def _cell(sample, runtime: Runtime, expected: np.ndarray, data) -> Cell:
  file = dataclasses.replace(sample.file, runtime=runtime)
  is_own = runtime is load.runtimes_of(file.model)[0]
  config = measurements.MeasureConfig(
    file, data=data, input_scaling=types.Preprocessing()
  )
  try:
    found, _ = accuracy.measure(config)
  except ValueError as error:
    note = str(error).replace(file.model, pathlib.Path(file.model).name)
    return Cell(None, note, is_failure=is_own)
  order = np.repeat(np.arange(samples.CLASSES), _IMAGES // samples.CLASSES)
  if not np.array_equal(found.labels, order):
    return Cell(None, 'the images came in another order', is_failure=True)
  difference = float(np.abs(found.probabilities - expected).max())
  if difference <= samples.EQUAL:
    return Cell(difference)
  if difference <= sample.tolerance and not is_own:
    return Cell(difference, sample.reason)
  return Cell(difference, 'WRONG', is_failure=True)
