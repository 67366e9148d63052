"""A model of either Keras as one flat list of calls, submodels taken apart.

Both Kerases describe a functional model by its config. A tensor in it is
[layer, node, index, arguments] in that of tf_keras and a "__keras_tensor__"
with the first three in that of Keras 3.
"""

import dataclasses
import numbers
import re
from collections.abc import Callable, Iterator

IMAGE = ''  # stands for the model's input among the inputs of a call
MODELS = ('Functional', 'Sequential', 'Model')  # that have known calls

_NO_CALLS = ('InputLayer', 'Identity', 'ActivityRegularization')
_OPERATION_LAYERS = ('TFOpLambda', 'SlicingOpLambda', 'TensorFlowOpLayer')
_CONSTANT = '_CONSTANT_VALUE'  # in place of a tensor's layer, in tf_keras


class Names:
  """The layer names of one model."""

  def __init__(self):
    self._taken = set()

  def claim(self, name: str, prefix: str = '') -> str:
    """Takes and returns `name`, or one made of it if it is taken."""
    # Keras 3 takes names that tf_keras does not.
    name = re.sub(r'[^A-Za-z0-9_.\\/>-]', '_', name)
    if not re.match('[A-Za-z0-9.]', name):
      name = f'layer{name}'
    if name in self._taken and prefix:
      name = f'{prefix}_{name}'
    free, number = name, 1
    while free in self._taken:
      number += 1
      free = f'{name}_{number}'
    self._taken.add(free)
    return free


@dataclasses.dataclass(frozen=True)
class Call:
  """One call of one layer.

  Attributes:
    layer: a layer, or a bare operation such as `x + y`, of either Keras.
    name: unique in the flat model.
    inputs: names of the calls whose outputs it takes, IMAGE, or numbers.
  """

  layer: object
  name: str
  inputs: tuple[object, ...]


@dataclasses.dataclass(frozen=True)
class Flat:
  """A model as a list of calls.

  Attributes:
    calls: in the order of computation.
    output: name of the call whose output is the model's.
    names: of all calls.
  """

  calls: list[Call]
  output: str
  names: Names


@dataclasses.dataclass(frozen=True)
class _Node:
  """A call as the model around it describes it."""

  layer: object
  inputs: tuple[object, ...]


def flatten(model) -> Flat:
  """Returns the calls of a functional or Sequential model of one input.

  Left out is what does nothing at inference: linear activations and random
  augmentation, but not dropout and noise.

  Raises:
    ValueError: a layer called more than once or with arguments of its own, or
      a submodel of several inputs or outputs.
  """
  flat = Flat([], '', Names())
  output = _walk(model, IMAGE, flat)
  seen = set()
  for call in flat.calls:
    if id(call.layer) in seen:
      raise ValueError(_shared(call.layer.name))
    seen.add(id(call.layer))
  return dataclasses.replace(flat, output=output)


def build(
  flat: Flat, image, make: Callable[[Call, list[object], Names], object]
):
  """Returns the output of a flat model made anew on `image`.

  Args:
    flat: the model.
    image: a tf_keras tensor.
    make: returns a call's output of the call, its input tensors and the names.
  """
  tensors = {IMAGE: image}
  for call in flat.calls:
    inputs = [tensors[x] if isinstance(x, str) else x for x in call.inputs]
    tensors[call.name] = make(call, inputs, flat.names)
  return tensors[flat.output]


def is_model(layer) -> bool:
  """Whether it is a functional or Sequential model, of which calls are known."""
  return type(layer).__name__ in MODELS and is_of_keras(layer)


def is_of_keras(layer) -> bool:
  """Whether it is one of Keras's own layers, or a bare operation."""
  return type(layer).__module__.split('.')[0] in ('keras', 'tf_keras')


def operation_of(layer) -> str:
  """Name of a bare operation, in lower case; '' of a layer."""
  if type(layer).__name__ in _OPERATION_LAYERS:
    function = layer.get_config().get('function', 'unknown')
    return function.rpartition('.')[2].lower()
  bare = type(layer).__module__.startswith('keras.src.ops')
  return type(layer).__name__.lower() if bare else ''


def _walk(model, source: str, flat: Flat) -> str:
  """Appends a model's calls on `source`; returns the name of its output."""
  nodes, output = _nodes(model)
  names = {
    name: flat.names.claim(name, model.name)
    for name, node in nodes.items()
    if not _leaves_no_call(node.layer)
  }
  tensors = {IMAGE: source}
  for name, node in nodes.items():
    inputs = tuple(tensors[x] if isinstance(x, str) else x for x in node.inputs)
    if type(node.layer).__name__ == 'InputLayer':
      tensors[name] = source
    elif is_model(node.layer):
      tensors[name] = _walk(node.layer, _only(inputs, name, 'inputs'), flat)
    elif _leaves_no_call(node.layer):
      tensors[name] = _only(inputs, name, 'inputs')
    else:
      flat.calls.append(Call(node.layer, names[name], inputs))
      tensors[name] = names[name]
  return tensors[output]


def _leaves_no_call(layer) -> bool:
  """Whether it is a model, its input, or nothing at inference."""
  kind = type(layer).__name__
  if not is_of_keras(layer):
    return False
  if kind == 'Activation':
    return getattr(layer.activation, '__name__', '') == 'linear'
  augments = kind.startswith('Random') and kind != 'RandomCrop'
  return augments or is_model(layer) or kind in _NO_CALLS


def _nodes(model) -> tuple[dict[str, _Node], str]:
  """A model's calls by name, in the order of computation, and its output."""
  if type(model).__name__ == 'Sequential':
    names = [IMAGE] + [layer.name for layer in model.layers]
    chain = {
      layer.name: _Node(layer, (before,))
      for before, layer in zip(names, model.layers)
    }
    return chain, names[-1]
  config = model.get_config()
  layers = {x.name: x for x in getattr(model, 'operations', model.layers)}
  nodes = {
    entry['name']: _node(layers[entry['name']], entry['inbound_nodes'])
    for entry in config['layers']
  }
  outputs = tuple(_tensors(config['output_layers']))
  return nodes, _only(outputs, model.name, 'outputs')


def _node(layer, calls: list) -> _Node:
  if len(calls) > 1:
    raise ValueError(_shared(layer.name))
  inputs = tuple(_tensors(calls))
  if not operation_of(layer):
    for key, value in _arguments(calls):
      if not _is_neutral(key, value):
        raise ValueError(
          f'layer {layer.name} is called with {key}={value!r}, expected a call '
          'on its inputs alone'
        )
    if not all(isinstance(x, str) for x in inputs):
      raise ValueError(
        f'layer {layer.name} is called with a constant, expected outputs of '
        'other layers'
      )
  return _Node(layer, inputs)


def _arguments(calls: list) -> Iterator[tuple[str, object]]:
  """The keyword arguments in the description of calls.

  Without `training` in Keras 3, where that of the whole model's call wins.
  """
  for call in calls:
    if isinstance(call, dict):
      yield from (x for x in call['kwargs'].items() if x[0] != 'training')
    else:
      for tensor in call:
        yield from tensor[3].items()


def _is_neutral(key: str, value) -> bool:
  """Whether an argument of a call changes nothing at inference."""
  if key == 'mask':
    masks = value if isinstance(value, list) else [value]
    return all(mask is None for mask in masks)
  return key == 'training' and not value


def _tensors(value) -> Iterator[object]:
  """Names of tensors, and numbers, in the description of a call."""
  if isinstance(value, dict):
    yield from _tensors_of_dict(value)
  elif isinstance(value, numbers.Number) and not isinstance(value, bool):
    yield value
  elif isinstance(value, (list, tuple)) and value:
    if isinstance(value[0], str) and len(value) > 2:
      yield value[2] if value[0] == _CONSTANT else value[0]
      yield from _tensors(value[3:])
    elif all(isinstance(x, numbers.Number) for x in value):
      yield list(value)
    else:
      for item in value:
        yield from _tensors(item)


def _tensors_of_dict(value: dict) -> Iterator[object]:
  """The same in Keras 3's own objects and in keyword arguments."""
  kind = value.get('class_name')
  if kind == '__keras_tensor__':
    yield value['config']['keras_history'][0]
  elif kind in ('__tensor__', '__numpy__'):
    yield value['config']['value']
  else:
    for item in value.values():
      yield from _tensors(item)


def _only(items: tuple, name: str, what: str):
  if len(items) != 1:
    raise ValueError(f'{name} has {len(items)} {what}, expected one')
  return items[0]


def _shared(name: str) -> str:
  return (
    f'layer {name} is called more than once, expected once: give every place '
    'a layer of its own'
  )
