"""The files of a submission: what they are called, and which must be there."""

import pathlib
from collections.abc import Mapping

from tfcompress.competition import plain_files, requirements
from tfcompress.core import challenges, numbers

SAVED_MODEL = 'model.saved_model'  # a folder; every other model is a file
MODELS = {
  challenges.ModelFormat.TFLITE: ('model.tflite',),
  challenges.ModelFormat.TENSORFLOW: (
    'model.h5', 'model.keras', 'model.pb', SAVED_MODEL,
  ),
  challenges.ModelFormat.PYTORCH: ('model.pt', 'model.pth'),
}  # fmt: skip
BESIDE = ('README.md', 'LICENSE')  # may be there; nobody reads them
_EVERY_MODEL = tuple(name for names in MODELS.values() for name in names)
_OTHERS = (
  challenges.METADATA,
  challenges.LOADER,
  challenges.REQUIREMENTS,
  *BESIDE,
)
_MOST_BESIDE_BYTES = 2**20  # They are in the snapshot.
_MIB = 2**20

Sizes = Mapping[str, int | None]  # as plain_files.walk has them


def model_of(
  folder: pathlib.Path,
  sizes: Sizes,
  model_format: challenges.ModelFormat,
  challenge: challenges.Challenge,
) -> str:
  """Returns the name of the model.

  Args:
    folder: of the submission.
    sizes: of what is in it.
    model_format: of the model, as metadata.json has it.
    challenge: whose rules hold.

  Raises:
    ValueError: it is not there, not alone, empty or not of the format; or
      something else is there that may not be.
  """
  for name in sizes:
    if '/' not in name:
      _require_known(folder, name, sizes[name], challenge)
  _require_accepted(folder, model_format, challenge)
  found = [name for name in _EVERY_MODEL if name in sizes]
  fitting = ' or '.join(MODELS[model_format])
  if not found:
    raise _error(folder, f'no model in it, expected {fitting}')
  if len(found) > 1:
    raise _error(
      folder, f'{len(found)} models, {" and ".join(found)}; expected one'
    )
  if found[0] not in MODELS[model_format]:
    raise _error(
      folder,
      f'model_format is {model_format.value!r}, but the model is {found[0]}; '
      f'expected {fitting}',
    )
  if not _bytes(sizes, found[0]):
    raise _error(folder, f'{found[0]} is empty, expected a model')
  return found[0]


def require_code(
  folder: pathlib.Path,
  sizes: Sizes,
  model_format: challenges.ModelFormat,
  challenge: challenges.Challenge,
) -> None:
  """Raises ValueError for a loader or requirements that may not be there."""
  loader, required = challenges.LOADER, challenges.REQUIREMENTS
  if loader in sizes and model_format is challenges.ModelFormat.TFLITE:
    raise _error(
      folder, f'{loader} in it, but a .tflite is opened as it is; leave it out'
    )
  if required in sizes and loader not in sizes:
    raise _error(
      folder, f'{required} without a {loader} that would need it; leave it out'
    )
  if required in sizes:
    requirements.check(folder / required, challenge.packages)


def size_bytes(
  folder: pathlib.Path,
  sizes: Sizes,
  model: str,
  challenge: challenges.Challenge,
) -> int:
  """Returns the bytes of a model and its loader.

  Raises:
    ValueError: they are more than the challenge allows.
  """
  size = _bytes(sizes, model) + _bytes(sizes, challenges.LOADER)
  limit = challenge.limits.model_mib
  if size > limit * _MIB:
    raise _error(
      folder,
      f'{model} has {size / _MIB:.3f} MiB with its loader ({size} bytes), '
      f'limit {numbers.plain(limit)} MiB',
    )
  return size


def kept(folder: pathlib.Path) -> list[str]:
  """Returns what stays where a submission is replaced by a new one.

  Raises:
    ValueError: the folder has something in it that no submission has.
  """
  sizes = plain_files.walk(folder)
  for name in sizes:
    if name.partition('/')[0] not in (*_EVERY_MODEL, *_OTHERS):
      raise _error(
        folder,
        f'{plain_files.shown(name)} in it, so it is no submission that could '
        'be replaced; choose another folder',
      )
  return [name for name in BESIDE if name in sizes]


def name_for(model: pathlib.Path, model_format: challenges.ModelFormat) -> str:
  """Returns what a model is to be called in a submission.

  Raises:
    ValueError: it is not there, or of no name of the format's.
  """
  if not model.exists():
    raise ValueError(f'{plain_files.shown(model)}: no such file or folder')
  name = SAVED_MODEL if model.is_dir() else f'model{model.suffix.lower()}'
  if name not in MODELS[model_format]:
    named = [f'*{pathlib.Path(n).suffix}' for n in MODELS[model_format]]
    expected = ', '.join(named).replace('*.saved_model', 'a SavedModel folder')
    raise ValueError(
      f'{plain_files.shown(model)}: not {model_format.value} by its name; '
      f'expected {expected}'
    )
  return name


def _error(folder: pathlib.Path, text: str) -> ValueError:
  return ValueError(f'{plain_files.shown(folder)}: {text}')


def _require_known(
  folder: pathlib.Path,
  name: str,
  size: int | None,
  challenge: challenges.Challenge,
) -> None:
  if name not in (*_EVERY_MODEL, *_OTHERS):
    models = [one for format_ in challenge.formats for one in MODELS[format_]]
    raise _error(
      folder,
      f'{plain_files.shown(name)} does not belong there; expected '
      f'{", ".join(_OTHERS)} and one of {", ".join(models)}',
    )
  if (size is None) != (name == SAVED_MODEL):
    kinds = 'folder, expected a file', 'file, expected a folder'
    raise _error(folder, f'{name} is a {kinds[name == SAVED_MODEL]}')
  if name in BESIDE and size > _MOST_BESIDE_BYTES:
    raise _error(folder, f'{name} has {size} bytes, limit {_MOST_BESIDE_BYTES}')


def _require_accepted(
  folder: pathlib.Path,
  model_format: challenges.ModelFormat,
  challenge: challenges.Challenge,
) -> None:
  if model_format not in challenge.formats:
    accepted = ', '.join(one.value for one in challenge.formats)
    raise _error(
      folder,
      f'model_format is {model_format.value!r}, which the challenge does not '
      f'accept; expected one of {accepted}',
    )


def _bytes(sizes: Sizes, name: str) -> int:
  """The size of a file, of all in a folder, or 0 of nothing."""
  return sum(
    size or 0 for path, size in sizes.items() if path.partition('/')[0] == name
  )
