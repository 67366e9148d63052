"""From the stages of a pipeline to its steps."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from tfcompress.compression import stages as stages_lib
from tfcompress.compression import steps
from tfcompress.core import flagfiles, keras_files, records, types

_DATA_FLAGS = [field.name for field in dataclasses.fields(types.DataSpec)]

Chain = Sequence[stages_lib.PlannedStage]


@dataclasses.dataclass(frozen=True)
class Config:
  """What a pipeline is to do with its stages.

  Attributes:
    output_dir: its folder.
    variants: the exports of the last stage.
    flags: by command, what is given to every step that runs it.
  """

  output_dir: str
  variants: tuple[types.Variant, ...] = tuple(types.Variant)
  flags: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

  def path(self, *parts: str) -> str:
    """A path inside the pipeline's folder."""
    return str(pathlib.Path(self.output_dir, *parts))

  def step(self, command: str, arguments: Sequence[str], **others):
    """A step with the flags that all of its command get."""
    arguments = (*arguments, *self.flags.get(command, ()))
    flags = steps.as_flags(arguments)
    return steps.Step(
      command=command, arguments=arguments, flags=flags, **others
    )


def plan(
  config: Config, chain: Chain, is_given: Callable[[str], bool]
) -> steps.Plan:
  """Returns the steps: trainings, exports, measurements.

  Args:
    config: the pipeline.
    chain: its stages, in order.
    is_given: whether the user has a teacher of this path already.

  Raises:
    ValueError: a teacher is neither there nor has it a flagfile.
  """
  trainings = {}
  for stage in chain:
    for step in _teachers(config, stage, chain, is_given):
      trainings.setdefault(step.name, step)
    trainings[stage.name] = _training(config, stage)
  files = tuple(_files(config, chain))
  int8 = types.Variant.INT8
  variant = int8 if int8 in config.variants else config.variants[0]
  main = _name(_source(chain, variant), variant)
  (main,) = [file for file in files if file.name == main]
  return steps.Plan(tuple(trainings.values()), files, main)


def model_file(path: str) -> str:
  """Returns the model file of an artifact folder; of a file, itself."""
  is_file = pathlib.Path(path).suffix in keras_files.SUFFIXES
  return path if is_file else str(pathlib.Path(path) / records.MODEL)


def _training(config: Config, stage: stages_lib.PlannedStage) -> steps.Step:
  arguments = [f'--flagfile={stage.flagfile}', f'--output_dir={stage.folder}']
  for name in ('parent', 'teacher'):
    if path := getattr(stage, name):
      arguments.append(f'--{name}={path}')
  flags = {**stage.flags, **steps.as_flags(arguments)}
  named = ','.join(flags.get(n, '') for n in ('parent', 'teacher', 'init_from'))
  inputs = [model_file(path) for path in named.split(',') if path]
  return config.step(
    'train',
    arguments,
    name=stage.name,
    label=stage.label,
    inputs=tuple(dict.fromkeys(inputs)),
    result=model_file(stage.folder),
    folder=stage.folder,
  )


def _teachers(
  config: Config,
  stage: stages_lib.PlannedStage,
  chain: Chain,
  is_given: Callable[[str], bool],
) -> Iterator[steps.Step]:
  """The trainings of teachers that a flagfile names and nobody has yet."""
  own = {pathlib.Path(one.folder).resolve(): one.number for one in chain}
  named = '' if stage.teacher else stage.flags.get('teacher', '')
  for path in filter(None, named.split(',')):
    number = own.get(pathlib.Path(model_file(path)).parent.resolve())
    if number is None and not is_given(path):
      yield _teacher(config, stage, path)
    elif number is not None and number >= stage.number:
      raise ValueError(
        f'{stage.label}: --teacher={path} is stage {number}, expected an '
        'earlier one'
      )


def _teacher(
  config: Config, stage: stages_lib.PlannedStage, path: str
) -> steps.Step:
  """The training of a teacher by the flagfile of its name, as train does it."""
  try:
    beside = pathlib.Path(stage.flagfile).parent
    flagfile = flagfiles.that_trains(path, [beside])
  except ValueError as error:
    raise ValueError(f'{stage.label}: --teacher={error}') from error
  data = [f'--{n}={stage.flags[n]}' for n in _DATA_FLAGS if n in stage.flags]
  return config.step(
    'train',
    [f'--flagfile={flagfile}', f'--output_dir={path}', *data],
    name=path,
    label=f'{path} ({flagfile}), the teacher of stage {stage.number}',
    inputs=(),
    result=model_file(path),
    folder=path,
  )


def _source(chain: Chain, variant: types.Variant) -> stages_lib.PlannedStage:
  """What a variant is made of: a network of qat knows no other than int8."""
  last = chain[-1]
  if last.stage is types.Stage.QAT and variant is not types.Variant.INT8:
    return chain[-2]
  return last


def _files(config: Config, chain: Chain) -> Iterator[steps.File]:
  """The reference, every stage as int8, and the last as every variant."""
  wanted = [(chain[0], types.Variant.FLOAT32)]
  wanted += [(stage, types.Variant.INT8) for stage in chain]
  wanted += [(_source(chain, variant), variant) for variant in config.variants]
  reference = _record(config, _name(*wanted[0]))
  by_name = {_name(*one): one for one in wanted}
  for stage, variant in by_name.values():
    through = _through(chain, stage)
    yield _file(config, stage, variant, through, reference)


def _through(chain: Chain, stage: stages_lib.PlannedStage) -> tuple[str, ...]:
  """The stages that its network went through, from where it was built."""
  until = chain[: stage.number]
  built = max(i for i, one in enumerate(until) if not i or one.builds)
  return tuple(one.stage.value for one in until[built:])


def _name(stage: stages_lib.PlannedStage, variant: types.Variant) -> str:
  return f'{stage.name}_{variant.value}'


def _record(config: Config, name: str) -> str:
  return config.path('records', f'{name}.json')


def _file(
  config: Config,
  stage: stages_lib.PlannedStage,
  variant: types.Variant,
  through: tuple[str, ...],
  reference: str,
) -> steps.File:
  """One file; all but the reference are scored against the reference."""
  name = _name(stage, variant)
  folder = config.path('exported', name)
  export = config.step(
    'export',
    [
      f'--artifact={stage.folder}',
      f'--variant={variant.value}',
      f'--output_dir={folder}',
    ],
    name=f'export {name}',
    label=f'the export of {stage.name} as {variant.value}',
    inputs=(model_file(stage.folder),),
    result=str(pathlib.Path(folder) / records.EXPORTED),
    folder=folder,
  )
  record = _record(config, name)
  baseline = [] if record == reference else [reference]
  measure = config.step(
    'evaluate',
    [
      f'--model={folder}',
      *(f'--baseline={path}' for path in baseline),
      f'--output_file={record}',
    ],
    name=f'measure {name}',
    label=f'the measurement of {name}',
    inputs=(export.result, *baseline),
    result=record,
    folder=record,
  )
  return steps.File(name, through, variant, export, measure)
