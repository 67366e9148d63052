"""Trains a model, or changes one by training, into an artifact folder.

  python -m tfcompress.train --flagfile=flags/kd.cfg

An interrupted run continues with the same command. A teacher or parent that
does not exist yet is trained first, if there is a flagfile of its name.
"""

import dataclasses
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping

from absl import flags

from tfcompress import cli_flags
from tfcompress.core import (
  configs,
  flagfiles,
  keras_files,
  native_logs,
  records,
  types,
)
from tfcompress.models import widths

FLAGS = flags.FLAGS

_MODEL = {
  'width_multiplier': ("scales every layer's channels", 1 / 64),
  'stage_widths': (
    'channels of each stage before scaling, such as 24,40,56,72; those of the '
    'ResNet, 64,128,256,512, if not given'
  ),
  'blocks': (
    'residual blocks of each stage, such as 2,2,1; those of the depth if not '
    'given'
  ),
  'stem': (
    'what comes before the first stage: smaller images want less reduction'
  ),
  'input_size': ('height and width of the input image', 32),
  'internal_size': (
    'the model resizes its input to this; the input size if not given',
    32,
  ),
  'normalization': 'what the model does to raw pixels 0..255',
}
_INIT = {
  'init_from': 'a .keras or .h5 file of tf_keras or Keras 3 to start from',
}
_AUTO = 'auto'
_SLIM = {
  'channel_ratio': ('slim: share of the channels to remove', 0.0, 0.99),
  'target_macs': (
    "slim: multiply-accumulates to keep, or a share of the parent's: 50%"
  ),
  'target_parameters': 'slim: trainable parameters to keep, likewise',
  'target_latency': (
    'slim: milliseconds as int8 on LiteRT, one thread, likewise; it is '
    'measured here'
  ),
  'importance': 'slim: which channels go first',
  'allocation': (
    'slim: the same share of every group, the least important of all, or the '
    'least important for the time that they take'
  ),
  'round_to': (
    'slim: channel counts are multiples of this, within the budget',
    1,
  ),
  'slim_steps': ('slim: surgeries, each followed by a share of --epochs', 1),
}
_PRUNE = {
  'schedule': 'prune: how sparsity grows',
  'initial_sparsity': (
    'prune: share of zeros at the begin of a polynomial schedule',
    0.0,
    0.99,
  ),
  'target_sparsity': ('prune: share of zeros at the end', 0.01, 0.99),
  'prune_begin': ('prune: begin as a fraction of training', 0.0, 1.0),
  'prune_end': (
    'prune: where the target is reached, as a fraction of training',
    0.0,
    1.0,
  ),
  'granularity': (
    'prune: element; M:N for M zeros among N input channels, such as 2:4; or '
    'blocks RxC, such as 4x1'
  ),
  'scope': 'prune: one threshold a layer, or one over all layers',
  'rewind_epoch': (
    'prune: mask at once, then go back to the weights that the parent had '
    'after this epoch, kept by its --keep_epoch (lottery ticket)',
    0,
  ),
}
_CLUSTER = {
  'clusters': ('cluster: distinct values of a kernel', 2, 256),
  'centroids': 'cluster: where they start',
}
_DISTILL = {
  'teacher': (
    'artifact folders, .keras or .h5 files, separated by commas; of several, '
    'the softened probabilities are averaged'
  ),
  'teacher_scaling': 'what a .keras or .h5 teacher expects of its pixels',
  'temperature': ('of distillation: softens both outputs', 0.01),
  'alpha': (
    'weight of the distillation term, 1 - alpha of cross-entropy',
    0.0,
    1.0,
  ),
  'distill_loss': 'kl of Hinton 2015, or dkd, decoupled, of Zhao 2022',
  'tckd_weight': ("of dkd's target class term", 0.0),
  'nckd_weight': ("of dkd's term of the other classes", 0.0),
  'attention': (
    'layers whose attention maps are transferred, each NAME or '
    'STUDENT:TEACHER, separated by commas'
  ),
  'attention_weight': ('beta of attention transfer', 0.0),
  'generations': (
    "born-again: train this many students, each one's teacher the one before",
    1,
  ),
}
# The flags of each stage; --teacher and what belongs to it goes with most.
_OWN = {'slim': _SLIM, 'prune': _PRUNE, 'cluster': _CLUSTER}
_FROM_PARENT = ('slim', 'prune', 'cluster', 'qat')
_BUDGETS = (
  'channel_ratio',
  'target_macs',
  'target_parameters',
  'target_latency',
)


def _define_stage_flags() -> None:
  flags.DEFINE_enum_class(
    'stage',
    None,
    types.Stage,
    'baseline trains on labels, kd on a teacher; slim removes channels of a '
    'parent, prune weights, cluster makes its weights few, qat trains it for '
    'int8',
  )
  flags.DEFINE_string('output_dir', None, 'the artifact folder to write')
  flags.DEFINE_bool(
    'check_flags', False, 'check the flags, print them as a flagfile and stop'
  )
  flags.DEFINE_bool(
    'overwrite',
    False,
    'begin anew where --output_dir holds another run or a finished one; that '
    'is removed',
  )
  cli_flags.define_data_flags()
  flags.DEFINE_enum('depth', '18', ['18', '34', '50'], 'layers of the ResNet')
  cli_flags.define(types.ModelSpec, **_MODEL)
  cli_flags.define(configs.InitConfig, **_INIT)
  flags.DEFINE_enum(
    'init_scaling',
    types.Normalization.RAW.value,
    [*(scaling.value for scaling in types.Normalization), _AUTO],
    'what the model of --init_from expects of its pixels; auto tries all on '
    'labelled images',
  )
  cli_flags.define(configs.SlimConfig, **_SLIM)
  cli_flags.define(configs.PruneConfig, **_PRUNE)
  cli_flags.define(configs.ClusterConfig, **_CLUSTER)
  cli_flags.define(configs.DistillConfig, **_DISTILL)


def _define_fit_flags() -> None:
  cli_flags.define(
    configs.TrainConfig,
    parent='artifact folder whose model training starts from',
    epochs=('passes over the data; 0 changes a model without training it', 0),
    batch_size=('images a step, at most those there are', 2),
    label_smoothing=(
      'probability moved from the label to all classes alike',
      0.0,
      0.99,
    ),
    exclude=(
      'slim, prune, cluster: patterns of layers to leave alone, separated by '
      'commas, such as stem_*,logits'
    ),
    custom_objects=cli_flags.CUSTOM_OBJECTS,
    keep_best=(
      'the artifact gets the weights of the epoch with the best validation '
      'top-1, not those of the last'
    ),
    patience=('stop after so many epochs without a better top-1', 1),
    keep_epoch=(
      'also keep the weights after this epoch, for a later --rewind_epoch',
      0,
    ),
    mixed_precision=(
      'auto computes in bfloat16 where the CPU or GPU has it; weights and '
      'saved models are float32 in any case'
    ),
    seed=('of weights, data order and augmentation', 1),
    deterministic=(
      'the same seed gives the same weights bit for bit, somewhat slower'
    ),
  )
  cli_flags.define(
    configs.OptimizerConfig,
    optimizer='SGD with Nesterov momentum, or AdamW',
    learning_rate=(
      'its peak, after the warm-up; a cosine takes it to zero; what fits the '
      'stage, and less where it starts from trained weights, if not given',
      0.0,
    ),
    momentum=('of SGD', 0.0, 0.9999),
    weight_decay=(
      'decoupled: a step shrinks kernels by learning_rate * weight_decay',
      0.0,
    ),
    warmup_epochs=(
      'of linear warm-up; 1, or less of a short training, if not given',
      0.0,
    ),
    clip_norm=('greatest norm of all gradients together, 0 for none', 0.0),
  )


def _define_augment_flags() -> None:
  cli_flags.define(
    configs.AugmentConfig,
    crop='how training images are cropped',
    crop_min_area=(
      'least share of the image in a random resized crop',
      0.01,
      1.0,
    ),
    crop_padding=(
      'pixels that pad_and_crop pads at 64x64, scaled with the size',
      1,
      32,
    ),
    flip='mirror half of the images',
    mixup_alpha=('of mixup; 0 is off', 0.0),
    cutmix_alpha=('of CutMix; 0 is off', 0.0),
  )


_define_stage_flags()
_define_fit_flags()
_define_augment_flags()


def _config() -> configs.TrainConfig:
  """Returns the flags as a config.

  Raises:
    ValueError: a flag is missing, or flags contradict each other.
  """
  cli_flags.require('stage', 'output_dir', example='flags/kd.cfg')
  _check_combinations()
  stage = FLAGS.stage.value
  read_if = lambda wanted, config: cli_flags.read(config) if wanted else None
  model = None
  if not FLAGS.parent and not FLAGS.init_from:
    model = cli_flags.read(types.ModelSpec, depth=int(FLAGS.depth))
  config = cli_flags.read(
    configs.TrainConfig,
    model=model,
    init=_init() if FLAGS.init_from else None,
    data=cli_flags.data_spec(),
    optimizer=cli_flags.read(configs.OptimizerConfig),
    augment=cli_flags.read(configs.AugmentConfig),
    slim=read_if(stage == 'slim', configs.SlimConfig),
    prune=read_if(stage == 'prune', configs.PruneConfig),
    cluster=read_if(stage == 'cluster', configs.ClusterConfig),
    distill=read_if(FLAGS.teacher, configs.DistillConfig),
  )
  from tfcompress.training import ready

  ready.require_settings(config)
  return config


def _init() -> configs.InitConfig:
  wanted = FLAGS.init_scaling
  scaling = None if wanted == _AUTO else types.Normalization(wanted)
  return configs.InitConfig(FLAGS.init_from, scaling)


def _check_combinations() -> None:
  _check_stage(FLAGS.stage.value)
  _check_start()
  if FLAGS.stage is types.Stage.SLIM:
    _check_slim()
  if FLAGS.stage is types.Stage.PRUNE:
    _check_prune()
  if FLAGS.teacher:
    _check_distill()
  if FLAGS.mixup_alpha and FLAGS.cutmix_alpha:
    raise ValueError('--mixup_alpha and --cutmix_alpha: give one of them')
  wrong = cli_flags.given('keep_best', 'patience')
  if wrong and not FLAGS.epochs:
    raise ValueError(f'--{wrong[0]} needs an epoch or more to choose from')
  kept = FLAGS.keep_epoch
  if kept is not None and (kept > FLAGS.epochs or FLAGS.slim_steps > 1):
    raise ValueError(
      f'--keep_epoch={kept} must be one of the {FLAGS.epochs} epochs of a '
      'training in one go'
    )


def _check_stage(stage: str) -> None:
  """Flags of another stage are a mistake."""
  for other, names in _OWN.items():
    if other != stage and (wrong := cli_flags.given(*names)):
      raise ValueError(f'--{wrong[0]} is for --stage={other}, got {stage}')
  if stage not in _OWN and cli_flags.given('exclude'):
    raise ValueError(f'--exclude is for {", ".join(_OWN)}, got {stage}')
  if stage == 'kd' and not FLAGS.teacher:
    raise ValueError('--stage=kd needs --teacher, an artifact or a model file')
  if stage == 'baseline' and (wrong := cli_flags.given(*_DISTILL)):
    raise ValueError(f'--{wrong[0]}: a baseline has no teacher, --stage=kd has')
  if not FLAGS.teacher and (wrong := cli_flags.given(*_DISTILL)):
    raise ValueError(f'--{wrong[0]} needs --teacher')


def _check_start() -> None:
  """A model starts anew, from a parent or from a user's own file."""
  stage = FLAGS.stage.value
  if FLAGS.parent and FLAGS.init_from:
    raise ValueError('--parent and --init_from: give one of them')
  start = 'parent' if FLAGS.parent else 'init_from'
  if not FLAGS.epochs and not FLAGS[start].value:
    raise ValueError('--epochs=0 needs --parent or --init_from')
  if stage in _FROM_PARENT and not FLAGS[start].value:
    raise ValueError(
      f'--stage={stage} needs --parent, an artifact, or --init_from, a .keras '
      'or .h5 file'
    )
  if FLAGS.init_from and not pathlib.Path(FLAGS.init_from).is_file():
    raise ValueError(f'--init_from={FLAGS.init_from}: no such file')
  if not FLAGS.init_from and (wrong := cli_flags.given('init_scaling')):
    raise ValueError(f'--{wrong[0]} needs --init_from')
  _check_model()
  for name, paths in (('parent', [FLAGS.parent]), ('teacher', FLAGS.teacher)):
    if any(path and _same(path, FLAGS.output_dir) for path in paths):
      raise ValueError(f'--{name} and --output_dir are the same folder')


def _check_model() -> None:
  """A flag of the model may say what a parent has already, and nothing else.

  Nothing is known of one that is to be trained first.
  """
  start = 'parent' if FLAGS.parent else 'init_from'
  path, given = FLAGS[start].value, cli_flags.given('depth', *_MODEL)
  if not path or not given or (FLAGS.parent and not flagfiles.is_model(path)):
    return
  asked = cli_flags.read(types.ModelSpec, depth=int(FLAGS.depth))
  if FLAGS.parent:
    known = _figures(records.read_manifest(path).model)
  else:
    size = keras_files.input_size(path)
    known = {'normalization': _init().init_scaling, 'input_size': size}
  for name in given:
    if _figures(asked)[name] != known.get(name):
      has = cli_flags.text_of(known.get(name))
      raise ValueError(
        f'{FLAGS[name].serialize()} contradicts --{start}: the model is '
        f"{path}'s" + (f', of {name} {has}' if has else '')
      )


def _figures(spec: types.ModelSpec) -> dict[str, object]:
  """What the flags of the model say, those that were left out too."""
  return {name: getattr(spec, name) for name in ('depth', *_MODEL)} | {
    'blocks': widths.blocks_of(spec),
    'stage_widths': widths.stage_widths_of(spec),
    'internal_size': spec.stem_size,
  }


def _check_slim() -> None:
  budgets = [name for name in _BUDGETS if FLAGS[name].value not in (None, '')]
  if len(budgets) != 1:
    raise ValueError(
      f'--stage=slim needs one of --{", --".join(_BUDGETS)}; got '
      + (' and '.join(f'--{name}' for name in budgets) or 'none')
    )


def _check_prune() -> None:
  constant = FLAGS.schedule is configs.PruningSchedule.CONSTANT
  begin, end = FLAGS.prune_begin, FLAGS.prune_end
  if begin > end or (begin == end and not constant):
    raise ValueError(
      f'--prune_begin={FLAGS.prune_begin:g} must be below '
      f'--prune_end={FLAGS.prune_end:g}'
    )
  if FLAGS.initial_sparsity >= FLAGS.target_sparsity:
    raise ValueError(
      f'--initial_sparsity={FLAGS.initial_sparsity:g} must be below '
      f'--target_sparsity={FLAGS.target_sparsity:g}'
    )
  _check_granularity()
  if constant and FLAGS.initial_sparsity:
    raise ValueError(
      f'--initial_sparsity={FLAGS.initial_sparsity:g} contradicts '
      '--schedule=constant'
    )
  if FLAGS.rewind_epoch is not None:
    _check_rewind()


def _check_granularity() -> None:
  """M:N says how many zeros each layer has; other flags may say the same."""
  from tfcompress.training import masks

  granularity = masks.parse(FLAGS.granularity)
  if not granularity.zeros_among:
    return
  share = masks.share_of_zeros(granularity, 0.0)
  said = {
    'target_sparsity': round(share, 4) == round(FLAGS.target_sparsity, 4),
    'initial_sparsity': not FLAGS.initial_sparsity,
    'scope': FLAGS.scope is configs.PruningScope.LAYER,
  }
  for name in cli_flags.given(*said):
    if not said[name]:
      raise ValueError(
        f'--{name} contradicts --granularity={granularity}, which says how '
        'many zeros each layer has'
      )


def _check_rewind() -> None:
  if not FLAGS.parent:
    raise ValueError('--rewind_epoch needs --parent, which kept that epoch')
  schedule = ('schedule', 'initial_sparsity', 'prune_begin', 'prune_end')
  if wrong := cli_flags.given(*schedule):
    raise ValueError(
      f'--{wrong[0]} contradicts --rewind_epoch, which masks at once'
    )


def _check_distill() -> None:
  if not FLAGS.epochs:
    raise ValueError('--teacher needs an epoch or more to teach in')
  mixed = FLAGS.mixup_alpha or FLAGS.cutmix_alpha
  dkd = FLAGS.distill_loss is configs.DistillLoss.DKD
  if mixed and dkd:
    raise ValueError(
      '--distill_loss=dkd needs one class an image; leave out --mixup_alpha '
      'and --cutmix_alpha'
    )
  if wrong := [] if dkd else cli_flags.given('tckd_weight', 'nckd_weight'):
    raise ValueError(f'--{wrong[0]} is for --distill_loss=dkd')
  if cli_flags.given('attention_weight') and not FLAGS.attention:
    raise ValueError('--attention_weight needs --attention')
  if FLAGS.generations > 1 and (FLAGS.parent or FLAGS.init_from):
    raise ValueError(
      '--generations are trained anew, each from random weights; leave out '
      '--parent and --init_from'
    )


def _same(first: str, second: str) -> bool:
  return pathlib.Path(first).resolve() == pathlib.Path(second).resolve()


@dataclasses.dataclass(frozen=True)
class _Missing:
  """A parent or teacher that is not there yet, and what trains it."""

  role: str
  artifact: str
  flagfile: pathlib.Path


def _missing(config: configs.TrainConfig) -> Iterator[_Missing]:
  """Yields what has to be trained first.

  Raises:
    ValueError: no flagfile has its name.
  """
  teachers = config.distill.teacher if config.distill else ()
  named = [('parent', config.parent)] * bool(config.parent)
  beside = [pathlib.Path(name).parent for name in cli_flags.given_flagfiles()]
  for role, artifact in [*named, *(('teacher', path) for path in teachers)]:
    if flagfiles.is_model(artifact):
      continue
    try:
      yield _Missing(role, artifact, flagfiles.that_trains(artifact, beside))
    except ValueError as error:
      raise ValueError(f'--{role}={error}') from error


def _train_first(missing: _Missing, *more: str) -> None:
  role, artifact, flagfile = missing.role, missing.artifact, missing.flagfile
  if flagfiles.is_model(artifact):  # Parent and teacher may be one.
    return
  print(f'the {role} {artifact} is not there yet: training it with {flagfile}')
  command = [
    sys.executable, '-m', 'tfcompress.train', f'--flagfile={flagfile}',
    f'--output_dir={artifact}', f'--dataset={FLAGS.dataset}',
    f'--data_dir={FLAGS.data_dir}', f'--transform={FLAGS.transform.value}',
    *more,
  ]  # fmt: skip
  if FLAGS.skip_corrupt_images:
    command.append('--skip_corrupt_images')
  with native_logs.heard():
    failed = subprocess.run(command, check=False).returncode
  if failed:
    raise ValueError(f'training the {role} {artifact} failed, see above')


def _train() -> None:
  config = _config()
  flags_text = cli_flags.as_flagfile()  # Before libraries add flags of theirs.
  if FLAGS.check_flags:
    print(flags_text.replace('--check_flags\n', ''), end='')
    return
  from tfcompress.training import ready

  missing = list(_missing(config))
  ready.require(config, but=[one.artifact for one in missing])
  rewind = config.prune and config.prune.rewind_epoch
  keep = [] if rewind is None else [f'--keep_epoch={rewind}']
  for one in missing:
    _train_first(one, *(keep if one.role == 'parent' else ()))
  if missing:
    _check_model()
    ready.require(config)
  from tfcompress.conversion import latency
  from tfcompress.training import run

  manifest = run.run(
    config,
    flags_text.replace('--overwrite\n', ''),
    latency.int8_latency_ms,
    FLAGS.overwrite,
  )
  print(
    f'{config.output_dir}: {_accuracy(manifest.metrics)} on the validation split, '
    f'{manifest.parameters:,} parameters, {manifest.macs:,} '
    f'multiply-accumulates, sparsity {100 * manifest.sparsity.total:.1f} %'
  )


def _accuracy(metrics: Mapping[str, float]) -> str:
  """Such as 'top-1 78.25 %, top-5 95.10 %'; few classes have no top-5."""
  shown = {'top1_percent': 'top-1', 'top5_percent': 'top-5'}
  return ', '.join(
    f'{title} {metrics[name]:.2f} %'
    for name, title in shown.items()
    if name in metrics
  )


def main() -> None:
  """Runs the command."""
  cli_flags.run(_train, __doc__)


if __name__ == '__main__':
  main()
