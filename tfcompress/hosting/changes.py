"""Whose files a pull request changes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from tfcompress.competition import plain_files
from tfcompress.core import challenges
from tfcompress.hosting import git

_DEEPEST = 20  # that a change is looked for

_Entry = git.TreeEntry | None
_Change = tuple[str, _Entry, _Entry]  # path, before and after
_Path = str | os.PathLike


def require_own(
  repository: _Path, base_sha: str, head_sha: str, author: str
) -> None:
  """Raises ValueError for the first change that is not in the author's folder.

  Trees are compared level by level, and only where they differ: one that has
  itself in it a billion times costs nothing.

  Args:
    repository: that has both commits.
    base_sha: that the pull request started from.
    head_sha: its own.
    author: of the pull request.
  """
  base, head = git.tree(repository, base_sha), git.tree(repository, head_sha)
  for change in _changes(base, head):
    foreign = _foreign(repository, change, author)
    if foreign:
      raise ValueError(
        f'{plain_files.shown(_first(repository, foreign))}: a pull request of '
        f'{author} may change files under {challenges.SUBMISSIONS}/{author}/ '
        'and no others; take this change out of it'
      )


def is_own(name: str, author: str) -> bool:
  """Whether a folder is its author's: GitHub's names have no case.

  Beyond ASCII, other letters may become the same in lower case.
  """
  return name.isascii() and name.lower() == author.lower()


def _foreign(repository: _Path, change: _Change, author: str) -> _Change | None:
  """The first change at or below one that is not the author's."""
  path, before, after = change
  if path != challenges.SUBMISSIONS or not _are_folders(before, after):
    return change
  for name, *entries in _below(repository, before, after):
    if not is_own(name, author) or not _are_folders(*entries):
      return f'{path}/{name}', *entries
  return None


def _first(repository: _Path, change: _Change) -> str:
  """The path of a change, or the first below it."""
  path, before, after = change
  for _ in range(_DEEPEST):
    if not _are_folders(before, after):
      break
    name, before, after = next(_below(repository, before, after))
    path = f'{path}/{name}'
  return path


def _below(
  repository: _Path, before: _Entry, after: _Entry
) -> Iterator[_Change]:
  """What differs in two folders, either of which may not be there."""
  return _changes(
    *(
      git.tree(repository, entry.sha) if entry else {}
      for entry in (before, after)
    )
  )


def _changes(
  base: Mapping[str, git.TreeEntry], head: Mapping[str, git.TreeEntry]
) -> Iterator[_Change]:
  """What differs in two trees."""
  for name in sorted(base.keys() | head.keys()):
    if base.get(name) != head.get(name):
      yield name, base.get(name), head.get(name)


def _are_folders(*entries: _Entry) -> bool:
  """Whether none of them is anything else."""
  return all(entry is None or entry.kind == 'tree' for entry in entries)
