"""A stranger's files in a commit, listed and written as plain ones."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping

from tfcompress.competition import plain_files
from tfcompress.hosting import git

_FILE_MODES = ('100644', '100755')
_DEEPEST, _LONGEST_NAME = 10, 200
_NOT_A_NAME = ('', '.', '..', '.git')
_POINTER, _POINTER_BYTES = 'version https://git-lfs.github.com/spec/', 1024


def files(
  repository: str | os.PathLike, folder: git.TreeEntry, path: str
) -> Mapping[str, git.TreeEntry]:
  """Returns all files of a committed folder, by their paths.

  Args:
    repository: that has the commit.
    folder: of it.
    path: of the folder, which those of its files begin with.

  Raises:
    ValueError: it is no folder, or has a link, a submodule, a file of Git LFS,
      a name that no file may have, or too many files in it.
  """
  if folder.kind != 'tree':
    raise ValueError(f'{plain_files.shown(path)}: is a file, expected a folder')
  found, waiting, count = {}, [(path, folder)], 0
  while waiting:
    path, folder = waiting.pop()
    for below, entry in _within(repository, folder, path):
      count += 1
      if count > plain_files.MOST_FILES or below.count('/') > _DEEPEST:
        raise ValueError(
          f'{plain_files.shown(below)}: expected at most '
          f'{plain_files.MOST_FILES} files and {_DEEPEST} folders in each '
          'other; hand in fewer'
        )
      if entry.kind == 'tree':
        waiting.append((below, entry))
      else:
        _require_no_pointer(repository, entry, below)
        found[below] = entry
  return found


def write(
  repository: str | os.PathLike,
  files: Mapping[str, git.TreeEntry],
  target: pathlib.Path,
) -> None:
  """Writes files as they were committed; none is run or may be.

  Args:
    repository: that has the commit.
    files: of it, by paths.
    target: the folder which the paths are from; none of the files is there.
  """
  for path, entry in files.items():
    written = target / path
    written.parent.mkdir(parents=True, exist_ok=True)
    with written.open('xb') as file:
      git.run(repository, 'cat-file', 'blob', entry.sha, into=file)


def _within(
  repository: str | os.PathLike, folder: git.TreeEntry, path: str
) -> Iterator[tuple[str, git.TreeEntry]]:
  """What is in a folder, by path; raises ValueError for what may not be."""
  for name, entry in git.tree(repository, folder.sha).items():
    below = f'{path}/{name}'
    if what := _wrong(name, entry):
      raise ValueError(
        f'{plain_files.shown(below)} {what}; hand in plain files'
      )
    yield below, entry


def _wrong(name: str, entry: git.TreeEntry) -> str:
  """What is wrong with a name in a tree; '' where nothing is."""
  if entry.mode == '120000':
    return 'is a link'
  if entry.kind == 'commit':
    return 'is a submodule'
  if entry.kind == 'blob' and entry.mode not in _FILE_MODES:
    return f'has the mode {entry.mode}'
  if (
    name.lower() in _NOT_A_NAME
    or not name.isprintable()
    or set(name) & set('/\\')
    or len(name) > _LONGEST_NAME
  ):
    return 'has a name that no file may have'
  return ''


def _require_no_pointer(
  repository: str | os.PathLike, entry: git.TreeEntry, path: str
) -> None:
  """Raises ValueError for what only stands for a file that Git LFS keeps."""
  if entry.size > _POINTER_BYTES:
    return
  content = git.run(repository, 'cat-file', 'blob', entry.sha)
  if content.startswith(_POINTER):
    raise ValueError(
      f'{plain_files.shown(path)} is a Git LFS pointer, not the file itself; '
      'commit that (git lfs untrack, then add it again)'
    )
