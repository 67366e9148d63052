"""A whole challenge by its commands, its figures against evaluate's and a sum."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import challenge_figures
import challenge_models
import torch_resnet

from tfcompress.core import measurements, records, types

_BASELINE = 'baseline/model.tflite'
_BROKEN = 'heidi'
_VERIFIED = 2
_BY_NOISE = 'more than their intervals'


@dataclasses.dataclass(frozen=True)
class Submission:
  """What is handed in.

  Attributes:
    username: of the participant.
    model: a file, or the folder of an export or a SavedModel.
    what: it is, for the table.
    loader: of the model; None for none.
    requirements: of the loader.
  """

  username: str
  model: pathlib.Path
  what: str
  loader: pathlib.Path | None = None
  requirements: pathlib.Path | None = None

  @property
  def is_export(self) -> bool:
    return (self.model / records.METADATA).is_file()


def check(baseline: str, plain: str, slim: str, artifact: str) -> int:
  """Runs a challenge of eight submissions; prints how its figures compare.

  Args:
    baseline: an export folder, what submissions are scored against.
    plain: an export folder that is handed in.
    slim: another.
    artifact: whose network is handed in in all other formats; its images are
      the challenge's.

  Returns:
    The exit code, 1 if a figure differs.
  """
  manifest = records.read_manifest(artifact)
  root = pathlib.Path(tempfile.mkdtemp(prefix='tfcompress-challenge-'))
  folder, models = root / 'challenge', root / 'models'
  models.mkdir()
  handed_in = _submissions(models, plain, slim, artifact)
  dataset = _anywhere(manifest.data.dataset)
  _command(
    root, 'leaderboard', 'init', folder.name, '--title=Checked',
    f'--num_classes={manifest.model.num_classes}',
    f'--image_size={manifest.model.input_size}', f'--dataset={dataset}',
    f'--public={dataset}', f'--baseline={pathlib.Path(baseline).resolve()}',
  )  # fmt: skip
  for one in handed_in:
    _package(folder, one)
  _break(folder / 'submissions' / _BROKEN / 'model.tflite')
  _command(folder, 'leaderboard', 'evaluate', '--all')
  _command(folder, 'leaderboard', 'render')
  wrong = _verify(folder)
  wrong += _compare(folder, handed_in, dataset)
  print(f'{wrong} wrong; all of it: {folder}')
  return int(wrong > 0)


def _anywhere(dataset: str) -> str:
  """The name of a dataset that holds in every folder."""
  kind, _, path = dataset.partition(':')
  return f'{kind}:{pathlib.Path(path).resolve()}' if path else dataset


def _submissions(
  models: pathlib.Path, plain: str, slim: str, artifact: str
) -> list[Submission]:
  files = challenge_models.write(artifact, models)
  requirements = models / 'requirements.txt'
  requirements.write_text(f'einops=={torch_resnet.EINOPS}\n')
  plain_export, slim_export = (
    pathlib.Path(export).resolve() for export in (plain, slim)
  )
  return [
    Submission('ada', plain_export, 'plain int8 .tflite'),
    Submission('bob', slim_export, 'slim int8 .tflite'),
    Submission('carol', files['saved_model'], 'SavedModel'),
    Submission('dave', files['.h5'], '.h5'),
    Submission('erin', files['.pb'], 'frozen .pb'),
    Submission('frank', files['.pt'], 'TorchScript'),
    Submission(
      'grace', files['.pth'], 'state dict and loader',
      pathlib.Path(torch_resnet.__file__), requirements,
    ),
    Submission(_BROKEN, slim_export, 'broken .tflite'),
  ]  # fmt: skip


def _package(folder: pathlib.Path, one: Submission) -> None:
  own = {
    'export' if one.is_export else 'model': one.model,
    'loader': one.loader,
    'requirements': one.requirements,
  }
  scaling = [] if one.is_export else [_scaling()]
  _command(
    folder, 'submit', f'--username={one.username}', f'--teamname={one.what}',
    *(f'--{name}={value}' for name, value in own.items() if value), *scaling,
  )  # fmt: skip


def _scaling() -> str:
  """What the networks of challenge_models expect of their pixels."""
  return f'--input_scaling={types.Normalization.RAW.value}'


def _break(model: pathlib.Path) -> None:
  content = model.read_bytes()
  model.write_bytes(content[: len(content) // 2])


def _command(
  folder: pathlib.Path,
  module: str,
  *arguments: str,
  python: str = sys.executable,
  fails: bool = False,
) -> str:
  """Runs a command of ours in a folder and shows what it says."""
  print(f'\n$ python -m tfcompress.{module} {" ".join(arguments)}', flush=True)
  said = []
  with subprocess.Popen(
    [python, '-m', f'tfcompress.{module}', *arguments],
    cwd=folder,
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    for line in process.stdout:
      print(line, end='', flush=True)
      said.append(line)
  if process.returncode and not fails:
    raise SystemExit(
      f'error: {module} ended with exit code {process.returncode}'
    )
  return ''.join(said)


def _verify(folder: pathlib.Path) -> int:
  """How many of the first results are not as ranked when measured again."""
  said = _command(
    folder, 'leaderboard', 'verify', f'--top={_VERIFIED}', fails=True
  )
  results = re.findall(r'(?m)^\d+\. (\S+): \S+ now \S+?(?:: (.*))?$', said)
  history = {entry['username']: entry for entry in _history(folder)}
  wrong = _VERIFIED - len(results)
  for username, difference in results:
    is_noise = difference.endswith(_BY_NOISE) and challenge_figures.is_busy(
      history[username]['record']
    )
    wrong += bool(difference) and not is_noise
  return wrong


def _history(folder: pathlib.Path) -> list[dict]:
  lines = (folder / 'history.jsonl').read_text().splitlines()
  return [json.loads(line)['entry'] for line in lines]


def _compare(
  folder: pathlib.Path, handed_in: Sequence[Submission], dataset: str
) -> int:
  """Prints the table; returns how many rows of it are wrong."""
  entries = _history(folder)
  history = {entry['username']: entry for entry in entries}
  board = challenge_figures.board(folder / 'LEADERBOARD.md')
  base = _evaluated(folder, _BASELINE, dataset, '--parts=size,accuracy')
  rows = []
  for one in handed_in:
    entry, cells = history.pop(one.username), board.get(one.username)
    if entry['status'] == 'ranked' and one.username != _BROKEN:
      again = _again(folder, one, entry, base, dataset)
      rows.append(
        challenge_figures.row(
          one.what, entry, again, base, cells,
          (folder / 'leaderboard.html').read_text(),
          one.loader.stat().st_size if one.loader else 0,
        )
      )  # fmt: skip
    else:
      is_due = one.username == _BROKEN and entry['status'] == 'failed'
      is_right = is_due and not cells
      rows.append((challenge_figures.failed(one.what, entry), is_right))
  print(f'\n{challenge_figures.HEADER}')
  print('\n'.join(text for text, _ in rows))
  print(challenge_figures.CAPTION)
  # Each has its result once: none doubled, none of nobody.
  more = int(len(entries) != len(handed_in) or bool(history))
  return more + sum(not is_right for _, is_right in rows)


def _again(
  folder: pathlib.Path,
  one: Submission,
  entry: dict,
  base: dict,
  dataset: str,
) -> dict:
  """What evaluate says of a submission's own file."""
  top1 = base['accuracy']['top1_percent']
  arguments = [
    f'--baseline={_BASELINE}', f'--baseline_accuracy={top1!r}',
    '--runs=1000', '--seconds=2',
  ]  # fmt: skip
  python = sys.executable
  if not one.is_export:
    arguments.append(_scaling())
  if one.loader:
    loader = folder / 'submissions' / one.username / 'model_loader.py'
    arguments.append(f'--loader={loader}')
    [environment] = (folder / '.environments').glob('[!.]*')
    python = str(environment / 'bin' / 'python')
    # A sandbox has what an environment takes from ours for a submission alone.
    arguments.append(f'--isolation={measurements.Isolation.PROCESS.value}')
  path = entry['record']['model']['path']
  return _evaluated(folder, path, dataset, *arguments, python=python)


def _evaluated(
  folder: pathlib.Path,
  model: str,
  dataset: str,
  *arguments: str,
  python: str = sys.executable,
) -> dict:
  output = folder.parent / f'{pathlib.Path(model).parent.name}.json'
  _command(
    folder, 'evaluate', f'--model={model}', f'--dataset={dataset}',
    f'--output_file={output}', *arguments, python=python,
  )  # fmt: skip
  return json.loads(output.read_text())
