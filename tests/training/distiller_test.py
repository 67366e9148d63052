import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.core import configs
from tfcompress.training import distiller, losses

IMAGES = np.random.RandomState(0).rand(8, 4, 4, 3).astype(np.float32)
TARGETS = np.eye(5, dtype=np.float32)[np.arange(8) % 5]


def network(seed: int) -> tf_keras.Model:
  tf_keras.utils.set_random_seed(seed)
  image = tf_keras.Input((4, 4, 3))
  x = tf_keras.layers.Flatten()(image)
  x = tf_keras.layers.Dense(16, activation='relu')(x)
  x = tf_keras.layers.BatchNormalization()(x)
  return tf_keras.Model(image, tf_keras.layers.Dense(5)(x))


def distilled(student, teacher, **kwargs) -> distiller.Distiller:
  model = distiller.Distiller(
    student,
    lambda images: (teacher(images, training=False)[None], []),
    configs.DistillConfig(temperature=3.0, alpha=0.6),
    **kwargs,
  )
  model.compile(
    tf_keras.optimizers.SGD(0.1, jit_compile=False),
    metrics=[tf_keras.metrics.CategoricalAccuracy('top1')],
  )
  return model


def test_only_the_student_is_held_and_trained():
  student, teacher = network(1), network(2)
  before = [w.copy() for w in teacher.get_weights()]
  model = distilled(student, teacher)
  model.train_on_batch(IMAGES, TARGETS)
  own = {id(w) for w in student.weights}
  assert {id(w) for w in model.trainable_variables} <= own
  teachers = {id(w) for w in teacher.weights}
  assert not teachers & {id(w) for w in model.variables}
  for a, b in zip(before, teacher.get_weights()):
    np.testing.assert_array_equal(a, b)


def test_one_step_is_the_gradient_step_of_the_loss():
  student, twin, teacher = network(1), network(1), network(2)
  model = distilled(student, teacher)
  with tf.GradientTape() as tape:
    logits = twin(IMAGES, training=True)
    soft = losses.distillation(logits, teacher(IMAGES), 3.0)
    hard = losses.cross_entropy(TARGETS, logits)
    total = 0.4 * hard + 0.6 * soft
  gradients = tape.gradient(total, twin.trainable_variables)
  expected = [
    w.numpy() - 0.1 * g.numpy()
    for w, g in zip(twin.trainable_variables, gradients)
  ]
  shown = model.train_on_batch(IMAGES, TARGETS, return_dict=True)
  assert shown['loss'] == pytest.approx(float(total), rel=1e-5)
  assert shown['cross_entropy'] == pytest.approx(float(hard), rel=1e-5)
  assert shown['distillation'] == pytest.approx(float(soft), rel=1e-5)
  for weight, value in zip(student.trainable_variables, expected):
    np.testing.assert_allclose(weight, value, atol=1e-6)


def test_evaluation_shows_the_students_accuracy():
  student, teacher = network(1), network(2)
  model = distilled(student, teacher)
  result = model.evaluate(IMAGES, TARGETS, verbose=0, return_dict=True)
  by_hand = (student(IMAGES).numpy().argmax(-1) == TARGETS.argmax(-1)).mean()
  assert result['top1'] == pytest.approx(by_hand)
