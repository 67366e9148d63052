"""Runs one stage: a config and artifacts in, a new artifact out."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

import tensorflow as tf
import tf_keras

from tfcompress.core import environment, records, types
from tfcompress.data import pipelines
from tfcompress.models import io, resnet
from tfcompress.training import (
  baseline,
  begun,
  device,
  distill,
  loop,
  prune,
  schedules,
  validation,
)
from tfcompress.training import (
  job as job_lib,
)
from tfcompress.training import (
  trainee as trainee_lib,
)

_FLAGS = 'flags.cfg'

# The stage table: what each stage makes of a job.
STAGES = {
  types.Stage.BASELINE: baseline.prepare,
  types.Stage.PRUNE: prune.prepare,
  types.Stage.KD: distill.prepare,
}


def run(config: types.TrainConfig, flags_text: str) -> types.Manifest:
  """Trains, or continues to train, and writes the artifact.

  Args:
    config: what to do.
    flags_text: the flags that made it, kept beside the artifact.

  Returns:
    The manifest of the finished artifact. If it is there already, made with
    the same config, nothing is done.

  Raises:
    ValueError: anything in the config, the data or the parents that does not
      fit, or a folder in which something else was begun or is going on.
  """
  folder = pathlib.Path(config.output_dir)
  records.require_writable(folder)
  with _alone(folder):
    begun.require_same(folder, config)
    if (folder / records.MANIFEST).is_file():
      print(f'{folder} is there already, made with the same flags')
      return records.read_manifest(folder)
    tf_keras.utils.set_random_seed(config.seed)
    if config.deterministic:
      tf.config.experimental.enable_op_determinism()
    job = job_lib.prepare(config)
    begun.write(folder, config, job.parents)
    records.write_bytes(folder / _FLAGS, flags_text.encode())
    _announce(job)
    trainee = STAGES[config.stage](job)
    with pipelines.naming_corrupt_images(job.source):
      _fit(job, trainee, folder)
      return _finish(job, trainee)


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
  """Raises ValueError if another process trains into `folder`.

  The system frees the lock of a process that was killed.
  """
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield
  except BlockingIOError as error:
    raise ValueError(
      f'{folder}: another process is training into it; wait for it or '
      'choose another --output_dir'
    ) from error
  finally:
    os.close(descriptor)


def _fit(
  job: job_lib.Job, trainee: trainee_lib.Trainee, folder: pathlib.Path
) -> None:
  config = job.config
  loop.fit(
    trainee,
    schedules.optimizer(config.optimizer, job.steps_per_epoch, config.epochs),
    lambda first: pipelines.train(
      job.source,
      config.augment,
      batch_size=config.batch_size,
      image_size=job.image_size,
      seed=config.seed,
      epochs=range(first, config.epochs),
    ),
    validation.stream(job),
    folder=folder,
    epochs=config.epochs,
    steps_per_epoch=job.steps_per_epoch,
    batch_size=config.batch_size,
  )


def _finish(job: job_lib.Job, trainee: trainee_lib.Trainee) -> types.Manifest:
  """Writes the trained network as a float32 model with its manifest."""
  model = resnet.build(job.spec)
  io.copy_weights(trainee.network(), model)
  manifest = types.Manifest(
    stage=job.config.stage,
    model=job.spec,
    data=job.config.data,
    class_names=job.source.class_names,
    input_scaling=types.Normalization.RAW,
    metrics=validation.metrics(model, job),
    training=records.to_json(job.config),
    parents=job.parents,
    steps=(*job.steps, job.config.stage.value),
    sparsity=io.sparsity(model),
    environment=environment.describe(device.name()),
  )
  io.save(job.config.output_dir, model, manifest)
  return manifest


def _announce(job: job_lib.Job) -> None:
  counts = job.source.num_examples
  size = job.spec.stem_size
  print(
    f'{job.config.stage.value}: ResNet-{job.spec.depth} at {size}x{size}, '
    f'{len(job.source.class_names)} classes of {job.source.name} '
    f'({counts[types.Split.TRAIN]:,} training, '
    f'{counts[types.Split.VALIDATION]:,} validation images), {job.policy} on '
    f'{device.name()} -> {job.config.output_dir}',
    flush=True,
  )
  if skipped := sum(job.source.skipped_examples.values()):
    print(f'{skipped} images that do not decode are skipped', flush=True)
