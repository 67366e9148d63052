"""A config made concrete: images, model and parents, checked and opened."""

import dataclasses
import pathlib

import tf_keras

from tfcompress.core import records, types
from tfcompress.data import sources
from tfcompress.models import io, resnet, widths
from tfcompress.training import device
from tfcompress.training import teacher as teacher_lib


@dataclasses.dataclass(frozen=True)
class Job:
  """What a config amounts to.

  Attributes:
    config: what was asked for.
    source: the images.
    spec: of the model to end with, `channels` filled in.
    image_size: pixels a side of the batches; the larger of what the model and
      its teacher compute on.
    network: what trains, on images of that size, the parent's weights in it.
    policy: the Keras dtype policy of the network.
    teacher: of stage `kd`.
    parents: of the artifact.
    steps: the stages of its ancestors.
  """

  config: types.TrainConfig
  source: sources.Source
  spec: types.ModelSpec
  image_size: int
  network: tf_keras.Model
  policy: str
  teacher: teacher_lib.Teacher | None
  parents: tuple[types.ParentRecord, ...]
  steps: tuple[str, ...]

  @property
  def steps_per_epoch(self) -> int:
    """Whole batches of the training split."""
    examples = self.source.num_examples[types.Split.TRAIN]
    return examples // self.config.batch_size

  @property
  def total_steps(self) -> int:
    return self.steps_per_epoch * self.config.epochs


def prepare(config: types.TrainConfig) -> Job:
  """Opens everything that `config` names; writes nothing.

  Raises:
    ValueError: whatever is missing or does not fit together.
  """
  source = sources.load(config.data)
  if source.num_examples[types.Split.TRAIN] < config.batch_size:
    raise ValueError(
      f'{source.name}: {source.num_examples[types.Split.TRAIN]} training '
      f'images, fewer than --batch_size={config.batch_size}'
    )
  policy = device.dtype_policy(config.mixed_precision)
  if config.stage is types.Stage.PRUNE:
    policy = 'float32'  # TF-MOT's masked layers compute in nothing else.
  spec, parents, steps = _model(config, source)
  teacher = None
  image_size = spec.stem_size
  if config.stage is types.Stage.KD:
    teacher = teacher_lib.load(config.distill, source.class_names, policy)
    parents = (*parents, teacher.record)
    image_size = max(image_size, teacher.size)
  network = resnet.build(resnet.seen_at(spec, image_size), policy)
  if config.parent:
    io.read_weights(config.parent, network)
  return Job(
    config, source, spec, image_size, network, policy, teacher, parents, steps
  )


def _model(
  config: types.TrainConfig, source: sources.Source
) -> tuple[types.ModelSpec, tuple[types.ParentRecord, ...], tuple[str, ...]]:
  """The complete spec, the parent's record and the stages so far."""
  if config.parent:
    parent = records.read_manifest(config.parent)
    sources.require_classes(source, parent.class_names)
    file = pathlib.Path(config.parent) / records.MODEL
    record = types.ParentRecord('parent', config.parent, records.sha256(file))
    return parent.model, (record,), parent.steps
  spec = dataclasses.replace(config.model, num_classes=len(source.class_names))
  spec = dataclasses.replace(spec, channels=widths.channels_of(spec))
  return spec, (), ()
