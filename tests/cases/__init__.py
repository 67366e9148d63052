"""Files that strangers' tools made, and images to measure them on.

`base` are 48 images of 40x40 pixels in four classes, which the networks of the
`.tflite` and `.onnx` files tell apart; `stripes` are 16 of 32x32. The files with
`_metadata` have that of TFLite Support, written by its own schema.
"""

import pathlib
import tarfile

ROOT = pathlib.Path(__file__).parent


def path(name: str) -> str:
  """Returns the path of a file."""
  return str(ROOT / name)


def images(name: str, folder: pathlib.Path) -> str:
  """Unpacks images; returns the name of the dataset."""
  with tarfile.open(ROOT / f'{name}.tgz') as archive:
    archive.extractall(folder)  # our own; older Pythons know no filter
  return f'folder:{folder / name}'
