"""Small packages, made by hand, and a folder that pip finds them in."""

import io
import pathlib
import tarfile
import zipfile

_WHEEL = 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n'


def write(
  folder: pathlib.Path,
  name: str,
  version: str,
  requires: str = '',
  files: dict[str, bytes] | None = None,
) -> None:
  """Writes a wheel with a module that knows its version, and other files."""
  info = f'{name}-{version}.dist-info'
  metadata = f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
  if requires:
    metadata += f'Requires-Dist: {requires}\n'
  files = {
    f'{name}.py': f'__version__ = {version!r}\n'.encode(),
    **(files or {}),
    f'{info}/METADATA': metadata.encode(),
    f'{info}/WHEEL': _WHEEL.encode(),
  }
  record = ''.join(f'{path},,\n' for path in (*files, f'{info}/RECORD'))
  with zipfile.ZipFile(
    folder / f'{name}-{version}-py3-none-any.whl', 'w'
  ) as wheel:
    for path, content in (files | {f'{info}/RECORD': record.encode()}).items():
      wheel.writestr(path, content)


def write_source(
  folder: pathlib.Path, name: str, version: str, setup: str
) -> None:
  """Writes a source archive whose setup.py is what is given."""
  root = f'{name}-{version}'
  metadata = f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
  with tarfile.open(folder / f'{root}.tar.gz', 'w:gz') as archive:
    for path, text in (('PKG-INFO', metadata), ('setup.py', setup)):
      info = tarfile.TarInfo(f'{root}/{path}')
      info.size = len(text)
      archive.addfile(info, io.BytesIO(text.encode()))
