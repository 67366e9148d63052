"""Which channels of a network must stay or go together.

Every channel of every tensor has an id. Convolutions and dense layers make new
ids, most layers pass theirs on, and an addition makes those of its summands
one. What ends with the same id is one channel to a surgeon: a residual stream
is the sum of many convolutions, and loses a channel in all of them or in none.
"""

import dataclasses

import numpy as np
import tf_keras

from tfcompress.models import graph

_PASSING = {
  'Activation', 'AveragePooling2D', 'BatchNormalization', 'Cropping2D',
  'Dropout', 'ELU', 'GlobalAveragePooling2D', 'GlobalMaxPooling2D',
  'LeakyReLU', 'MaxPooling2D', 'PReLU', 'ReLU', 'Rescaling', 'Resizing',
  'Softmax', 'SpatialDropout2D', 'UpSampling2D', 'ZeroPadding2D',
}  # fmt: skip
_JOINING = {'Add', 'Average', 'Maximum', 'Multiply', 'Subtract'}
_OTHERS = {
  'Concatenate', 'Conv2D', 'Dense', 'DepthwiseConv2D', 'Flatten', 'Reshape',
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Group:
  """Channels that the same layers make, and that go one by one.

  Attributes:
    layers: the convolutions and dense layers whose outputs are tied.
    ids: of its channels, in the order of the first layer's outputs.
  """

  layers: tuple[str, ...]
  ids: np.ndarray

  @property
  def name(self) -> str:
    more = len(self.layers) - 1
    return self.layers[0] + (f' and {more} more' if more else '')


@dataclasses.dataclass(frozen=True)
class Channels:
  """The channels of a network.

  Attributes:
    inputs: by layer, the id of each of its input channels; the first input's
      where there are several.
    outputs: by layer, the id of each of its output channels.
    groups: those that may be removed: all but the image's and the classes'.
    count: ids are below this.
  """

  inputs: dict[str, np.ndarray]
  outputs: dict[str, np.ndarray]
  groups: tuple[Group, ...]
  count: int


def of(model: tf_keras.Model) -> Channels:
  """Follows the channels through a functional model.

  Raises:
    ValueError: a layer that cannot be followed, by name.
  """
  ids = _Ids()
  inputs, outputs = {}, {}
  for name, sources in graph.inputs_of(model).items():
    layer = model.get_layer(name)
    arriving = [outputs[source] for source in sources]
    outputs[name] = _through(layer, arriving, ids)
    inputs[name] = arriving[0] if arriving else np.empty(0, np.int64)
  inputs = {name: ids.joined(array) for name, array in inputs.items()}
  outputs = {name: ids.joined(array) for name, array in outputs.items()}
  fixed = {id_ for array in _fixed(model, outputs) for id_ in array}
  return Channels(inputs, outputs, _groups(model, outputs, fixed), ids.count)


class _Ids:
  """Ids and which of them are one (disjoint sets)."""

  def __init__(self):
    self._first: list[int] = []

  @property
  def count(self) -> int:
    return len(self._first)

  def new(self, count: int) -> np.ndarray:
    start = len(self._first)
    self._first.extend(range(start, start + count))
    return np.arange(start, start + count)

  def join(self, one: np.ndarray, other: np.ndarray) -> None:
    for a, b in zip(one, other):
      a, b = self._find(a), self._find(b)
      self._first[max(a, b)] = min(a, b)

  def joined(self, array: np.ndarray) -> np.ndarray:
    return np.array([self._find(id_) for id_ in array], np.int64)

  def _find(self, id_: int) -> int:
    while self._first[id_] != id_:
      self._first[id_] = self._first[self._first[id_]]
      id_ = self._first[id_]
    return id_


def _through(layer, arriving: list[np.ndarray], ids: _Ids) -> np.ndarray:
  """The ids of a layer's output channels."""
  kind = type(layer).__name__
  if kind == 'InputLayer':
    return ids.new(layer.output_shape[0][-1])
  if kind == 'Dense' or (kind == 'Conv2D' and layer.groups == 1):
    return ids.new(layer.output_shape[-1])
  if kind == 'DepthwiseConv2D':
    return np.repeat(arriving[0], layer.depth_multiplier)
  if kind == 'Flatten':
    positions = layer.output_shape[-1] // len(arriving[0])
    return np.tile(arriving[0], positions)
  if kind == 'Concatenate' and layer.axis in (-1, len(layer.output_shape) - 1):
    return np.concatenate(arriving)
  if kind in _JOINING and len({len(array) for array in arriving}) == 1:
    for array in arriving[1:]:
      ids.join(arriving[0], array)
    return arriving[0]
  if kind in _PASSING or (kind == 'Reshape' and _keeps_channels(layer)):
    return arriving[0]
  raise ValueError(
    f'layer {layer.name} ({kind}): channels cannot be followed through it; '
    'removing channels works with '
    f'{", ".join(sorted(_PASSING | _JOINING | _OTHERS))}, convolutions '
    'without groups, and joins of equally many channels'
  )


def _keeps_channels(layer) -> bool:
  """Whether a Reshape leaves the last axis as it is, such as to (1, 1, C)."""
  return layer.input_shape[-1] == layer.output_shape[-1]


def _fixed(model, outputs: dict[str, np.ndarray]):
  """Yields the ids of the image, the classes and what has constants each."""
  for name in (*model.input_names, *model.output_names):
    yield outputs[name]
  for layer in model.layers:
    if type(layer).__name__ == 'Rescaling' and np.ndim(layer.scale):
      yield outputs[layer.name]


def _groups(model, outputs, fixed: set[int]) -> tuple[Group, ...]:
  makers = {}
  for name, array in outputs.items():
    if type(model.get_layer(name)).__name__ in ('Conv2D', 'Dense'):
      for id_ in array:
        if id_ not in fixed:
          makers.setdefault(int(id_), {})[name] = True
  groups = {}
  for id_, layers in makers.items():
    groups.setdefault(tuple(layers), []).append(id_)
  return tuple(
    Group(layers, np.array(members)) for layers, members in groups.items()
  )
