"""What was begun in an artifact folder, so that only that goes on there."""

import enum
import pathlib
import shutil
from collections.abc import Sequence

import tensorflow as tf

from tfcompress.core import configs, records, types

FLAGS = 'flags.cfg'
_FILE = 'checkpoints/config.json'
_EXTENDED_FROM = 'extended_from'
# All that a run writes but its flags, with which it may have been started anew;
# what was begun is forgotten first.
_OURS = (
  'checkpoints',
  records.MANIFEST,
  records.MODEL,
  'logs',
  'epochs',
  'steps',
  'generations',
)
# What more epochs may change: a warm-up is over, or is that of all epochs.
_OF_LENGTH = {'config.epochs', 'config.optimizer.warmup_epochs'}


class Found(enum.Enum):
  """What is in a folder, compared with what is asked for."""

  NOTHING = 'nothing'
  BEGUN = 'begun'  # the same
  OTHER_LENGTH = 'other length'  # the same but for the number of epochs
  FINISHED = 'finished'  # the same


def look(folder: pathlib.Path, config: configs.TrainConfig) -> Found:
  """Returns what is in `folder`.

  Raises:
    ValueError: something else was begun there: another config, parents that
      have changed since, or more epochs were run than are asked for.
  """
  finished = (folder / records.MANIFEST).is_file()
  if not (folder / _FILE).is_file():
    if finished:
      raise ValueError(
        f'{folder}: holds an artifact without its {_FILE}; choose another '
        '--output_dir, or --overwrite to begin anew'
      )
    return Found.NOTHING
  note = records.read_json(folder / _FILE)
  parents = [_as_now(parent) for parent in note.get('parents', [])]
  if _require_equal(folder, config, parents):
    _require_longer(folder, config.epochs, finished)
    return Found.OTHER_LENGTH
  if finished:
    trained = records.read_manifest(folder).training.get('epochs')
    return Found.FINISHED if trained == config.epochs else Found.BEGUN
  return Found.BEGUN


def write(
  folder: pathlib.Path,
  config: configs.TrainConfig,
  parents: tuple[types.ParentRecord, ...],
) -> None:
  """Notes what is begun in `folder`, and from which files."""
  note = {'config': config, 'parents': parents}
  if (folder / _FILE).is_file():
    if not _require_equal(folder, config, records.to_json(parents)):
      return
    note[_EXTENDED_FROM] = epochs_done(folder)
  records.write_json(folder / _FILE, note)


def epochs_done(folder: pathlib.Path) -> int:
  """Returns the epochs of the last checkpoint."""
  latest = tf.train.latest_checkpoint(folder / 'checkpoints')
  return int(latest.rpartition('-')[2]) if latest else 0


def extended_from(folder: pathlib.Path) -> int:
  """Returns the epochs that were done when more were asked for; 0 if never."""
  return records.read_json(folder / _FILE).get(_EXTENDED_FROM, 0)


def in_the_way(runs: Sequence[configs.TrainConfig]) -> bool:
  """Whether the folders of runs hold others, or the last one is finished.

  Raises:
    ValueError: what is in the way is no artifact of ours.
  """
  folders = [pathlib.Path(config.output_dir) for config in runs]
  try:
    found = list(map(look, folders, runs))
  except ValueError:
    _require_ours(folders[-1])
    return True
  return Found.OTHER_LENGTH in found or found[-1] is Found.FINISHED


def clear(
  root: pathlib.Path, folder: pathlib.Path, sources: Sequence[str]
) -> None:
  """Removes what runs wrote into `root`, and nothing else.

  Args:
    root: the artifact folder.
    folder: where a run is to begin, `root` or inside it; stays.
    sources: paths that the run reads.

  Raises:
    ValueError: one of them would be removed.
  """
  doomed = [root / name for name in _OURS]
  for source in sources:
    inside = [source for path in doomed if _contains(path, source)]
    if inside:
      raise ValueError(
        f'--overwrite would remove {inside[0]}, of which the new run is made; '
        'choose another --output_dir'
      )
  for path in doomed:
    _remove(path, folder)


def _remove(path: pathlib.Path, kept: pathlib.Path) -> None:
  """Removes a file or folder; of one around `kept`, what else is in it."""
  gone = path.with_name(f'.{path.name}.removed')
  shutil.rmtree(gone, ignore_errors=True)  # Of a run that was killed here.
  if path.is_dir() and not path.is_symlink():
    if _contains(path, kept):
      for inner in path.iterdir():
        _remove(inner, kept)
      return
    path.rename(gone)  # At once, so that no half of it is taken for a run.
    shutil.rmtree(gone)
  else:
    path.unlink(missing_ok=True)


def _contains(path: pathlib.Path, other: str | pathlib.Path) -> bool:
  return pathlib.Path(other).resolve().is_relative_to(path.resolve())


def _require_ours(folder: pathlib.Path) -> None:
  """Raises ValueError unless a run of ours wrote what is in a folder."""
  try:
    if 'stage' in records.read_json(folder / _FILE).get('config', ()):
      return
  except ValueError:  # Missing, or something else.
    pass
  if (folder / records.MANIFEST).is_file():
    records.read_manifest(folder)  # Raises where it is none.
  elif (folder / _FILE).is_file():
    raise ValueError(
      f'{folder / _FILE}: not what a run of ours writes; choose another '
      '--output_dir'
    )


def _as_now(parent: dict[str, str]) -> dict[str, str]:
  """A parent's record with the SHA-256 that its file has now."""
  path = pathlib.Path(parent['path'])
  file = path / records.MODEL if path.is_dir() else path
  if not file.is_file():
    return parent  # Nothing to compare with; opening it says what is missing.
  return parent | {'sha256': records.sha256(file)}


def _require_longer(folder: pathlib.Path, epochs: int, finished: bool) -> None:
  """Raises ValueError unless a run can go on to so many epochs."""
  done = epochs_done(folder)
  trained = finished and records.read_manifest(folder).training.get('epochs')
  if done and epochs <= done:
    raise ValueError(
      f'--epochs={epochs}: {folder} has done {done} already; give more to go '
      'on from there, or --overwrite to begin anew'
    )
  if trained and not done:
    raise ValueError(
      f'{folder}: its checkpoints are gone, so it cannot go on to '
      f'--epochs={epochs}; --overwrite begins anew, or train from it with '
      '--parent into another --output_dir'
    )


def _require_equal(
  folder: pathlib.Path, config: configs.TrainConfig, parents: object
) -> bool:
  """Whether what was begun differs in its length.

  Raises:
    ValueError: it differs in more.
  """
  note = records.read_json(folder / _FILE)
  there = {'config': _complete(note), 'parents': note.get('parents', [])}
  there = _flat(there)
  now = _flat({'config': records.to_json(config), 'parents': parents})
  differences = [
    name
    for name in sorted(there.keys() | now.keys())
    if name != 'config.output_dir' and there.get(name) != now.get(name)
  ]
  if 'config.epochs' in differences and _OF_LENGTH.issuperset(differences):
    return True
  if differences:
    says = [
      f'{name} {there.get(name)} there, {now.get(name)} now'
      for name in differences
    ]
    raise ValueError(
      f'{folder}: begun with other flags or parents ({"; ".join(says)}); use '
      'the same to continue, or another --output_dir, or --overwrite to begin '
      'anew'
    )
  return False


def _complete(note: dict) -> object:
  """The config of a note; settings that it does not know at their defaults."""
  config = note.get('config')
  try:
    return records.to_json(records.from_json(configs.TrainConfig, config))
  except (ValueError, TypeError):
    return config


def _flat(tree, prefix: str = '') -> dict[str, object]:
  """Nested dictionaries and lists as one, with dotted names."""
  if isinstance(tree, list):
    tree = dict(enumerate(tree))
  if not isinstance(tree, dict):
    return {prefix: tree}
  flat = {}
  for key, value in tree.items():
    flat |= _flat(value, f'{prefix}.{key}' if prefix else str(key))
  return flat
