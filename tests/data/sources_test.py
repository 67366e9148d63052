import os
import pathlib
import shutil
import socket

import numpy as np
import pytest

from tests import conftest
from tfcompress.core import types
from tfcompress.data import pipelines, sources


@pytest.fixture
def copy(folder, tmp_path) -> pathlib.Path:
  """The image folder, to be spoiled."""
  return shutil.copytree(folder, tmp_path / 'images')


def load(folder, **kwargs) -> sources.Source:
  return sources.load(types.DataSpec(dataset=f'folder:{folder}', **kwargs))


def test_a_folder_is_read_in_a_fixed_order(folder):
  source = load(folder)
  assert source.class_names == conftest.CLASSES
  assert source.num_examples == {
    types.Split.TRAIN: 36,
    types.Split.VALIDATION: 12,
  }
  handles = source.handles(types.Split.VALIDATION)
  names = [
    (pathlib.Path(h.decode()).parent.name, int(label))
    for h, label in handles.as_numpy_iterator()
  ]
  assert names == [
    (name, label)
    for label, name in enumerate(conftest.CLASSES)
    for _ in range(4)
  ]


def test_a_missing_folder_is_named(tmp_path):
  with pytest.raises(ValueError, match='no such folder .*nowhere'):
    load(tmp_path / 'nowhere')


def test_a_folder_without_a_split(copy):
  shutil.rmtree(copy / 'validation')
  with pytest.raises(ValueError, match='no folder validation/ in it'):
    load(copy)


def test_training_images_are_for_who_trains(copy):
  shutil.rmtree(copy / 'train')
  with pytest.raises(ValueError, match='no folder train/ in it'):
    load(copy)
  spec = types.DataSpec(dataset=f'folder:{copy}')
  source = sources.load(spec, training=False)
  assert source.class_names == conftest.CLASSES
  assert source.num_examples == {types.Split.VALIDATION: 12}
  (copy / 'validation/red/0.JPEG').write_bytes(b'no image')
  assert sources.first_corrupt(source, types.Split.VALIDATION)


def test_what_is_odd_goes_with_the_source(copy):
  (copy / 'train' / 'red' / 'notes.txt').touch()
  assert 'train/red/notes.txt' in load(copy).remarks[0]
  spec = types.DataSpec(dataset=f'folder:{copy}')
  assert sources.load(spec, training=False).remarks == ()


def test_a_misspelt_class_folder(copy):
  (copy / 'validation' / 'red').rename(copy / 'validation' / 'rad')
  with pytest.raises(
    ValueError, match='class folder rad is in validation/ only'
  ):
    load(copy)


def test_an_empty_class_folder(copy):
  for image in (copy / 'train' / 'red').iterdir():
    image.unlink()
  with pytest.raises(ValueError, match='train/red: no image in it'):
    load(copy)


def spoil(path: pathlib.Path, how: str) -> None:
  """Makes something of an image that cannot be read or decoded."""
  content = path.read_bytes()
  path.unlink()
  if how == 'a folder':
    path.mkdir()
  elif how == 'a link to nothing':
    path.symlink_to('nowhere.png')
  elif how == 'a link to itself':
    path.symlink_to(path.name)
  elif how == 'forbidden':
    path.touch(mode=0)
  elif how == 'cut':
    path.write_bytes(content[: len(content) // 2])
  else:
    path.write_text(how)


@pytest.mark.parametrize('name', ['1.png', '0.JPEG'])
@pytest.mark.parametrize(
  'how',
  [
    'no image', '', 'cut', 'a folder', 'a link to nothing', 'a link to itself',
    'forbidden',
  ],
)  # fmt: skip
def test_an_image_that_cannot_be_read_is_named(how, name, copy):
  if how == 'forbidden' and not os.getuid():
    pytest.skip('root may read every file')
  spoil(copy / 'validation' / 'green' / name, how)
  source = load(copy)
  with (
    pytest.raises(
      ValueError, match=f'validation/green/{name}: the image cannot .*PNG'
    ),
    pipelines.naming_corrupt_images(source),
  ):
    batches = pipelines.evaluation(
      source,
      types.Split.VALIDATION,
      types.EvaluationTransform.CHALLENGE,
      batch_size=5,
      input_size=32,
    )
    list(batches)


def test_names_that_are_not_utf_8(copy):
  path = os.fsencode(copy / 'validation' / 'green' / '1.png')
  odd = path.replace(b'1.png', b'caf\xe9.png')
  os.rename(path, odd)
  source = load(copy)
  assert source.num_examples[types.Split.VALIDATION] == 12
  with open(odd, 'w') as file:
    file.write('no image')
  name = sources.first_corrupt(source, types.Split.VALIDATION)
  assert os.fsencode(name) == odd
  assert source.identity()


def test_corrupt_images_are_skipped_and_counted(copy):
  (copy / 'validation' / 'green' / '1.png').write_bytes(b'no image')
  (copy / 'train' / 'red' / '0.JPEG').write_bytes(b'')
  source = load(copy, skip_corrupt_images=True)
  assert source.num_examples[types.Split.VALIDATION] == 11
  assert source.skipped_examples == dict.fromkeys(types.Split, 1)
  labels = [int(y) for _, y in source.handles(types.Split.VALIDATION)]
  assert labels == [0] * 4 + [1] * 3 + [2] * 4


def test_a_misspelt_dataset_gets_a_suggestion(tmp_path):
  spec = types.DataSpec(dataset='cifar10O', data_dir=str(tmp_path))
  with pytest.raises(
    ValueError, match=r'no such dataset; did you mean cifar10'
  ):
    sources.load(spec)


def test_a_download_without_a_network_says_what_to_do(tmp_path, monkeypatch):
  """The absence of a network is what cannot be had on every machine."""

  def offline(*args, **kwargs):
    raise socket.gaierror('no network')

  monkeypatch.setattr(socket, 'getaddrinfo', offline)
  monkeypatch.setattr(sources.urllib.request, 'getproxies', dict)
  spec = types.DataSpec(dataset='cifar100', data_dir=str(tmp_path))
  with pytest.raises(ValueError, match='must be downloaded and that failed'):
    sources.load(spec)
  assert not (tmp_path / 'cifar100').exists()


def test_other_classes_than_the_models(folder):
  source = load(folder)
  with pytest.raises(ValueError, match='has 3 classes, the model 2'):
    sources.require_classes(source, ('a', 'b'))
  with pytest.raises(ValueError, match="a class 'blue' where the model"):
    sources.require_classes(source, ('a', 'b', 'c'))


def test_skipping_is_for_folders():
  with pytest.raises(ValueError, match='is for image folders'):
    sources.load(types.DataSpec(skip_corrupt_images=True))


def test_evenly_drawn_examples_are_even():
  labels = np.array([0] * 50 + [1] * 5 + [2] * 20)
  chosen = pipelines._evenly(labels, 24, np.random.RandomState(0))
  assert sorted(np.bincount(labels[chosen])) == [5, 9, 10]
  assert len(set(chosen)) == 24
