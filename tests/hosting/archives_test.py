"""Archives that must not write where, or what, they want to."""

import io
import os
import pathlib
import random
import stat
import tarfile
import zipfile

import pytest

from tfcompress.hosting import archives

FILES = {'a.txt': b'first', 'inner/b.txt': b'second', 'inner/c': b''}
KINDS = ('zip', 'tar', 'tar.gz', 'tar.bz2', 'tar.xz')


def write(path: pathlib.Path, kind: str, files=FILES) -> pathlib.Path:
  if kind == 'zip':
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
      for name, content in files.items():
        archive.writestr(name, content)
    return path
  mode = kind.removeprefix('tar').replace('.', ':')
  with tarfile.open(path, f'w{mode}') as archive:
    for name, content in files.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))
  return path


def found(folder: pathlib.Path) -> dict[str, bytes]:
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in folder.rglob('*')
    if path.is_file()
  }


def refusal(archive: pathlib.Path, **limits) -> str:
  """The sentence that unpacking ends on; nothing is outside of the target."""
  root = archive.parent
  before = sorted(root.rglob('*'))
  with pytest.raises(ValueError) as error:
    archives.unpack(archive, root / 'target', archives.Limits(**limits))
  outside = [p for p in root.rglob('*') if root / 'target' not in p.parents]
  assert sorted(outside) == sorted([*before, root / 'target'])
  assert not any(path.is_symlink() for path in root.rglob('*'))
  sentence = str(error.value)
  assert sentence.isprintable() and sentence.startswith(str(archive))
  return sentence


@pytest.mark.parametrize('kind', KINDS)
def test_files_come_out_as_they_went_in(kind, tmp_path):
  archive = write(tmp_path / 'archive', kind)
  archives.unpack(archive, tmp_path / 'new' / 'target')
  assert found(tmp_path / 'new' / 'target') == FILES


@pytest.mark.parametrize('kind', ['zip', 'tar.gz'])
@pytest.mark.parametrize(
  'name',
  [
    '/tmp/x',
    '../x',
    'a/../../x',
    'a\\..\\x',
    'a\nb',
    'a\x1b[2Jb',
    'a\u202eb',
    'a/' * 1500 + 'x',
  ],
)
def test_names_that_lead_out_or_hide(kind, name, tmp_path):
  sentence = refusal(write(tmp_path / 'archive', kind, {name: b'evil'}))
  assert 'expected relative paths of printable characters' in sentence


@pytest.mark.parametrize(
  'kind',
  [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE,
   tarfile.FIFOTYPE],
)  # fmt: skip
def test_a_tar_with_links_and_devices(kind, tmp_path):
  path = tmp_path / 'archive'
  with tarfile.open(path, 'w') as archive:
    info = tarfile.TarInfo('evil')
    info.type, info.linkname = kind, '/etc'
    archive.addfile(info)
    below = tarfile.TarInfo('evil/passwd')
    archive.addfile(below, io.BytesIO())
  assert "'evil' is a link or a device" in refusal(path)


def test_a_zip_with_a_link(tmp_path):
  path = tmp_path / 'archive'
  with zipfile.ZipFile(path, 'w') as archive:
    info = zipfile.ZipInfo('evil')
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(info, '/etc')
  assert "'evil' is a link or a device" in refusal(path)


def test_an_encrypted_zip(tmp_path):
  path = write(tmp_path / 'archive', 'zip', {'a': b'text'})
  content = bytearray(path.read_bytes())
  content[6] |= 1
  content[content.index(b'PK\1\2') + 8] |= 1
  path.write_bytes(content)
  assert 'encrypted; expected one without password' in refusal(path)


@pytest.mark.parametrize('kind', ['zip', 'tar.gz'])
def test_bombs(kind, tmp_path):
  path = write(tmp_path / 'archive', kind, {'zeros': bytes(3 * 2**20)})
  assert path.stat().st_size < 10_000
  assert 'more than 2 MiB unpacked' in refusal(path, mib=2)
  assert not found(tmp_path / 'target')


def test_a_zip_that_lies_about_its_size(tmp_path):
  path = write(tmp_path / 'archive', 'zip', {'zeros': bytes(3 * 2**20)})
  size = (3 * 2**20).to_bytes(4, 'little')
  path.write_bytes(path.read_bytes().replace(size, bytes([9, 0, 0, 0])))
  refusal(path, mib=2)
  written = found(tmp_path / 'target')
  assert sum(map(len, written.values())) <= 2 * 2**20


@pytest.mark.parametrize('kind', ['zip', 'tar'])
def test_files_without_end(kind, tmp_path):
  files = {f'{index}/': b'' for index in range(11)}
  path = write(tmp_path / 'archive', kind, files)
  assert 'more than 10 files and folders' in refusal(path, entries=10)


@pytest.mark.parametrize('kind', ['zip', 'tar'])
def test_a_name_that_is_there_twice(kind, tmp_path):
  path = write(tmp_path / 'archive', kind, {'a': b'1', './a': b'2'})
  assert "'./a' twice" in refusal(path)
  path.unlink()
  (tmp_path / 'target' / 'a').unlink()
  (tmp_path / 'target').rmdir()
  path = write(tmp_path / 'archive', kind, {'a': b'1', 'a/b': b'2'})
  assert "'a/b' twice, or as a file and a folder" in refusal(path)


@pytest.mark.parametrize(
  'content', [b'', b'no archive', b'PK\3\4', b'\x28\xb5\x2f\xfdzstd']
)
def test_what_is_no_archive(content, tmp_path):
  path = tmp_path / 'archive'
  path.write_bytes(content)
  assert 'not an archive that can be read' in refusal(path)


@pytest.mark.parametrize('kind', KINDS)
def test_damaged_archives_end_as_one_line(kind, tmp_path):
  whole = write(tmp_path / 'whole', kind, FILES | {'n': os.urandom(999)})
  whole, numbers = whole.read_bytes(), random.Random(0)
  for attempt in range(40):
    content = bytearray(whole)
    for _ in range(3):
      content[numbers.randrange(len(content))] = numbers.randrange(256)
    folder = tmp_path / str(attempt)
    folder.mkdir()
    (folder / 'archive').write_bytes(content[: numbers.randrange(len(content))])
    try:
      archives.unpack(folder / 'archive', folder / 'target')
    except ValueError as error:
      assert str(error).startswith(str(folder)) and str(error).isprintable()
