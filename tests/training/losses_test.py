import numpy as np
import pytest
import tensorflow as tf

from tfcompress.training import losses

RNG = np.random.RandomState(0)
STUDENT = (RNG.randn(6, 5) * 3).astype(np.float32)
TEACHER = (RNG.randn(6, 5) * 3).astype(np.float32)
TARGETS = np.eye(5, dtype=np.float32)[[0, 1, 2, 3, 4, 0]]


def softmax(z):
  e = np.exp(z - z.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_cross_entropy_against_numpy(smoothing):
  targets = (1 - smoothing) * TARGETS.astype(np.float64) + smoothing / 5
  logs = np.log(softmax(STUDENT.astype(np.float64)))
  expected = -(targets * logs).sum(-1).mean()
  got = losses.cross_entropy(TARGETS, STUDENT, smoothing)
  np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_distillation_against_numpy(temperature):
  p = softmax(TEACHER.astype(np.float64) / temperature)
  q = softmax(STUDENT.astype(np.float64) / temperature)
  expected = temperature**2 * (p * np.log(p / q)).sum(-1).mean()
  got = losses.distillation(STUDENT, TEACHER, temperature)
  np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_distillation_of_equals_is_zero_and_has_a_direction():
  same = losses.distillation(TEACHER, TEACHER + 3, 2.0)
  np.testing.assert_allclose(same, 0, atol=1e-6)
  forward = losses.distillation(STUDENT, TEACHER, 2.0)
  backward = losses.distillation(TEACHER, STUDENT, 2.0)
  assert abs(float(forward) - float(backward)) > 0.01


@pytest.mark.parametrize(('a', 'b'), [(1.0, 8.0), (1.0, 0.0), (0.0, 1.0)])
def test_decoupled_distillation_against_numpy(a, b):
  """Zhao 2022, equation 7, term by term."""
  temperature, labels = 4.0, TARGETS.argmax(-1)
  p = softmax(TEACHER.astype(np.float64) / temperature)
  q = softmax(STUDENT.astype(np.float64) / temperature)
  expected = 0.0
  for row, label in enumerate(labels):
    p_t, q_t = p[row, label], q[row, label]
    tckd = p_t * np.log(p_t / q_t)
    tckd += (1 - p_t) * np.log((1 - p_t) / (1 - q_t))
    others = np.arange(5) != label
    p_hat = p[row, others] / (1 - p_t)
    q_hat = q[row, others] / (1 - q_t)
    nckd = (p_hat * np.log(p_hat / q_hat)).sum()
    expected += temperature**2 * (a * tckd + b * nckd) / len(labels)
  got = losses.decoupled_distillation(
    STUDENT, TEACHER, TARGETS, temperature, a, b
  )
  np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_decoupled_distillation_contains_the_classical_one():
  """Zhao 2022, equation 5: KD = TCKD + (1 - p_t) NCKD, for each image."""
  for row in range(len(STUDENT)):
    student, teacher = STUDENT[row : row + 1], TEACHER[row : row + 1]
    target = TARGETS[row : row + 1]
    p_t = (softmax(teacher / 2.0) * target).sum()
    whole = losses.distillation(student, teacher, 2.0)
    parts = losses.decoupled_distillation(
      student, teacher, target, 2.0, 1.0, 1 - p_t
    )
    np.testing.assert_allclose(parts, whole, rtol=1e-4)


def test_decoupled_distillation_of_confident_teachers_is_finite():
  sure = TARGETS * 400
  args = (TARGETS, 1.0, 1.0, 8.0)
  with tf.GradientTape() as tape:
    student = tf.constant(STUDENT)
    tape.watch(student)
    loss = losses.decoupled_distillation(student, sure, *args)
  assert np.isfinite(loss)
  assert np.isfinite(tape.gradient(loss, student)).all()


def attention_vectors(features: np.ndarray) -> np.ndarray:
  maps = np.square(features.astype(np.float64)).sum(-1)
  rows = maps.reshape(len(maps), -1)
  return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_attention_transfer_against_numpy(rng):
  """Zagoruyko 2017, equation 2: the difference of normalized maps."""
  student = rng.randn(3, 4, 4, 7).astype(np.float32)
  teacher = rng.randn(3, 4, 4, 2).astype(np.float32)
  difference = attention_vectors(student) - attention_vectors(teacher)
  expected = np.square(difference).mean()
  got = losses.attention_transfer(student, teacher)
  np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_attention_of_equals_is_zero_with_a_gradient(rng):
  features = tf.constant(rng.randn(2, 4, 4, 3), tf.float32)
  with tf.GradientTape() as tape:
    tape.watch(features)
    loss = losses.attention_transfer(features, tf.identity(features) * 3)
  assert float(loss) < 1e-10
  assert np.isfinite(tape.gradient(loss, features)).all()


def test_attention_maps_of_two_sizes_meet_at_the_smaller():
  teacher = np.ones((1, 8, 8, 3), np.float32)
  teacher[:, :4] = 2
  student = np.ones((1, 4, 4, 5), np.float32)
  student[:, :2] = 2
  near = float(losses.attention_transfer(student, teacher))
  far = float(losses.attention_transfer(student[:, ::-1], teacher))
  assert near < 0.1 * far  # Only the edge between the halves is blurred.


def test_several_teachers_are_the_mean_of_their_softened_probabilities():
  logits = np.stack([TEACHER, STUDENT, TEACHER + 2 * STUDENT])
  expected = softmax(logits.astype(np.float64) / 3.0).mean(0)
  got = losses.averaged(logits, 3.0).numpy()
  np.testing.assert_allclose(softmax(got / 3.0), expected, rtol=1e-5)


def test_one_teacher_is_itself():
  got = losses.averaged(TEACHER[None], 2.0).numpy()
  np.testing.assert_allclose(softmax(got), softmax(TEACHER), rtol=1e-5)
