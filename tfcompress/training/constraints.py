"""What training must not undo: zeros stay zeros, clusters stay clusters."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfcompress.models import clusters as clusters_lib


class Constraint:
  """Keeps one kernel to its pattern; call `apply` after every update.

  Clusters keep their members; a cluster's value is the mean of its members, so
  it moves by the mean of their gradients (Han 2016, section 3).
  """

  def __init__(
    self,
    kernel: tf.Variable,
    mask: np.ndarray | None = None,
    clusters: np.ndarray | None = None,
  ):
    """Makes a constraint.

    Args:
      kernel: of any shape.
      mask: bool, of that shape: False is held at zero.
      clusters: int, of that shape: the cluster of each weight, from 0.
    """
    self.kernel = kernel
    self._mask = None
    if mask is not None:
      self._mask = tf.Variable(mask, trainable=False, name='mask')
    self._clusters = None
    if clusters is not None:
      self._count = int(clusters.max()) + 1
      self._clusters = tf.constant(clusters.reshape(-1), tf.int32)

  def set_mask(self, mask: np.ndarray) -> None:
    """Replaces the mask, bool of the kernel's shape, and applies it."""
    self._mask.assign(mask)
    self.apply()

  def apply(self) -> None:
    """Brings the kernel back to its pattern; works in a graph too."""
    value = tf.convert_to_tensor(self.kernel)
    if self._clusters is not None:
      means = tf.math.unsorted_segment_mean(
        tf.reshape(value, [-1]), self._clusters, self._count
      )
      value = tf.reshape(tf.gather(means, self._clusters), value.shape)
    if self._mask is not None:
      value = tf.where(self._mask, value, 0.0)
    self.kernel.assign(value)


def preserving(kernels: Mapping[str, tf.Variable]) -> list[Constraint]:
  """Returns constraints that keep what zeros and clusters the kernels have."""
  found = []
  for kernel in kernels.values():
    values = kernel.numpy()
    mask = values != 0
    clusters = clusters_lib.members(values)
    if clusters is not None or not mask.all():
      mask = None if mask.all() else mask
      found.append(Constraint(kernel, mask, clusters))
  return found
