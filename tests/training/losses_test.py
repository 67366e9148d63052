import numpy as np
import pytest

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
