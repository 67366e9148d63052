"""Every format in every runtime, against what the file's own library says."""

import collections
import dataclasses
import os
import pathlib
import tempfile

import numpy as np
import samples
import tensorflow as tf
from PIL import Image

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
# Of images; another library's rounding may turn a few, and the largest of
# thousands says nothing of the others.
_MOST = 0.99
_NAME_WIDTH, _WIDTH = 28, 14
_CAPTION = """
Probabilities of {} images in the evaluator's process, against the file's own
library (for OpenVINO and the GPU on a .tflite: LiteRT on the CPU), image by image,
as Pillow decodes them: largest absolute difference; ok within {:g}. Blank: not a
runtime of the format."""


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


@dataclasses.dataclass(frozen=True)
class Images:
  """Labelled images, as the evaluator finds them and as Pillow does.

  Attributes:
    data: the folder.
    pixels: uint8 (N, 64, 64, 3), in the folder's order.
    labels: (N,).
  """

  data: types.DataSpec
  pixels: np.ndarray
  labels: np.ndarray


def check(folder: str = '') -> int:
  """Prints the table; returns the exit code, 1 if anything is wrong.

  Args:
    folder: of images of 64x64 pixels in 100 classes; generated ones without.
  """
  accuracy._ORDER = None  # Images come as the folder has them.
  if os.path.exists(_SOFTWARE_GPU):
    os.environ.setdefault('VK_DRIVER_FILES', _SOFTWARE_GPU)
  notes, failures = Notes(), 0
  with tempfile.TemporaryDirectory() as scratch:
    root = pathlib.Path(scratch)
    images = _read(folder or _generated(root / 'images'))
    header = ''.join(f'{one.value:<{_WIDTH}}' for one in _RUNTIMES)
    print(f'{"":<{_NAME_WIDTH}}{header}', flush=True)
    for sample in samples.write(root, images.pixels[:_IMAGES]):
      cells = _row(sample, images)
      failures += sum(cell.is_failure for cell in cells.values())
      texts = (
        notes.mark(cells[one]) if one in cells else '' for one in _RUNTIMES
      )
      row = ''.join(f'{text:<{_WIDTH}}' for text in texts)
      print(f'{sample.name:<{_NAME_WIDTH}}{row}'.rstrip(), flush=True)
  print(_CAPTION.format(len(images.labels), samples.EQUAL))
  notes.print()
  print(f'{failures} wrong')
  return int(failures > 0)


def _generated(root: pathlib.Path) -> str:
  """Writes a folder of PNGs."""
  for index in range(_IMAGES):
    image, label = synthetic100.example(1, index)
    path = root / 'validation' / f'{label:03}' / f'{index:03}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
  return str(root)


def _read(folder: str) -> Images:
  """The validation images of a folder, decoded by Pillow."""
  paths = sorted(pathlib.Path(folder, 'validation').glob('*/*'))
  names = sorted({path.parent.name for path in paths})
  return Images(
    types.DataSpec(f'folder:{folder}'),
    np.stack([np.asarray(Image.open(path).convert('RGB')) for path in paths]),
    np.array([names.index(path.parent.name) for path in paths]),
  )


def _row(sample, images: Images) -> dict[Runtime, Cell]:
  """Cells of the runtimes that open a file."""
  pixels = images.pixels
  if sample.size != pixels.shape[1]:
    resized = tf.image.resize(pixels, (sample.size, sample.size))
    pixels = (resized.numpy() + 0.5).astype(np.uint8)
  expected = sample.reference(pixels)
  _require_telling(sample, expected)
  path = sample.file.model
  return {
    runtime: _cell(sample, runtime, expected, images)
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


def _cell(
  sample, runtime: Runtime, expected: np.ndarray, images: Images
) -> Cell:
  file = dataclasses.replace(sample.file, runtime=runtime)
  is_own = runtime is load.runtimes_of(file.model)[0]
  config = measurements.MeasureConfig(
    file, data=images.data, input_scaling=types.Preprocessing()
  )
  try:
    found, _ = accuracy.measure(config)
  except ValueError as error:
    note = str(error).replace(file.model, pathlib.Path(file.model).name)
    return Cell(None, note, is_failure=is_own)
  if not np.array_equal(found.labels, images.labels):
    return Cell(None, 'the images came in another order', is_failure=True)
  differences = np.abs(found.probabilities - expected).max(axis=1)
  difference = float(differences.max())
  if difference <= samples.EQUAL:
    return Cell(difference)
  most = float(np.quantile(differences, _MOST))
  if most <= sample.tolerance and not is_own:
    return Cell(
      difference,
      f'{sample.reason}; {100 * _MOST:g} % of images within {sample.tolerance:g}',
    )
  return Cell(difference, 'WRONG', is_failure=True)
