"""Runs one stage: a config and artifacts in, a new artifact out."""

import dataclasses
import pathlib
from collections.abc import Callable

import tensorflow as tf
import tf_keras

from tfcompress.core import configs, environment, processes, records, types
from tfcompress.data import pipelines
from tfcompress.models import clusters, fake_quant, graph, heads, io
from tfcompress.training import (
  baseline,
  begun,
  cluster,
  device,
  distiller,
  loop,
  prune,
  quantize_aware,
  rewind,
  schedules,
  sequences,
  slim,
  teacher_cache,
  validation,
)
from tfcompress.training import job as job_lib
from tfcompress.training import learner as learner_lib
from tfcompress.training import teacher as teacher_lib
from tfcompress.training import trainee as trainee_lib

_FLAGS = 'flags.cfg'

# The stage table: what each stage makes of a job.
STAGES = {
  types.Stage.BASELINE: baseline.prepare,
  types.Stage.SLIM: slim.prepare,
  types.Stage.PRUNE: prune.prepare,
  types.Stage.CLUSTER: cluster.prepare,
  types.Stage.QAT: quantize_aware.prepare,
  types.Stage.KD: baseline.prepare,
}


def run(
  config: configs.TrainConfig,
  flags_text: str,
  int8_latency_ms: Callable[[tf_keras.Model], float] | None = None,
) -> types.Manifest:
  """Trains, or continues to train, and writes the artifact.

  Args:
    config: what to do.
    flags_text: the flags that made it, kept beside the artifact.
    int8_latency_ms: measures a model as an int8 file, for stage `slim`.

  Returns:
    The manifest of the finished artifact. What is there already, made with the
    same config, is not made again.

  Raises:
    ValueError: anything in the config, the data or the parents that does not
      fit, or a folder in which something else was begun or is going on.
  """
  *earlier, last = sequences.expand(config)
  for index, one in enumerate(earlier, start=1):
    print(f'{index} of {len(earlier) + 1}: {one.output_dir}', flush=True)
    _run_one(one, None, int8_latency_ms)
  return _run_one(last, flags_text, int8_latency_ms)


def _run_one(config, flags_text, int8_latency_ms) -> types.Manifest:
  """Makes one artifact; one without flags of its own is part of another."""
  folder = pathlib.Path(config.output_dir)
  records.require_writable(folder)
  with processes.alone(folder, 'is training into it'):
    begun.require_same(folder, config)
    if (folder / records.MANIFEST).is_file():
      print(f'{folder} is there already, made with the same flags')
      return records.read_manifest(folder)
    tf_keras.utils.set_random_seed(config.seed)
    if config.deterministic:
      tf.config.experimental.enable_op_determinism()
    job = job_lib.prepare(config, int8_latency_ms)
    _announce(job)
    with pipelines.naming_corrupt_images(job.source):
      trainee = STAGES[config.stage](job)
    shipped = _shipped(job, trainee)
    learner = _learner(job, trainee, shipped)
    begun.write(folder, config, job.parents)
    if flags_text is not None:
      records.write_bytes(folder / _FLAGS, flags_text.encode())
    with pipelines.naming_corrupt_images(job.source):
      if config.epochs:
        _fit(job, trainee, learner, shipped, folder)
      return _finish(job, trainee)


def _fit(
  job: job_lib.Job,
  trainee: trainee_lib.Trainee,
  learner: learner_lib.Learner,
  shipped: tf_keras.Model | None,
  folder: pathlib.Path,
) -> None:
  config = job.config
  extra = teacher_cache.of(job)
  callbacks = list(trainee.callbacks)
  if shipped is not None:
    callbacks.append(learner_lib.AsShipped(trainee.network, shipped))
  if config.keep_epoch is not None:
    callbacks.append(
      rewind.KeepEpoch(trainee.network, config.keep_epoch, str(folder))
    )
  loop.fit(
    learner,
    schedules.optimizer(
      config.optimizer,
      job.steps_per_epoch,
      config.epochs,
      undecayed=_all_but_kernels(trainee.network),
    ),
    lambda first: pipelines.train(
      job.source,
      config.augment,
      batch_size=config.batch_size,
      views=job.views[:1] if extra else job.views,
      seed=config.seed,
      epochs=range(first, config.epochs),
      extra=extra,
    ),
    validation.stream(job),
    callbacks=callbacks,
    folder=folder,
    epochs=config.epochs,
    steps_per_epoch=job.steps_per_epoch,
    batch_size=config.batch_size,
  )


def _shipped(
  job: job_lib.Job, trainee: trainee_lib.Trainee
) -> tf_keras.Model | None:
  """The network in float32, as it ships, where it trains in less."""
  if job.policy == 'float32' or not job.config.epochs:
    return None
  return graph.rebuild(trainee.network)


def _learner(
  job: job_lib.Job,
  trainee: trainee_lib.Trainee,
  shipped: tf_keras.Model | None,
) -> learner_lib.Learner:
  """A Distiller where there are teachers, else a Learner of labels."""
  after_step = [constraint.apply for constraint in trainee.constraints]
  smoothing = job.config.label_smoothing
  shipped = shipped and heads.with_logits(shipped)
  if not job.teachers:
    network = heads.with_logits(trainee.network)
    return learner_lib.Learner(network, smoothing, after_step, shipped=shipped)
  config = job.config.distill
  features = [pair.partition(':')[0] for pair in config.attention]
  try:
    network = heads.with_logits(trainee.network, features)
  except ValueError as error:
    raise ValueError(f'--attention, the student: {error}') from error
  return distiller.Distiller(
    network,
    teacher_lib.teach(job.teachers, job.views),
    config,
    smoothing,
    after_step,
    shipped,
  )


def _all_but_kernels(network: tf_keras.Model) -> list[tf.Variable]:
  kernels = {k.ref() for k in graph.kernels(network).values()}
  return [w for w in network.trainable_weights if w.ref() not in kernels]


def _finish(job: job_lib.Job, trainee: trainee_lib.Trainee) -> types.Manifest:
  """Writes the trained network as a float32 model with its manifest."""
  model = graph.rebuild(trainee.network, input_size=job.spec.input_size)
  kernels = {
    name: kernel.numpy() for name, kernel in graph.kernels(model).items()
  }
  manifest = types.Manifest(
    stage=job.config.stage,
    model=dataclasses.replace(job.spec, channels=graph.channels(model)),
    data=job.config.data,
    class_names=job.source.class_names,
    input_scaling=types.Normalization.RAW,
    metrics=validation.metrics(model, job),
    training=records.to_json(job.config),
    parents=job.parents,
    steps=(*job.steps, job.config.stage.value),
    sparsity=io.sparsity(model),
    environment=environment.describe(device.name()),
    clusters=clusters.counts(kernels),
    parameters=graph.trainable_parameters(model),
    macs=graph.macs(model),
    quantized=fake_quant.is_quantized(model),
  )
  io.save(job.config.output_dir, model, manifest)
  return manifest


def _announce(job: job_lib.Job) -> None:
  counts = job.source.num_examples
  size = job.spec.stem_size
  print(
    f'{job.config.stage.value}: {job.spec.name} at {size}x{size}, '
    f'{len(job.source.class_names)} classes of {job.source.name} '
    f'({counts[types.Split.TRAIN]:,} training, '
    f'{counts[types.Split.VALIDATION]:,} validation images), {job.policy} on '
    f'{device.name()} -> {job.config.output_dir}',
    flush=True,
  )
  if skipped := sum(job.source.skipped_examples.values()):
    print(f'{skipped} images that do not decode are skipped', flush=True)
