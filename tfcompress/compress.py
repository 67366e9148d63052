"""Runs a whole pipeline: stages, exports, one benchmark of all.

  python -m tfcompress.compress --flagfile=flags/pipeline.cfg

Every step is a command of its own, which is printed before it runs. The same
command again goes on where it was stopped, and skips what is there already.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

from absl import flags

from tfcompress import cli_flags
from tfcompress.compression import journal, run, stages, steps
from tfcompress.compression import plan as plan_lib
from tfcompress.core import flagfiles, measurements, processes, records, types
from tfcompress.reports import comparison

FLAGS = flags.FLAGS
_TRAIN = ('custom_objects',)
_EXPORT = (
  'calibration_examples',
  'parity_examples',
  'min_agreement_percent',
  'min_snr_db',
  'custom_objects',
)
_EVALUATE = ('runs', 'seconds', 'processes', 'num_threads')
_REPORT = 'comparison'


def _define_flags() -> None:
  flags.DEFINE_list(
    'stages',
    None,
    'each the parent of the next, such as baseline,slim,kd,prune,qat; the '
    'flagfile of flags/pipeline.cfg is flags/pipeline/STAGE.cfg, or give '
    'STAGE:FLAGFILE',
  )
  flags.DEFINE_string('output_dir', None, 'the folder of the whole pipeline')
  flags.DEFINE_list(
    'variants',
    [variant.value for variant in types.Variant],
    'exports of the last stage; every stage is exported as int8 besides',
  )
  flags.DEFINE_bool(
    'dry_run', False, 'check everything, print the commands and stop'
  )
  flags.DEFINE_bool(
    'retry_failed', False, 'try again what failed with the same flags'
  )
  cli_flags.define_data_flags()
  cli_flags.define(
    types.ExportConfig,
    calibration_examples=('export: images that set the int8 ranges', 2),
    parity_examples=('export: images on which file and parent are compared', 1),
    min_agreement_percent=('export: least share of same top-1', 0.0, 100.0),
    min_snr_db='export: least signal-to-noise of the probabilities',
    custom_objects=cli_flags.CUSTOM_OBJECTS,
  )
  cli_flags.define(
    measurements.MeasureConfig,
    runs=('evaluate: timed inferences of each file, at least', 1),
    seconds=('evaluate: of timed inferences, at least', 0.0),
    processes=('evaluate: fresh ones that share the timed inferences', 1),
  )
  text = 'evaluate: of one timed inference'
  flags.DEFINE_integer('num_threads', 1, text, 1)


_define_flags()


def _config() -> tuple[plan_lib.Config, list[stages.Item]]:
  """The flags as a config, and the stages as they were given."""
  cli_flags.require('stages', 'output_dir', example='flags/pipeline.cfg')
  items = [stages.parse(text) for text in FLAGS.stages]
  data = [field.name for field in dataclasses.fields(types.DataSpec)]
  config = plan_lib.Config(
    output_dir=_output_dir(),
    variants=_variants(),
    flags={
      'train': _passed_on(*data, *_TRAIN),
      'export': _passed_on(*_EXPORT),
      'evaluate': _passed_on(*_EVALUATE),
    },
  )
  return config, items


def _output_dir() -> str:
  """The pipeline's folder, in one spelling, by which its steps know it."""
  if ',' in FLAGS.output_dir:
    raise ValueError(
      f'--output_dir={FLAGS.output_dir}: a comma separates the teachers of '
      '--teacher, one of which will be in it; choose a name without'
    )
  folder, here = pathlib.Path(FLAGS.output_dir).resolve(), pathlib.Path.cwd()
  inside = folder.is_relative_to(here)
  return str(folder.relative_to(here) if inside else folder)


def _variants() -> tuple[types.Variant, ...]:
  known = [variant.value for variant in types.Variant]
  if unknown := [name for name in FLAGS.variants if name not in known]:
    raise ValueError(
      f'--variants: {unknown[0]!r} is none of {", ".join(known)}'
    )
  if not FLAGS.variants:
    raise ValueError(f'--variants: expected some of {", ".join(known)}')
  return tuple(types.Variant(name) for name in dict.fromkeys(FLAGS.variants))


def _passed_on(*names: str) -> tuple[str, ...]:
  """Those flags that were given, for the commands that have them too."""
  return tuple(FLAGS[name].serialize() for name in cli_flags.given(*names))


def _chain(
  config: plan_lib.Config, items: list[stages.Item]
) -> tuple[stages.PlannedStage, ...]:
  beside = cli_flags.given_flagfiles()
  items = [
    dataclasses.replace(item, flagfile=stages.flagfile_of(item, beside))
    for item in items
  ]
  return stages.chain(items, _flags_in, config.output_dir)


def _flags_in(flagfile: str) -> dict[str, str]:
  """What a flagfile of train says, the files nested in it included."""
  arguments = FLAGS.read_flags_from_files([f'--flagfile={flagfile}'])
  return steps.as_flags(arguments)


def _compress() -> None:
  from tfcompress.data import folders

  config, items = _config()
  if cli_flags.given('dataset'):
    folders.require(cli_flags.data_spec())
  chain = _chain(config, items)
  memory = journal.Journal(config.output_dir)
  is_given = lambda path: flagfiles.is_model(path) and not memory.knows(path)
  records.require_writable(config.output_dir)
  plan = run.checked(plan_lib.plan(config, chain, is_given))
  if FLAGS.dry_run:
    for name, state in memory.states(plan.steps).items():
      step = next(step for step in plan.steps if step.name == name)
      print(f'{state.value + ":":9} {step}')
    return
  memory.states(plan.steps)  # What it refuses leaves nothing behind.
  with processes.alone(config.output_dir, 'runs this pipeline'):
    memory = journal.Journal(config.output_dir)
    run.run(plan, memory, retry_failed=FLAGS.retry_failed)
    _report(config, plan, chain, memory)


def _report(
  config: plan_lib.Config,
  plan: steps.Plan,
  chain: Sequence[stages.PlannedStage],
  memory: journal.Journal,
) -> None:
  """Prints and writes the comparison.

  Raises:
    ValueError: the file that the pipeline is run for is not among it.
  """
  from tfcompress.reports import plots

  rows = [_row(file, memory, file is plan.files[0]) for file in plan.files]
  picture = config.path(f'{_REPORT}.png')
  title = ' → '.join(stage.stage.value for stage in chain)
  page = comparison.markdown(rows, title, pathlib.Path(picture).name)
  comparison.write(config.path(f'{_REPORT}.md'), page)
  comparison.write(config.path(f'{_REPORT}.csv'), comparison.as_csv(rows))
  plots.write(picture, rows, title)
  print(f'\n{comparison.text(rows)}')
  print(f'{config.path(_REPORT)}.md, .csv and .png')
  failed = {row.name: row.failure for row in rows if row.failure}
  if plan.main.name in failed:
    raise ValueError(
      f'{plan.main.name}, which the pipeline is for: {failed[plan.main.name]}'
    )


def _row(
  file: steps.File, memory: journal.Journal, is_baseline: bool
) -> comparison.Row:
  row = comparison.Row(
    file.name, file.stages, file.variant.value, is_baseline=is_baseline
  )
  if failure := memory.failure(file.export) or memory.failure(file.measure):
    return dataclasses.replace(row, failure=failure)
  record = records.read_measurement(file.measure.result)
  exported = pathlib.Path(file.export.folder, records.METADATA)
  said = records.read_json(exported).get('tfcompress')
  try:
    agreement_percent = float(said['parity']['agreement_percent'])
    weights = {dtype: int(count) for dtype, count in said['weights'].items()}
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise ValueError(
      f'{exported}: not what this version of export writes ({error!r}); remove '
      f'{file.export.folder} to export it anew'
    ) from error
  return dataclasses.replace(
    row,
    record=record,
    agreement_percent=agreement_percent,
    weights=weights,
  )


def main() -> None:
  """Runs the command."""
  cli_flags.run(_compress, __doc__)


if __name__ == '__main__':
  main()
