import math

import numpy as np
import pytest

from tfcompress.core import configs
from tfcompress.training import schedules


def test_learning_rate_by_hand():
  config = configs.OptimizerConfig(learning_rate=0.4, warmup_epochs=2)
  rate = schedules.learning_rate(config, steps_per_epoch=10, epochs=12)
  got = [float(rate(step)) for step in (0, 5, 10, 20, 70, 120)]
  half = 0.4 * 0.5 * (1 + math.cos(math.pi / 2))
  np.testing.assert_allclose(got, [0, 0.1, 0.2, 0.4, half, 0], atol=1e-6)


def test_no_warmup_starts_at_the_peak():
  config = configs.OptimizerConfig(learning_rate=0.4, warmup_epochs=0)
  rate = schedules.learning_rate(config, steps_per_epoch=10, epochs=2)
  assert float(rate(0)) == pytest.approx(0.4)
  assert float(rate(20)) == pytest.approx(0)


@pytest.mark.parametrize('total_steps', [4, 40, 1234])
@pytest.mark.parametrize('schedule', configs.PruningSchedule)
def test_sparsity_reaches_its_target_at_the_end(schedule, total_steps):
  config = configs.PruneConfig(
    schedule=schedule, target_sparsity=0.7, prune_begin=0.25, prune_end=0.75
  )
  pruning = schedules.pruning(config, total_steps)
  updates = []
  for step in range(total_steps):
    due, sparsity = pruning(step)
    if bool(due):
      updates.append((step, float(sparsity)))
  assert updates[0][0] == round(0.25 * total_steps)
  assert updates[-1][1] == pytest.approx(0.7)
  assert updates[-1][0] <= 0.75 * total_steps + 1
  values = [value for _, value in updates]
  assert values == sorted(values)


def test_a_span_without_a_step_is_refused():
  config = configs.PruneConfig(prune_begin=0.98, prune_end=1.0)
  with pytest.raises(ValueError, match='leaves no step to prune in'):
    schedules.pruning(config, 12)


@pytest.mark.parametrize(
  ('begin', 'end', 'total', 'due'),
  [
    (0.0, 0.75, 1, [0]),
    (0.98, 1.0, 12, [11]),
    (1.0, 1.0, 5, [4]),
    (0.5, 0.5, 4, [2]),
  ],
)
def test_a_constant_schedule_needs_one_step(begin, end, total, due):
  config = configs.PruneConfig(
    configs.PruningSchedule.CONSTANT,
    target_sparsity=0.6,
    prune_begin=begin,
    prune_end=end,
  )
  schedule = schedules.pruning(config, total)
  assert [step for step in range(total) if schedule(step)[0]] == due
  assert float(schedule(due[0])[1]) == pytest.approx(0.6)


@pytest.mark.parametrize('name', configs.Optimizer)
def test_optimizers_without_decay(name):
  config = configs.OptimizerConfig(
    optimizer=name, learning_rate=0.1, warmup_epochs=1, weight_decay=0
  )
  assert schedules.optimizer(config, 10, 10).weight_decay == 0


def test_only_kernels_decay():
  import tensorflow as tf

  config = configs.OptimizerConfig(
    learning_rate=0.5, warmup_epochs=0, weight_decay=0.1, clip_norm=0
  )
  kernel = tf.Variable([2.0], name='beta_conv/kernel')
  gamma = tf.Variable([2.0], name='conv_bn/gamma')
  optimizer = schedules.optimizer(config, 10, 10, undecayed=[gamma])
  optimizer.build([kernel, gamma])
  zero = tf.constant([0.0])
  optimizer.apply_gradients([(zero, kernel), (zero, gamma)])
  assert float(kernel[0]) == pytest.approx(2 * (1 - 0.5 * 0.1))
  assert float(gamma[0]) == 2


def test_the_fused_update_is_that_of_keras():
  import tensorflow as tf
  import tf_keras

  rng = np.random.RandomState(0)
  start, gradients = rng.randn(3, 4), rng.randn(5, 3, 4)
  config = configs.OptimizerConfig(
    learning_rate=0.3, momentum=0.8, warmup_epochs=0, weight_decay=0.1
  )
  ours = schedules.optimizer(config, steps_per_epoch=10, epochs=1)
  keras = tf_keras.optimizers.SGD(
    schedules.learning_rate(config, 10, 1),
    momentum=0.8,
    nesterov=True,
    weight_decay=0.1,
    global_clipnorm=1.0,
    jit_compile=False,
  )
  results = []
  for optimizer in (ours, keras):
    kernel = tf.Variable(start, dtype=tf.float32, name='conv/kernel')
    for gradient in gradients:
      gradient = tf.constant(gradient, tf.float32)
      optimizer.apply_gradients([(gradient, kernel)])
    results.append(kernel.numpy())
  np.testing.assert_allclose(*results, rtol=1e-5)
