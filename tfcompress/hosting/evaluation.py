"""One submission, from its folder to its result.

Whatever is wrong with a submission is a result as well. What is wrong with the
host's side (its data, its baseline, its machine) is an error, for it is none of
the participant's.
"""

import dataclasses
import datetime
import os
import pathlib
import re
import tempfile
import uuid

from tfcompress.competition import rules, scoring, submission
from tfcompress.core import challenges, measurements, records, types
from tfcompress.hosting import baseline, environments, hosts
from tfcompress.measurement import opened, run
from tfcompress.reports import names
from tfcompress.runtimes import formats

_Part = measurements.Part
_LONGEST_REASON = 1000
# What messages of the evaluator call by its flags, in a challenge's terms.
_RULES = {
  r'--loader=FILE\.py': challenges.LOADER,
  r'--loader=[^:]*': challenges.LOADER,
  r'--memory_limit': f'limits.memory_mib of {challenges.CHALLENGE}',
  r'--process_limit': f'limits.processes of {challenges.CHALLENGE}',
  r'; where it takes another size, --input_size says it': '',
  r'--time_limit': f'limits.seconds of {challenges.CHALLENGE}',
}
_OPENED_BY_CODE = (formats.Format.TORCH_PICKLE, formats.Format.TORCH_EXPORT)


@dataclasses.dataclass(frozen=True)
class HandedIn:
  """A submission as it came.

  Attributes:
    folder: of its files.
    submitted: when, with a time zone.
    author: who sent it, on GitHub; '' if that is not known.
    pull_request: its number, where it came in one.
    refusal: a rule that it broke before, one sentence; '' if none.
  """

  folder: pathlib.Path
  submitted: datetime.datetime
  author: str = ''
  pull_request: int | None = None
  refusal: str = ''


@dataclasses.dataclass(frozen=True)
class Result:
  """What became of a submission.

  Attributes:
    entry: for the history.
    record: its measurement with all samples; None where nothing was measured.
  """

  entry: challenges.Entry
  record: measurements.Measurement | None = None


def evaluate(
  host: hosts.Host,
  handed_in: HandedIn,
  figures: measurements.BaselineRecord,
) -> Result:
  """Evaluates a submission.

  Args:
    host: where.
    handed_in: the submission.
    figures: of the baseline, as `baseline.figures` returns them.

  Raises:
    ValueError: the host's side is not as it should be.
  """
  known = _known(host, handed_in)
  if late := rules.in_window(host.challenge.window, handed_in.submitted):
    return _without_record(known, challenges.Status.VOID, late)
  if handed_in.refusal:
    return _failed(known, handed_in.refusal)
  with tempfile.TemporaryDirectory() as scratch:
    target = pathlib.Path(scratch, handed_in.folder.name)
    try:
      found = submission.copy(
        submission.read(handed_in.folder, host.challenge, handed_in.author),
        target,
      )
      known = _described(known, found)
      file, scaling = _file(host, found), _scaling(found)
    except ValueError as error:
      reason = str(error).replace(f'{scratch}/', '')
      return _failed(known, reason.replace(f'{handed_in.folder.parent}/', ''))
    measured = _measured(host, found, file, scaling, figures)
  return _of(known, measured, host.challenge.limits)


def prepare(host: hosts.Host, handed_in: HandedIn) -> None:
  """Installs what a submission requires, while there is a network.

  Raises:
    ValueError: it breaks a rule, or that cannot be installed.
  """
  found = submission.read(handed_in.folder, host.challenge, handed_in.author)
  _environment(host, found)


def _known(host: hosts.Host, handed_in: HandedIn) -> challenges.Entry:
  """What is known of a result before anything is read."""
  rules_file = host.repository / challenges.CHALLENGE
  folder = handed_in.folder
  return challenges.Entry(
    id=str(uuid.uuid4()),
    username=names.printable(handed_in.author or folder.name),
    submission_sha256=submission.sha256_of(folder),
    teamname='',
    model_format='',
    submitted=_moment(handed_in.submitted),
    evaluated=_moment(datetime.datetime.now(datetime.UTC)),
    status=challenges.Status.FAILED,
    challenge_sha256=(
      records.sha256(rules_file) if rules_file.is_file() else ''
    ),
    pull_request=handed_in.pull_request,
  )


def _described(
  known: challenges.Entry, found: submission.Submission
) -> challenges.Entry:
  model, whole = submission.sha256(found)
  return dataclasses.replace(
    known,
    username=found.username,
    teamname=found.teamname,
    model_format=found.model_format.value,
    sha256=model,
    submission_sha256=whole,
  )


def _file(
  host: hosts.Host, found: submission.Submission
) -> measurements.OpenConfig:
  """How to open a submission, whose interface is the challenge's."""
  by_code = not found.loader and (
    formats.format_of(str(found.model)) in _OPENED_BY_CODE
  )
  file = measurements.OpenConfig(
    str(found.model),
    loader=str(found.loader or ''),
    allow_pickle=by_code,
    image_size=host.challenge.image_size,
    environment=_environment(host, found),
  )
  rank = host.challenge.evaluation.ranking_device
  file = baseline.on_device(file, rank, host.challenge)
  with opened.Opened(file, host.limits) as model:
    _require_interface(model, host.challenge)
  return file


def _environment(host: hosts.Host, found: submission.Submission) -> str:
  if not found.requirements:
    return ''
  return str(
    environments.environment_of(
      found.requirements, host.environments, host.challenge, host.isolation
    )
  )


def _require_interface(
  model: opened.Opened, challenge: challenges.Challenge
) -> None:
  """Raises ValueError where a model takes or gives something else."""
  size, classes = challenge.image_size, challenge.num_classes
  [image] = model.about.inputs
  if image.shape[0] not in (-1, 1) or model.about.image_size != size:
    shape = 'x'.join(str(side) if side > 0 else '?' for side in image.shape)
    raise ValueError(
      f'{model.path}: takes {shape}, expected 1x{size}x{size}x3 or '
      f'1x3x{size}x{size}'
    )
  if model.about.num_outputs != classes:
    raise ValueError(
      f'{model.path}: gives {model.about.num_outputs} numbers, expected the '
      f'probabilities of {classes} classes'
    )


def _measured(
  host: hosts.Host,
  found: submission.Submission,
  file: measurements.OpenConfig,
  scaling: types.Preprocessing | None,
  figures: measurements.BaselineRecord,
) -> list[measurements.Measurement]:
  """Measures a submission on every device, the ranking one first."""
  rules_of = host.challenge.evaluation
  others = [one for one in rules_of.devices if one != rules_of.ranking_device]
  measured = []
  for device in (rules_of.ranking_device, *others):
    beside = baseline.config(host, device)
    mine = dataclasses.replace(
      beside,
      file=baseline.on_device(file, device, host.challenge),
      parts=tuple(_Part) if not measured else (_Part.SIZE, _Part.LATENCY),
      input_scaling=scaling,
    )
    _, record = run.measure([beside, mine], with_baseline=True)
    measured.append(_scored(record, found, beside, figures, host))
  return measured


def _scaling(found: submission.Submission) -> types.Preprocessing | None:
  """What metadata.json says that the model expects of its pixels."""
  path = found.folder / challenges.METADATA
  ours = records.read_json(path).get('tfcompress')
  told = ours.get('input_scaling') if isinstance(ours, dict) else None
  known = {scaling.value: scaling for scaling in types.Normalization}
  if told is not None and (not isinstance(told, str) or told not in known):
    raise ValueError(
      f'{path}: tfcompress.input_scaling is {told!r:.60}, expected one of '
      f'{", ".join(known)}'
    )
  return known[told].preprocessing if told else None


def _scored(
  record: measurements.Measurement,
  found: submission.Submission,
  beside: measurements.MeasureConfig,
  figures: measurements.BaselineRecord,
  host: hosts.Host,
) -> measurements.Measurement:
  """A measurement under the submission's name, with its score."""
  path = os.path.join(challenges.SUBMISSIONS, found.username, found.model.name)
  record = baseline.named(record, path, host)
  if record.failure:
    where = f'{found.folder.parent}/'
    return dataclasses.replace(
      record, failure=record.failure.replace(where, '')
    )
  mib = found.size_bytes / 2**20
  size = dataclasses.replace(record.size, bytes=found.size_bytes, mib=mib)
  ratio = record.ratio
  if ratio and ratio.reference == beside.file.model:
    ratio = dataclasses.replace(ratio, reference=figures.source)
  record = dataclasses.replace(record, size=size, ratio=ratio)
  return scoring.scored(record, figures, host.challenge.weights)


def _of(
  known: challenges.Entry,
  measured: list[measurements.Measurement],
  limits: challenges.Limits,
) -> Result:
  """The result of what was measured."""
  known = dataclasses.replace(
    known, evaluated=_moment(datetime.datetime.now(datetime.UTC))
  )
  first, *others = measured
  if reason := first.failure or _too_wrong(first, limits):
    return _failed(known, reason)
  entry = dataclasses.replace(
    known,
    status=challenges.Status.RANKED,
    record=_brief(first),
    others=tuple(map(_brief, others)),
  )
  return Result(entry, first)


def _too_wrong(
  record: measurements.Measurement, limits: challenges.Limits
) -> str:
  top1 = record.accuracy.top1_percent
  if top1 >= limits.top1_percent:
    return ''
  return f'top-1 {top1:.2f} %, expected at least {limits.top1_percent:g} %'


def _brief(record: measurements.Measurement) -> measurements.Measurement:
  """A record without the single times."""
  if not record.latency_ms:
    return record
  latency = dataclasses.replace(record.latency_ms, samples=())
  return dataclasses.replace(record, latency_ms=latency)


def _failed(known: challenges.Entry, reason: str) -> Result:
  return _without_record(known, challenges.Status.FAILED, reason)


def _without_record(
  known: challenges.Entry, status: challenges.Status, reason: str
) -> Result:
  for flag, rule in _RULES.items():
    reason = re.sub(flag, rule, reason)
  reason = names.printable(' '.join(reason.split()))[:_LONGEST_REASON]
  return Result(dataclasses.replace(known, status=status, reason=reason))


def _moment(time: datetime.datetime) -> str:
  return time.astimezone(datetime.UTC).isoformat(timespec='seconds')
