"""What a pull request hands in, checked and taken out of it as plain files.

Its files are data: they are never checked out, and nothing that they say is
done. Who sent it, and when, is what GitHub's event says; what a commit says of
itself can be forged.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import re

from tfcompress.core import challenges, numbers, records
from tfcompress.hosting import changes, committed, git
from tfcompress.reports import names

PROPOSAL = 'proposal.json'
_LOGIN = re.compile('[A-Za-z0-9][A-Za-z0-9_-]{0,99}')
_MIB = 2**20
_BESIDE_MIB = 4.0  # for what is neither model nor loader


@dataclasses.dataclass(frozen=True)
class Proposal:
  """A pull request, as far as it is to be evaluated.

  Attributes:
    number: of the pull request.
    author: who opened it, spelled as the folder of the submission is.
    head_sha: the commit that is evaluated.
    submitted: when it last changed by then, as GitHub says, ISO 8601 in UTC.
    refusal: the rule that it breaks, one sentence; '' if it may be evaluated.
  """

  number: int
  author: str
  head_sha: str
  submitted: str
  refusal: str = ''
  schema_version: int = 1


def proposal(
  event: dict,
  repository: str | os.PathLike,
  challenge: challenges.Challenge,
  target: str | os.PathLike,
) -> Proposal:
  """Takes the submission out of a pull request.

  Args:
    event: of GitHub, that a pull request came or changed.
    repository: of the challenge; it has the commits of the pull request and,
      checked out, the branch that it is meant for.
    challenge: its rules.
    target: a new folder, which gets the files of the submission, in the folder
      that `submission_of` names, if it breaks no rule. PROPOSAL is written
      there either way.

  Returns:
    The proposal, with its refusal if it breaks a rule.

  Raises:
    ValueError: the event is none of a pull request, or the repository does
      not have its commits.
  """
  proposed, files = of_event(event), {}
  git.require_commit(repository, proposed.head_sha)
  try:
    proposed = _spelled(repository, proposed)
    files = _files(repository, proposed, challenge.limits)
  except ValueError as error:
    proposed = refused(proposed, error)
  committed.write(repository, files, pathlib.Path(target))
  write(proposed, target)
  return proposed


def of_event(event: dict) -> Proposal:
  """Returns what GitHub's event says of a pull request.

  Raises:
    ValueError: it says nothing of the kind.
  """
  try:
    told = event['pull_request']
    number, author = told['number'], told['user']['login']
    sha = told['head']['sha']
    submitted = datetime.datetime.fromisoformat(told['updated_at'])
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'no event of a pull request ({type(error).__name__}: {error}); give '
      'the file that GITHUB_EVENT_PATH names'
    ) from error
  if submitted.tzinfo is None:
    raise ValueError(f'updated_at {submitted}: expected a time zone')
  submitted = submitted.astimezone(datetime.UTC).isoformat(timespec='seconds')
  return _valid(Proposal(number, author, sha, submitted))


def refused(proposed: Proposal, error: ValueError) -> Proposal:
  """Returns a proposal that breaks the rule which an error names."""
  return dataclasses.replace(proposed, refusal=names.printable(str(error)))


def submission_of(
  proposed: Proposal, target: str | os.PathLike
) -> pathlib.Path:
  """Returns the folder of the submission, which has its author's name."""
  return pathlib.Path(target, challenges.SUBMISSIONS, proposed.author)


def write(proposed: Proposal, target: str | os.PathLike) -> None:
  """Writes a proposal into its folder."""
  records.write_json(pathlib.Path(target, PROPOSAL), proposed)


def read(target: str | os.PathLike) -> Proposal:
  """Returns the proposal that a folder has.

  Raises:
    ValueError: it has none.
  """
  path = pathlib.Path(target, PROPOSAL)
  try:
    return _valid(records.from_json(Proposal, records.read_json(path)))
  except (ValueError, OverflowError) as error:
    raise ValueError(f'{path}: no proposal ({error})') from error


def _valid(proposed: Proposal) -> Proposal:
  """A proposal; raises ValueError if that is what it is not."""
  number, author = proposed.number, proposed.author
  if not isinstance(number, int) or isinstance(number, bool) or number < 1:
    raise ValueError(f'pull request {number!r:.60}: expected a number above 0')
  if not isinstance(author, str) or not _LOGIN.fullmatch(author):
    raise ValueError(
      f'author {author!r:.120}: expected letters, digits, - and _; send the '
      "pull request from a person's account"
    )
  git.require_sha(proposed.head_sha, 'head')
  return proposed


def _spelled(repository: str | os.PathLike, proposed: Proposal) -> Proposal:
  """With the author as his folder has it; raises ValueError if there is none.

  Nothing but that folder may have been changed.
  """
  base_sha = _common_commit(repository, proposed.head_sha)
  author = proposed.author
  changes.require_own(repository, base_sha, proposed.head_sha, author)
  handed_in = _submissions(repository, proposed.head_sha)
  own = [name for name in handed_in if changes.is_own(name, author)]
  if not own:
    raise ValueError(
      f'no files under {challenges.SUBMISSIONS}/{author}/; there is nothing '
      'to evaluate'
    )
  if len(own) > 1:
    raise ValueError(
      f'folders {" and ".join(own)} under {challenges.SUBMISSIONS}/ are the '
      "same participant's; keep one of them"
    )
  return dataclasses.replace(proposed, author=own[0])


def _common_commit(repository: str | os.PathLike, head_sha: str) -> str:
  """The last one of both the pull request and the branch it is meant for."""
  try:
    return git.run(repository, 'merge-base', 'HEAD', head_sha).strip()
  except ValueError as error:
    raise ValueError(
      'the pull request has no commit in common with the branch it is meant '
      'for; start yours from that branch'
    ) from error


def _submissions(
  repository: str | os.PathLike, sha: str
) -> dict[str, git.TreeEntry]:
  folder = git.tree(repository, sha).get(challenges.SUBMISSIONS)
  return git.tree(repository, folder.sha) if folder else {}


def _files(
  repository: str | os.PathLike,
  proposed: Proposal,
  limits: challenges.Limits,
) -> dict[str, git.TreeEntry]:
  """The submission's files; raises ValueError if they are too large."""
  path = f'{challenges.SUBMISSIONS}/{proposed.author}'
  folder = _submissions(repository, proposed.head_sha)[proposed.author]
  files = committed.files(repository, folder, path)
  size_mib = sum(entry.size for entry in files.values()) / _MIB
  if size_mib > limits.model_mib + _BESIDE_MIB:
    raise ValueError(
      f'{path}: {size_mib:.1f} MiB, limit {numbers.plain(limits.model_mib)} MiB for the '
      'model with its loader; hand in a smaller one'
    )
  return files
