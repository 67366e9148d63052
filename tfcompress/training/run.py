"""Runs one stage: a config and artifacts in, a new artifact out."""

import dataclasses
import math
import pathlib
import random

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.core import environment, records, types
from tfcompress.data import pipelines, sources
from tfcompress.models import io, resnet, widths
from tfcompress.training import baseline, distill, loop, prune, schedules

_EVALUATION_BATCH = 64
_CONFIG = 'config.json'


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
      fit, or a folder in which another config was begun.
  """
  folder = pathlib.Path(config.output_dir)
  records.require_writable(folder)
  _require_same_config(config, folder)
  if (folder / records.MANIFEST).is_file():
    print(f'{folder} is there already, made with the same flags')
    return records.read_manifest(folder)

  _seed(config)
  source = sources.load(config.data)
  spec, parents, steps = _resolve_model(config, source)
  steps_per_epoch = _steps_per_epoch(config, source)
  # Everything the user could have got wrong is checked: begin writing.
  policy = _policy(config.mixed_precision)
  teacher = None
  image_size = spec.stem_size
  if config.stage is types.Stage.KD:
    teacher = distill.load_teacher(config.distill, source.class_names, policy)
    parents = (*parents, teacher.record)
    image_size = max(image_size, teacher.size)
  network = resnet.build(resnet.seen_at(spec, image_size), policy)
  if config.parent:
    io.read_weights(config.parent, network)
  records.write_json(folder / loop.CHECKPOINTS / _CONFIG, config)
  records.write_bytes(folder / 'flags.cfg', flags_text.encode())
  _announce(config, spec, source, policy)

  trainee = _prepare(config, network, steps_per_epoch, teacher)
  with pipelines.naming_corrupt_images(source):
    loop.fit(
      trainee,
      schedules.optimizer(config.optimizer, steps_per_epoch, config.epochs),
      lambda first: pipelines.train(
        source,
        config.augment,
        batch_size=config.batch_size,
        image_size=image_size,
        seed=config.seed,
        epochs=range(first, config.epochs),
      ),
      _validation_data(source, config, spec, image_size),
      folder=folder,
      epochs=config.epochs,
      steps_per_epoch=steps_per_epoch,
      batch_size=config.batch_size,
    )
  final = resnet.build(spec)
  io.copy_weights(trainee.network(), final)
  manifest = types.Manifest(
    stage=config.stage,
    model=spec,
    data=config.data,
    class_names=source.class_names,
    input_scaling=types.Normalization.RAW,
    metrics=_metrics(final, source, config),
    training=records.to_json(config),
    parents=parents,
    steps=(*steps, config.stage.value),
    sparsity=io.sparsity(final),
    environment=environment.describe(_device()),
  )
  io.save(config.output_dir, final, manifest)
  return manifest


def _require_same_config(
  config: types.TrainConfig, folder: pathlib.Path
) -> None:
  """Raises ValueError if another config was begun in `folder`."""
  path = folder / loop.CHECKPOINTS / _CONFIG
  if not path.is_file():
    if (folder / records.MANIFEST).is_file():
      raise ValueError(
        f'{folder}: holds an artifact without its {loop.CHECKPOINTS}/'
        f'{_CONFIG}; choose another --output_dir'
      )
    return
  begun = _flat(records.read_json(path))
  asked = _flat(records.to_json(config))
  differ = sorted(
    name
    for name in begun.keys() | asked.keys()
    if name != 'output_dir' and begun.get(name) != asked.get(name)
  )
  if differ:
    raise ValueError(
      f'{folder}: begun with other flags ('
      + ', '.join(
        f'{n} {begun.get(n)} there, {asked.get(n)} now' for n in differ
      )
      + '); use the same flags to continue, or another --output_dir, or '
      'remove the folder to begin anew'
    )


def _flat(tree: dict, prefix: str = '') -> dict[str, object]:
  flat = {}
  for key, value in tree.items():
    if isinstance(value, dict):
      flat |= _flat(value, f'{prefix}{key}.')
    else:
      flat[prefix + key] = value
  return flat


def _seed(config: types.TrainConfig) -> None:
  random.seed(config.seed)
  np.random.seed(config.seed)
  tf_keras.utils.set_random_seed(config.seed)
  if config.deterministic:
    tf.config.experimental.enable_op_determinism()


def _resolve_model(config: types.TrainConfig, source: sources.Source):
  """The model's complete spec, its parent's record and stages so far."""
  if config.parent:
    parent = records.read_manifest(config.parent)
    sources.require_classes(source, parent.class_names)
    model_file = pathlib.Path(config.parent) / records.MODEL
    record = types.ParentRecord(
      'parent', config.parent, records.sha256(model_file)
    )
    return parent.model, (record,), parent.steps
  spec = dataclasses.replace(config.model, num_classes=len(source.class_names))
  spec = dataclasses.replace(spec, channels=widths.channels_of(spec))
  return spec, (), ()


def _steps_per_epoch(config: types.TrainConfig, source: sources.Source) -> int:
  examples = source.num_examples[types.Split.TRAIN]
  if examples < config.batch_size:
    raise ValueError(
      f'{source.name}: {examples} training images, fewer than --batch_size='
      f'{config.batch_size}'
    )
  return examples // config.batch_size


def _policy(mixed_precision: types.MixedPrecision) -> str:
  """The Keras dtype policy to compute in."""
  if mixed_precision is types.MixedPrecision.AUTO:
    mixed = _gpu_has_bfloat16() if _gpus() else environment.cpu_has_bfloat16()
  else:
    mixed = mixed_precision is types.MixedPrecision.BFLOAT16
  return 'mixed_bfloat16' if mixed else 'float32'


def _gpus():
  return tf.config.list_physical_devices('GPU')


def _gpu_has_bfloat16() -> bool:
  """Ampere, compute capability 8.0, was the first."""
  details = tf.config.experimental.get_device_details(_gpus()[0])
  return details.get('compute_capability', (0, 0)) >= (8, 0)


def _device() -> str:
  if not _gpus():
    return environment.cpu_name()
  details = tf.config.experimental.get_device_details(_gpus()[0])
  return details.get('device_name', 'GPU')


def _announce(config, spec, source, policy) -> None:
  counts = source.num_examples
  print(
    f'{config.stage.value}: ResNet-{spec.depth} at {spec.stem_size}x'
    f'{spec.stem_size}, {len(source.class_names)} classes of {source.name} '
    f'({counts[types.Split.TRAIN]} training, '
    f'{counts[types.Split.VALIDATION]} validation images), {policy} on '
    f'{_device()} -> {config.output_dir}'
  )
  skipped = sum(source.skipped_examples.values())
  if skipped:
    print(f'{skipped} images that do not decode are skipped')


def _prepare(config, network, steps_per_epoch, teacher):
  """The stage table."""
  total_steps = steps_per_epoch * config.epochs
  return {
    types.Stage.BASELINE: lambda: baseline.prepare(network, config),
    types.Stage.PRUNE: lambda: prune.prepare(network, config, total_steps),
    types.Stage.KD: lambda: distill.prepare(network, config, teacher),
  }[config.stage]()


def _validation_data(source, config, spec, image_size) -> tf.data.Dataset:
  """The validation split as the deployed model sees it inside."""
  batches = pipelines.evaluation(
    source,
    types.Split.VALIDATION,
    config.data.transform,
    batch_size=_EVALUATION_BATCH,
    input_size=spec.input_size,
  )
  num_classes = len(source.class_names)
  return batches.map(
    lambda images, labels: (
      pipelines.as_seen_inside(images, image_size),
      tf.one_hot(labels, num_classes),
    ),
    tf.data.AUTOTUNE,
  )


def _metrics(model, source, config) -> dict[str, float]:
  """Figures of the artifact itself, in float32, on the validation split."""
  batches = pipelines.evaluation(
    source,
    types.Split.VALIDATION,
    config.data.transform,
    batch_size=_EVALUATION_BATCH,
    input_size=model.input_shape[1],
  )
  predict = tf.function(lambda images: model(images, training=False))
  top1 = tf_keras.metrics.SparseCategoricalAccuracy()
  top5 = tf_keras.metrics.SparseTopKCategoricalAccuracy(5)
  loss = tf_keras.metrics.SparseCategoricalCrossentropy()
  for images, labels in batches:
    probabilities = predict(tf.cast(images, tf.float32))
    for metric in (top1, top5, loss):
      metric.update_state(labels, probabilities)
  metrics = {
    'top1_percent': 100 * float(top1.result()),
    'top5_percent': 100 * float(top5.result()),
    'cross_entropy': float(loss.result()),
  }
  if not math.isfinite(metrics['cross_entropy']):
    raise ValueError('the trained model gives outputs that are not finite')
  return {name: round(value, 4) for name, value in metrics.items()}
