"""A challenge's repository: how it begins, and the pages that show its history."""

import dataclasses
import importlib.metadata
import importlib.resources
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping

from tfcompress.competition import board, history, rules
from tfcompress.core import (
  challenges,
  measurements,
  processes,
  records,
  types,
)
from tfcompress.hosting import artifact
from tfcompress.reports import leaderboard, leaderboard_page

LEADERBOARD, PAGE, PAGES = 'LEADERBOARD.md', 'leaderboard.html', 'leaderboard'
BASELINE, README = 'BASELINE.md', 'README.md'
EXAMPLE = 'example'
# Where each of our templates goes.
_TEMPLATES = {
  'evaluate.yml': '.github/workflows/evaluate.yml',
  'publish.yml': '.github/workflows/publish.yml',
  'gitignore': '.gitignore',
  'gitattributes': '.gitattributes',
  'requirements.txt': 'requirements.txt',
}
_TEAM = 'The hosts'
_FOLDER = 'folder:'
# What requirements.txt has for the address of tfcompress, and an address that
# no machine will ever have.
_WHERE = 'ADDRESS'
_NOWHERE = 'https://where-tfcompress-is.invalid/tfcompress.whl'


def create(
  folder: pathlib.Path,
  challenge: challenges.Challenge,
  files: Mapping[str, str | os.PathLike],
) -> None:
  """Writes a repository, all of it or nothing; its baseline is not measured.

  Args:
    folder: that is not there yet, or is empty.
    challenge: its rules.
    files: of the repository, and where each is copied from.

  Raises:
    ValueError: there is something in the folder.
  """
  require_new(folder)
  folder = folder.absolute()
  folder.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(
    prefix=f'.{folder.name}.', dir=folder.parent
  ) as scratch:
    made = pathlib.Path(scratch, 'made')
    _fill(made, challenge, files)
    made.replace(folder)


def require_new(folder: pathlib.Path) -> None:
  """Raises ValueError where there is something in a folder."""
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise ValueError(
      f'{folder}: there is something already; choose a new folder'
    )


def read(folder: pathlib.Path) -> challenges.Challenge:
  """Returns the rules of the challenge in a folder.

  Raises:
    ValueError: it has none, or they are not well formed.
  """
  path = folder / challenges.CHALLENGE
  if not path.is_file():
    raise ValueError(
      f'{path}: no such file; run this in the repository of a challenge, or '
      'give --challenge its folder'
    )
  return rules.read(path)


def add(
  folder: pathlib.Path,
  entry: challenges.Entry,
  record: measurements.Measurement | None,
) -> None:
  """Adds a result to the history, with its measurement, unless it is there."""
  entry = with_record(folder, entry, record)
  history.append(folder / challenges.HISTORY, entry)


def require_ready(folder: pathlib.Path) -> None:
  """Raises ValueError where no result could be added, before it is measured."""
  records.require_writable(folder)
  history.read(folder / challenges.HISTORY)


def render(folder: pathlib.Path, again: bool = False) -> tuple[str, ...]:
  """Writes the leaderboard, and a page for every result of the history.

  Args:
    folder: of the challenge.
    again: write README.md anew, and pages that are there already.

  Returns:
    What is to be said of it as a whole, a sentence each.

  Raises:
    ValueError: the rules or the history cannot be read.
  """
  challenge = read(folder)
  pages = folder / PAGES
  pages.mkdir(exist_ok=True)
  if again:
    _write(folder / README, leaderboard.readme(challenge))
  with processes.in_turn(pages):  # Or an older history could be shown last.
    return _render(folder, challenge, again)


def _render(
  folder: pathlib.Path, challenge: challenges.Challenge, again: bool
) -> tuple[str, ...]:
  found = history.read(folder / challenges.HISTORY)
  standings = board.standings(found.entries)
  notes = tuple(_notes(folder, found))
  _write(
    folder / LEADERBOARD,
    leaderboard.markdown(challenge, standings, found.entries, notes),
  )
  _write(
    folder / PAGE,
    leaderboard_page.page(
      challenge, standings, found.entries, board.best_so_far(found.entries)
    ),
  )
  for entry in found.entries:
    path = folder / PAGES / f'{entry.id}.html'
    if again or not path.is_file():
      record = record_of(folder, entry)
      _write(path, leaderboard_page.submission(challenge, entry, record))
  return notes


def render_baseline(
  folder: pathlib.Path, record: measurements.Measurement
) -> None:
  """Writes the page on the baseline."""
  _write(folder / BASELINE, leaderboard.baseline(read(folder), record))


def comment(folder: pathlib.Path, entry: challenges.Entry) -> str:
  """Returns what a pull request is told of a result that was added."""
  found = history.read(folder / challenges.HISTORY)
  standings = board.standings(found.entries)
  return leaderboard.comment(read(folder), entry, standings)


def with_record(
  folder: pathlib.Path,
  entry: challenges.Entry,
  record: measurements.Measurement | None,
) -> challenges.Entry:
  """Writes the measurement of a result; returns the result that names it."""
  if record is None:
    return entry
  path = artifact.record_of(folder, entry)
  records.write_json(path, record)
  return dataclasses.replace(entry, record_sha256=records.sha256(path))


def record_of(
  folder: pathlib.Path, entry: challenges.Entry
) -> measurements.Measurement | None:
  """Returns the measurement of a result with all samples.

  That is the brief one of the history if its file is gone.

  Raises:
    ValueError: the file is another than the result's.
  """
  path = artifact.record_of(folder, entry)
  if not entry.record_sha256 or not path.is_file():
    return entry.record
  if records.sha256(path) != entry.record_sha256:
    raise ValueError(
      f'{path}: not the file that the history names (SHA-256 '
      f'{entry.record_sha256[:12]}...); take it back from git'
    )
  return records.read_measurement(str(path))


def _notes(folder: pathlib.Path, found: history.History) -> Iterator[str]:
  """What is to be said of the leaderboard as a whole."""
  if found.damage:
    yield found.damage
  now = records.sha256(folder / challenges.CHALLENGE)
  if others := board.by_other_rules(found.entries, now):
    yield (
      f'results that were measured before {challenges.CHALLENGE} was '
      f'changed: {len(others)}'
    )


def _fill(folder: pathlib.Path, challenge, files) -> None:
  """Writes a new repository."""
  for name, source in files.items():
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
  _write(folder / challenges.CHALLENGE, rules.text(challenge))
  read(folder)  # Raises where it breaks its own rules.
  _write(folder / README, leaderboard.readme(challenge))
  templates = importlib.resources.files('tfcompress.hosting') / 'templates'
  for name, target in _TEMPLATES.items():
    _write(folder / target, (templates / name).read_text())
  _fill_in(folder, challenge)
  _write(folder / challenges.SUBMISSIONS / '.gitkeep', '')
  _write_example(folder / EXAMPLE, challenge)
  render(folder)


def _fill_in(folder: pathlib.Path, challenge: challenges.Challenge) -> None:
  """Completes what the templates cannot know."""
  path = folder / 'requirements.txt'
  _write(path, path.read_text().replace(_WHERE, _address()))
  images = challenge.data.dataset
  if images.startswith(_FOLDER) and not images.startswith(f'{_FOLDER}/'):
    path = folder / '.gitignore'
    private = f'/{images.removeprefix(_FOLDER).strip("/")}/\n'
    _write(path, f'{path.read_text()}{private}')


def _address() -> str:
  """Where this tfcompress is from, if not from a folder of this machine."""
  try:
    told = importlib.metadata.distribution('tfcompress').read_text(
      'direct_url.json'
    )
  except importlib.metadata.PackageNotFoundError:
    return _NOWHERE
  source = json.loads(told or '{}')
  url, commit = source.get('url', ''), source.get('vcs_info', {})
  if not url.startswith('https://'):
    return _NOWHERE
  if commit:
    return f'{commit["vcs"]}+{url}@{commit["commit_id"]}'
  return url


def _write_example(
  folder: pathlib.Path, challenge: challenges.Challenge
) -> None:
  """Writes a submission that keeps the rules and knows nothing."""
  from tfcompress.conversion import references

  spec = types.ModelSpec(
    num_classes=challenge.num_classes,
    input_size=challenge.image_size,
    internal_size=min(64, challenge.image_size),
    width_multiplier=0.125,
  )
  references.write_plain(str(folder / 'model.tflite'), spec)
  metadata = {
    'username': EXAMPLE,
    'teamname': _TEAM,
    'model_format': challenges.ModelFormat.TFLITE.value,
    'tfcompress': {'input_scaling': types.Normalization.RAW.value},
  }
  records.write_json(folder / challenges.METADATA, metadata)


def _write(path: pathlib.Path, text: str) -> None:
  records.write_bytes(path, text.encode())
