"""Image folders: DIR/{train,validation}/CLASS/*.{jpg,jpeg,png}.

For who only evaluates, the training images need not be there.
"""

import os
import pathlib

import numpy as np

from tfcompress.core import types

_PREFIX = 'folder:'
_SUFFIXES = ('.jpg', '.jpeg', '.png')


def is_folder(spec: types.DataSpec) -> bool:
  """Whether a dataset is an image folder."""
  return spec.dataset.startswith(_PREFIX)


def require(spec: types.DataSpec, training: bool = True) -> None:
  """Raises ValueError for an image folder that is none.

  Opening it says so too, but seconds later, when TensorFlow is loaded.
  """
  if is_folder(spec):
    class_names(root_of(spec), training)


def root_of(spec: types.DataSpec) -> pathlib.Path:
  """Returns the folder of a dataset.

  Raises:
    ValueError: there is none.
  """
  root = pathlib.Path(spec.dataset.removeprefix(_PREFIX)).expanduser()
  if not root.is_dir():
    raise ValueError(f'{spec.dataset}: no such folder {root}')
  return root


def splits(root: pathlib.Path, training: bool = True) -> list[types.Split]:
  """The splits of a folder; without train/ only where it is not needed."""
  has_training = training or (root / types.Split.TRAIN.value).is_dir()
  return list(types.Split) if has_training else [types.Split.VALIDATION]


def class_names(root: pathlib.Path, training: bool = True) -> tuple[str, ...]:
  """The class folders, which must be the same in both splits."""
  found = {}
  for split in splits(root, training):
    folder = root / split.value
    if not folder.is_dir():
      raise ValueError(
        f'{root}: no folder {split.value}/ in it; '
        'expected DIR/{train,validation}/CLASS/*.{jpg,jpeg,png}'
      )
    found[split] = {child.name for child in folder.iterdir() if child.is_dir()}
  validation = found[types.Split.VALIDATION]
  train = found.get(types.Split.TRAIN, validation)
  for name in sorted(train ^ validation):
    where = 'train' if name in train else 'validation'
    raise ValueError(
      f'{root}: class folder {name} is in {where}/ only; '
      'both splits must have the same class folders'
    )
  if len(train) < 2:
    raise ValueError(
      f'{root}: {len(train)} class folders in {next(iter(found)).value}/, '
      'expected at least 2'
    )
  return tuple(sorted(train))


def files(
  root: pathlib.Path, split: types.Split, names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
  """Paths and labels of a split, sorted by class and name."""
  paths, labels = [], []
  for label, name in enumerate(names):
    folder = root / split.value / name
    with os.scandir(folder) as entries:
      found = sorted(
        entry.path
        for entry in entries
        if entry.name.lower().endswith(_SUFFIXES) and not entry.is_dir()
      )
    if not found:
      raise ValueError(f'{folder}: no .jpg, .jpeg or .png image in it')
    paths += found
    labels += [label] * len(found)
  return np.array(paths), np.array(labels, np.int64)
