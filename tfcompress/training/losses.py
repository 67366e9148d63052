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
  divergence = _divergence(
    tf.nn.log_softmax(teacher_logits / temperature),
    tf.nn.log_softmax(student_logits / temperature),
  )
  return temperature**2 * divergence


def decoupled_distillation(
  student_logits: tf.Tensor,
  teacher_logits: tf.Tensor,
  targets: tf.Tensor,
  temperature: float,
  tckd_weight: float,
  nckd_weight: float,
) -> tf.Tensor:
  """Decoupled knowledge distillation (DKD) in nats, a scalar.

  Zhao et al. 2022, equation 7: T^2 (a TCKD + b NCKD). With t the target class
  and p = softmax(z / T), TCKD = KL([p_t, 1 - p_t] of the teacher || student)
  and NCKD = KL of the softmax over the other classes. With a = 1 and b = 1 -
  p_t of the teacher it is the classical loss (equation 5).

  Args:
    student_logits: (B, C), before the softmax.
    teacher_logits: (B, C), likewise.
    targets: (B, C); the greatest entry of a row is its target class.
    temperature: T, above zero.
    tckd_weight: a.
    nckd_weight: b.
  """
  is_target = tf.one_hot(
    tf.argmax(targets, axis=-1), tf.shape(targets)[-1], True, False, dtype=bool
  )
  student = student_logits / temperature
  teacher = teacher_logits / temperature
  tckd = _divergence(
    _log_target_or_not(teacher, is_target),
    _log_target_or_not(student, is_target),
  )
  nckd = _divergence(
    _log_softmax_of_others(teacher, is_target),
    _log_softmax_of_others(student, is_target),
  )
  return temperature**2 * (tckd_weight * tckd + nckd_weight * nckd)


def attention_transfer(
  student_features: tf.Tensor, teacher_features: tf.Tensor
) -> tf.Tensor:
  """Mean squared difference of two layers' attention maps, a scalar.

  Zagoruyko & Komodakis 2017, equation 2 without its beta / 2, squared and as a
  mean over the map's elements, as their code has it: their beta of 1000 goes
  with it. (Q_S / ||Q_S|| - Q_T / ||Q_T||)^2, where Q is the vector of the
  attention map, the sum over channels of the squared features. The larger map
  is resized to the smaller.

  Args:
    student_features: (B, H, W, C).
    teacher_features: (B, H', W', C').
  """
  student, teacher = _attention(student_features), _attention(teacher_features)
  size = [min(a, b) for a, b in zip(student.shape[1:3], teacher.shape[1:3])]
  rows = [
    tf.math.l2_normalize(
      tf.reshape(_resized(a, size), [-1, size[0] * size[1]]), axis=-1
    )
    for a in (student, teacher)
  ]
  return tf.reduce_mean(tf.square(rows[0] - rows[1]))


def averaged(logits: tf.Tensor, temperature: float) -> tf.Tensor:
  """Logits (B, C) of the mean softened probabilities of (K, B, C) logits.

  softmax(result / T) is the mean over K of softmax(logits / T): the ensemble of
  Hinton, Vinyals & Dean 2015, section 4, by an arithmetic mean.
  """
  log_probabilities = tf.nn.log_softmax(logits / temperature)
  count = tf.cast(tf.shape(logits)[0], logits.dtype)
  mean = tf.reduce_logsumexp(log_probabilities, axis=0) - tf.math.log(count)
  return temperature * mean


def _divergence(teacher_log: tf.Tensor, student_log: tf.Tensor) -> tf.Tensor:
  """Mean KL(teacher || student) of rows of log-probabilities."""
  terms = tf.exp(teacher_log) * (teacher_log - student_log)
  return tf.reduce_mean(tf.reduce_sum(terms, axis=-1))


def _log_target_or_not(logits: tf.Tensor, is_target: tf.Tensor) -> tf.Tensor:
  """Logarithms of p_t and 1 - p_t, (B, 2)."""
  everything = tf.reduce_logsumexp(logits, axis=-1)
  target = tf.reduce_sum(tf.where(is_target, logits, 0.0), axis=-1)
  others = tf.reduce_logsumexp(_others(logits, is_target), axis=-1)
  return tf.stack([target - everything, others - everything], axis=-1)


def _log_softmax_of_others(
  logits: tf.Tensor, is_target: tf.Tensor
) -> tf.Tensor:
  """Log-softmax over all classes but the target, which counts for nothing."""
  return tf.nn.log_softmax(_others(logits, is_target))


def _others(logits: tf.Tensor, is_target: tf.Tensor) -> tf.Tensor:
  """Logits with a target too low to matter, yet finite."""
  return tf.where(is_target, -1e4, logits)


def _attention(features: tf.Tensor) -> tf.Tensor:
  return tf.reduce_sum(tf.square(features), axis=-1, keepdims=True)


def _resized(attention: tf.Tensor, size: list[int]) -> tf.Tensor:
  if attention.shape[1:3] == size:
    return attention
  return tf.image.resize(attention, size, antialias=True)
