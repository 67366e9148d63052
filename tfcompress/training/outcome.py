"""Whether a stage went wrong: what it starts from, and how far below it ends."""

import dataclasses
import pathlib
import sys

import tensorflow as tf

from tfcompress.core import chance, configs, records, types
from tfcompress.training import brought, validation
from tfcompress.training import job as job_lib

_POINTS = 5.0  # of top-1 that a stage may lose without a word
_TEACHER = '--teacher with the parent, '
_ADVICE = {
  types.Stage.BASELINE: 'a lower --learning_rate, or more --epochs',
  types.Stage.KD: 'a lower --learning_rate, or more --epochs',
  types.Stage.SLIM: (f'more --epochs, {_TEACHER}or fewer channels to remove'),
  types.Stage.PRUNE: 'more --epochs, or a lower --target_sparsity',
  types.Stage.CLUSTER: 'more --epochs, or more --clusters',
  types.Stage.QAT: 'a lower --learning_rate, or more --epochs',
}


@dataclasses.dataclass(frozen=True)
class Start:
  """What a stage starts from.

  Attributes:
    path: where it lies.
    top1_percent: on validation images.
  """

  path: str
  top1_percent: float


def start(job: job_lib.Job) -> Start | None:
  """Returns what a stage starts from; None where it has no figure here.

  Says so where a network that is brought in does no better than guessing.
  """
  config = job.config
  if config.parent:
    manifest = records.read_manifest(config.parent)
    images = lambda data: (data.dataset, data.transform)
    if images(manifest.data) != images(config.data):
      return None
    top1 = manifest.metrics.get('top1_percent')
    return None if top1 is None else Start(config.parent, top1)
  if not config.init:
    return None
  top1 = validation.metrics(job.model, job)['top1_percent']
  images = job.source.num_examples[types.Split.VALIDATION]
  right = round(top1 / 100 * images)
  if chance.is_luck(right, images, job.spec.num_classes):
    _warn(
      f'{config.init.init_from} has top-1 {top1:.1f} % on {images:,} '
      'validation images, no more than chance: unless it is untrained, '
      + (
        'the order of its classes may be wrong'
        if config.init.init_scaling is None
        else 'the order of its classes or the scaling of its pixels may be '
        'wrong; try --init_scaling=auto'
      )
    )
  return Start(config.init.init_from, top1)


def warn_of_teachers(job: job_lib.Job) -> None:
  """Says so where a Keras file that teaches does no better than guessing."""
  for teacher in job.teachers:
    path = teacher.record.path
    if pathlib.Path(path).is_dir():
      continue
    images, labels = brought.labelled(
      job.source, job.config.data, teacher.view.size
    )
    right = brought.right(
      tf.function(lambda pixels, of=teacher: of.outputs(pixels)[0]),
      images,
      labels,
    )
    if chance.is_luck(int(right.sum()), len(right), job.spec.num_classes):
      _warn(
        f'the teacher {path} has top-1 {100 * right.mean():.1f} % on '
        f'{len(right)} validation images, no more than chance: it may expect '
        'pixels of another --teacher_scaling than '
        f'{teacher.scaling.value}, or another order of classes'
      )


def warn_below(
  config: configs.TrainConfig, begin: Start | None, top1_percent: float
) -> None:
  """Says so, loudly, where a stage ended far below what it started from."""
  if begin is None or begin.top1_percent - top1_percent <= _POINTS:
    return
  advice = _ADVICE[config.stage] if config.epochs else '--epochs=1 or more'
  if config.distill:  # It has its teacher.
    advice = advice.replace(_TEACHER, '')
  _warn(
    f'{config.output_dir} has top-1 {top1_percent:.2f} %, '
    f'{begin.top1_percent - top1_percent:.1f} points below the '
    f'{begin.top1_percent:.2f} % of {begin.path}, which it is made of; try '
    f'{advice}'
  )


def _warn(text: str) -> None:
  print(f'warning: {text}', file=sys.stderr, flush=True)
