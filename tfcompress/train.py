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

FLAGS = flags.FLAGS

_MODEL = {
  'width_multiplier': ("scales every layer's channels", 1 / 64),
  'input_size': ('height and width of the input image', 32),
  'internal_size': (
    'the model resizes its input to this; the input size if not given',
    32,
  ),
  'normalization': 'what the model does to raw pixels 0..255',
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
}
_DISTILL = {
  'teacher': 'kd: artifact folder, or .keras or .h5 file',
  'teacher_scaling': ('kd: what a .keras or .h5 teacher expects of its pixels'),
  'temperature': ('kd: softens both outputs', 0.01),
  'alpha': (
    'kd: weight of the distillation term, 1 - alpha of cross-entropy',
    0.0,
    1.0,
  ),
}


def _define_flags() -> None:
  flags.DEFINE_enum_class(
    'stage',
    None,
    types.Stage,
    'baseline trains on labels, prune sparsifies a parent, kd distills a '
    'teacher',
  )
  flags.DEFINE_string('output_dir', None, 'the artifact folder to write')
  cli_flags.define_data_flags()
  flags.DEFINE_enum('depth', '18', ['18', '34', '50'], 'layers of the ResNet')
  cli_flags.define(types.ModelSpec, **_MODEL)
  cli_flags.define(types.PruneConfig, **_PRUNE)
  cli_flags.define(types.DistillConfig, **_DISTILL)
  cli_flags.define(
    types.TrainConfig,
    parent='artifact folder whose model training starts from',
    epochs=('passes over the data', 1),
    batch_size=('images a step', 2),
    label_smoothing=(
      'probability moved from the label to all classes alike',
      0.0,
      0.99,
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
    types.OptimizerConfig,
    optimizer='SGD with Nesterov momentum, or AdamW',
    learning_rate=(
      'its peak, after the warm-up; a cosine takes it to zero',
      0.0,
    ),
    momentum=('of SGD', 0.0, 0.9999),
    weight_decay=(
      'decoupled: a step shrinks kernels by learning_rate * weight_decay',
      0.0,
    ),
    warmup_epochs=('of linear warm-up', 0.0),
    clip_norm=('greatest norm of all gradients together, 0 for none', 0.0),
  )
  cli_flags.define(
    types.AugmentConfig,
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


_define_flags()


def _config() -> types.TrainConfig:
  """Returns the flags as a config.

  Raises:
    ValueError: a flag is missing, or flags contradict each other.
  """
  cli_flags.require('stage', 'output_dir', example='flags/kd.cfg')
  _check_combinations()
  model, prune, distill = None, None, None
  if not FLAGS.parent:
    model = cli_flags.read(types.ModelSpec, depth=int(FLAGS.depth))
  if FLAGS.stage is types.Stage.PRUNE:
    prune = cli_flags.read(types.PruneConfig)
  if FLAGS.stage is types.Stage.KD:
    distill = cli_flags.read(types.DistillConfig)
  return cli_flags.read(
    types.TrainConfig,
    model=model,
    data=cli_flags.data_spec(),
    optimizer=cli_flags.read(types.OptimizerConfig),
    augment=cli_flags.read(types.AugmentConfig),
    prune=prune,
    distill=distill,
  )


def _check_combinations() -> None:
  stage = FLAGS.stage.value
  own = {'prune': _PRUNE, 'kd': _DISTILL}
  for other, names in own.items():
    if other != stage and (wrong := cli_flags.given(*names)):
      raise ValueError(f'--{wrong[0]} is for --stage={other}, got {stage}')
  if FLAGS.parent and (wrong := cli_flags.given('depth', *_MODEL)):
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
