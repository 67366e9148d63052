"""Which submissions of a repository have no result yet."""

import datetime
import pathlib
from collections.abc import Iterator

from tfcompress.competition import history
from tfcompress.core import challenges, records
from tfcompress.hosting import evaluation


def of(
  repository: pathlib.Path, submitted: datetime.datetime
) -> Iterator[tuple[pathlib.Path, evaluation.HandedIn | None]]:
  """Yields the folders of submissions, and what is to be evaluated of each.

  That is None where the newest result of the participant is of the same files,
  by the same rules. What was handed in before keeps the time that it came at.

  Args:
    repository: of the challenge.
    submitted: when new ones were handed in.

  Raises:
    ValueError: the history cannot be read.
  """
  known = history.read(repository / challenges.HISTORY).entries
  rules = records.sha256(repository / challenges.CHALLENGE)
  for folder in sorted((repository / challenges.SUBMISSIONS).glob('[!.]*')):
    own = [entry for entry in known if entry.username == folder.name]
    came = submitted
    if same := [entry for entry in own if _is_of(entry, folder)]:
      came = datetime.datetime.fromisoformat(same[0].submitted)
      if same[-1] is own[-1] and same[-1].challenge_sha256 == rules:
        yield folder, None
        continue
    yield folder, evaluation.HandedIn(folder, came)


def _is_of(entry: challenges.Entry, folder: pathlib.Path) -> bool:
  """Whether a result is of the files that a folder has now."""
  if not entry.submission_sha256 or not folder.is_dir():
    return False
  return entry.submission_sha256 == records.sha256(folder)
