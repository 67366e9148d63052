"""What was begun in an artifact folder, so that only that goes on there."""

import pathlib

from tfcompress.core import configs, records, types

_FILE = 'checkpoints/config.json'


def write(
  folder: pathlib.Path,
  config: configs.TrainConfig,
  parents: tuple[types.ParentRecord, ...],
) -> None:
  """Notes what is begun in `folder`, and from which files."""
  note = {'config': config, 'parents': parents}
  if (folder / _FILE).is_file():
    _require_equal(folder, records.to_json(note))
  else:
    records.write_json(folder / _FILE, note)


def require_same(folder: pathlib.Path, config: configs.TrainConfig) -> None:
  """Raises ValueError if something else was begun in `folder`.

  That is another config, or the same one with parents that have changed since.
  """
  if (folder / _FILE).is_file():
    note = records.read_json(folder / _FILE)
    parents = [_as_now(parent) for parent in note.get('parents', [])]
    now = {'config': records.to_json(config), 'parents': parents}
    _require_equal(folder, now)
  elif (folder / records.MANIFEST).is_file():
    raise ValueError(
      f'{folder}: holds an artifact without its {_FILE}; '
      'choose another --output_dir'
    )


def _as_now(parent: dict[str, str]) -> dict[str, str]:
  """A parent's record with the SHA-256 that its file has now."""
  path = pathlib.Path(parent['path'])
  file = path / records.MODEL if path.is_dir() else path
  if not file.is_file():
    return parent  # Nothing to compare with; opening it says what is missing.
  return parent | {'sha256': records.sha256(file)}


def _require_equal(folder: pathlib.Path, now: dict) -> None:
  there, now = _flat(records.read_json(folder / _FILE)), _flat(now)
  differences = [
    f'{name} {there.get(name)} there, {now.get(name)} now'
    for name in sorted(there.keys() | now.keys())
    if name != 'config.output_dir' and there.get(name) != now.get(name)
  ]
  if differences:
    raise ValueError(
      f'{folder}: begun with other flags or parents '
      f'({"; ".join(differences)}); use the same to continue, or another '
      '--output_dir, or remove the folder to begin anew'
    )


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
