"""A config made concrete: images, model and parents, checked and opened."""

import dataclasses
import pathlib
from collections.abc import Callable

import tf_keras

from tfcompress.core import configs, custom, records, types
from tfcompress.data import sources, transforms
from tfcompress.models import (
  fake_quant,
  graph,
  io,
  outside,
  resnet,
  widths,
)
from tfcompress.training import brought, device, ready
from tfcompress.training import teacher as teacher_lib

_MUCH = 0.1  # of the images of an epoch


@dataclasses.dataclass(frozen=True)
class Job:
  """What a config amounts to.

  Attributes:
    config: what was asked for.
    source: the images.
    spec: of the model to start from.
    model: to start from, float32, from images (B, S, S, 3) to probabilities.
    policy: the Keras dtype policy to train in.
    teachers: what it learns from beside the labels.
    parents: of the artifact.
    steps: the stages of its ancestors.
    int8_latency_ms: measures a model as an int8 file; for stage `slim`.
    anew: whether what is in the folder does not count.
  """

  config: configs.TrainConfig
  source: sources.Source
  spec: types.ModelSpec
  model: tf_keras.Model
  policy: str
  teachers: tuple[teacher_lib.Teacher, ...]
  parents: tuple[types.ParentRecord, ...]
  steps: tuple[str, ...]
  int8_latency_ms: Callable[[tf_keras.Model], float] | None
  anew: bool = False

  @property
  def views(self) -> tuple[transforms.View, ...]:
    """What the networks see of an image, the student first."""
    own = teacher_lib.view_of(self.spec)
    return tuple(dict.fromkeys([own, *(t.view for t in self.teachers)]))

  @property
  def steps_per_epoch(self) -> int:
    """Whole batches of the training split."""
    examples = self.source.num_examples[types.Split.TRAIN]
    return examples // self.config.batch_size

  @property
  def total_steps(self) -> int:
    """Steps of the whole training, which is of one epoch or more."""
    return self.steps_per_epoch * self.config.epochs

  def trainable(self, model: tf_keras.Model) -> tf_keras.Model:
    """Returns `model` on images of the stem size, in the job's policy."""
    return graph.rebuild(
      model, input_size=self.spec.stem_size, dtype_policy=self.policy
    )


def prepare(
  config: configs.TrainConfig,
  int8_latency_ms: Callable[[tf_keras.Model], float] | None = None,
  anew: bool = False,
) -> Job:
  """Opens everything that `config` names; writes nothing.

  Raises:
    ValueError: whatever is missing or does not fit together.
  """
  custom.register(config.custom_objects)
  source = sources.load(config.data, configs.needs_training_images(config))
  config = _with_whole_batch(config, source)
  policy = device.dtype_policy(config.mixed_precision)
  model, spec, parents, steps = _start(config, source)
  teachers = ()
  if config.distill:
    teachers = teacher_lib.load(config.distill, source.class_names, policy)
    parents = (*parents, *(teacher.record for teacher in teachers))
  if config.stage is types.Stage.QAT:
    policy = 'float32'  # Fake quantization computes in nothing else.
  return Job(
    config,
    source,
    spec,
    model,
    policy,
    teachers,
    parents,
    steps,
    int8_latency_ms,
    anew,
  )


def _with_whole_batch(
  config: configs.TrainConfig, source: sources.Source
) -> configs.TrainConfig:
  """A config whose batch is at most all training images.

  Says so, and how many images an epoch leaves out where that is many.
  """
  images = source.num_examples.get(types.Split.TRAIN, 0)
  if not config.epochs:
    return config
  if images >= config.batch_size:
    left = images % config.batch_size
    if left > _MUCH * images:
      print(
        f'an epoch has whole batches of {config.batch_size} images alone, so it '
        f'leaves out {left} of {images}, others each time; a smaller '
        '--batch_size leaves out fewer',
        flush=True,
      )
    return config
  print(
    f'--batch_size={config.batch_size} is above the {images} training images '
    f'of {source.name}: one batch of {images} is an epoch',
    flush=True,
  )
  return dataclasses.replace(config, batch_size=images)


def _start(config: configs.TrainConfig, source: sources.Source):
  """The model, its spec, the parents' records and the stages so far."""
  if config.parent:
    manifest = records.read_manifest(config.parent)
    ready.require_trainable(config, manifest)
    sources.require_classes(source, manifest.class_names)
    model, _ = io.load(config.parent)
    record = _record('parent', config.parent, records.MODEL)
    return model, manifest.model, (record,), manifest.steps
  if config.init:
    model, spec = _open_own(config, source)
    return model, spec, (_record('init', config.init.init_from),), ()
  spec = dataclasses.replace(config.model, num_classes=len(source.class_names))
  spec = dataclasses.replace(spec, channels=widths.channels_of(spec))
  return resnet.build(spec), spec, (), ()


def _open_own(
  config: configs.TrainConfig, source: sources.Source
) -> tuple[tf_keras.Model, types.ModelSpec]:
  """A user's own model, and a spec that says what is known of it."""
  init = config.init
  load = lambda scaling: outside.load(
    init.init_from, scaling, config.custom_objects
  )
  scaling = init.init_scaling or types.Normalization.RAW
  model = load(scaling)
  if fake_quant.is_quantized(model):
    raise ValueError(
      f'{init.init_from}: a network that went through qat, which comes last; '
      'start from what it was before'
    )
  num_classes = model.output_shape[-1]
  if num_classes != len(source.class_names):
    raise ValueError(
      f'{init.init_from}: {num_classes} classes, '
      f'{source.name} has {len(source.class_names)}'
    )
  if init.init_scaling is None:
    scaling = brought.scaling_of(model, source, config.data)
    model = load(scaling)
  spec = types.ModelSpec(
    depth=None,
    num_classes=num_classes,
    channels=graph.channels(model),
    input_size=model.input_shape[1],
    normalization=scaling,
  )
  return model, spec


def _record(role: str, path: str, file: str = '') -> types.ParentRecord:
  return types.ParentRecord(
    role, path, records.sha256(pathlib.Path(path) / file)
  )
