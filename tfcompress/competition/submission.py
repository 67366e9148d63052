"""A participant's folder: a model, what it says of itself, and its loader.

All of it is a stranger's. Nothing in it is imported or run here, no archive is
unpacked, no link followed.
"""

import dataclasses
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping

from tfcompress.competition import (
  plain_files,
  submission_files,
  submission_metadata,
)
from tfcompress.competition import requirements as requirements_lib
from tfcompress.core import challenges, errors, records

ANY_CHALLENGE = challenges.Challenge(
  packages=(requirements_lib.ANY,),
  limits=challenges.Limits(model_mib=math.inf),
)


@dataclasses.dataclass(frozen=True)
class Submission:
  """A folder that keeps the rules.

  Attributes:
    folder: where it is.
    username: of the participant, on GitHub.
    teamname: to be shown.
    model_format: of the model.
    model: the file, or the folder of a SavedModel.
    loader: whose `load_model` opens the model; None if it needs none.
    requirements: of the loader; None if there are none.
    size_bytes: of model and loader, which is what is scored as size: weights
      can hide in a loader.
  """

  folder: pathlib.Path
  username: str
  teamname: str
  model_format: challenges.ModelFormat
  model: pathlib.Path
  loader: pathlib.Path | None
  requirements: pathlib.Path | None
  size_bytes: int


def read(
  folder: str | os.PathLike,
  challenge: challenges.Challenge,
  author: str = '',
) -> Submission:
  """Returns the submission in a folder.

  Args:
    folder: of the name of the participant.
    challenge: whose rules it must keep.
    author: who hands it in, on GitHub; '' if that is not known.

  Raises:
    ValueError: it breaks a rule.
  """
  found = _read(pathlib.Path(folder), challenge)
  submission_metadata.require_owner(found.folder, found.username, author)
  return found


def copy(submission: Submission, target: str | os.PathLike) -> Submission:
  """Writes a snapshot, so that what is hashed is what is evaluated.

  Args:
    submission: of a folder that others may change meanwhile.
    target: a folder that is not there yet.

  Raises:
    ValueError: the submission changed since it was read.
  """
  target = pathlib.Path(target)
  sizes = plain_files.walk(submission.folder)
  target.mkdir(parents=True)
  for name, size in sizes.items():
    if size is None:
      (target / name).mkdir()
    else:
      plain_files.copy(submission.folder / name, target / name, size)
  copied = _read(target, ANY_CHALLENGE)
  if copied != _moved(submission, target):
    raise ValueError(
      f'{plain_files.shown(submission.folder)}: changed since it was read'
    )
  return copied


def sha256(submission: Submission) -> tuple[str, str]:
  """Returns the SHA-256 of a snapshot's model, and of all its files."""
  return records.sha256(submission.model), records.sha256(submission.folder)


def sha256_of(folder: str | os.PathLike) -> str:
  """Returns the SHA-256 of all files of a folder; '' where some are none."""
  try:
    plain_files.walk(pathlib.Path(folder))
    return records.sha256(folder)
  except (ValueError, OSError):
    return ''


def write(
  target: str | os.PathLike,
  username: str,
  teamname: str,
  model_format: challenges.ModelFormat,
  model: str | os.PathLike,
  loader: str | os.PathLike | None = None,
  requirements: str | os.PathLike | None = None,
  extra: Mapping[str, object] | None = None,
  challenge: challenges.Challenge = ANY_CHALLENGE,
) -> Submission:
  """Packages a submission: all of it, or nothing.

  One that is there already is replaced once the new one is complete; its
  README.md and LICENSE stay.

  Args:
    target: the folder, of the name of the participant.
    username: of the participant, on GitHub.
    teamname: to be shown.
    model_format: of the model.
    model: a file, or the folder of a SavedModel, of any name.
    loader: a `.py` file whose `load_model` opens the model.
    requirements: of the loader.
    extra: further keys of metadata.json.
    challenge: whose rules it must keep.

  Raises:
    ValueError: it would break a rule, a file cannot be copied, or what is there
      already is no submission.
  """
  target, model = pathlib.Path(target), pathlib.Path(model)
  submission_metadata.require_owner(target, username)
  there = submission_files.kept(target) if os.path.lexists(target) else ()
  files = {
    **{name: target / name for name in there},
    submission_files.name_for(model, model_format): model,
    challenges.LOADER: loader,
    challenges.REQUIREMENTS: requirements,
  }
  own = {
    'username': username,
    'teamname': teamname,
    'model_format': model_format.value,
  }
  return _package(target, files, {**own, **(extra or {}), **own}, challenge)


def _read(folder: pathlib.Path, challenge: challenges.Challenge) -> Submission:
  """The submission in a folder of any name."""
  sizes = plain_files.walk(folder)
  told = submission_metadata.read(folder)
  model = submission_files.model_of(folder, sizes, told.model_format, challenge)
  size_bytes = submission_files.size_bytes(folder, sizes, model, challenge)
  submission_files.require_code(folder, sizes, told.model_format, challenge)
  loader, requirements = (
    folder / name if name in sizes else None
    for name in (challenges.LOADER, challenges.REQUIREMENTS)
  )
  return Submission(
    folder=folder,
    username=told.username,
    teamname=told.teamname,
    model_format=told.model_format,
    model=folder / model,
    loader=loader,
    requirements=requirements,
    size_bytes=size_bytes,
  )


def _moved(submission: Submission, folder: pathlib.Path) -> Submission:
  """The same submission in another folder."""
  parts = ('model', 'loader', 'requirements')
  paths = {part: getattr(submission, part) for part in parts}
  moved = {part: path and folder / path.name for part, path in paths.items()}
  return dataclasses.replace(submission, folder=folder, **moved)


def _package(
  target: pathlib.Path,
  files: Mapping[str, str | os.PathLike | None],
  metadata: Mapping[str, object],
  challenge: challenges.Challenge,
) -> Submission:
  """Makes a submission beside its place, and moves it there if it is good."""
  records.require_writable(target.parent)
  target.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(
    prefix=f'.{target.name}.', dir=target.parent
  ) as scratch:
    new = pathlib.Path(scratch, target.name)
    _fill(new, files, metadata)
    try:
      made = read(new, challenge)
    except ValueError as error:
      message = str(error).replace(str(new), str(target))
      raise ValueError(message) from error
    _exchange(target, new, pathlib.Path(scratch, 'old'))
  return _moved(made, target)


def _fill(
  folder: pathlib.Path,
  files: Mapping[str, str | os.PathLike | None],
  metadata: Mapping[str, object],
) -> None:
  folder.mkdir()
  for name, path in files.items():
    if path is not None:
      _copy_own(pathlib.Path(path), folder / name)
  records.write_json(folder / challenges.METADATA, metadata)


def _copy_own(source: pathlib.Path, target: pathlib.Path) -> None:
  """Copies what the user has named, and whatever links there lead to."""
  try:
    if source.is_dir():
      shutil.copytree(source, target)
    else:
      shutil.copyfile(source, target)
  except OSError as error:
    raise ValueError(
      f'{plain_files.shown(source)}: cannot be copied '
      f'({error.strerror or errors.first_line(error)})'
    ) from error


def _exchange(
  target: pathlib.Path, new: pathlib.Path, old: pathlib.Path
) -> None:
  """Puts `new` in the place of `target`, which goes to `old` if it is there."""
  was_there = target.exists()
  if was_there:
    target.rename(old)
  try:
    new.rename(target)
  except BaseException:
    if was_there:
      old.rename(target)
    raise
