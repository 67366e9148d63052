"""Stage `cluster`: few distinct values in every kernel of a parent (Han 2016).

TF-MOT chooses the centroids and who belongs to which. Then the network trains
on: a cluster keeps its members and moves by the mean of their gradients. Zeros
of the parent are a cluster of their own and stay zeros.
"""

import numpy as np
import tf_keras

from tfcompress.core import configs
from tfcompress.models import clusters, graph
from tfcompress.training import constraints, trainee
from tfcompress.training import job as job_lib

_INITIAL = {
  configs.Centroids.LINEAR: 'LINEAR',
  configs.Centroids.RANDOM: 'RANDOM',
  configs.Centroids.DENSITY: 'DENSITY_BASED',
  configs.Centroids.KMEANS: 'KMEANS_PLUS_PLUS',
}


def prepare(job: job_lib.Job) -> trainee.Trainee:
  """Returns the network with every kernel made of cluster centroids.

  Raises:
    ValueError: a pattern that matches no layer, or kernels too small.
  """
  config = job.config.cluster
  network = job.trainable(job.model)
  kernels = graph.kernels(network)
  excluded = graph.matching(kernels, job.config.exclude)
  small = {
    name
    for name, kernel in kernels.items()
    if clusters.most(np.count_nonzero(kernel)) < config.clusters
  }
  if small:
    print(f'too few weights for {config.clusters} clusters: {", ".join(small)}')
  if not kernels.keys() - small - excluded:
    raise ValueError(
      f'--clusters={config.clusters} and --exclude={",".join(excluded)} leave '
      f'no layer with weights enough to cluster'
    )
  for name, kernel in kernels.items():
    if name not in small | excluded:
      kernel.assign(clustered(kernel.numpy(), config))
  return trainee.Trainee(network, tuple(constraints.preserving(kernels)))


def clustered(kernel: np.ndarray, config: configs.ClusterConfig) -> np.ndarray:
  """Returns a kernel of at most `config.clusters` values, its zeros kept."""
  result = np.zeros_like(kernel)
  weights = kernel[kernel != 0]
  count = config.clusters - (weights.size < kernel.size)
  result[kernel != 0] = _nearest_centroids(weights, count, config.centroids)
  return result


def _nearest_centroids(
  weights: np.ndarray, count: int, centroids: configs.Centroids
) -> np.ndarray:
  """Each of the weights (N,) as the mean of the cluster TF-MOT puts it in."""
  if len(np.unique(weights)) <= count:
    return weights
  if count == 1:  # TF-MOT wants two.
    return np.full_like(weights, weights.mean())
  # Here, since it takes most of a second and other stages do without.
  import tensorflow_model_optimization as tfmot

  library = tfmot.clustering.keras
  layer = tf_keras.layers.Dense(1, use_bias=False)
  model = tf_keras.Sequential([tf_keras.Input((weights.size,)), layer])
  layer.set_weights([weights[:, None]])
  wrapped = library.cluster_weights(
    model, count, library.CentroidInitialization[_INITIAL[centroids]]
  )
  stripped = library.strip_clustering(wrapped)
  nearest = stripped.layers[-1].get_weights()[0][:, 0]
  _, members = np.unique(nearest, return_inverse=True)
  means = np.bincount(members, weights) / np.bincount(members)
  return means.astype(np.float32)[members]
