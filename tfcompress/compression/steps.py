"""The steps of a pipeline, each a command that a person could type."""

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence

from tfcompress.core import types


@dataclasses.dataclass(frozen=True)
class Step:
  """One command.

  Attributes:
    name: unique in the pipeline, where it is remembered by it.
    label: what messages call it.
    command: train, export or evaluate.
    arguments: its flags as they are typed.
    flags: its flags by name, those of its flagfiles too.
    inputs: the model files and records that it reads.
    result: the file that is there once it is done.
    folder: what to remove to make it anew.
  """

  name: str
  label: str
  command: str
  arguments: tuple[str, ...]
  flags: Mapping[str, str]
  inputs: tuple[str, ...]
  result: str
  folder: str

  @property
  def trains(self) -> bool:
    """Whether it takes long and cannot fail without an end of all."""
    return self.command == 'train'

  @property
  def argv(self) -> list[str]:
    """How the system runs it."""
    return [sys.executable, '-m', f'tfcompress.{self.command}', *self.arguments]

  def __str__(self) -> str:
    """How a person types it."""
    return shlex.join(
      ['python', '-m', f'tfcompress.{self.command}', *self.arguments]
    )


@dataclasses.dataclass(frozen=True)
class File:
  """One exported file: what it is, how it is made and how it is measured.

  Attributes:
    name: of its folder and of its record.
    stages: those that its network went through.
    variant: what its numbers are.
    export: makes it.
    measure: measures it.
  """

  name: str
  stages: tuple[str, ...]
  variant: types.Variant
  export: Step
  measure: Step


@dataclasses.dataclass(frozen=True)
class Plan:
  """All steps of a pipeline.

  Attributes:
    trainings: of teachers and stages.
    files: what is exported and measured, the reference first.
    main: the file that the pipeline is run for.
  """

  trainings: tuple[Step, ...]
  files: tuple[File, ...]
  main: File

  @property
  def steps(self) -> tuple[Step, ...]:
    """All trainings, then all exports, then all measurements."""
    exports = [file.export for file in self.files]
    return (*self.trainings, *exports, *(file.measure for file in self.files))


def as_flags(arguments: Sequence[str]) -> dict[str, str]:
  """Returns flags by name, the last of a name; one without a value is 'true'."""
  flags = {}
  name = ''
  for argument in arguments:
    if argument.startswith('-'):
      name, equals, value = argument.lstrip('-').partition('=')
      flags[name] = value if equals else 'true'
    elif name:
      flags[name] = argument
  return flags
