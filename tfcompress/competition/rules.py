"""The rules of a challenge: the file challenge.toml."""

import dataclasses
import datetime
import enum
import json
import math
import os
import pathlib
import re
import textwrap
from collections.abc import Iterator

from tfcompress.competition import rule_keys, toml_tables
from tfcompress.core import challenges

_FOLDER, _KAGGLE = 'folder:', 'kaggle:'
_SUM_TOLERANCE = 1e-9
_LONGEST_TITLE, _COLUMNS = 200, 80
_HEAD = """\
# The rules of this challenge. MiB are 2^20 bytes. A table that is left out has
# its default values, and so has a key, but for baseline.top1_percent.
"""
_SHA256 = re.compile('[0-9a-fA-F]{64}')
_URL = re.compile(r'https?://[^\s/?#]\S*')
_KAGGLE_NAME = re.compile(r'[\w-]+/[\w.-]+(/[0-9]+)?', re.ASCII)
_PACKAGE = re.compile(
  '[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?|[*]', re.ASCII | re.IGNORECASE
)


def read(path: str | os.PathLike) -> challenges.Challenge:
  """Returns the rules in a file.

  Args:
    path: of challenge.toml, in the folder of the challenge's repository.

  Raises:
    ValueError: there is a mistake in it; the message names the file, the line,
      the key, what was got and what was expected.
  """
  challenge, file = toml_tables.read(path, challenges.Challenge, rule_keys.KEYS)
  _require_names(file, challenge)
  _require_weights(file, challenge.weights)
  _require_baseline(file, challenge.baseline, pathlib.Path(path).parent)
  _require_window(file, challenge.window)
  _require_ranking_device(file, challenge.evaluation)
  _require_data(file, challenge.data)
  data = dataclasses.replace(
    challenge.data, sha256=challenge.data.sha256.lower()
  )
  return dataclasses.replace(challenge, data=data)


def text(challenge: challenges.Challenge) -> str:
  """Returns the file that has these rules, and a comment on every key."""
  values = {
    field.name: getattr(challenge, field.name)
    for field in dataclasses.fields(challenge)
  }
  parts = ['\n'.join(_table('', values))]
  for name, value in values.items():
    if dataclasses.is_dataclass(value):
      lines = [*_comment(rule_keys.TABLES[name]), f'[{name}]']
      parts.append('\n'.join([*lines, *_table(f'{name}.', vars(value))]))
  return '\n'.join([_HEAD, *(f'{part}\n' for part in parts)])


def in_window(window: challenges.Window, moment: datetime.datetime) -> str:
  """Returns '' if a submission counts, else why it does not, as a sentence.

  Args:
    window: when submissions count.
    moment: when it was handed in, with a time zone.
  """
  opens, closes = window.opens, window.closes
  if opens is not None and moment < opens:
    end = f'opens {opens.isoformat()}'
  elif closes is not None and moment > closes:
    end = f'closed {closes.isoformat()}'
  else:
    return ''
  return f'handed in {moment.isoformat(timespec="seconds")}, the window {end}'


def _table(prefix: str, values: dict[str, object]) -> Iterator[str]:
  """The lines of a table's own keys."""
  for name, value in values.items():
    if dataclasses.is_dataclass(value):
      continue
    key = rule_keys.KEYS[f'{prefix}{name}']
    yield from _comment(key.meaning)
    if value is None:
      yield f'# {name} = {key.example}'
    else:
      yield from _assignment(name, value)


def _comment(sentences: str) -> list[str]:
  return textwrap.wrap(
    sentences,
    _COLUMNS,
    initial_indent='# ',
    subsequent_indent='# ',
    break_on_hyphens=False,
  )


def _assignment(name: str, value: object) -> list[str]:
  line = f'{name} = {_toml(value)}'
  if len(line) <= _COLUMNS or not isinstance(value, tuple):
    return [line]
  items = textwrap.wrap(
    f'{", ".join(map(_toml, value))},',
    _COLUMNS,
    initial_indent='  ',
    subsequent_indent='  ',
    break_long_words=False,
    break_on_hyphens=False,
  )
  return [f'{name} = [', *items, ']']


def _toml(value: object) -> str:
  """A value as TOML writes it, which of text that is printable is JSON's way."""
  if isinstance(value, tuple):
    return f'[{", ".join(map(_toml, value))}]'
  if isinstance(value, enum.Enum):
    value = value.value
  if isinstance(value, datetime.datetime):
    return value.isoformat()
  return json.dumps(value, ensure_ascii=False)


def _require_names(
  file: toml_tables.File, challenge: challenges.Challenge
) -> None:
  title = challenge.title
  if not title.strip() or len(title) > _LONGEST_TITLE:
    raise file.mistake(
      'title',
      f'got {toml_tables.shown(title)}, expected 1 to {_LONGEST_TITLE} '
      'characters',
    )
  for name in challenge.packages:
    if not _PACKAGE.fullmatch(name):
      raise file.mistake(
        'packages',
        f'got {toml_tables.shown(name)}, expected names of packages without '
        'versions',
      )


def _require_weights(
  file: toml_tables.File, weights: challenges.Weights
) -> None:
  total = math.fsum(vars(weights).values())
  if abs(total - 1) > _SUM_TOLERANCE:
    parts = ' + '.join(f'{value:g}' for value in vars(weights).values())
    raise file.mistake(
      'weights', f'got {parts} = {total:.10g}, expected a sum of 1'
    )


def _require_baseline(
  file: toml_tables.File, baseline: challenges.Baseline, root: pathlib.Path
) -> None:
  if baseline.model == challenges.PLAIN:
    if baseline.top1_percent is None:
      raise file.mistake(
        'baseline.top1_percent',
        f'got none, expected a number: the model {challenges.PLAIN!r} has learned nothing '
        'that could be measured',
      )
    return
  key, got = 'baseline.model', toml_tables.shown(baseline.model)
  model = root / baseline.model
  if not _is_inside(baseline.model) or not model.resolve().is_relative_to(
    root.resolve()
  ):
    raise file.mistake(
      key,
      f'got {got}, expected {challenges.PLAIN!r} or a path inside the repository',
    )
  if not model.exists():
    raise file.mistake(
      key,
      f'got {got}, which is not in the repository; expected {challenges.PLAIN!r} or a '
      'model file there',
    )


def _require_window(file: toml_tables.File, window: challenges.Window) -> None:
  if None not in (window.opens, window.closes) and window.closes < window.opens:
    raise file.mistake(
      'window.closes',
      f'got {window.closes.isoformat()}, expected no moment before it opens, '
      f'{window.opens.isoformat()}',
    )


def _require_ranking_device(
  file: toml_tables.File, evaluation: challenges.Evaluation
) -> None:
  if evaluation.ranking_device not in evaluation.devices:
    devices = ', '.join(repr(one.value) for one in evaluation.devices)
    raise file.mistake(
      'evaluation.ranking_device',
      f'got {evaluation.ranking_device.value!r}, expected one of devices, '
      f'{devices}',
    )


def _require_data(file: toml_tables.File, data: challenges.Data) -> None:
  for name in ('dataset', 'public'):
    value = getattr(data, name)
    folder = value.removeprefix(_FOLDER)
    # Images may lie elsewhere, but what is fetched is put inside.
    elsewhere = folder.startswith('/') and (name == 'public' or not data.source)
    if not value.strip() or (
      value.startswith(_FOLDER) and not (elsewhere or _is_inside(folder))
    ):
      raise file.mistake(
        f'data.{name}',
        f'got {toml_tables.shown(value)}, expected a TFDS name, or '
        f"'{_FOLDER}PATH' with a path inside the repository (or, without a "
        'source, an absolute one)',
      )
  is_url = bool(_URL.fullmatch(data.source))
  _require_source(file, data, is_url)
  if (is_url or data.sha256) and not _SHA256.fullmatch(data.sha256):
    raise file.mistake(
      'data.sha256',
      f'got {toml_tables.shown(data.sha256)}, expected the 64 hex digits of '
      'the archive, as sha256sum prints them',
    )
  if data.sha256 and not data.source:
    raise file.mistake(
      'data.sha256',
      f'got {toml_tables.shown(data.sha256)}, expected "": there is no source '
      'that it could be of',
    )


def _require_source(
  file: toml_tables.File, data: challenges.Data, is_url: bool
) -> None:
  source = data.source
  is_kaggle = source.startswith(_KAGGLE) and _KAGGLE_NAME.fullmatch(
    source.removeprefix(_KAGGLE)
  )
  if source and not is_kaggle and not is_url:
    raise file.mistake(
      'data.source',
      f"got {toml_tables.shown(source)}, expected '{_KAGGLE}OWNER/NAME', "
      f"'{_KAGGLE}competitions/NAME' or the http(s) URL of an archive",
    )
  if source and not data.dataset.startswith(_FOLDER):
    raise file.mistake(
      'data.source',
      f'got {toml_tables.shown(source)}, but the dataset '
      f"{toml_tables.shown(data.dataset)} is no '{_FOLDER}PATH' to put it in",
    )


def _is_inside(path: str) -> bool:
  """Whether a path stays in the folder that it starts from."""
  parts = pathlib.PurePosixPath(path).parts
  leaves = path.startswith(('/', '~')) or '..' in parts
  return bool(parts) and not leaves
