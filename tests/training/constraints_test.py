import numpy as np
import pytest
import tensorflow as tf

from tfcompress.core import configs
from tfcompress.models import clusters
from tfcompress.training import cluster, constraints


def test_zeros_stay_and_the_rest_moves(rng):
  kernel = tf.Variable(rng.randn(3, 3, 2, 4).astype(np.float32))
  mask = rng.rand(3, 3, 2, 4) < 0.5
  kernel.assign(np.where(mask, kernel, 0))
  (constraint,) = constraints.preserving({'conv': kernel})
  step = rng.randn(3, 3, 2, 4).astype(np.float32)
  before = kernel.numpy()
  kernel.assign_add(step)
  tf.function(constraint.apply)()
  np.testing.assert_array_equal(kernel, np.where(mask, before + step, 0))


def test_a_cluster_moves_by_the_mean_of_its_members(rng):
  values = np.array([-1.0, 0.0, 0.5, 2.0], np.float32)
  members = rng.randint(0, 4, (6, 5))
  kernel = tf.Variable(values[members])
  (constraint,) = constraints.preserving({'dense': kernel})
  step = rng.randn(6, 5).astype(np.float32)
  kernel.assign_add(step)
  constraint.apply()
  for index, value in enumerate(values):
    own = members == index
    expected = 0.0 if value == 0 else value + step[own].mean()
    np.testing.assert_allclose(kernel.numpy()[own], expected, rtol=1e-5)
  assert len(np.unique(kernel)) == 4


def test_an_ordinary_kernel_is_not_held(rng):
  kernel = tf.Variable(rng.randn(3, 3, 8, 8).astype(np.float32))
  assert constraints.preserving({'conv': kernel}) == []


def test_what_counts_as_clustered(rng):
  few = rng.randint(0, 16, (3, 3, 4, 8)).astype(np.float32)
  many = rng.randn(3, 3, 4, 8).astype(np.float32)
  small = np.arange(8, dtype=np.float32)
  assert clusters.counts({'few': few, 'many': many, 'small': small}) == {
    'few': 16
  }


@pytest.mark.parametrize('centroids', configs.Centroids)
@pytest.mark.parametrize('count', [2, 3, 16])
def test_clustering_keeps_zeros_and_counts(count, centroids, rng):
  kernel = rng.randn(3, 3, 8, 16).astype(np.float32)
  kernel[rng.rand(*kernel.shape) < 0.5] = 0
  config = configs.ClusterConfig(count, centroids)
  got = cluster.clustered(kernel, config)
  np.testing.assert_array_equal(got == 0, kernel == 0)
  assert len(np.unique(got)) <= count
  for value in np.unique(got[got != 0]):
    # Every cluster's value is the mean of its members.
    assert kernel[got == value].mean() == pytest.approx(value, rel=1e-4)


def test_kmeans_comes_close_to_the_kernel(rng):
  """16 levels of a normal distribution: Max 1960 has 0.95 % at the best."""
  kernel = rng.randn(3, 3, 64, 64).astype(np.float32)
  got = cluster.clustered(kernel, configs.ClusterConfig(16))
  error = np.square(got - kernel).sum() / np.square(kernel).sum()
  assert 0.0093 < error < 0.012


def test_clusters_do_not_drift_by_rounding():
  """Many small steps of thousands of members: each must count."""
  rng = np.random.RandomState(0)
  values = np.linspace(-0.2, 0.2, 16).astype(np.float32)
  kernel = tf.Variable(values[rng.randint(0, 16, (3, 3, 256, 256))])
  (constraint,) = constraints.preserving({'conv': kernel})
  constraint.apply()
  np.testing.assert_array_equal(np.unique(kernel), values)
  for _ in range(50):
    kernel.assign_add(tf.fill(kernel.shape, 2e-6))
    constraint.apply()
  np.testing.assert_allclose(np.unique(kernel), values + 1e-4, atol=2e-6)


def test_masked_members_do_not_pull_their_cluster_to_zero():
  rng = np.random.RandomState(0)
  values = np.array([-0.3, -0.1, 0.1, 0.3], np.float32)
  kernel = tf.Variable(values[rng.randint(0, 4, (3, 3, 8, 8))])
  mask = rng.rand(3, 3, 8, 8) < 0.5
  constraint = constraints.Constraint(
    kernel, np.ones(mask.shape, bool), clusters.members(kernel.numpy())
  )
  constraint.set_mask(mask)
  before = kernel.numpy()
  for _ in range(20):
    constraint.apply()
  np.testing.assert_array_equal(kernel, before)
  assert set(np.unique(kernel)) == {0, *values}


def test_a_kernel_that_begins_as_zeros_is_free():
  zeros = tf.Variable(tf.zeros((8, 4)))
  assert constraints.preserving({'head': zeros}) == []


def test_the_few_weights_that_pruning_leaves_are_no_clusters():
  kernel = np.zeros((3, 3, 16, 16), np.float32)
  kernel.flat[:100] = np.random.RandomState(0).randn(100)
  assert clusters.counts({'conv': kernel}) == {}


@pytest.mark.parametrize('nonzero', [0, 1, 3])
def test_clustering_what_has_fewer_values_changes_nothing(nonzero):
  kernel = np.zeros((3, 3, 4, 4), np.float32)
  kernel.flat[:nonzero] = np.arange(1, nonzero + 1)
  got = cluster.clustered(kernel, configs.ClusterConfig(16))
  np.testing.assert_array_equal(got, kernel)


def test_the_zeros_a_layer_begins_with_are_not_kept():
  assert constraints.mask_of_zeros(np.zeros((4, 4))).all()
  assert clusters.members(np.zeros((8, 8), np.float32)) is None
  assert constraints.mask_of_zeros(np.eye(2)).tolist() == np.eye(2).tolist()
