"""What can be said of a config before TensorFlow, which takes seconds, is loaded."""

import pathlib
from collections.abc import Collection, Iterator

from tfcompress.core import configs, keras_files, records, types
from tfcompress.data import folders
from tfcompress.models import widths
from tfcompress.training import budget, defaults, masks, sequences

KEPT_EPOCHS = 'epochs'  # the folder of an artifact with early epochs' weights


def require(config: configs.TrainConfig, but: Collection[str] = ()) -> None:
  """Looks at the settings and the files that a config names; writes nothing.

  Args:
    config: what to do.
    but: artifacts that are to be trained first.

  Raises:
    ValueError: one of them is missing, or cannot be what it is given as.
  """
  require_settings(config)
  records.require_writable(config.output_dir)
  folders.require(config.data, configs.needs_training_images(config))
  if config.custom_objects.endswith('.py'):
    _require_file('custom_objects', config.custom_objects)
  if config.parent and config.parent not in but:
    require_trainable(config, _manifest('parent', config.parent))
    if config.prune and config.prune.rewind_epoch is not None:
      kept_epoch(config.parent, config.prune.rewind_epoch)
  for role, path in _model_files(config, but):
    try:
      keras_files.architecture(path)
    except ValueError as error:
      raise ValueError(f'--{role}={error}') from error


def require_settings(config: configs.TrainConfig) -> None:
  """Raises ValueError for settings that contradict each other."""
  list(sequences.expand(defaults.complete(config)))
  if config.model:
    widths.channels_of(config.model)
  if config.prune:
    masks.parse(config.prune.granularity)
  if config.slim:
    targets = ('target_macs', 'target_parameters', 'target_latency')
    for text in filter(None, (getattr(config.slim, n) for n in targets)):
      budget.target_of(text, 1.0, 1.0)


def require_trainable(
  config: configs.TrainConfig, manifest: types.Manifest
) -> None:
  """Raises ValueError if a parent cannot take the stage."""
  if manifest.quantized:
    raise ValueError(
      f'{config.parent}: --stage={config.stage.value} after qat is not '
      f'possible (it went through {", ".join(manifest.steps)}); qat comes '
      'last: start from its own parent, and run qat again afterwards'
    )


def kept_epoch(artifact: str, epoch: int) -> pathlib.Path:
  """Returns the file with the weights that an artifact had after `epoch`.

  Raises:
    ValueError: the artifact did not keep that epoch.
  """
  folder = pathlib.Path(artifact) / KEPT_EPOCHS
  path = folder / f'{epoch}.npz'
  if not path.is_file():
    kept = sorted(int(p.stem) for p in folder.glob('*.npz'))
    raise ValueError(
      f'--rewind_epoch={epoch}: {artifact} kept '
      + (f'epoch {", ".join(map(str, kept))}' if kept else 'no early epoch')
      + f'; train it with --keep_epoch={epoch}'
    )
  return path


def _model_files(
  config: configs.TrainConfig, but: Collection[str]
) -> Iterator[tuple[str, str]]:
  """The Keras files that a config names; looks at the artifacts beside them."""
  if config.init:
    yield 'init_from', config.init.init_from
  for path in config.distill.teacher if config.distill else ():
    if pathlib.Path(path).suffix in keras_files.SUFFIXES:
      yield 'teacher', path
    elif path not in but:
      _manifest('teacher', path)


def _manifest(role: str, artifact: str) -> types.Manifest:
  """The manifest of an artifact whose model is there."""
  manifest = records.read_manifest(artifact)
  _require_file(role, str(pathlib.Path(artifact) / records.MODEL))
  return manifest


def _require_file(role: str, path: str) -> None:
  if not pathlib.Path(path).is_file():
    raise ValueError(f'--{role}: no such file {path}')
