"""Runs one stage: a config and artifacts in, a new artifact out."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import tensorflow as tf
import tf_keras

from tfcompress.core import configs, environment, processes, records, types
from tfcompress.data import folders, pipelines, remarks, sources
from tfcompress.models import clusters, fake_quant, graph, heads, io
from tfcompress.training import (
  baseline,
  begun,
  cluster,
  defaults,
  device,
  distiller,
  loop,
  outcome,
  prune,
  quantize_aware,
  rewind,
  schedules,
  sequences,
  slim,
  teacher_cache,
  validation,
)
from tfcompress.training import best as best_lib
from tfcompress.training import job as job_lib
from tfcompress.training import learner as learner_lib
from tfcompress.training import teacher as teacher_lib
from tfcompress.training import trainee as trainee_lib

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
  overwrite: bool = False,
) -> types.Manifest:
  """Trains, or continues to train, and writes the artifact.

  Args:
    config: what to do.
    flags_text: the flags that made it, kept beside the artifact.
    int8_latency_ms: measures a model as an int8 file, for stage `slim`.
    overwrite: begin anew where another run is in the way, or a finished one.

  Returns:
    The manifest of the finished artifact. What is there already, made with the
    same config, is not made again; made with fewer epochs, it goes on.

  Raises:
    ValueError: anything in the config, the data or the parents that does not
      fit, or a folder in which something else was begun or is going on.
  """
  if chosen := defaults.chosen(config):
    print(f'{config.stage.value}: not given, so {" ".join(chosen)}', flush=True)
    flags_text += ''.join(f'{flag}\n' for flag in chosen)
  runs = list(sequences.expand(defaults.complete(config)))
  root = pathlib.Path(config.output_dir)
  records.require_writable(root)
  with processes.alone(root, 'is training into it'):
    anew = root if overwrite and begun.in_the_way(runs) else None
    if not anew:  # What ends the last of them ends the first.
      _require_to_go_on(runs)
    for index, one in enumerate(runs, start=1):
      if len(runs) > 1:
        print(f'{index} of {len(runs)}: {one.output_dir}', flush=True)
      manifest = _run_one(one, root, flags_text, int8_latency_ms, anew)
      anew = None  # All is removed by now.
  return manifest


def _require_to_go_on(runs: Sequence[configs.TrainConfig]) -> None:
  """Raises ValueError if one is another, or a part of several of other length."""
  for config in runs:
    folder = pathlib.Path(config.output_dir)
    found = begun.look(folder, config)
    if len(runs) > 1 and found is begun.Found.OTHER_LENGTH:
      raise ValueError(
        f'{folder}: begun with other --epochs; the runs of --slim_steps or '
        '--generations are made of each other: use the same --epochs, another '
        '--output_dir, or --overwrite to begin anew'
      )


def _run_one(
  config: configs.TrainConfig,
  root: pathlib.Path,
  flags_text: str,
  int8_latency_ms,
  anew: pathlib.Path | None,
) -> types.Manifest:
  """Makes one artifact, in `root` or, as a part of that of `root`, inside it.

  Whatever runs wrote into `anew` before is removed as this one begins.
  """
  folder = pathlib.Path(config.output_dir)
  found = begun.Found.NOTHING if anew else begun.look(folder, config)
  if found is begun.Found.FINISHED:
    print(f'{folder} is there already, made with the same flags')
    return records.read_manifest(folder)
  tf_keras.utils.set_random_seed(config.seed)
  if config.deterministic:
    tf.config.experimental.enable_op_determinism()
  job = job_lib.prepare(config, int8_latency_ms, anew=bool(anew))
  _announce(job)
  with pipelines.naming_corrupt_images(job.source):
    trainee = STAGES[config.stage](job)
  shipped = _shipped(job, trainee)
  learner = _learner(job, trainee, shipped)
  if anew:
    _require_readable(job, anew)
    begun.clear(anew, folder, _sources(job))
  done = begun.epochs_done(folder)
  if done and found is begun.Found.OTHER_LENGTH:
    _say_extended(job, done)
  begun.write(folder, config, job.parents)
  if trainee.plan:
    records.write_json(folder / sequences.PLAN, trainee.plan)
  records.write_bytes(root / begun.FLAGS, flags_text.encode())
  with pipelines.naming_corrupt_images(job.source):
    begin = outcome.start(job)
    outcome.warn_of_teachers(job)
    result = {}
    if config.epochs:
      result = _fit(job, trainee, learner, shipped, folder)
    manifest = _finish(job, trainee, result)
  outcome.warn_below(config, begin, manifest.metrics['top1_percent'])
  return manifest


def _require_readable(job: job_lib.Job, anew: pathlib.Path) -> None:
  """Raises ValueError for an image that would end a run in its middle.

  That is before it removes the artifact that is there; others read on.
  """
  there = (anew / records.MANIFEST).is_file()
  if not there or not folders.is_folder(job.config.data):
    return
  for split in job.source.num_examples:
    if name := sources.first_corrupt(job.source, split):
      raise ValueError(sources.unreadable(name))


def _sources(job: job_lib.Job) -> list[str]:
  """The paths that a run reads."""
  dataset = job.config.data.dataset.removeprefix('folder:')
  return [*(parent.path for parent in job.parents), dataset]


def _say_extended(job: job_lib.Job, done: int) -> None:
  config = job.config
  rate = schedules.learning_rate(
    config.optimizer, job.steps_per_epoch, config.epochs
  )
  print(
    f'{done} epochs are done: going on to {config.epochs} on the schedule of '
    f'{config.epochs} epochs, with a learning rate of '
    f'{float(rate(done * job.steps_per_epoch)):.3g} at first',
    flush=True,
  )


def _fit(
  job: job_lib.Job,
  trainee: trainee_lib.Trainee,
  learner: learner_lib.Learner,
  shipped: tf_keras.Model | None,
  folder: pathlib.Path,
) -> dict[str, int]:
  """Trains; returns how many epochs, and the best where that was asked for."""
  config = job.config
  extra = teacher_cache.of(job)
  best = _best(job, trainee, folder)
  done = loop.fit(
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
    callbacks=_callbacks(config, trainee, shipped, folder),
    best=best,
    folder=folder,
    epochs=config.epochs,
    steps_per_epoch=job.steps_per_epoch,
    batch_size=config.batch_size,
  )
  if best is None or best.epoch is None:
    return {'epochs_done': done}
  if done < config.epochs and best.ends(done):
    print(
      f'stopped after epoch {done}: no top-1 above '
      f'{100 * best.top1:.2f} %, of epoch {best.epoch}, for '
      f'{config.patience} epoch{"s" * (config.patience > 1)}'
    )
  if config.keep_best:
    print(f'keeping epoch {best.epoch}, top-1 {100 * best.top1:.2f} %')
    best.restore()
  return {'epochs_done': done, 'best_epoch': best.epoch}


def _best(
  job: job_lib.Job, trainee: trainee_lib.Trainee, folder: pathlib.Path
) -> best_lib.Best | None:
  if not (job.config.keep_best or job.config.patience):
    return None
  return best_lib.Best(
    trainee.network,
    job.config,
    trainee.settled_step,
    begun.extended_from(folder),
  )


def _callbacks(
  config: configs.TrainConfig,
  trainee: trainee_lib.Trainee,
  shipped: tf_keras.Model | None,
  folder: pathlib.Path,
) -> list[tf_keras.callbacks.Callback]:
  callbacks = list(trainee.callbacks)
  if shipped is not None:
    callbacks.append(learner_lib.AsShipped(trainee.network, shipped))
  if config.keep_epoch is not None:
    callbacks.append(
      rewind.KeepEpoch(trainee.network, config.keep_epoch, str(folder))
    )
  return callbacks


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


def _finish(
  job: job_lib.Job, trainee: trainee_lib.Trainee, result: dict[str, int]
) -> types.Manifest:
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
    training=records.to_json(job.config) | result,
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
    f'({counts.get(types.Split.TRAIN, 0):,} training, '
    f'{counts[types.Split.VALIDATION]:,} validation images), {job.policy} on '
    f'{device.name()} -> {job.config.output_dir}',
    flush=True,
  )
  if skipped := sum(job.source.skipped_examples.values()):
    print(f'{skipped} images that do not decode are skipped', flush=True)
  remarks.show(job.source.remarks)
