"""Hosts a model-compression challenge.

  python -m tfcompress.leaderboard init DIR
  cd DIR
  python -m tfcompress.leaderboard evaluate --submission=submissions/ada
  python -m tfcompress.leaderboard evaluate --all
  python -m tfcompress.leaderboard verify

init writes a challenge's repository: its rules (challenge.toml, to be edited),
pages, workflows, an example submission. The other commands run in its folder:
  fetch     gets the images that challenge.toml names as data.source
  baseline  measures what submissions are scored against
  evaluate  measures submissions, and adds them to the leaderboard
  render    writes the pages anew
  verify    measures the first ones again, and compares
Two commands are for the workflows of a repository on GitHub:
  pull_request  takes the submission out of a pull request, as data
  publish       commits a result, and comments on its pull request
"""

import dataclasses
import datetime
import pathlib
from collections.abc import Callable, Iterator

from absl import flags

from tfcompress import cli_flags
from tfcompress.core import challenges, measurements, records

FLAGS = flags.FLAGS
_PLAIN_TOP1 = challenges.Baseline().top1_percent


def _define_flags() -> None:
  flags.DEFINE_string(
    'challenge', '.', "folder of the challenge's repository; not for init"
  )
  _define_init_flags()
  flags.DEFINE_string(
    'submission',
    '',
    'evaluate: a folder; one outside of submissions/ is not added to the '
    'leaderboard',
  )
  flags.DEFINE_bool(
    'all', False, 'evaluate: all of submissions/ that have no result yet'
  )
  flags.DEFINE_string(
    'submitted',
    '',
    'evaluate: when it was handed in, as 2026-05-01T12:00:00+02:00; now, if '
    'not given',
  )
  flags.DEFINE_string('proposed', '', 'evaluate: what pull_request wrote')
  flags.DEFINE_string(
    'output_file', '', 'evaluate --proposed: where the result goes'
  )
  cli_flags.define(
    measurements.Limits,
    isolation='evaluate, baseline, verify: of processes; bubblewrap if not given',
  )
  flags.DEFINE_integer('top', 3, 'verify: how many are measured again', 1)
  flags.DEFINE_string('event', '', "pull_request: GitHub's event, a file")
  flags.DEFINE_string('output_dir', '', 'pull_request: a new folder')
  flags.DEFINE_string('result', '', 'publish: what evaluate --proposed wrote')
  flags.DEFINE_bool(
    'push', True, 'publish: commit, push and comment; else only change files'
  )


def _define_init_flags() -> None:
  rules, data = challenges.Challenge(), challenges.Data()
  flags.DEFINE_string('title', rules.title, 'init: of the challenge')
  flags.DEFINE_integer(
    'num_classes', rules.num_classes, 'init: of the images', 2
  )
  flags.DEFINE_integer(
    'image_size', rules.image_size, 'init: height and width in pixels', 8, 4096
  )
  flags.DEFINE_string(
    'dataset',
    data.dataset,
    'init: what submissions are measured on: a TFDS name, or folder:DIR with '
    'DIR/validation/CLASS/*.jpg (or .png, ...), relative to the repository',
  )
  flags.DEFINE_string(
    'public', data.public, 'init: likewise, what participants may check with'
  )
  flags.DEFINE_string(
    'source',
    data.source,
    'init: where fetch gets the dataset: kaggle:OWNER/NAME, '
    'kaggle:competitions/NAME or the URL of an archive',
  )
  flags.DEFINE_string('sha256', data.sha256, 'init: of the archive at that URL')
  flags.DEFINE_string(
    'baseline',
    challenges.Baseline().model,
    'init: a model file or an export folder; plain is a ResNet-18 in float32 '
    'with random weights',
  )
  cli_flags.define_float(
    'baseline_top1',
    None,
    'init: in percent; measured if not given, of a plain baseline '
    f'{_PLAIN_TOP1:g} as the original challenge has it',
    1e-9,
    100.0,
  )


_define_flags()


def _init(folder: pathlib.Path) -> None:
  from tfcompress.hosting import hosts, repository

  repository.require_new(folder)  # Images may take minutes to be made.
  challenge, files = _new_challenge()
  has_images = _has_images(challenge)
  if has_images:  # Before anything is written.
    hosts.require_classes(_host_of(folder, challenge))
  repository.create(folder, challenge, files)
  print(f'{folder}: written; its rules are {folder / challenges.CHALLENGE}')
  if has_images:
    _baseline(folder)
  print('next, in that folder:')
  for step in _next_steps(folder, challenge, has_images):
    print(f'- {step}')


def _has_images(challenge: challenges.Challenge) -> bool:
  """Whether there may be images already: not in a folder that is to be written."""
  dataset = challenge.data.dataset
  return not dataset.startswith('folder:') or dataset.startswith('folder:/')


def _next_steps(
  folder: pathlib.Path, challenge: challenges.Challenge, has_images: bool
) -> Iterator[str]:
  if not has_images:
    name = challenge.data.dataset.removeprefix('folder:')
    how = (
      'leaderboard fetch' if challenge.data.source else f'put them in {name}'
    )
    yield f'get the images ({how}), then run leaderboard baseline'
  if '.invalid/' in (folder / 'requirements.txt').read_text():
    yield 'say in requirements.txt where tfcompress is to be installed from'
  if not challenge.limits.top1_percent:
    yield (
      'think of limits.top1_percent in challenge.toml: without it a tiny model '
      'that knows nothing can score high'
    )
  yield 'git init, commit, and push it to a repository on GitHub'


def _new_challenge() -> tuple[challenges.Challenge, dict[str, pathlib.Path]]:
  """The rules that the flags say, and the files that they name."""
  challenge = challenges.Challenge()
  model, files = FLAGS.baseline, {}
  top1 = FLAGS.baseline_top1
  if model == challenges.PLAIN:
    top1 = top1 or _PLAIN_TOP1
  else:
    model, files = _own_baseline(model)
  return (
    dataclasses.replace(
      challenge,
      title=FLAGS.title,
      num_classes=FLAGS.num_classes,
      image_size=FLAGS.image_size,
      baseline=challenges.Baseline(model, top1),
      data=cli_flags.read(challenges.Data, transform=challenge.data.transform),
    ),
    files,
  )


def _own_baseline(path: str) -> tuple[str, dict[str, pathlib.Path]]:
  """A baseline's file in the repository, and where all of it comes from."""
  from tfcompress.runtimes import interface

  file = interface.file_of(path)
  if file.is_dir():
    raise ValueError(f'--baseline={path}: a folder; expected a model file')
  name = f'baseline/model{file.suffix}'
  files = {name: file}
  metadata = file.with_name(records.METADATA)
  if metadata.is_file():  # What it expects of its pixels.
    files[f'baseline/{records.METADATA}'] = metadata
  return name, files


def _baseline(folder: pathlib.Path) -> None:
  from tfcompress.hosting import baseline, repository
  from tfcompress.reports import tables

  repository.require_ready(folder)
  record = baseline.measure(_host(folder))
  repository.render_baseline(folder, record)
  print(tables.measurement(record))
  print(f'written: {folder / repository.BASELINE}')


def _fetch(folder: pathlib.Path) -> None:
  from tfcompress.hosting import fetch, hosts, repository

  challenge = repository.read(folder)
  if not fetch.fetch(challenge, folder):
    from tfcompress.data import sources

    # TFDS downloads what it does not have yet.
    data = hosts.images(folder, challenge.data, challenge.data.dataset)
    sources.load(data, training=False)
    print(f'{challenge.data.dataset} is there, and has no data.source')


def _evaluate(folder: pathlib.Path) -> None:
  ways = [
    name for name in ('submission', 'all', 'proposed') if FLAGS[name].value
  ]
  if len(ways) != 1:
    raise ValueError(
      'evaluate: expected one of --submission=DIR, --all and --proposed=DIR, '
      f'got {" and ".join("--" + way for way in ways) or "none"}'
    )
  if FLAGS.proposed:
    _evaluate_proposed(folder)
    return
  from tfcompress.hosting import repository

  repository.require_ready(folder)
  host = _host(folder)
  results = [_add(host, one) for one in _handed_in(host)]
  _render_pages(folder)
  if FLAGS.submission and results[0].reason:
    raise ValueError(f'{results[0].status.value}: {results[0].reason}')


def _add(host, handed_in) -> challenges.Entry:
  """Evaluates a submission, and adds it to the history at once."""
  from tfcompress.hosting import baseline, evaluation, repository

  figures = baseline.figures(host.repository, host.challenge)
  result = evaluation.evaluate(host, handed_in, figures)
  _print(result.entry)
  submissions = (host.repository / challenges.SUBMISSIONS).resolve()
  if handed_in.folder.resolve().parent == submissions:
    repository.add(host.repository, result.entry, result.record)
  else:
    print(f'not added to the leaderboard, as it is not in {submissions}')
  return result.entry


def _print(entry: challenges.Entry) -> None:
  name = f'{challenges.SUBMISSIONS}/{entry.username}'
  if entry.reason:
    print(f'{name}: {entry.status.value}: {entry.reason}', flush=True)
  else:
    print(f'{name}: score {entry.record.score.final:.3f}', flush=True)


def _handed_in(host) -> Iterator:
  """What there is to evaluate, with the time that it came at."""
  from tfcompress.hosting import evaluation, pending

  if FLAGS.submission:
    path = _existing(FLAGS.submission)
    yield evaluation.HandedIn(path, _submitted())
    return
  for path, handed_in in pending.of(
    host.repository, host.challenge, _submitted()
  ):
    if handed_in:
      yield handed_in
    else:
      print(f'{challenges.SUBMISSIONS}/{path.name}: has its result')


def _existing(path: str) -> pathlib.Path:
  """The folder of a submission, by its own name."""
  if not pathlib.Path(path).is_dir():
    raise ValueError(
      f'--submission={path}: no such folder; expected submissions/USERNAME'
    )
  return pathlib.Path(path).resolve()


def _submitted() -> datetime.datetime:
  if not FLAGS.submitted:
    return datetime.datetime.now(datetime.UTC)
  try:
    moment = datetime.datetime.fromisoformat(FLAGS.submitted)
  except ValueError as error:
    raise ValueError(
      f'--submitted={FLAGS.submitted}: {error}; expected a time such as '
      '2026-05-01T12:00:00+02:00'
    ) from error
  if moment.tzinfo is None:
    raise ValueError(
      f'--submitted={FLAGS.submitted}: add a time zone, as in '
      f'{FLAGS.submitted}+00:00'
    )
  if moment > datetime.datetime.now(datetime.UTC):
    raise ValueError(f'--submitted={FLAGS.submitted}: is in the future')
  return moment


def _evaluate_proposed(folder: pathlib.Path) -> None:
  """Evaluates what `pull_request` wrote; the result is for `publish`."""
  cli_flags.require('output_file')
  from tfcompress.hosting import baseline, evaluation, pull_request, repository

  proposed = pull_request.read(FLAGS.proposed)
  handed_in = evaluation.HandedIn(
    pull_request.submission_of(proposed, FLAGS.proposed).resolve(),
    datetime.datetime.fromisoformat(proposed.submitted),
    proposed.author,
    proposed.number,
    proposed.refusal,
  )
  host = _host(folder)
  figures = baseline.figures(folder, host.challenge)
  result = evaluation.evaluate(host, handed_in, figures)
  output = pathlib.Path(FLAGS.output_file)
  entry = repository.with_record(output.parent, result.entry, result.record)
  records.write_json(output, entry)
  _print(entry)


def _render(folder: pathlib.Path) -> None:
  from tfcompress.hosting import repository

  _render_pages(folder, again=True)
  if (folder / challenges.BASELINE).is_file():
    record = records.read_measurement(str(folder / challenges.BASELINE))
    repository.render_baseline(folder, record)


def _render_pages(folder: pathlib.Path, again: bool = False) -> None:
  from tfcompress.hosting import repository

  for note in repository.render(folder, again):
    print(f'note: {note}')
  pages = (repository.LEADERBOARD, repository.PAGE, f'{repository.PAGES}/')
  print(f'written: {", ".join(str(folder / page) for page in pages)}')


def _verify(folder: pathlib.Path) -> None:
  from tfcompress.hosting import baseline, verification

  host = _host(folder)
  figures = baseline.figures(folder, host.challenge)
  checks = verification.verify(host, figures, FLAGS.top)
  for check in checks:
    standing = check.standing
    then = standing.entry.record.score.final
    now = f'{check.score.final:.3f}' if check.score else '-'
    print(
      f'{standing.rank}. {standing.entry.username}: {then:.3f}, now {now}'
      f'{": " if check.difference else ""}{check.difference}'
    )
  wrong = [check for check in checks if check.difference]
  if wrong:
    raise ValueError(f'{len(wrong)} of {len(checks)} results are not as ranked')
  print(f'the history is whole; measured again, and as ranked: {len(checks)}')


def _pull_request(folder: pathlib.Path) -> None:
  cli_flags.require('event', 'output_dir')
  from tfcompress.hosting import evaluation, pull_request, repository

  proposed = pull_request.proposal(
    records.read_json(FLAGS.event),
    folder,
    repository.read(folder),
    FLAGS.output_dir,
  )
  if not proposed.refusal:
    handed_in = evaluation.HandedIn(
      pull_request.submission_of(proposed, FLAGS.output_dir).resolve(),
      datetime.datetime.fromisoformat(proposed.submitted),
      proposed.author,
    )
    try:
      evaluation.prepare(_host(folder), handed_in)
    except ValueError as error:
      proposed = pull_request.refused(proposed, error)
      pull_request.write(proposed, FLAGS.output_dir)
  print(
    f'pull request {proposed.number} of {proposed.author}: '
    f'{proposed.refusal or "may be evaluated"}'
  )


def _publish(folder: pathlib.Path) -> None:
  cli_flags.require('result')
  from tfcompress.hosting import publish

  _print(publish.publish(folder, FLAGS.result, FLAGS.push))


def _host(folder: pathlib.Path):
  """The challenge of a folder, on this machine."""
  from tfcompress.hosting import repository

  return _host_of(folder, repository.read(folder))


def _host_of(folder: pathlib.Path, challenge: challenges.Challenge):
  from tfcompress.hosting import hosts

  return hosts.Host(
    folder,
    challenge,
    hosts.images(folder, challenge.data, challenge.data.dataset),
    folder / hosts.ENVIRONMENTS,
    # Nothing less will do for strangers, unless the host says so.
    FLAGS.isolation or measurements.Isolation.BUBBLEWRAP,
  )


@dataclasses.dataclass(frozen=True)
class _Command:
  """What runs a command, and which flags are its own."""

  run: Callable[[pathlib.Path], None]
  flags: tuple[str, ...] = ()


_COMMANDS = {
  'init': _Command(
    _init,
    (
      'title', 'num_classes', 'image_size', 'dataset', 'public', 'source',
      'sha256', 'baseline', 'baseline_top1', 'isolation',
    ),
  ),
  'fetch': _Command(_fetch),
  'baseline': _Command(_baseline, ('isolation',)),
  'evaluate': _Command(
    _evaluate,
    ('submission', 'all', 'submitted', 'proposed', 'output_file', 'isolation'),
  ),
  'render': _Command(_render),
  'verify': _Command(_verify, ('top', 'isolation')),
  'pull_request': _Command(_pull_request, ('event', 'output_dir', 'isolation')),
  'publish': _Command(_publish, ('result', 'push')),
}  # fmt: skip


def _run(name: str = '', folder: str = '') -> None:
  if name not in _COMMANDS:
    raise ValueError(
      f'{f"{name!r} is no command" if name else "no command"}; expected one of '
      f'{", ".join(_COMMANDS)}'
    )
  command = _COMMANDS[name]
  own = {'challenge', *command.flags} if name != 'init' else set(command.flags)
  known = {flag for one in _COMMANDS.values() for flag in one.flags}
  if wrong := [
    one for one in cli_flags.given('challenge', *known) if one not in own
  ]:
    raise ValueError(f'--{sorted(wrong)[0]} is no flag of {name}')
  if bool(folder) != (name == 'init'):
    raise ValueError(
      'init: expected the folder to write, as in init my_challenge'
      if name == 'init'
      else f'unexpected argument {folder!r}: flags are --name=value'
    )
  command.run(pathlib.Path(folder or FLAGS.challenge))


def main() -> None:
  """Runs the command."""
  cli_flags.run(_run, __doc__, most_arguments=2)


if __name__ == '__main__':
  main()
