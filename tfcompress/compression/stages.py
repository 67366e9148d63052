"""The stages of a pipeline: which is made of what, and what cannot be.

| stage | made of |
|---|---|
| the first | nothing, or what its flagfile names |
| `kd` that builds a new network | nothing; its teacher is the stage before |
| every other | the stage before |

A `kd` builds a new network if its flagfile says which, by `--depth` or another
flag of the model. A stage that distills and names no teacher learns from the
first stage.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from tfcompress.core import configs, types

_MODEL_FLAGS = {field.name for field in dataclasses.fields(types.ModelSpec)}
_DISTILL_FLAGS = {
  field.name for field in dataclasses.fields(configs.DistillConfig)
}
_STARTS = ('parent', 'init_from')


@dataclasses.dataclass(frozen=True)
class Item:
  """One item of `--stages`: a stage, and its flagfile if it gives one."""

  stage: types.Stage
  flagfile: str = ''


@dataclasses.dataclass(frozen=True)
class PlannedStage:
  """A stage in its place.

  Attributes:
    number: its place, from 1.
    stage: what it does.
    flagfile: its flags.
    flags: what the flagfile says, by name, but for what its parent has already.
    folder: where its artifact goes.
    parent: the folder it starts from, whatever the flagfile names; empty for a
      new network, and of the first stage.
    teacher: the folder of the stage that it learns from; empty where there is
      none, and where the flagfile names one.
  """

  number: int
  stage: types.Stage
  flagfile: str
  flags: Mapping[str, str]
  folder: str
  parent: str = ''
  teacher: str = ''

  @property
  def name(self) -> str:
    """The name of its folder."""
    return pathlib.Path(self.folder).name

  @property
  def label(self) -> str:
    """What messages call it."""
    return f'stage {self.number}, {self.stage.value} ({self.flagfile})'

  @property
  def builds(self) -> bool:
    """Whether its flagfile says what network to build."""
    return bool(_MODEL_FLAGS & self.flags.keys())

  @property
  def distills(self) -> bool:
    """Whether it needs a teacher."""
    return self.stage is types.Stage.KD or bool(
      _DISTILL_FLAGS & self.flags.keys()
    )


def parse(text: str) -> Item:
  """Returns the item that `STAGE` or `STAGE:FLAGFILE` says.

  Raises:
    ValueError: there is no such stage.
  """
  name, _, flagfile = text.partition(':')
  known = [stage.value for stage in types.Stage]
  if name not in known:
    raise ValueError(
      f'--stages: {name!r} is none of {", ".join(known)}; an item is a stage, '
      'or STAGE:FLAGFILE'
    )
  return Item(types.Stage(name), flagfile)


def flagfile_of(item: Item, beside: Sequence[str]) -> str:
  """Returns the flagfile of an item, its own or one of the pipeline's folder.

  Args:
    item: of `--stages`.
    beside: the flagfiles of the pipeline; `flags/pipeline.cfg` has those of
      its stages in `flags/pipeline/`.

  Raises:
    ValueError: there is none.
  """
  if item.flagfile:
    return item.flagfile
  name = item.stage.value
  places = [
    pathlib.Path(path).with_suffix('') / f'{name}.cfg'
    for path in reversed(beside)
  ]
  found = next((place for place in places if place.is_file()), None)
  if found is None:
    where = f'no {" or ".join(map(str, places))}' if places else 'no flagfile'
    raise ValueError(
      f'--stages: {name} has {where}; give {name}:FLAGFILE, or a --flagfile '
      f'with a folder of its name beside it, as flags/pipeline.cfg has'
    )
  return str(found)


def chain(
  items: Sequence[Item],
  flags_of: Callable[[str], Mapping[str, str]],
  output_dir: str,
) -> tuple[PlannedStage, ...]:
  """Returns the stages in their places, with their parents and teachers.

  Args:
    items: of `--stages`, each with its flagfile.
    flags_of: from a flagfile to what it says, by the flag's name.
    output_dir: the pipeline's folder.

  Raises:
    ValueError: an order that cannot work, or a flagfile of another stage.
  """
  planned = []
  for number, item in enumerate(items, start=1):
    folder = pathlib.Path(output_dir) / f'{number}_{item.stage.value}'
    flags = flags_of(item.flagfile)
    stage = PlannedStage(number, item.stage, item.flagfile, flags, str(folder))
    _require_own_flagfile(stage)
    if planned:
      stage = _linked(_without_repeated(stage, planned), planned)
    else:
      stage = _first(stage)
    planned.append(stage)
  for before, after in zip(planned, planned[1:]):
    _require_trainable(before, after)
  return tuple(planned)


def _require_own_flagfile(stage: PlannedStage) -> None:
  said = stage.flags.get('stage')
  if said != stage.stage.value:
    raise ValueError(
      f'{stage.label}: the flagfile is for '
      + (f'--stage={said}' if said else f'no --stage={stage.stage.value}')
    )


def _first(stage: PlannedStage) -> PlannedStage:
  """The first stage, which must have something to start from."""
  starts = any(stage.flags.get(name) for name in _STARTS)
  if stage.stage is types.Stage.QAT:
    raise ValueError(
      f'{stage.label}: comes last, and is compared with the network before '
      'it; put a baseline first, with --init_from and --epochs=0 for a '
      'network of your own'
    )
  if stage.stage is types.Stage.KD and not stage.flags.get('teacher'):
    raise ValueError(
      f'{stage.label}: has no teacher; put a baseline before it, or give '
      '--teacher in its flagfile'
    )
  builds = stage.stage in (types.Stage.BASELINE, types.Stage.KD)
  if not builds and not starts:
    raise ValueError(
      f'{stage.label}: has nothing to start from; put a baseline before it, '
      'or give --parent or --init_from in its flagfile'
    )
  return stage


def _without_repeated(
  stage: PlannedStage, before: Sequence[PlannedStage]
) -> PlannedStage:
  """A stage that needs a parent, without flags that say what that has already.

  So a flagfile that all stages nest may name the network.
  """
  if stage.stage in (types.Stage.BASELINE, types.Stage.KD):
    return stage
  builder = next((one for one in reversed(before) if one.builds), before[0])
  flags = {
    name: value
    for name, value in stage.flags.items()
    if name not in _MODEL_FLAGS
    or _number(builder.flags.get(name, _default(name))) != _number(value)
  }
  return dataclasses.replace(stage, flags=flags)


def _default(name: str) -> str:
  """What a flag of the model says where it is left out, '' for nothing."""
  value = getattr(types.ModelSpec(), name)
  return '' if value in (None, ()) else str(getattr(value, 'value', value))


def _number(text: str) -> float | str:
  """A flag's value, as a number where it is one: 0.25 is .25."""
  try:
    return float(text)
  except ValueError:
    return text


def _linked(
  stage: PlannedStage, before: Sequence[PlannedStage]
) -> PlannedStage:
  """A later stage, with its parent and its teacher."""
  teacher = ''
  if stage.distills and not stage.flags.get('teacher'):
    teacher = before[0].folder
  if not stage.builds:
    return dataclasses.replace(stage, parent=before[-1].folder, teacher=teacher)
  if stage.stage is not types.Stage.KD:
    wrong = sorted(_MODEL_FLAGS & stage.flags.keys())[0]
    raise ValueError(
      f'{stage.label}: builds a new network, by --{wrong}, and drops '
      f'{before[-1].name}; put it first, or leave the flag out'
    )
  if teacher:
    teacher = before[-1].folder
  return dataclasses.replace(stage, teacher=teacher)


def _require_trainable(before: PlannedStage, after: PlannedStage) -> None:
  """int8 training comes last; only a new network can come after it."""
  if before.stage is types.Stage.QAT and not after.builds:
    raise ValueError(
      f'{before.label}: nothing is trained on after qat, so {after.name} '
      'cannot follow; put qat last, or before a kd that builds a new network'
    )
