"""The teachers of a distillation: artifacts or Keras files, frozen."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import tensorflow as tf
import tf_keras

from tfcompress.core import configs, custom, keras_files, records, types
from tfcompress.data import transforms
from tfcompress.models import graph, heads, io


@dataclasses.dataclass(frozen=True)
class Teacher:
  """A frozen classifier.

  Attributes:
    record: where it came from.
    view: what it sees of an image.
    network: from images (B, T, T, 3) to logits (B, C) and features.
    scaling: what it expects of its pixels.
    policy: the Keras dtype policy it computes in.
  """

  record: types.ParentRecord
  view: transforms.View
  network: tf_keras.Model
  scaling: types.Normalization
  policy: str

  def outputs(self, images: tf.Tensor) -> list[tf.Tensor]:
    """Logits (B, C), and features, of raw images (B, T, T, 3) at inference."""
    pixels = images * self.scaling.scale + self.scaling.offset
    return tf.nest.flatten(self.network(pixels, training=False))


def teach(
  teachers: Sequence[Teacher], views: Sequence[transforms.View]
) -> Callable[..., tuple[tf.Tensor, list[tf.Tensor]]]:
  """Returns a function from images to logits (K, B, C) and features.

  Args:
    teachers: which; the features are those of the first.
    views: what the function takes: images (B, S, S, 3) as the first one, and
      a tuple of the same images as the others.
  """

  def outputs_of_all(images, others=()):
    seen = dict(zip(views, (images, *others), strict=True))
    outputs = [teacher.outputs(seen[teacher.view]) for teacher in teachers]
    return tf.stack([logits for logits, *_ in outputs]), outputs[0][1:]

  return outputs_of_all


def load(
  config: configs.DistillConfig, class_names: tuple[str, ...], policy: str
) -> tuple[Teacher, ...]:
  """Opens the teachers, frozen.

  Raises:
    ValueError: no such teacher, other classes than the student's, or no layer
      of a name in `config.attention`.
  """
  features = [pair.rpartition(':')[2] for pair in config.attention]
  opened = []
  for path in config.teacher:
    if pathlib.Path(path).suffix in keras_files.SUFFIXES:
      model = _open_file(path, len(class_names))
      view = transforms.View(model.input_shape[1])
      scaling, own_policy = config.teacher_scaling, 'float32'
    else:
      model, view, own_policy = _open_artifact(path, class_names, policy)
      scaling = types.Normalization.RAW
    model.trainable = False
    try:
      network = heads.with_logits(model, () if opened else features)
    except ValueError as error:
      raise ValueError(f'--teacher={path}, --attention: {error}') from error
    record = types.ParentRecord('teacher', path, _sha256(path))
    opened.append(Teacher(record, view, network, scaling, own_policy))
  return tuple(opened)


def view_of(spec: types.ModelSpec) -> transforms.View:
  """Returns what the first convolution of an artifact's model sees."""
  resizes = spec.stem_size != spec.input_size
  return transforms.View(spec.stem_size, spec.input_size if resizes else None)


def _sha256(path: str) -> str:
  folder = pathlib.Path(path)
  return records.sha256(folder / records.MODEL if folder.is_dir() else folder)


def _open_artifact(
  path: str, class_names: tuple[str, ...], policy: str
) -> tuple[tf_keras.Model, transforms.View, str]:
  """The model at its stem size, its view, and the policy it computes in."""
  model, manifest = io.load(path)
  if manifest.class_names != class_names:
    raise ValueError(
      f'{path}: a teacher of {len(manifest.class_names)} classes '
      f"({manifest.class_names[0]}, ...), expected the student's "
      f'{len(class_names)} ({class_names[0]}, ...)'
    )
  policy = 'float32' if manifest.quantized else policy
  view = view_of(manifest.model)
  model = graph.rebuild(model, input_size=view.size, dtype_policy=policy)
  return model, view, policy


def _open_file(path: str, num_classes: int):
  try:
    model = keras_files.load(path)
  except ValueError as error:
    known = tf_keras.utils.get_custom_objects()
    description = keras_files.architecture(path)
    raise custom.explained(error, description, known) from error
  if model.output_shape[-1] != num_classes:
    raise ValueError(
      f'{path}: a teacher of {model.output_shape[-1]} classes, '
      f"expected the student's {num_classes}"
    )
  shape = model.input_shape
  if len(shape) != 4 or shape[1] != shape[2] or shape[1] is None:
    raise ValueError(
      f'{path}: input {shape}, expected (None, S, S, 3) of a fixed S'
    )
  return model
