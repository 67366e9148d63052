"""What a pipeline has done: `pipeline.json` in its folder.

A step is remembered with its flags and the SHA-256 of the models and records that
it read and wrote.
It is there if all of that is as it was.
"""

import dataclasses
import enum
import functools
import pathlib
from collections.abc import Mapping, Sequence

from tfcompress.compression import steps as steps_lib
from tfcompress.core import records

_FILE = 'pipeline.json'
_SCHEMA_VERSION = 1


class State(enum.Enum):
  """What is to be done of a step."""

  THERE = 'there'
  FAILED = 'failed'  # with the same flags and inputs, so it would again
  TO_DO = 'to do'


@dataclasses.dataclass(frozen=True)
class Entry:
  """What is remembered of a step.

  Attributes:
    flags: by name.
    inputs: SHA-256 by path; empty until the step is done, and of one that is
      to be tried again.
    sha256: of the result; None until the step is done.
    failed: why it did not work; empty if it did.
  """

  flags: Mapping[str, str]
  inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
  sha256: str | None = None
  failed: str = ''


@dataclasses.dataclass(frozen=True)
class Conflict:
  """Why what is there of a step is not what is asked for now."""

  step: steps_lib.Step
  reason: str


class Journal:
  """The memory of one pipeline's folder; every change is on disk at once."""

  def __init__(self, output_dir: str):
    """Opens it.

    Raises:
      ValueError: the folder's `pipeline.json` is none.
    """
    self._path = pathlib.Path(output_dir) / _FILE
    self._entries = _read(self._path) if self._path.is_file() else {}

  def knows(self, name: str) -> bool:
    """Whether a step of that name was begun here."""
    return name in self._entries

  def failure(self, step: steps_lib.Step) -> str:
    """Returns why a step did not work; empty if it did, or was not run."""
    entry = self._entries.get(step.name)
    return entry.failed if entry else ''

  def note_begun(self, step: steps_lib.Step) -> None:
    self._note(step, Entry(step.flags))

  def note_done(self, step: steps_lib.Step) -> None:
    sha256 = records.sha256(step.result)
    self._note(step, Entry(step.flags, _hashes(step), sha256))

  def note_failed(
    self, step: steps_lib.Step, reason: str, *, final: bool
  ) -> None:
    """Notes a failure, which is `final` if the same would fail again."""
    inputs = _hashes(step) if final else {}
    self._note(step, Entry(step.flags, inputs, failed=reason))

  def states(self, steps: Sequence[steps_lib.Step]) -> dict[str, State]:
    """Returns the state of every step, by name.

    What was exported or measured of another input than is there now is to do
    again; a training is not thrown away like that.

    Raises:
      ValueError: steps were done with other flags, trainings also with other
        parents; or what they wrote has changed since.
    """
    states, conflicts = {}, []
    now = _Files()
    for step in steps:
      state, reason = self._state(step, now)
      states[step.name] = state
      if reason:
        conflicts.append(Conflict(step, reason))
      if state is not State.THERE:
        now.to_do.add(step.result)
    if conflicts:
      raise ValueError(_explain(self._path.parent, conflicts, steps))
    return states

  def _state(self, step: steps_lib.Step, now: '_Files') -> tuple[State, str]:
    """A step's state, and why it cannot go on, if so."""
    entry = self._entries.get(step.name)
    done = pathlib.Path(step.result).is_file()
    begun = step.trains and pathlib.Path(step.folder).exists()
    if entry is None or not (entry.failed or begun or done):
      return State.TO_DO, ''
    if entry.failed:
      same = entry.flags == step.flags and not now.changed(step, entry)
      return State.FAILED if same else State.TO_DO, ''
    if entry.flags != step.flags:
      return State.TO_DO, _other_flags(entry.flags, step.flags)
    if not done or entry.sha256 is None:
      return State.TO_DO, ''
    if changed := now.changed(step, entry):
      return State.TO_DO, changed if step.trains else ''
    if now.sha256(step.result) != entry.sha256:
      return State.TO_DO, f'has changed since it was made ({step.result})'
    return State.THERE, ''

  def _note(self, step: steps_lib.Step, entry: Entry) -> None:
    self._entries[step.name] = entry
    content = {'schema_version': _SCHEMA_VERSION, 'steps': self._entries}
    records.write_json(self._path, content)


def _read(path: pathlib.Path) -> dict[str, Entry]:
  content = records.read_json(path)
  try:
    return {
      name: records.from_json(Entry, entry)
      for name, entry in content['steps'].items()
    }
  except (KeyError, ValueError, TypeError, AttributeError) as error:
    raise ValueError(
      f'{path}: not what compress wrote ({error}); choose another --output_dir'
    ) from error


def _hashes(step: steps_lib.Step) -> dict[str, str]:
  return {path: records.sha256(path) for path in step.inputs}


class _Files:
  """What the files on disk are now; `to_do` names those still to be written."""

  def __init__(self):
    self.to_do = set()
    self.sha256 = functools.cache(records.sha256)

  def changed(self, step: steps_lib.Step, entry: Entry) -> str:
    """Says which input is not what the step has read; empty if all are."""
    for path in step.inputs:
      if path in self.to_do:
        return f'was made of {path}, which is to be made anew'
      if not pathlib.Path(path).exists():
        return f'was made of {path}, which is not there any more'
      if self.sha256(path) != entry.inputs.get(path):
        return f'was made of another {path} than there is now'
    return ''


def _other_flags(there: Mapping[str, str], now: Mapping[str, str]) -> str:
  say = lambda flags, name: (
    f'--{name}={flags[name]}' if name in flags else f'no --{name}'
  )
  differences = [
    f'{say(there, name)} there, {say(now, name)} now'
    for name in sorted(there.keys() | now.keys())
    if there.get(name) != now.get(name)
  ]
  return f'was made with other flags ({"; ".join(differences)})'


def _explain(
  folder: pathlib.Path,
  conflicts: Sequence[Conflict],
  steps: Sequence[steps_lib.Step],
) -> str:
  """One sentence for all: the first is the cause of most others."""
  first = conflicts[0]
  more = len(conflicts) - 1
  return (
    f'{folder}: {first.step.label} {first.reason}'
    + (f', and {more} more' if more else '')
    + '; use the same flags, or another --output_dir, or remove '
    + ' '.join(_to_remove([conflict.step for conflict in conflicts], steps))
    + ' to make anew what is in it'
  )


def _to_remove(
  wrong: Sequence[steps_lib.Step], steps: Sequence[steps_lib.Step]
) -> list[str]:
  """What to remove: of exports and measurements all, if all are wrong."""
  names = []
  for step in wrong:
    alike = [other for other in steps if other.command == step.command]
    together = not step.trains and all(other in wrong for other in alike)
    folder = pathlib.Path(step.folder)
    names.append(str(folder.parent if together else folder))
  return list(dict.fromkeys(names))
