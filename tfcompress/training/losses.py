"""Losses as pure functions of logits, float32 (B, classes)."""

import tensorflow as tf


def cross_entropy(
  targets: tf.Tensor, logits: tf.Tensor, label_smoothing: float = 0.0
) -> tf.Tensor:
  """Mean cross-entropy in nats, a scalar.

  Args:
    targets: (B, C), rows sum to one.
    logits: (B, C), before the softmax.
    label_smoothing: e; targets become (1 - e) * targets + e / C (Szegedy 2016,
      section 7).
  """
  classes = tf.cast(tf.shape(logits)[-1], targets.dtype)
  smoothed = (1 - label_smoothing) * targets + label_smoothing / classes
  return tf.reduce_mean(
    tf.nn.softmax_cross_entropy_with_logits(smoothed, logits)
  )


def distillation(
  student_logits: tf.Tensor, teacher_logits: tf.Tensor, temperature: float
) -> tf.Tensor:
  """Mean T^2 KL(teacher || student) of softened outputs in nats, a scalar.

  Hinton, Vinyals & Dean 2015, section 2: both distributions are softmax(z / T);
  T^2 keeps the gradient's size when T changes.

  Args:
    student_logits: (B, C), before the softmax.
    teacher_logits: (B, C), likewise.
    temperature: T, above zero.
  """
  teacher_log = tf.nn.log_softmax(teacher_logits / temperature)
  student_log = tf.nn.log_softmax(student_logits / temperature)
  divergence = tf.reduce_sum(
    tf.exp(teacher_log) * (teacher_log - student_log), axis=-1
  )
  return temperature**2 * tf.reduce_mean(divergence)
