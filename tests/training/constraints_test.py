import numpy as np
import pytest
import tensorflow as tf

from tfcompress.core import configs
from tfcompress.models import clusters
from tfcompress.training import cluster, constraints

RNG = np.random.RandomState(0)


def test_zeros_stay_and_the_rest_moves():
  kernel = tf.Variable(RNG.randn(3, 3, 2, 4).astype(np.float32))
  mask = RNG.rand(3, 3, 2, 4) < 0.5
  kernel.assign(np.where(mask, kernel, 0))
  (constraint,) = constraints.preserving({'conv': kernel})
  step = RNG.randn(3, 3, 2, 4).astype(np.float32)
  before = kernel.numpy()
  kernel.assign_add(step)
  tf.function(constraint.apply)()
  np.testing.assert_array_equal(kernel, np.where(mask, before + step, 0))


def test_a_cluster_moves_by_the_mean_of_its_members():
  values = np.array([-1.0, 0.0, 0.5, 2.0], np.float32)
  members = RNG.randint(0, 4, (6, 5))
  kernel = tf.Variable(values[members])
  (constraint,) = constraints.preserving({'dense': kernel})
  step = RNG.randn(6, 5).astype(np.float32)
  kernel.assign_add(step)
  constraint.apply()
  for index, value in enumerate(values):
    own = members == index
    expected = 0.0 if value == 0 else value + step[own].mean()
    np.testing.assert_allclose(kernel.numpy()[own], expected, rtol=1e-5)
  assert len(np.unique(kernel)) == 4


def test_an_ordinary_kernel_is_not_held():
  kernel = tf.Variable(RNG.randn(3, 3, 8, 8).astype(np.float32))
  assert constraints.preserving({'conv': kernel}) == []


def test_what_counts_as_clustered():
  few = RNG.randint(0, 16, (3, 3, 4, 8)).astype(np.float32)
  many = RNG.randn(3, 3, 4, 8).astype(np.float32)
  small = np.arange(8, dtype=np.float32)
  assert clusters.counts({'few': few, 'many': many, 'small': small}) == {
    'few': 16
  }


@pytest.mark.parametrize('centroids', configs.Centroids)
@pytest.mark.parametrize('count', [2, 3, 16])
def test_clustering_keeps_zeros_and_counts(count, centroids):
  kernel = RNG.randn(3, 3, 8, 16).astype(np.float32)
  kernel[RNG.rand(*kernel.shape) < 0.5] = 0
  config = configs.ClusterConfig(count, centroids)
  got = cluster.clustered(kernel, config)
  np.testing.assert_array_equal(got == 0, kernel == 0)
  assert len(np.unique(got)) <= count
  for value in np.unique(got[got != 0]):
    # Every cluster's value is the mean of its members.
    assert kernel[got == value].mean() == pytest.approx(value, rel=1e-4)


def test_kmeans_comes_close_to_the_kernel():
  """16 levels of a normal distribution: Max 1960 has 0.95 % at the best."""
  kernel = RNG.randn(3, 3, 64, 64).astype(np.float32)
  got = cluster.clustered(kernel, configs.ClusterConfig(16))
  error = np.square(got - kernel).sum() / np.square(kernel).sum()
  assert 0.0093 < error < 0.012
