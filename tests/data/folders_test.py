import os
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

from tests.data import image_files
from tfcompress.core import types
from tfcompress.data import folders, remarks

TRAIN, VALIDATION = types.Split
ONE = image_files.encoded(image_files.picture((8, 6)), 'JPEG')


def write(root: pathlib.Path, *names: str | bytes) -> types.DataSpec:
  """Writes the same image under each name."""
  for name in names:
    path = os.path.join(os.fsencode(root), os.fsencode(name))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
      file.write(ONE)
  return types.DataSpec(f'folder:{root}')


def names_of(found: folders.ImageFolder, split: types.Split) -> list[str]:
  root = os.fsencode(found.root)
  paths = found.images[split].paths
  return [os.fsdecode(os.path.relpath(path, root)) for path in paths]


def said(data: types.DataSpec, training: bool = False) -> tuple[str, ...]:
  return remarks.of(folders.read(data, training))


def test_suffixes_of_any_case(tmp_path):
  names = ['a.JPG', 'b.jpeg', 'c.Png', 'd.bmp', 'e.GIF', 'f.WebP']
  data = write(tmp_path, *(f'val/x/{name}' for name in names), 'val/y/1.jpg')
  found = folders.read(data, training=False)
  expected = [*(f'val/x/{name}' for name in names), 'val/y/1.jpg']
  assert names_of(found, VALIDATION) == expected
  assert found.images[VALIDATION].labels.tolist() == [0] * 6 + [1]
  assert said(data) == ()


@pytest.mark.parametrize(
  'hidden',
  [
    'test/.ipynb_checkpoints/1.jpg',
    'test/@eaDir/1.jpg',
    'test/__MACOSX/a/1.jpg',
    'test/a/._1.jpg',
    'test/a/.DS_Store',
    'test/a/@eaDir/1.jpg/SYNO.jpg',
    'test/a/Thumbs.db',
    'test/a/desktop.ini',
    '.git/x/1.jpg',
  ],
)
def test_what_systems_leave_behind_is_no_class_and_no_image(hidden, tmp_path):
  data = write(tmp_path, 'test/a/1.jpg', 'test/b/1.jpg', hidden)
  found = folders.read(data, training=False)
  assert found.class_names == ('a', 'b')
  assert names_of(found, VALIDATION) == ['test/a/1.jpg', 'test/b/1.jpg']
  assert said(data) == (
    f'{tmp_path}: no validation/ in it, so test/ is used for it',
  )


def test_the_folder_of_validation_images(tmp_path):
  """The names that it may have, the least wanted first."""
  write(tmp_path, 'train/a/1.jpg', 'train/b/1.jpg')
  for name in ('test', 'valid', 'val', 'validation'):
    data = write(tmp_path, f'{name}/a/1.jpg', f'{name}/b/1.jpg')
    found = folders.read(data)
    assert names_of(found, VALIDATION) == [f'{name}/a/1.jpg', f'{name}/b/1.jpg']
    assert names_of(found, TRAIN) == ['train/a/1.jpg', 'train/b/1.jpg']


def test_class_folders_alone_are_for_evaluation(tmp_path):
  data = write(tmp_path, 'a/1.jpg', 'b/1.jpg', 'b/2.jpg')
  found = folders.read(data, training=False)
  assert names_of(found, VALIDATION) == ['a/1.jpg', 'b/1.jpg', 'b/2.jpg']
  with pytest.raises(ValueError, match='can be evaluated but not trained on'):
    folders.read(data)


@pytest.mark.parametrize('name', ['valid', 'test', 'train'])
def test_a_class_may_be_called_as_a_split_is(name, tmp_path):
  data = write(tmp_path, f'{name}/1.jpg', 'other/1.jpg')
  found = folders.read(data, training=False)
  assert found.class_names == tuple(sorted([name, 'other']))


@pytest.mark.parametrize(
  ('names', 'got'),
  [
    (['train/1.jpg', 'val/1.jpg'], 'train/, val/'),
    (['train/a/1.jpg', 'train/b/1.jpg', 'Test/a/1.jpg'], 'Test/, train/'),
    (['only/1.jpg'], 'only/'),
    (['1.jpg'], 'no folder'),
  ],
)
def test_a_folder_without_splits_is_told_what_it_has(names, got, tmp_path):
  data = write(tmp_path, *names)
  sentence = f'no folder validation/ in it .*; got {got}, expected DIR/'
  with pytest.raises(ValueError, match=sentence):
    folders.read(data, training=False)


def test_files_that_are_left_out_are_counted_and_named(tmp_path):
  images = ['a/1.jpg', 'b/1.jpg']
  others = [f'a/{i}.txt' for i in range(5)]
  deeper = ['a/more/1.jpg', 'b/x/y/notes.csv', '2.jpg']
  data = write(tmp_path, *(f'val/{name}' for name in images + others + deeper))
  assert said(data) == (
    f'{tmp_path}: 8 files are left out (no images by their suffix: 5, '
    'val/a/0.txt, val/a/1.txt, val/a/2.txt, ...; not right in a class folder: '
    '3, val/2.jpg, val/a/more/1.jpg, val/b/x/y/notes.csv); expected '
    'DIR/{train,validation}/CLASS/*.{jpg,jpeg,png,bmp,gif,webp}',
  )


def test_a_class_whose_images_lie_deeper(tmp_path):
  """As Tiny ImageNet's."""
  data = write(tmp_path, 'val/a/images/1.jpg', 'val/b/images/1.jpg')
  with pytest.raises(
    ValueError,
    match='val/a: no image in it; .* got images/1.jpg$',
  ):
    folders.read(data, training=False)


def test_a_pipe_is_not_waited_for(tmp_path):
  data = write(tmp_path, 'val/a/1.jpg', 'val/b/1.jpg')
  os.mkfifo(tmp_path / 'val/a/2.jpg')
  assert len(folders.read(data, training=False).images[VALIDATION].paths) == 2
  assert '1 file is left out' in said(data)[0]


@pytest.mark.skipif(sys.platform == 'darwin', reason='its names are UTF-8')
def test_names_that_are_not_utf_8(tmp_path):
  data = write(tmp_path, b'val/a/caf\xe9.jpg', 'val/b/1.jpg', b'val/b/\xff.txt')
  found = folders.read(data, training=False)
  assert found.images[VALIDATION].paths[0].endswith(b'/caf\xe9.jpg')
  assert '1, val/b/\ufffd.txt' in said(data)[0]
  write(tmp_path, b'val/caf\xe9/1.jpg')
  with pytest.raises(ValueError, match=r'caf\\xe9.: its name is not UTF-8'):
    folders.read(data, training=False)
  data = types.DataSpec(f'folder:{tmp_path}/val/caf\udce9')
  with pytest.raises(ValueError, match=r'caf\\xe9.: its name is not UTF-8'):
    folders.read(data, training=False)


def test_a_class_with_few_images_is_named(tmp_path):
  names = [f'train/{name}/{i}.jpg' for name in 'abc' for i in range(9)]
  names += ['train/few/0.jpg', 'train/a/9.jpg']
  data = write(
    tmp_path, *names, *(f'val/{n}/1.jpg' for n in 'abc'), 'val/few/1.jpg'
  )
  assert said(data) == ()
  assert said(data, training=True) == (
    f'{tmp_path}/train: class few has 1 image, class a 10: top-1 says little of '
    'rare classes',
  )
  (tmp_path / 'train/a/9.jpg').unlink()
  assert said(data, training=True) == ()


def test_many_images_that_are_to_be_turned(tmp_path):
  data = write(tmp_path, *(f'val/{n}/{i}.jpg' for n in 'ab' for i in range(10)))
  exif = Image.Exif()
  exif[0x0112] = 1
  upright = image_files.encoded(image_files.picture(), 'JPEG', exif=exif)
  (tmp_path / 'val/a/1.jpg').write_bytes(upright)
  assert said(data) == ()
  exif[0x0112] = 6
  for name, kind in (('a/2', 'JPEG'), ('b/3', 'WEBP')):
    turned = image_files.encoded(image_files.picture(), kind, exif=exif)
    (tmp_path / f'val/{name}.jpg').write_bytes(turned)
  (tmp_path / 'val/b/0.jpg').write_bytes(b'')
  (line,) = said(data)
  assert line.startswith('2 of 20 images looked at are to be turned')
  assert f'such as {tmp_path}/val/a/2.jpg' in line


def test_no_tensorflow_is_needed(tmp_path):
  data = write(tmp_path, 'a/1.jpg', 'b/1.jpg')
  code = (
    'import sys\n'
    'from tfcompress.core import types\n'
    'from tfcompress.data import folders, remarks\n'
    f'data = types.DataSpec({data.dataset!r})\n'
    'remarks.show(remarks.of(folders.read(data, training=False)))\n'
    'print("tensorflow" in sys.modules)\n'
  )
  result = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert (result.stdout, result.stderr) == ('False\n', '')
