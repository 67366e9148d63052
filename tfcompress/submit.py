"""Takes part in a model-compression challenge.

  python -m tfcompress.submit --export=exported/kd --username=ada \\
    --teamname=engine --submissions_dir=submissions
  python -m tfcompress.submit --check=submissions/ada

The first packages a model as submissions/ada/; --model takes any other file that
the challenge accepts. The second holds that folder against every rule of the
challenge and measures it as the host does, on public data. Run both in a clone
of the challenge's repository, or name it by --challenge.
"""

import dataclasses
import datetime
import pathlib
import shlex
import tempfile

from absl import flags

from tfcompress import cli_flags
from tfcompress.core import challenges, measurements, types

FLAGS = flags.FLAGS
_PACKAGE = ('export', 'model', 'username', 'teamname', 'loader', 'requirements')


def _define_flags() -> None:
  flags.DEFINE_string('check', '', 'the folder of a submission to be checked')
  flags.DEFINE_string('export', '', 'the export folder to hand in')
  flags.DEFINE_string(
    'model', '', 'instead: .tflite, .h5, .keras, .pb, .pt, .pth or a SavedModel'
  )
  flags.DEFINE_string('username', '', 'your name on GitHub')
  flags.DEFINE_string('teamname', '', 'to be shown')
  flags.DEFINE_string(
    'submissions_dir', challenges.SUBMISSIONS, 'where the folder goes'
  )
  flags.DEFINE_string(
    'loader', '', '.py file whose load_model(path) opens the model'
  )
  flags.DEFINE_string('requirements', '', 'packages of the loader, a .txt file')
  flags.DEFINE_enum_class(
    'input_scaling',
    None,
    types.Normalization,
    'what --model expects of its pixels; found out by labelled images if not '
    'given',
  )
  flags.DEFINE_string('challenge', '.', "folder of the challenge's repository")
  flags.DEFINE_string(
    'dataset', '', "--check: other images than the challenge's public ones"
  )
  cli_flags.define(
    measurements.Limits,
    isolation="--check: of the model's process; the strictest that works here",
  )


_define_flags()


def _submit() -> None:
  packaging = cli_flags.given(*_PACKAGE, 'submissions_dir', 'input_scaling')
  if FLAGS.check:
    if packaging:
      raise ValueError(f'--{packaging[0]} does not go with --check')
    _check(pathlib.Path(FLAGS.check))
    return
  if checking := cli_flags.given('dataset', 'isolation'):
    raise ValueError(f'--{checking[0]} goes with --check alone')
  _package()


def _package() -> None:
  """Writes the folder of a submission."""
  if bool(FLAGS.export) == bool(FLAGS.model):
    raise ValueError(
      f'{"both" if FLAGS.export else "neither"} of --export and --model; '
      'expected one of them to hand in, or --check=DIR to check a submission'
    )
  cli_flags.require('username', 'teamname', example='flags/submit.cfg')
  from tfcompress.competition import submission
  from tfcompress.runtimes import interface, load

  challenge, source = _challenge()
  print(f'rules: {source}')
  path = FLAGS.export or FLAGS.model
  model, metadata = interface.file_of(path), load.metadata_of(path)
  if FLAGS.export and model.suffix != '.tflite':
    raise ValueError(
      f'--export={path}: no export; give --model the file that you hand in'
    )
  if FLAGS.input_scaling:
    metadata = {**metadata, 'input_scaling': FLAGS.input_scaling.value}
  made = submission.write(
    pathlib.Path(FLAGS.submissions_dir, FLAGS.username),
    FLAGS.username,
    FLAGS.teamname,
    _format_of(path),
    model,
    FLAGS.loader or None,
    FLAGS.requirements or None,
    extra={'tfcompress': metadata} if metadata else None,
    challenge=challenge,
  )
  mib = made.size_bytes / 2**20
  print(f'{made.folder}: {made.model.name}, {mib:.2f} MiB')
  where = (
    f' --challenge={FLAGS.challenge}' if FLAGS['challenge'].present else ''
  )
  check = shlex.quote(f'--check={made.folder}')
  print(f'next: python -m tfcompress.submit {check}{where}')


def _format_of(path: str) -> challenges.ModelFormat:
  """What the challenge calls the format of a model."""
  from tfcompress.runtimes import formats, load

  runtime = load.RUNTIMES[formats.format_of(path)][0]
  kinds = {
    measurements.Runtime.LITERT_CPU: challenges.ModelFormat.TFLITE,
    measurements.Runtime.TENSORFLOW: challenges.ModelFormat.TENSORFLOW,
    measurements.Runtime.TORCH: challenges.ModelFormat.PYTORCH,
  }
  if runtime not in kinds:
    raise ValueError(f'{path}: none of the formats of a challenge')
  return kinds[runtime]


def _challenge() -> tuple[challenges.Challenge, str]:
  """The rules, and where they are from."""
  from tfcompress.competition import rules

  path = pathlib.Path(FLAGS.challenge, challenges.CHALLENGE)
  if path.is_file():
    return rules.read(path), str(path)
  if cli_flags.given('challenge'):
    raise ValueError(f'--challenge={FLAGS.challenge}: no {path.name} there')
  return challenges.Challenge(), (
    f'those of the original challenge, as there is no {path.name} here'
  )


def _check(folder: pathlib.Path) -> None:
  from tfcompress.hosting import evaluation, hosts
  from tfcompress.reports import tables

  challenge, source = _challenge()
  print(f'rules: {source}', flush=True)
  if not folder.is_dir():
    raise ValueError(
      f'--check={folder}: no such folder; expected submissions/USERNAME'
    )
  now = datetime.datetime.now(datetime.UTC)
  _warn_of_window(challenge, now)
  # It may be checked before it may be handed in.
  challenge = dataclasses.replace(challenge, window=challenges.Window())
  with tempfile.TemporaryDirectory() as scratch:
    host, figures = _host(challenge, pathlib.Path(scratch))
    hosts.require_classes(host)
    result = evaluation.evaluate(
      host, evaluation.HandedIn(folder.resolve(), now), figures
    )
  if result.entry.reason:
    raise ValueError(result.entry.reason)
  print(tables.measurement(result.record))
  print(
    f'{folder} keeps the rules; its score on {host.data.dataset} is '
    f'{result.record.score.final:.3f}'
  )


def _warn_of_window(
  challenge: challenges.Challenge, now: datetime.datetime
) -> None:
  from tfcompress.competition import rules

  if late := rules.in_window(challenge.window, now):
    print(f'warning: {late}', flush=True)


def _host(challenge: challenges.Challenge, scratch: pathlib.Path):
  """This machine as a host, and the figures to score against."""
  from tfcompress.competition import scoring
  from tfcompress.hosting import baseline, hosts

  folder = pathlib.Path(FLAGS.challenge)
  is_challenge = (folder / challenges.CHALLENGE).is_file()
  repository = folder if is_challenge else scratch
  host = hosts.Host(
    repository,
    challenge,
    hosts.images(
      folder, challenge.data, FLAGS.dataset or challenge.data.public
    ),
    repository / hosts.ENVIRONMENTS,
    FLAGS.isolation,
  )
  if is_challenge:
    return host, baseline.figures(repository, challenge)
  original = scoring.CHALLENGE_BASELINE
  return host, dataclasses.replace(original, source=baseline.SOURCE)


def main() -> None:
  """Runs the command."""
  cli_flags.run(_submit, __doc__)


if __name__ == '__main__':
  main()
