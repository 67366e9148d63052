"""Frozen `.pb` files: one GraphDef, its variables made constants."""

import pathlib
from collections.abc import Sequence

import tensorflow as tf
from google.protobuf import message

from tfcompress.runtimes import saved_models, tensorflow_call, tensors

GraphDef = tf.compat.v1.GraphDef
_INPUT = 'Placeholder'
_VARIABLES = ('Variable', 'VariableV2', 'VarHandleOp')
# Nothing reads them, and yet they are no model's output.
_NO_OUTPUTS = ('Assert', 'Const', 'NoOp', 'PlaceholderWithDefault', _INPUT)
_RANK_IN, _RANK_OUT = 4, 2
_SHOWN = 10  # candidates that an error lists


def load(path: str, input_name: str, output_name: str) -> tensorflow_call.Call:
  """Returns a frozen graph as a function.

  Args:
    path: the file.
    input_name: of a tensor or of what writes it; '' takes the only placeholder.
    output_name: likewise; '' takes the only tensor that nothing reads.

  Raises:
    ValueError: no frozen graph, or more than one that may be meant.
  """
  graph = _parsed(pathlib.Path(path))
  target = _chosen(graph, output_name, _unread(graph), 'output')
  placeholders = _placeholders(graph, target, input_name)
  source = _chosen(graph, input_name, placeholders, 'input')
  if others := sorted(set(placeholders) - {source}):
    raise ValueError(
      f'{target} takes {_listed(others)} beside {source}, expected one input; '
      'freeze the graph with constants in their place'
    )
  try:
    function = _pruned(graph, source, target)
  except (
    ValueError,
    KeyError,
    TypeError,
    tf.errors.OpError,
  ) as error:
    raise ValueError(
      f'not a frozen graph from {source} to {target} '
      f'({tensorflow_call.reason(error)})'
    ) from error
  inputs = (tensorflow_call.info(source, function.inputs[0], _RANK_IN),)
  outputs = (tensorflow_call.info(target, function.outputs[0], _RANK_OUT),)
  tensors.require_one_of_each(inputs, outputs, '')
  # Called as it is, a pruned graph of constants takes up to three times as long.
  return tensorflow_call.Call(function, inputs, outputs, traced=False)


def _parsed(file: pathlib.Path) -> GraphDef:
  content = file.read_bytes()
  if saved_models.is_saved_model(content):
    raise ValueError(
      'the graph of a SavedModel, whose variables lie beside it; give its '
      f'folder, {file.parent}'
    )
  try:
    graph = GraphDef.FromString(content)
  except message.DecodeError as error:
    raise ValueError('not a frozen graph, or a damaged one') from error
  if not graph.node:
    raise ValueError('not a frozen graph: no operators in it')
  if variables := [node.name for node in graph.node if node.op in _VARIABLES]:
    raise ValueError(
      f'a graph with variables ({_listed(variables)}), expected a frozen one; '
      'freeze it, or give a SavedModel'
    )
  return graph


def _placeholders(graph: GraphDef, target: str, source: str) -> list[str]:
  """What has to be given for a tensor, apart from what another one gives."""
  nodes = {node.name: node for node in graph.node}
  seen, wanted = {_node_of(source)}, [_node_of(target)]
  while wanted:
    name = wanted.pop()
    if name in nodes and name not in seen:
      wanted.extend(_node_of(read) for read in nodes[name].input)
    seen.add(name)
  return [
    f'{node.name}:0'
    for node in graph.node
    if node.op == _INPUT and node.name in seen
  ]


def _unread(graph: GraphDef) -> list[str]:
  """The first tensors of the operators that no other operator reads."""
  read = {_node_of(name) for node in graph.node for name in node.input}
  return [
    f'{node.name}:0'
    for node in graph.node
    if node.name not in read and node.op not in _NO_OUTPUTS
  ]


def _node_of(tensor: str) -> str:
  """The name of what writes a tensor; ^ begins one that only waits for it."""
  return tensor.lstrip('^').partition(':')[0]


def _chosen(
  graph: GraphDef, wanted: str, candidates: Sequence[str], role: str
) -> str:
  flag = f'--{role}_name'
  if wanted:
    if _node_of(wanted) in (node.name for node in graph.node):
      return wanted if ':' in wanted else f'{wanted}:0'
    raise ValueError(
      f'no tensor {wanted!r}; {flag} may be one of {_listed(candidates)}'
    )
  if len(candidates) == 1:
    return candidates[0]
  raise ValueError(
    f'{len(candidates) or "no"} tensors may be its {role} ({_listed(candidates)}); '
    f'name one with {flag}'
  )


def _listed(names: Sequence[str]) -> str:
  more = ', ...' if len(names) > _SHOWN else ''
  return (', '.join(names[:_SHOWN]) or 'none') + more


def _pruned(graph: GraphDef, source: str, target: str):
  """The part of a graph from one tensor to another."""
  whole = tf.compat.v1.wrap_function(
    lambda: tf.graph_util.import_graph_def(graph, name=''), []
  )
  return whole.prune(source, target)
