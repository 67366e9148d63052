"""What the workflow that evaluates hands to the one that publishes.

  RESULT            the entry
  proposal.json     the pull request that it is of
  records/ID.json   its measurement with all samples, if anything was measured

The first workflow ran a stranger's model, so the second takes nothing of it for
granted: neither that it is well formed, nor whose it says that it is.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import math
import os
import pathlib
import re

from tfcompress.competition import plain_files
from tfcompress.core import challenges, measurements, records
from tfcompress.hosting import changes, pull_request

RESULT = 'result.json'
_MIB = 2**20
_MOST_BYTES, _MOST_RECORD_BYTES = 4 * _MIB, 64 * _MIB
_DEEPEST = 16
_ID = re.compile('[A-Za-z0-9-]{1,100}')
_SHA256 = re.compile('(?:[0-9a-f]{64})?')
_LONGEST = {'reason': 2000, 'teamname': 200, 'model_format': 20}


@dataclasses.dataclass(frozen=True)
class Artifact:
  """A result that is to be published.

  Attributes:
    entry: of the history.
    proposal: the pull request that it is of.
    record: the file of its measurement; None where nothing was measured.
  """

  entry: challenges.Entry
  proposal: pull_request.Proposal
  record: bytes | None


def read(result: str | os.PathLike) -> Artifact:
  """Returns what lies in and beside a result's file.

  Raises:
    ValueError: it is not what an evaluation writes.
  """
  path = pathlib.Path(result)
  proposal = pull_request.read(path.parent)
  entry = _read(challenges.Entry, path, _MOST_BYTES)
  try:
    _require_plausible(entry)
    _require_of(entry, proposal)
    return Artifact(entry, proposal, _record(path.parent, entry))
  except ValueError as error:
    raise ValueError(f'{path}: no result to publish ({error})') from error


def record_of(folder: pathlib.Path, entry: challenges.Entry) -> pathlib.Path:
  """Returns where the file of an entry's measurement is, or would be."""
  return folder / challenges.RECORDS / f'{entry.id}.json'


def _read(kind: type, path: pathlib.Path, most: int):
  """A record of a file that may hold anything."""
  plain_files.read_bytes(path, most)
  content = records.read_json(path)
  try:
    _require_finite(content)
    return records.from_json(kind, content)
  except (ValueError, TypeError, OverflowError, AttributeError) as error:
    raise ValueError(f'{path}: no {kind.__name__} ({error})') from error


def _require_finite(content: object) -> None:
  """Raises ValueError for a number that is none, or for what is too deep."""
  waiting = [(content, 0)]
  while waiting:
    value, depth = waiting.pop()
    if depth > _DEEPEST:
      raise ValueError(f'nested more than {_DEEPEST} deep')
    if isinstance(value, float) and not math.isfinite(value):
      raise ValueError(f'{value} is no number')
    if isinstance(value, dict):
      value = list(value.values())
    if isinstance(value, list):
      waiting += [(one, depth + 1) for one in value]


def _require_plausible(entry: challenges.Entry) -> None:
  """Raises ValueError for an entry that no evaluation writes."""
  if not _ID.fullmatch(entry.id):
    raise ValueError(f'id {entry.id!r:.120}')
  for name in ('teamname', 'reason', 'model_format'):
    text = getattr(entry, name)
    if len(text) > _LONGEST[name] or not text.isprintable():
      raise ValueError(f'{name} {text!r:.60}')
  for name in (
    'sha256', 'submission_sha256', 'challenge_sha256', 'record_sha256'
  ):  # fmt: skip
    if not _SHA256.fullmatch(getattr(entry, name)):
      raise ValueError(f'{name} {getattr(entry, name)!r:.80}')
  for name in ('submitted', 'evaluated'):
    when = datetime.datetime.fromisoformat(getattr(entry, name))
    if when.tzinfo is None:
      raise ValueError(f'{name} {when} without a time zone')
  if entry.status is challenges.Status.RANKED and not _final(entry):
    raise ValueError('ranked, but without a score')
  if entry.status is not challenges.Status.RANKED and not entry.reason:
    raise ValueError(f'{entry.status.value}, but without a reason')


def _final(entry: challenges.Entry) -> float | None:
  score = entry.record and entry.record.score
  return score and score.final


def _require_of(
  entry: challenges.Entry, proposal: pull_request.Proposal
) -> None:
  """Raises ValueError unless an entry is a pull request's."""
  if entry.pull_request != proposal.number:
    raise ValueError(
      f'of pull request {entry.pull_request}, expected {proposal.number}'
    )
  if not changes.is_own(entry.username, proposal.author):
    raise ValueError(f'of {entry.username!r:.60}, expected {proposal.author}')
  then = datetime.datetime.fromisoformat(proposal.submitted)
  if datetime.datetime.fromisoformat(entry.submitted) != then:
    raise ValueError(
      f'submitted {entry.submitted}, expected {proposal.submitted}'
    )


def _record(folder: pathlib.Path, entry: challenges.Entry) -> bytes | None:
  """The file of an entry's measurement, as it is."""
  path = record_of(folder, entry)
  if not entry.record_sha256:
    return None
  _read(measurements.Measurement, path, _MOST_RECORD_BYTES)
  content = path.read_bytes()
  if hashlib.sha256(content).hexdigest() != entry.record_sha256:
    raise ValueError(f'{path}: another file than that of the entry')
  return content
