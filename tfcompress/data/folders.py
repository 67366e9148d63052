"""Image folders: DIR/{train,validation}/CLASS/*.{jpg,png,...}.

For who only evaluates, the training images need not be there, and the class folders
may lie in DIR itself. Nothing here imports TensorFlow.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from tfcompress.core import errors, types

IMAGES = 'CLASS/*.{jpg,jpeg,png,bmp,gif,webp}'
EXPECTED = 'DIR/{train,validation}/' + IMAGES
_PREFIX = 'folder:'
_SUFFIXES = (b'.jpg', b'.jpeg', b'.png', b'.bmp', b'.gif', b'.webp')
# What a folder of validation images is called, in order of preference.
_VALIDATION = ('validation', 'val', 'valid', 'test')
# What systems leave in folders, beside names that begin with a dot.
_SYSTEM = {b'@eadir', b'__macosx', b'thumbs.db', b'desktop.ini', b'lost+found'}


@dataclasses.dataclass(frozen=True)
class Images:
  """The images of a split, and the files beside them.

  Attributes:
    folder: of the split.
    paths: of the images, bytes (N,), sorted by class and name.
    labels: their classes, int64 (N,).
    unknown: files in class folders that are no images by their suffix.
    misplaced: files deeper than class folders, and images outside of them.
  """

  folder: pathlib.Path
  paths: np.ndarray
  labels: np.ndarray
  unknown: tuple[bytes, ...]
  misplaced: tuple[bytes, ...]


@dataclasses.dataclass(frozen=True)
class ImageFolder:
  """An image folder as it was found.

  Attributes:
    root: the folder.
    class_names: sorted.
    images: by split; for who evaluates, those of validation alone.
  """

  root: pathlib.Path
  class_names: tuple[str, ...]
  images: Mapping[types.Split, Images]


def is_folder(spec: types.DataSpec) -> bool:
  """Whether a dataset is an image folder."""
  return spec.dataset.startswith(_PREFIX)


def read(spec: types.DataSpec, training: bool = True) -> ImageFolder:
  """Lists a dataset's images.

  Args:
    spec: a folder.
    training: whether its training images are needed.

  Raises:
    ValueError: no such folder, or classes that do not fit or have no images.
  """
  root = root_of(spec)
  names = class_names(root, training)
  found = splits(root, training)
  if not training:
    found.pop(types.Split.TRAIN, None)
  images = {split: _images(folder, names) for split, folder in found.items()}
  return ImageFolder(root, names, images)


def require(spec: types.DataSpec, training: bool = True) -> None:
  """Raises ValueError for an image folder that is none.

  Opening it says so too, but seconds later, when TensorFlow is loaded.
  """
  if is_folder(spec):
    class_names(root_of(spec), training)


def root_of(spec: types.DataSpec) -> pathlib.Path:
  """Returns the folder of a dataset.

  Raises:
    ValueError: there is none, or its name is no text.
  """
  root = pathlib.Path(spec.dataset.removeprefix(_PREFIX)).expanduser()
  _require_text(root)
  if not root.is_dir():
    raise ValueError(f'{spec.dataset}: no such folder {root}')
  return root


def splits(
  root: pathlib.Path, training: bool = True
) -> dict[types.Split, pathlib.Path]:
  """Returns where the splits lie; training images only where there are some.

  Raises:
    ValueError: one that is needed is not there.
  """
  found = {}
  train = root / types.Split.TRAIN.value
  if _subfolders(train):
    found[types.Split.TRAIN] = train
  if folder := validation_folder(root):
    found[types.Split.VALIDATION] = folder
  if not found and _has_classes(root):
    if training:
      raise ValueError(
        f'{root}: class folders without splits, which can be evaluated but not '
        f'trained on; expected {EXPECTED}'
      )
    return {types.Split.VALIDATION: root}
  for split in types.Split:
    if split not in found and (training or split is types.Split.VALIDATION):
      raise ValueError(_without(root, split))
  return found


def class_names(root: pathlib.Path, training: bool = True) -> tuple[str, ...]:
  """Returns the class folders, which must be the same in both splits."""
  found = splits(root, training)
  validation = _classes(found[types.Split.VALIDATION])
  train = validation
  if types.Split.TRAIN in found:
    train = _classes(found[types.Split.TRAIN])
  for name in sorted(train ^ validation):
    split = types.Split.TRAIN if name in train else types.Split.VALIDATION
    raise ValueError(
      f'{root}: class folder {name} is in {found[split].name}/ only; '
      'both splits must have the same class folders'
    )
  if len(train) < 2:
    raise ValueError(
      f'{root}: {len(train)} class folders in '
      f'{found[types.Split.VALIDATION].name}/, expected at least 2'
    )
  return tuple(sorted(train))


def validation_folder(root: pathlib.Path) -> pathlib.Path | None:
  """Returns the first that has class folders: a class may be called so, too."""
  folders = (root / name for name in _VALIDATION)
  return next(filter(_subfolders, folders), None)


def _has_classes(root: pathlib.Path) -> bool:
  """Whether class folders lie in it; splits that hold none are no classes."""
  names = {folder.name for folder in _subfolders(root)}
  known = {types.Split.TRAIN.value, *_VALIDATION}
  return len(names) > 1 and bool(names - known)


def _without(root: pathlib.Path, split: types.Split) -> str:
  """Says that a split is missing, and what is there instead."""
  names = [folder.name for folder in _subfolders(root)]
  there = ', '.join(errors.printable(f'{name}/') for name in names[:5])
  also = f' (nor {"/, ".join(_VALIDATION[1:])}/)'
  return (
    f'{root}: no folder {split.value}/ in it'
    f'{also if split is types.Split.VALIDATION else ""} that has class folders; '
    f'got {there or "no folder"}{", ..." if names[5:] else ""}, expected '
    f'{EXPECTED}'
  )


def _classes(folder: pathlib.Path) -> set[str]:
  """The names of class folders."""
  found = _subfolders(folder)
  for child in found:
    _require_text(child)
  return {child.name for child in found}


def _require_text(path: pathlib.Path) -> None:
  """Raises ValueError for a name that records cannot hold."""
  try:
    str(path).encode()
  except UnicodeEncodeError as error:
    raise ValueError(
      f'folder {os.fsencode(path)!r}: its name is not UTF-8; rename it'
    ) from error


def _subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
  """The visible folders in a folder, sorted; none where there is no folder."""
  if not folder.is_dir():
    return []
  return sorted(
    child
    for child in folder.iterdir()
    if not _is_hidden(os.fsencode(child.name)) and child.is_dir()
  )


def _is_hidden(name: bytes) -> bool:
  return name.startswith(b'.') or name.lower() in _SYSTEM


def _images(folder: pathlib.Path, names: tuple[str, ...]) -> Images:
  """Lists the images of a split.

  Raises:
    ValueError: a class has none.
  """
  paths, labels, unknown = [], [], []
  misplaced = [entry.path for entry in _entries(folder) if _is_image(entry)]
  for label, name in enumerate(names):
    images, others, deeper = _class_images(folder / name)
    if not images:
      raise ValueError(_no_image(folder / name, [*others, *deeper]))
    paths += images
    labels += [label] * len(images)
    unknown += others
    misplaced += deeper
  return Images(
    folder,
    np.array(paths),
    np.array(labels, np.int64),
    tuple(unknown),
    tuple(misplaced),
  )


def _class_images(folder: pathlib.Path) -> tuple[list[bytes], ...]:
  """The images of a class, files that are none, and those that lie deeper."""
  images, others, deeper = [], [], []
  for entry in _entries(folder):
    if _is_image(entry):
      images.append(entry.path)
    elif entry.is_dir():
      deeper += _files_below(entry.path)
    else:
      others.append(entry.path)
  return sorted(images), sorted(others), sorted(deeper)


def _entries(folder: pathlib.Path) -> Iterator[os.DirEntry]:
  """What is visible in a folder; names as bytes, which may be no text."""
  with os.scandir(os.fsencode(folder)) as entries:
    yield from (entry for entry in entries if not _is_hidden(entry.name))


def _is_image(entry: os.DirEntry) -> bool:
  """Whether it is to be decoded; what cannot be ends in an error there."""
  if not entry.name.lower().endswith(_SUFFIXES):
    return False
  is_special = os.path.exists(entry.path) and not (
    entry.is_file() or entry.is_dir()
  )
  return not is_special  # Who reads a pipe waits for ever.


def _files_below(folder: bytes) -> list[bytes]:
  """All visible files in a folder and the folders in it."""
  found = []
  for parent, folders, files in os.walk(folder):
    folders[:] = [name for name in folders if not _is_hidden(name)]
    found += [os.path.join(parent, name) for name in files]
  return [path for path in found if not _is_hidden(os.path.basename(path))]


def _no_image(folder: pathlib.Path, others: list[bytes]) -> str:
  suffixes = ', '.join(suffix.decode() for suffix in _SUFFIXES)
  message = f'{folder}: no image in it; expected files that end in {suffixes}'
  if not others:
    return message
  name = os.fsdecode(os.path.relpath(others[0], os.fsencode(folder)))
  return (
    f'{message} right in it, got {errors.printable(name)}'
    f'{", ..." if others[1:] else ""}'
  )
