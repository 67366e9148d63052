"""Proves that a converted file kept the structure of its parent's kernels.

Pruning leaves zeros and clustering leaves few values; a conversion that rounds
one channel unlike another, or moves a zero, loses what training paid for. So
the file's own tensors are compared with the kernels, weight by weight. Batch
normalization, folded into the kernels, scales each output channel by one
number: zeros stay zeros, and equal values of a channel stay equal.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfcompress.conversion import layer_names
from tfcompress.models import clusters
from tfcompress.runtimes import tflite_file


@dataclasses.dataclass(frozen=True)
class PreservedLayer:
  """What a file has of a layer's kernel.

  Attributes:
    name: of the layer.
    dtype: of the numbers, such as 'int8'.
    zeros: share of zeros.
    clusters: the most distinct values of any output channel.
  """

  name: str
  dtype: str
  zeros: float
  clusters: int


def check(
  kernels: Mapping[str, np.ndarray], path: str
) -> tuple[PreservedLayer, ...]:
  """Compares every kernel with the weights that a file made of it.

  Args:
    kernels: by layer name, in the model's order: (H, W, I, O) of a Conv2D,
      (H, W, C, M) of a DepthwiseConv2D, (I, O) of a Dense layer.
    path: a `.tflite`, or an export folder with one.

  Raises:
    ValueError: a kernel has no weights in the file, a zero of a kernel is none
      there, or an output channel of a clustered kernel has more distinct values
      there; it names the layer.
  """
  found = _matched(kernels, tflite_file.weights(path), path)
  layers = []
  for name, weight in found.items():
    _require_zeros(name, kernels[name], weight, path)
    layers.append(_layer(name, kernels[name], weight, path))
  return tuple(layers)


def _matched(
  kernels: Mapping[str, np.ndarray],
  weights: Sequence[tflite_file.Weight],
  path: str,
) -> dict[str, tflite_file.Weight]:
  """The weights of each kernel: of its name, else in order of its shape."""
  free = list(weights)
  layers = layer_names.LayerNames(kernels, kernels)
  is_named = lambda name, weight: layers.of(weight.name) == name
  found = {}
  for is_its in (is_named, lambda name, weight: True):
    for name, kernel in kernels.items():
      fitting = [
        index
        for index, weight in enumerate(free)
        if weight.values.shape == kernel.shape and is_its(name, weight)
      ]
      if name not in found and fitting:
        found[name] = free.pop(fitting[0])
  for name, kernel in kernels.items():
    if name not in found:
      shapes = [w.values.shape for w in weights if is_named(name, w)]
      raise ValueError(
        f'{path}: layer {name} has a kernel of shape {kernel.shape} but no '
        f'weights of that shape in the file, which has {shapes or "none"} of '
        'that name; convert this very parent'
      )
  return {name: found[name] for name in kernels}


def _require_zeros(name, kernel, weight, path) -> None:
  """Raises ValueError where a zero of the kernel is another number."""
  zeros = kernel == 0
  drifted = int((zeros & ~_is_zero(weight)).sum())
  if drifted:
    raise ValueError(
      f'{path}: zeros drifted: of the {int(zeros.sum())} zeros in layer {name} '
      f'{drifted} are none in the file ({weight.dtype}), expected 0; choose '
      'another --variant, or convert this very parent'
    )


def _layer(name, kernel, weight, path) -> PreservedLayer:
  """Counts, and raises ValueError where a cluster fell apart."""
  depthwise = weight.operator == 'depthwise_conv_2d'
  outputs = int(np.prod(kernel.shape[2:])) if depthwise else kernel.shape[-1]
  in_file = _distinct(weight.values, outputs)
  if clusters.members(kernel) is not None:
    in_parent = _distinct(kernel, outputs)
    grown = in_file > in_parent
    if grown.any():
      worst = int((in_file - in_parent).argmax())
      raise ValueError(
        f'{path}: clusters drifted: {int(grown.sum())} of the {outputs} output '
        f'channels of layer {name} have more distinct values in the file '
        f'({weight.dtype}) than in its kernel, channel {worst} has '
        f'{in_file[worst]}, expected at most {in_parent[worst]}; choose another '
        '--variant, or convert this very parent'
      )
  return PreservedLayer(
    name=name,
    dtype=weight.dtype,
    zeros=float(_is_zero(weight).mean()),
    clusters=int(in_file.max()),
  )


def _is_zero(weight: tflite_file.Weight) -> np.ndarray:
  """Which numbers of the file stand for zero."""
  zero = 0 if weight.zero_point is None else weight.zero_point
  return weight.values == zero


def _distinct(values: np.ndarray, outputs: int) -> np.ndarray:
  """Distinct values of each output channel, (outputs,)."""
  channels = np.sort(values.reshape(-1, outputs).T, axis=1)
  return 1 + (channels[:, 1:] != channels[:, :-1]).sum(axis=1)
