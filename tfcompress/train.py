"""Trains, prunes or distills a model into an artifact folder.

  python -m tfcompress.train --flagfile=flags/kd.cfg

An interrupted run continues with the same command. A teacher or parent that
does not exist yet is trained first, if there is a flagfile of its name.
"""

import pathlib
import subprocess
import sys

from absl import flags

from tfcompress import cli_flags
from tfcompress.core import native_logs, records, types

_T = types.TrainConfig
_MODEL = types.ModelSpec()
_AUGMENT = types.AugmentConfig()
_OPTIMIZER = types.OptimizerConfig()
_PRUNE = types.PruneConfig()
_DISTILL = types.DistillConfig()

FLAGS = flags.FLAGS
_MODEL_FLAGS = (
  'depth',
  'width_multiplier',
  'input_size',
  'internal_size',
  'normalization',
)
_PRUNE_FLAGS = (
  'schedule',
  'initial_sparsity',
  'target_sparsity',
  'prune_begin',
  'prune_end',
)
_DISTILL_FLAGS = ('teacher', 'teacher_scaling', 'temperature', 'alpha')


def _define_flags() -> None:
  """Defines every flag; groups follow core.types."""
  flags.DEFINE_enum_class(
    'stage',
    None,
    types.Stage,
    'baseline trains on labels, prune sparsifies a parent, kd distills a '
    'teacher',
  )
  flags.DEFINE_string('output_dir', None, 'the artifact folder to write')
  flags.DEFINE_string(
    'parent', _T.parent, 'artifact folder whose model training starts from'
  )
  cli_flags.define_data_flags()
  _define_model_flags()
  _define_fit_flags()
  _define_augment_flags()
  _define_prune_flags()
  _define_distill_flags()


def _define_model_flags() -> None:
  flags.DEFINE_enum(
    'depth', str(_MODEL.depth), ['18', '34', '50'], 'layers of the ResNet'
  )
  flags.DEFINE_float(
    'width_multiplier',
    _MODEL.width_multiplier,
    "scales every layer's channels",
    lower_bound=1 / 64,
  )
  flags.DEFINE_integer(
    'input_size',
    _MODEL.input_size,
    'height and width of the input image',
    lower_bound=32,
  )
  flags.DEFINE_integer(
    'internal_size',
    _MODEL.internal_size,
    'the model resizes its input to this; the input size if not given',
    lower_bound=32,
  )
  flags.DEFINE_enum_class(
    'normalization',
    _MODEL.normalization,
    types.Normalization,
    'what the model does to raw pixels 0..255',
  )


def _define_fit_flags() -> None:
  flags.DEFINE_integer('epochs', _T.epochs, 'passes over the data', 1)
  flags.DEFINE_integer('batch_size', _T.batch_size, 'images a step', 2)
  flags.DEFINE_enum_class(
    'optimizer',
    _OPTIMIZER.name,
    types.Optimizer,
    'SGD with Nesterov momentum, or AdamW',
  )
  flags.DEFINE_float(
    'learning_rate',
    _OPTIMIZER.learning_rate,
    'its peak, after the warm-up; a cosine takes it to zero',
    0.0,
  )
  flags.DEFINE_float('momentum', _OPTIMIZER.momentum, 'of SGD', 0.0, 0.9999)
  flags.DEFINE_float(
    'weight_decay',
    _OPTIMIZER.weight_decay,
    'decoupled: a step shrinks kernels by learning_rate * weight_decay',
    0.0,
  )
  flags.DEFINE_float(
    'warmup_epochs', _OPTIMIZER.warmup_epochs, 'of linear warm-up', 0.0
  )
  flags.DEFINE_float(
    'clip_norm',
    _OPTIMIZER.clip_norm,
    'greatest norm of all gradients together, 0 for no clipping',
    0.0,
  )
  flags.DEFINE_float(
    'label_smoothing',
    _T.label_smoothing,
    'probability moved from the label to all classes alike',
    0.0,
    0.99,
  )
  flags.DEFINE_enum_class(
    'mixed_precision',
    _T.mixed_precision,
    types.MixedPrecision,
    'auto computes in bfloat16 where the CPU or GPU has it; weights and saved '
    'models are float32 in any case',
  )
  flags.DEFINE_integer(
    'seed', _T.seed, 'of weights, data order and augmentation', 1
  )
  flags.DEFINE_bool(
    'deterministic',
    _T.deterministic,
    'the same seed gives the same weights bit for bit, somewhat slower',
  )


def _define_augment_flags() -> None:
  flags.DEFINE_enum_class(
    'crop',
    _AUGMENT.crop,
    types.TrainTransform,
    'how training images are cropped',
  )
  flags.DEFINE_float(
    'crop_min_area',
    _AUGMENT.crop_min_area,
    'least share of the image in a random resized crop',
    0.01,
    1.0,
  )
  flags.DEFINE_integer(
    'crop_padding',
    _AUGMENT.crop_padding,
    'pixels that pad_and_crop pads at 64x64, scaled with the size',
    1,
    32,
  )
  flags.DEFINE_bool('flip', _AUGMENT.flip, 'mirror half of the images')
  flags.DEFINE_float(
    'mixup_alpha', _AUGMENT.mixup_alpha, 'of mixup; 0 is off', 0.0
  )
  flags.DEFINE_float(
    'cutmix_alpha', _AUGMENT.cutmix_alpha, 'of CutMix; 0 is off', 0.0
  )


def _define_prune_flags() -> None:
  flags.DEFINE_enum_class(
    'schedule',
    _PRUNE.schedule,
    types.PruningSchedule,
    'prune: how sparsity grows',
  )
  flags.DEFINE_float(
    'initial_sparsity',
    _PRUNE.initial_sparsity,
    'prune: share of zeros at the begin of a polynomial schedule',
    0.0,
    0.99,
  )
  flags.DEFINE_float(
    'target_sparsity',
    _PRUNE.target_sparsity,
    'prune: share of zeros at the end',
    0.01,
    0.99,
  )
  flags.DEFINE_float(
    'prune_begin',
    _PRUNE.begin,
    'prune: begin as a fraction of training',
    0.0,
    1.0,
  )
  flags.DEFINE_float(
    'prune_end',
    _PRUNE.end,
    'prune: where the target is reached, as a fraction of training',
    0.0,
    1.0,
  )


def _define_distill_flags() -> None:
  flags.DEFINE_string(
    'teacher', _DISTILL.teacher, 'kd: artifact folder, or .keras or .h5 file'
  )
  flags.DEFINE_enum_class(
    'teacher_scaling',
    _DISTILL.teacher_scaling,
    types.Normalization,
    'kd: what a .keras or .h5 teacher expects of its pixels',
  )
  flags.DEFINE_float(
    'temperature', _DISTILL.temperature, 'kd: softens both outputs', 0.01
  )
  flags.DEFINE_float(
    'alpha',
    _DISTILL.alpha,
    'kd: weight of the distillation term, 1 - alpha of cross-entropy',
    0.0,
    1.0,
  )


_define_flags()


def _config() -> types.TrainConfig:
  """Returns the flags as a config.

  Raises:
    ValueError: a flag is missing, or flags contradict each other.
  """
  for name in ('stage', 'output_dir'):
    if not FLAGS[name].value:
      raise ValueError(
        f'--{name} is missing; give it, or --flagfile=flags/kd.cfg or another'
      )
  _check_combinations()
  return types.TrainConfig(
    stage=FLAGS.stage,
    output_dir=FLAGS.output_dir,
    parent=FLAGS.parent,
    model=None if FLAGS.parent else _model(),
    data=cli_flags.data_spec(),
    batch_size=FLAGS.batch_size,
    epochs=FLAGS.epochs,
    optimizer=types.OptimizerConfig(
      name=FLAGS.optimizer,
      learning_rate=FLAGS.learning_rate,
      momentum=FLAGS.momentum,
      weight_decay=FLAGS.weight_decay,
      warmup_epochs=FLAGS.warmup_epochs,
      clip_norm=FLAGS.clip_norm,
    ),
    augment=types.AugmentConfig(
      crop=FLAGS.crop,
      crop_min_area=FLAGS.crop_min_area,
      crop_padding=FLAGS.crop_padding,
      flip=FLAGS.flip,
      mixup_alpha=FLAGS.mixup_alpha,
      cutmix_alpha=FLAGS.cutmix_alpha,
    ),
    label_smoothing=FLAGS.label_smoothing,
    prune=_prune() if FLAGS.stage is types.Stage.PRUNE else None,
    distill=_distill() if FLAGS.stage is types.Stage.KD else None,
    mixed_precision=FLAGS.mixed_precision,
    seed=FLAGS.seed,
    deterministic=FLAGS.deterministic,
  )


def _model() -> types.ModelSpec:
  return types.ModelSpec(
    depth=int(FLAGS.depth),
    width_multiplier=FLAGS.width_multiplier,
    input_size=FLAGS.input_size,
    internal_size=FLAGS.internal_size,
    normalization=FLAGS.normalization,
  )


def _prune() -> types.PruneConfig:
  return types.PruneConfig(
    schedule=FLAGS.schedule,
    initial_sparsity=FLAGS.initial_sparsity,
    target_sparsity=FLAGS.target_sparsity,
    begin=FLAGS.prune_begin,
    end=FLAGS.prune_end,
  )


def _distill() -> types.DistillConfig:
  return types.DistillConfig(
    teacher=FLAGS.teacher,
    teacher_scaling=FLAGS.teacher_scaling,
    temperature=FLAGS.temperature,
    alpha=FLAGS.alpha,
  )


def _check_combinations() -> None:
  stage = FLAGS.stage.value
  own = {'prune': _PRUNE_FLAGS, 'kd': _DISTILL_FLAGS}
  for other, names in own.items():
    if other != stage and (wrong := cli_flags.given(*names)):
      raise ValueError(f'--{wrong[0]} is for --stage={other}, got {stage}')
  if FLAGS.parent and (wrong := cli_flags.given(*_MODEL_FLAGS)):
    raise ValueError(
      f"--{wrong[0]} contradicts --parent: the model is {FLAGS.parent}'s"
    )
  if stage == 'prune' and not FLAGS.parent:
    raise ValueError('--stage=prune needs --parent, an artifact to prune')
  if stage == 'kd' and not FLAGS.teacher:
    raise ValueError('--stage=kd needs --teacher, an artifact or a model file')
  if FLAGS.mixup_alpha and FLAGS.cutmix_alpha:
    raise ValueError('--mixup_alpha and --cutmix_alpha: give one of them')
  if FLAGS.prune_begin >= FLAGS.prune_end:
    raise ValueError(
      f'--prune_begin={FLAGS.prune_begin:g} must be below '
      f'--prune_end={FLAGS.prune_end:g}'
    )
  if FLAGS.initial_sparsity >= FLAGS.target_sparsity:
    raise ValueError(
      f'--initial_sparsity={FLAGS.initial_sparsity:g} must be below '
      f'--target_sparsity={FLAGS.target_sparsity:g}'
    )
  if FLAGS.warmup_epochs >= FLAGS.epochs:
    raise ValueError(
      f'--warmup_epochs={FLAGS.warmup_epochs:g} must be below '
      f'--epochs={FLAGS.epochs}'
    )
  for name in ('parent', 'teacher'):
    if FLAGS[name].value and _same(FLAGS[name].value, FLAGS.output_dir):
      raise ValueError(f'--{name} and --output_dir are the same folder')


def _same(first: str, second: str) -> bool:
  return pathlib.Path(first).resolve() == pathlib.Path(second).resolve()


def _train_first(role: str, artifact: str) -> None:
  """Trains an artifact that does not exist, if a flagfile has its name."""
  path = pathlib.Path(artifact)
  if path.is_file() or (path / records.MANIFEST).is_file():
    return
  beside = [pathlib.Path(name).parent for name in cli_flags.given_flagfiles()]
  names = [
    folder / f'{path.name}.cfg' for folder in [*beside, pathlib.Path('flags')]
  ]
  flagfile = next((name for name in names if name.is_file()), None)
  if flagfile is None:
    raise ValueError(
      f'--{role}={artifact}: no such artifact, nor a flagfile '
      f'{" or ".join(dict.fromkeys(map(str, names)))} to train it with'
    )
  print(f'the {role} {artifact} is not there yet: training it with {flagfile}')
  command = [
    sys.executable, '-m', 'tfcompress.train', f'--flagfile={flagfile}',
    f'--output_dir={artifact}', f'--dataset={FLAGS.dataset}',
    f'--data_dir={FLAGS.data_dir}', f'--transform={FLAGS.transform.value}',
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
  if config.parent:
    _train_first('parent', config.parent)
  if config.distill:
    _train_first('teacher', config.distill.teacher)
  from tfcompress.training import run

  manifest = run.run(config, flags_text)
  print(
    f'{config.output_dir}: top-1 {manifest.metrics["top1_percent"]:.2f} %, '
    f'top-5 {manifest.metrics["top5_percent"]:.2f} % on the validation split, '
    f'sparsity {100 * manifest.sparsity.total:.1f} %'
  )


def main() -> None:
  """Runs the command."""
  cli_flags.run(_train, __doc__)


if __name__ == '__main__':
  main()
