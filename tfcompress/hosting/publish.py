"""Adds a result to a challenge's repository, and tells the participant.

Any number of results may come at the same moment, and each is one commit on the
newest state of the branch. Whoever is late begins again on top of the others;
none is lost, for the history takes each once, by its id.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import pathlib
import random
import tempfile
import time
from collections.abc import Iterator

from tfcompress.competition import history
from tfcompress.core import challenges, records
from tfcompress.hosting import artifact, changes, git, github, repository

_ATTEMPTS, _MOST_SECONDS = 20, 5.0  # between two attempts


def publish(
  folder: str | os.PathLike, result: str | os.PathLike, push: bool = True
) -> challenges.Entry:
  """Publishes what an evaluation found.

  Args:
    folder: the challenge's repository.
    result: artifact.RESULT, with what belongs to it beside it.
    push: commit it to the branch that is checked out, where that came from,
      and comment on the pull request, as the workflow of the environment; else
      only change the files of the folder.

  Returns:
    The entry.

  Raises:
    ValueError: it is no result, or not that of the pull request it says; git or
      GitHub does not take it.
  """
  folder, found = pathlib.Path(folder), artifact.read(result)
  if not push:
    add(folder, found)
    return found.entry
  hub = github.of_environment()
  number = found.proposal.number
  pull_request = github.read(hub, number)
  if not changes.is_own(found.entry.username, pull_request.author):
    raise ValueError(
      f'{result}: of {found.entry.username}, but pull request {number} is of '
      f'{pull_request.author}'
    )
  text = _push(folder, found, hub)
  # What a later commit is told stays, should this one have taken longer.
  if pull_request.head_sha == found.proposal.head_sha:
    github.comment(hub, number, text)
  return found.entry


def add(folder: pathlib.Path, found: artifact.Artifact) -> None:
  """Adds a result to the files of a folder, unless it is there."""
  if found.record is not None:
    path = artifact.record_of(folder, found.entry)
    records.write_bytes(path, found.record)
  history.append(folder / challenges.HISTORY, found.entry)
  repository.render(folder)


def _push(
  folder: pathlib.Path, found: artifact.Artifact, hub: github.Repository
) -> str:
  """Commits a result on the newest state; returns what is to be told of it."""
  branch = git.run(folder, 'symbolic-ref', 'HEAD').strip()
  remote = functools.partial(git.run, token=hub.token, server=hub.server_url)
  with _worktree(folder) as tree:
    for attempt in itertools.count(1):
      remote(tree, 'fetch', '--no-tags', 'origin', branch)
      git.run(tree, 'reset', '--hard', 'FETCH_HEAD')
      git.run(tree, 'clean', '-ffdx')
      add(tree, found)
      _commit(tree, found.entry)
      try:
        remote(tree, 'push', 'origin', f'HEAD:{branch}')
        return repository.comment(tree, found.entry)
      except ValueError as error:
        if attempt == _ATTEMPTS or not _is_late(error):
          raise
      time.sleep(random.uniform(0, min(_MOST_SECONDS, 0.2 * 2**attempt)))


def _is_late(error: ValueError) -> bool:
  """Whether a push came after another one, and not to where none may."""
  return 'rejected' in str(error) and 'declined' not in str(error)


@contextlib.contextmanager
def _worktree(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """A second checkout, so that the first stays as somebody may have left it."""
  with tempfile.TemporaryDirectory() as scratch:
    tree = pathlib.Path(scratch, 'tree')
    git.run(folder, 'worktree', 'add', '--detach', '--no-checkout', str(tree))
    try:
      yield tree
    finally:
      git.run(folder, 'worktree', 'remove', '--force', str(tree))


def _commit(tree: pathlib.Path, entry: challenges.Entry) -> None:
  """Commits what changed, if anything did."""
  git.run(tree, 'add', '--all')
  if not git.run(tree, 'status', '--porcelain'):
    return
  message = f'Result of {entry.username}: {entry.status.value} ({entry.id})'
  git.run(tree, 'commit', '--quiet', '--message', message)
