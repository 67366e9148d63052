"""Kernels of few distinct values."""

from collections.abc import Mapping

import numpy as np

_MOST = 256
_WEIGHTS_EACH = 4  # a kernel with fewer weights per value gains nothing


def members(kernel: np.ndarray) -> np.ndarray | None:
  """Returns the cluster of each weight, or None if a kernel has no clusters.

  A kernel is clustered if it has at most 256 distinct values, and four weights
  or more for each that is not zero: the few weights that heavy pruning leaves
  are no clusters, nor is a kernel of one value. Clusters are numbered from 0 in
  the order of their values.
  """
  if len(np.unique(kernel.reshape(-1)[: 4 * _MOST])) > _MOST:
    return None  # The usual case, without sorting millions of weights.
  distinct, found = np.unique(kernel, return_inverse=True)
  nonzero = np.count_nonzero(kernel)
  if not 1 < len(distinct) <= _MOST or np.count_nonzero(distinct) > most(
    nonzero
  ):
    return None
  return found.reshape(kernel.shape)


def most(parameters: int) -> int:
  """The most clusters that so many weights can have."""
  return parameters // _WEIGHTS_EACH


def counts(kernels: Mapping[str, np.ndarray]) -> dict[str, int]:
  """Returns the number of distinct values of the kernels that are clustered."""
  return {
    name: int(found.max()) + 1
    for name, kernel in kernels.items()
    if (found := members(kernel)) is not None
  }
