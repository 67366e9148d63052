"""The Distiller: a Keras model that trains a student on a teacher's outputs."""

from collections.abc import Callable, Sequence

import tensorflow as tf
import tf_keras

from tfcompress.core import configs
from tfcompress.training import learner, losses

# From images (B, S, S, 3), and a tuple of the same ones in other sizes where
# there are any, to all teachers' logits (K, B, C) and the features of one.
Teach = Callable[..., tuple[tf.Tensor, Sequence[tf.Tensor]]]


class Distiller(learner.Learner):
  """Trains a student; the teachers are a function, so it holds no weight here.

  The loss is (1 - alpha) CE(targets, student) + alpha D(teachers, student)
  + attention_weight / 2 * sum of the layers' attention terms.
  """

  def __init__(
    self,
    network: tf_keras.Model,
    teach: Teach,
    config: configs.DistillConfig,
    label_smoothing: float = 0.0,
    after_step: Sequence[Callable[[], None]] = (),
    shipped: tf_keras.Model | None = None,
  ):
    """Makes a distiller.

    Args:
      network: the student, from images to logits (B, C) and the features of
        `config.attention`'s student layers.
      teach: what the teachers make of the same images, in inference mode.
      config: the losses and their weights.
      label_smoothing: of the cross-entropy term.
      after_step: called in the graph after every update of the weights.
      shipped: as of a Learner.
    """
    terms = ['loss', 'cross_entropy', 'distillation']
    terms += ['attention'] if config.attention else []
    super().__init__(network, label_smoothing, after_step, terms, shipped)
    self._teach = teach
    self._config = config

  def _context(self, images, *more):
    """Logits and features of the teachers; logits from the batch if there."""
    if more and tf.is_tensor(more[0]):
      logits, features = tf.transpose(more[0], (1, 0, 2)), ()
    else:
      logits, features = self._teach(images, *more)
    averaged = losses.averaged(logits, self._config.temperature)
    return tf.nest.map_structure(tf.stop_gradient, (averaged, list(features)))

  def _terms(self, targets, outputs, context):
    logits, *features = outputs
    teacher_logits, teacher_features = context
    alpha = self._config.alpha
    hard = self._cross_entropy(targets, logits)
    soft = self._distillation(targets, logits, teacher_logits)
    terms = {
      'loss': (1 - alpha) * hard + alpha * soft,
      'cross_entropy': hard,
      'distillation': soft,
    }
    if features:
      terms['attention'] = tf.add_n(
        [
          losses.attention_transfer(student, teacher)
          for student, teacher in zip(features, teacher_features)
        ]
      )
      terms['loss'] += self._config.attention_weight / 2 * terms['attention']
    return terms

  def _distillation(self, targets, logits, teacher_logits):
    config = self._config
    if config.distill_loss is configs.DistillLoss.KL:
      return losses.distillation(logits, teacher_logits, config.temperature)
    return losses.decoupled_distillation(
      logits,
      teacher_logits,
      targets,
      config.temperature,
      config.tckd_weight,
      config.nckd_weight,
    )
