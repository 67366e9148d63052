"""The Distiller: a Keras model that trains a student on a teacher's outputs."""

from collections.abc import Callable

import tensorflow as tf
import tf_keras

from tfcompress.core import types
from tfcompress.training import losses


class Distiller(tf_keras.Model):
  """Trains `student`; the teacher is a function, so it holds no weight here.

  The loss is (1 - alpha) CE(targets, student) + alpha T^2 KL(teacher||student).
  """

  def __init__(
    self,
    student: tf_keras.Model,
    teacher: Callable[[tf.Tensor], tf.Tensor],
    config: types.DistillConfig,
    label_smoothing: float = 0.0,
  ):
    """Makes a distiller.

    Args:
      student: from images (B, S, S, 3) to logits (B, C); the only model that
        trains and is saved.
      teacher: from the same images to logits (B, C), in inference mode.
      config: temperature and alpha.
      label_smoothing: of the cross-entropy term.
    """
    super().__init__()
    self.student = student
    self._teacher = teacher
    self._config = config
    self._label_smoothing = label_smoothing
    self._terms = {
      name: tf_keras.metrics.Mean(name)
      for name in ('loss', 'cross_entropy', 'distillation')
    }

  def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Returns the student's logits."""
    return self.student(images, training=training)

  def train_step(self, data):
    images, targets = data
    teacher_logits = tf.stop_gradient(self._teacher(images))
    with tf.GradientTape() as tape:
      logits = self.student(images, training=True)
      terms = self._weighed(targets, logits, teacher_logits)
    variables = self.student.trainable_variables
    gradients = tape.gradient(terms['loss'], variables)
    self.optimizer.apply_gradients(zip(gradients, variables))
    return self._update(terms, targets, logits)

  def test_step(self, data):
    images, targets = data
    logits = self.student(images, training=False)
    terms = self._weighed(targets, logits, self._teacher(images))
    return self._update(terms, targets, logits)

  def _weighed(self, targets, logits, teacher_logits):
    """The total loss and its two terms, before weighing."""
    alpha = self._config.alpha
    hard = losses.cross_entropy(targets, logits, self._label_smoothing)
    soft = losses.distillation(logits, teacher_logits, self._config.temperature)
    total = (1 - alpha) * hard + alpha * soft
    return {'loss': total, 'cross_entropy': hard, 'distillation': soft}

  def _update(self, terms, targets, logits):
    for name, value in terms.items():
      self._terms[name].update_state(value, sample_weight=tf.shape(logits)[0])
    self.compiled_metrics.update_state(targets, logits)
    return {metric.name: metric.result() for metric in self.metrics}
