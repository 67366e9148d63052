"""Which submissions of a repository have no result yet."""

import datetime
import pathlib
from collections.abc import Iterator

from tfcompress.competition import history, rules, submission
from tfcompress.core import challenges
from tfcompress.hosting import evaluation


def of(
  repository: pathlib.Path,
  challenge: challenges.Challenge,
  submitted: datetime.datetime,
) -> Iterator[tuple[pathlib.Path, evaluation.HandedIn | None]]:
  """Yields the folders of submissions, and what is to be evaluated of each.

  That is None where the newest result of the participant is of the same files,
  unless it is void and the window has changed since. What was handed in before
  keeps the time that it came at.

  Args:
    repository: of the challenge.
    challenge: its rules.
    submitted: when new ones were handed in.

  Raises:
    ValueError: the history cannot be read.
  """
  known = history.read(repository / challenges.HISTORY).entries
  for folder in sorted((repository / challenges.SUBMISSIONS).glob('[!.]*')):
    files = submission.sha256_of(folder)
    own = [entry for entry in known if entry.username == folder.name]
    same = [entry for entry in own if files == entry.submission_sha256]
    came = submitted
    if same:
      came = datetime.datetime.fromisoformat(same[0].submitted)
    is_known = bool(same) and same[-1] is own[-1]
    if is_known and own[-1].status is challenges.Status.VOID:
      is_known = bool(rules.in_window(challenge.window, came))
    yield folder, None if is_known else evaluation.HandedIn(folder, came)
