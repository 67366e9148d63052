"""Masks: which weights of kernels stay, as arrays of the kernels' shapes.

A granularity says what stays or goes as a whole and is written in one word.

| word | unit | zeros |
|---|---|---|
| element | each weight alone | the share asked for |
| 2:4 | each weight alone | 2 among every 4 consecutive ones, always |
| 4x1 | a block of 4 x 1 weights | the share asked for |

Consecutive weights of M:N lie along the input channels, the axis that is
contiguous in a `.tflite` (O, H, W, I) and that sparse hardware reads (Mishra
2021, https://arxiv.org/abs/2104.08378). A block R x C lies in the kernel seen
as the matrix (H * W * I, O): R along the input side, C output channels.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

_MOST_AMONG = 64


@dataclasses.dataclass(frozen=True)
class Granularity:
  """What of a kernel stays or goes as a whole.

  Attributes:
    block: weights along the input side, output channels; (1, 1) is each weight
      alone.
    zeros_among: (M, N), M zeros among every N consecutive weights along the
      input channels; None where the share of zeros is free.
  """

  block: tuple[int, int] = (1, 1)
  zeros_among: tuple[int, int] | None = None

  def __str__(self) -> str:
    if self.zeros_among:
      return '{}:{}'.format(*self.zeros_among)
    return 'element' if self.block == (1, 1) else '{}x{}'.format(*self.block)


ELEMENT = Granularity()


def parse(text: str) -> Granularity:
  """Reads 'element', an M:N such as '2:4' or a block such as '4x1'.

  Raises:
    ValueError: anything else.
  """
  if text == 'element':
    return ELEMENT
  found = re.fullmatch(r'(\d{1,6})([:x])(\d{1,6})', text, re.ASCII)
  if found:
    first, second = int(found[1]), int(found[3])
    if found[2] == ':' and 0 < first < second <= _MOST_AMONG:
      return Granularity(zeros_among=(first, second))
    if found[2] == 'x' and min(first, second) > 0 and first * second > 1:
      return Granularity(block=(first, second))
  raise ValueError(
    f'granularity {text!r}: expected element, M:N such as 2:4 (M zeros among '
    f'N weights, 0 < M < N <= {_MOST_AMONG}), or a block RxC such as 4x1, '
    'larger than 1x1'
  )


def fits(
  granularity: Granularity,
  kernel_shape: Sequence[int],
  depthwise: bool = False,
) -> bool:
  """Whether a kernel divides into whole units.

  Args:
    granularity: the units.
    kernel_shape: (H, W, I, O) of a Conv2D, (I, O) of a Dense layer, or
      (H, W, C, M) of a DepthwiseConv2D.
    depthwise: whether it is the last: each of its filters sees one input
      channel, so nothing but 'element' fits.
  """
  if granularity == ELEMENT:
    return True
  if depthwise:
    return False
  *window, inputs, outputs = kernel_shape
  if granularity.zeros_among:
    return inputs % granularity.zeros_among[1] == 0
  rows, columns = granularity.block
  return math.prod(window) * inputs % rows == 0 and outputs % columns == 0


def share_of_zeros(granularity: Granularity, sparsity: float) -> float:
  """The share of zeros that a mask has where `sparsity` is asked for."""
  if granularity.zeros_among:
    zeros, among = granularity.zeros_among
    return zeros / among
  return sparsity


def magnitude(
  kernel: np.ndarray, sparsity: float, granularity: Granularity
) -> np.ndarray:
  """Masks the smallest weights of one kernel (Zhu & Gupta 2017).

  The number of units that stay is rounded as TensorFlow Model Optimization
  rounds it, at least one, and units as large as the smallest of them stay too:
  for the same weights the mask is the same.

  Args:
    kernel: (H, W, I, O) or (I, O).
    sparsity: share of units to mask, 0 <= sparsity < 1; M:N has its own.
    granularity: the units; a block counts by the mean of its magnitudes.

  Returns:
    bool, of the kernel's shape; True stays.

  Raises:
    ValueError: a sparsity out of range, or a kernel that the units do not fit.
  """
  _require(kernel.shape, sparsity, granularity)
  if granularity.zeros_among:
    return _zeros_among(kernel, *granularity.zeros_among)
  scores = _scores(kernel, granularity)
  masked = scores.size - _kept(scores.size, sparsity)
  threshold = np.partition(scores, masked, axis=None)[masked]
  return _spread(scores >= threshold, kernel.shape, granularity)


def global_magnitude(
  kernels: Mapping[str, np.ndarray],
  sparsity: float,
  granularity: Granularity,
) -> dict[str, np.ndarray]:
  """Masks the smallest weights of all kernels together (Han 2015).

  Units have the same size in every kernel, so that one threshold on their mean
  magnitudes masks the share `sparsity` of all weights, to within a unit. Of
  equals the first stays, in the order of `kernels` and then of the elements.
  The largest unit of each kernel stays whatever its size: a kernel of zeros
  would cut the network in two.

  Args:
    kernels: by name, (H, W, I, O) or (I, O).
    sparsity: share of all units to mask, 0 <= sparsity < 1; M:N has its own,
      and masks each kernel for itself.
    granularity: the units.

  Returns:
    bool masks by name; True stays.

  Raises:
    ValueError: a sparsity out of range, or a kernel that the units do not fit;
      it names the kernel.
  """
  for name, kernel in kernels.items():
    _require(kernel.shape, sparsity, granularity, name)
  if granularity.zeros_among or not kernels:
    return {
      name: magnitude(kernel, sparsity, granularity)
      for name, kernel in kernels.items()
    }
  scores = {name: _scores(k, granularity) for name, k in kernels.items()}
  for score in scores.values():
    score.flat[score.argmax()] = np.inf
  together = np.concatenate([score.ravel() for score in scores.values()])
  stays = _largest(together, max(_kept(together.size, sparsity), len(kernels)))
  ends = np.cumsum([score.size for score in scores.values()])[:-1]
  return {
    name: _spread(
      part.reshape(scores[name].shape), kernels[name].shape, granularity
    )
    for name, part in zip(kernels, np.split(stays, ends))
  }


def _require(shape, sparsity, granularity, name='') -> None:
  """Raises ValueError for what cannot be masked."""
  if not 0 <= sparsity < 1:
    raise ValueError(
      f'sparsity {sparsity:g}: expected a share from 0 to below 1'
    )
  if not fits(granularity, shape):
    raise ValueError(
      f'{name or "a kernel"} of shape {tuple(shape)} does not divide into '
      f'{granularity}; leave it out or choose another granularity'
    )


def _kept(units: int, sparsity: float) -> int:
  """How many units stay, in the float32 arithmetic of TF-MOT."""
  share = np.float32(1) - np.float32(sparsity)
  return max(int(np.round(np.float32(units) * share)), 1)


def _largest(scores: np.ndarray, count: int) -> np.ndarray:
  """True for the `count` largest of (K,) scores; of equals the first."""
  masked = scores.size - count
  threshold = np.partition(scores, masked)[masked]
  stays = scores > threshold
  equals = np.flatnonzero(scores == threshold)
  stays[equals[: count - np.count_nonzero(stays)]] = True
  return stays


def _scores(kernel: np.ndarray, granularity: Granularity) -> np.ndarray:
  """Mean magnitudes of the units, (H * W * I / R, O / C)."""
  rows, columns = granularity.block
  outputs = kernel.shape[-1]
  magnitudes = np.abs(kernel).reshape(-1, outputs)
  if granularity == ELEMENT:
    return magnitudes
  blocks = magnitudes.reshape(-1, rows, outputs // columns, columns)
  return blocks.mean(axis=(1, 3))


def _spread(
  stays: np.ndarray, shape: Sequence[int], granularity: Granularity
) -> np.ndarray:
  """A mask of units as a mask of weights."""
  for axis, size in enumerate(granularity.block):
    stays = np.repeat(stays, size, axis=axis) if size > 1 else stays
  return stays.reshape(shape)


def _zeros_among(kernel: np.ndarray, zeros: int, among: int) -> np.ndarray:
  """Masks `zeros` of `among` along the input channels; of equals the last."""
  groups = np.abs(kernel).reshape(-1, among, kernel.shape[-1])
  order = np.argsort(-groups, axis=1, kind='stable')
  stays = np.zeros(groups.shape, bool)
  np.put_along_axis(stays, order[:, : among - zeros], True, axis=1)
  return stays.reshape(kernel.shape)
