"""What is to be said of an image folder that is no error."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tfcompress.core import errors, types
from tfcompress.data import folders

_NAMED = 3
_UNEVEN = 10  # times as many images
_LOOKED_AT = 200  # headers of images
_MANY_TURNED = 0.05


def of(found: folders.ImageFolder) -> tuple[str, ...]:
  """Returns a line for each thing that a user may not have meant."""
  return tuple(_lines(found))


def show(lines: Iterable[str]) -> None:
  """Prints them for the user of a command."""
  for line in lines:
    print(f'warning: {line}', file=sys.stderr, flush=True)


def _lines(found: folders.ImageFolder) -> Iterator[str]:
  images = list(found.images.values())
  validation = found.images[types.Split.VALIDATION].folder
  if validation == found.root / 'test':
    yield f'{found.root}: no validation/ in it, so test/ is used for it'
  unknown = [path for split in images for path in split.unknown]
  misplaced = [path for split in images for path in split.misplaced]
  if unknown or misplaced:
    yield _left_out(found, unknown, misplaced)
  yield from _uneven(found)
  yield from _turned(np.concatenate([split.paths for split in images]))


def _left_out(
  found: folders.ImageFolder, unknown: list[bytes], misplaced: list[bytes]
) -> str:
  kinds = []
  if unknown:
    kinds.append(f'no images by their suffix: {_some(found, unknown)}')
  if misplaced:
    kinds.append(f'not right in a class folder: {_some(found, misplaced)}')
  count = len(unknown) + len(misplaced)
  files = f'{count:,} file{"s are" if count > 1 else " is"}'
  return (
    f'{found.root}: {files} left out ({"; ".join(kinds)}); expected '
    f'{folders.EXPECTED}'
  )


def _some(found: folders.ImageFolder, paths: Sequence[bytes]) -> str:
  """Such as '7, a/b/1.txt, a/b/2.txt, ...'."""
  root = os.fsencode(found.root)
  names = [os.fsdecode(os.path.relpath(path, root)) for path in paths[:_NAMED]]
  more = ['...'] if len(paths) > _NAMED else []
  shown = ', '.join([*map(errors.printable, names), *more])
  return f'{len(paths):,}, {shown}'


def _uneven(found: folders.ImageFolder) -> Iterator[str]:
  """Says of the images that are looked at first that some classes have few."""
  images = next(iter(found.images.values()))
  counts = np.bincount(images.labels, minlength=len(found.class_names))
  low, high = int(counts.argmin()), int(counts.argmax())
  if counts[high] >= _UNEVEN * counts[low]:
    yield (
      f'{images.folder}: class {found.class_names[low]} has {counts[low]:,} '
      f'image{"s" if counts[low] > 1 else ""}, class '
      f'{found.class_names[high]} {counts[high]:,}: top-1 says little of rare '
      'classes'
    )


def _turned(paths: np.ndarray) -> Iterator[str]:
  """Says that cameras were held turned, of a sample's headers."""
  from tfcompress.data import pillow

  chosen = paths[:: -(-len(paths) // _LOOKED_AT)]
  turned = [path for path in chosen if pillow.is_turned(path)]
  if len(turned) < _MANY_TURNED * len(chosen) or not turned:
    return
  yield (
    f'{len(turned)} of {len(chosen)} images looked at are to be turned or '
    f'mirrored by their EXIF (such as {_name(turned[0])}); like Pillow, '
    'TensorFlow and torchvision, tfcompress takes pixels as they are stored'
  )


def _name(path: bytes) -> str:
  return errors.printable(os.fsdecode(path))
