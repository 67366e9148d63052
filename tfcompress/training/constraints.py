"""What training must not undo: zeros stay zeros, clusters stay clusters."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfcompress.models import clusters as clusters_lib


class Constraint:
  """Keeps one kernel to its pattern; call `apply` after every update.

  Clusters keep their members; a cluster's value moves by the mean of what its
  members moved by, and so by the mean of their gradients (Han 2016, section 3).
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
      self._clusters = _Clusters(kernel.numpy(), clusters, mask)

  def set_mask(self, mask: np.ndarray) -> None:
    """Replaces the mask, bool of the kernel's shape, and applies it."""
    self._mask.assign(mask)
    if self._clusters is not None:
      self._clusters.set_mask(mask)
    self.apply()

  def apply(self) -> None:
    """Brings the kernel back to its pattern; works in a graph too."""
    value = tf.convert_to_tensor(self.kernel)
    if self._mask is not None:
      value = tf.where(self._mask, value, 0.0)
    if self._clusters is not None:
      value = self._clusters.moved(value)
    if self._mask is not None:
      value = tf.where(self._mask, value, 0.0)
    self.kernel.assign(value)


class _Clusters:
  """The values that a kernel's weights share; weights held at zero do not."""

  def __init__(
    self, kernel: np.ndarray, members: np.ndarray, mask: np.ndarray | None
  ):
    self._members = tf.constant(members.reshape(-1), tf.int32)
    self._count = int(members.max()) + 1
    self._active = tf.Variable(np.ones(members.size, bool), trainable=False)
    self._sizes = tf.Variable(np.ones(self._count), trainable=False)
    self.set_mask(np.ones(members.shape, bool) if mask is None else mask)
    first = np.unique(members, return_index=True)[1]
    self._values = tf.Variable(kernel.reshape(-1)[first], trainable=False)

  def set_mask(self, mask: np.ndarray) -> None:
    active = mask.reshape(-1)
    sizes = np.bincount(self._members.numpy()[active], minlength=self._count)
    self._active.assign(active)
    self._sizes.assign(np.maximum(sizes, 1))

  def moved(self, kernel: tf.Tensor) -> tf.Tensor:
    """Moves every cluster to the mean of its members; returns the kernel.

    Sums of changes in float64: of thousands of nearly equal values float32
    would keep the rounding errors only.
    """
    change = tf.reshape(kernel, [-1]) - tf.gather(self._values, self._members)
    change = tf.cast(tf.where(self._active, change, 0.0), tf.float64)
    count = self._count
    sums = tf.math.bincount(self._members, change, count, count)
    self._values.assign_add(tf.cast(sums / self._sizes, tf.float32))
    return tf.reshape(tf.gather(self._values, self._members), kernel.shape)


def mask_of_zeros(kernel: np.ndarray) -> np.ndarray:
  """Returns a bool mask, False where a kernel has a zero to be kept.

  A kernel that is all zeros is how a layer begins, not a pattern.
  """
  return (kernel != 0) | (not kernel.any())


def preserving(kernels: Mapping[str, tf.Variable]) -> list[Constraint]:
  """Returns constraints that keep what zeros and clusters the kernels have."""
  found, zeros, shared = [], [], []
  for name, kernel in kernels.items():
    mask = mask_of_zeros(kernel.numpy())
    clusters = clusters_lib.members(kernel.numpy())
    zeros += [] if mask.all() else [name]
    shared += [] if clusters is None else [name]
    if clusters is not None or not mask.all():
      mask = None if mask.all() else mask
      found.append(Constraint(kernel, mask, clusters))
  if found:
    print(f'kept: zeros of {len(zeros)}, clusters of {len(shared)} layers')
  return found
