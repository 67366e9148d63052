"""What can be said of an export before TensorFlow, which takes seconds, is loaded."""

import pathlib

from tfcompress.conversion import variants
from tfcompress.core import records, types

_CHALLENGE_SIZE = 224
_CHALLENGE_CLASSES = 100


def require(config: types.ExportConfig, manifest: types.Manifest) -> None:
  """Looks at the settings and folders of an export; writes nothing.

  Raises:
    ValueError: settings that contradict each other, or a folder that is none.
  """
  variants.require_options(config)
  artifact = pathlib.Path(config.artifact)
  if artifact.resolve() == pathlib.Path(config.output_dir).resolve():
    raise ValueError('--artifact and --output_dir are the same folder')
  if not (artifact / records.MODEL).is_file():
    raise ValueError(f'{artifact}: no {records.MODEL} in it; train it anew')
  _require_challenge(config, manifest.model)
  records.require_writable(config.output_dir)


def needs_training_images(
  config: types.ExportConfig, manifest: types.Manifest
) -> bool:
  """Whether ranges are calibrated; those of a network of qat were trained."""
  recipe = variants.RECIPES[config.variant]
  return recipe.calibrated and not manifest.quantized


def _require_challenge(
  config: types.ExportConfig, spec: types.ModelSpec
) -> None:
  """Raises ValueError where a named submission breaks the challenge's rules."""
  got = (spec.input_size, spec.num_classes)
  if (config.username or config.teamname) and got != (
    _CHALLENGE_SIZE,
    _CHALLENGE_CLASSES,
  ):
    raise ValueError(
      f'{config.artifact}: {got[0]}x{got[0]} images and {got[1]} classes, the '
      f'challenge expects {_CHALLENGE_SIZE}x{_CHALLENGE_SIZE} and '
      f'{_CHALLENGE_CLASSES}; leave out --username and --teamname for a model '
      'that is no submission'
    )
