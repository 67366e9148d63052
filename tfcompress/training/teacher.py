"""The teacher of a distillation: an artifact or a Keras file, frozen."""

import dataclasses
import pathlib

import tensorflow as tf
import tf_keras

from tfcompress.core import keras_files, records, types
from tfcompress.models import heads, io, resnet


@dataclasses.dataclass(frozen=True)
class Teacher:
  """A frozen classifier.

  Attributes:
    record: where it came from.
    size: pixels a side that it computes on.
    network: from images (B, T, T, 3) to logits (B, C).
    scaling: what it expects of its pixels.
  """

  record: types.ParentRecord
  size: int
  network: tf_keras.Model
  scaling: types.Normalization

  def logits(self, images: tf.Tensor) -> tf.Tensor:
    """Returns logits (B, C) of raw images (B, S, S, 3), in inference mode."""
    if images.shape[1] != self.network.inputs[0].shape[1]:
      side = self.network.inputs[0].shape[1]
      images = tf.image.resize(images, (side, side))
    pixels = images * self.scaling.scale + self.scaling.offset
    return self.network(pixels, training=False)


def load(
  config: types.DistillConfig, class_names: tuple[str, ...], policy: str
) -> Teacher:
  """Opens the teacher, frozen.

  Raises:
    ValueError: no such teacher, or other classes than the student's.
  """
  if pathlib.Path(config.teacher).suffix in keras_files.SUFFIXES:
    return _load_file(config, len(class_names))
  manifest = records.read_manifest(config.teacher)
  if manifest.class_names != class_names:
    raise ValueError(
      f'{config.teacher}: a teacher of {len(manifest.class_names)} classes '
      f"({manifest.class_names[0]}, ...), expected the student's "
      f'{len(class_names)} ({class_names[0]}, ...)'
    )
  size = manifest.model.stem_size
  network = resnet.build(resnet.seen_at(manifest.model, size), policy)
  io.read_weights(config.teacher, network)
  network.trainable = False
  model_file = pathlib.Path(config.teacher) / records.MODEL
  return Teacher(
    record=types.ParentRecord(
      'teacher', config.teacher, records.sha256(model_file)
    ),
    size=size,
    network=heads.with_logits(network),
    scaling=manifest.input_scaling,
  )


def _load_file(config: types.DistillConfig, num_classes: int) -> Teacher:
  model = keras_files.load(config.teacher)
  if model.output_shape[-1] != num_classes:
    raise ValueError(
      f'{config.teacher}: a teacher of {model.output_shape[-1]} classes, '
      f"expected the student's {num_classes}"
    )
  shape = model.input_shape
  if len(shape) != 4 or shape[1] != shape[2] or shape[1] is None:
    raise ValueError(
      f'{config.teacher}: input {shape}, expected (None, S, S, 3) of a fixed S'
    )
  size = shape[1]
  model.trainable = False
  return Teacher(
    record=types.ParentRecord(
      'teacher', config.teacher, records.sha256(config.teacher)
    ),
    size=size,
    network=heads.with_logits(model),
    scaling=config.teacher_scaling,
  )
