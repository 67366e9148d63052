"""SavedModel folders of TensorFlow 1 and 2."""

import pathlib

import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import saved_model_pb2

from tfcompress.runtimes import tensorflow_call, tensors

_SIGNATURE, _TAG = 'serving_default', 'serve'
_OWN = '__saved_model_'  # begins the names of what is no signature of a user's
_REMEDY = 'where it has another signature, --signature takes it'
_RANK_IN, _RANK_OUT = 4, 2
# What TensorFlow raises where a folder is not as it wrote it.
_DAMAGED = (
  OSError,
  ValueError,
  RuntimeError,
  LookupError,
  TypeError,
  AttributeError,
  AssertionError,
  tf.errors.OpError,
)


def load(path: str, signature: str) -> tensorflow_call.Call:
  """Returns a signature of a SavedModel as a function.

  Args:
    path: the folder.
    signature: '' takes serving_default, else the only one there is.

  Raises:
    ValueError: no SavedModel, no such signature, or one of several inputs.
  """
  try:
    loaded = tf.saved_model.load(path, tags=_tags(path))
  except _DAMAGED as error:
    raise ValueError(
      f'not a SavedModel ({tensorflow_call.reason(error)})'
    ) from error
  return call_of(loaded, signature)


def is_saved_model(content: bytes) -> bool:
  """Whether it is a saved_model.pb, which needs the folder around it."""
  try:
    return bool(_parsed(content).saved_model_schema_version)
  except message.DecodeError:
    return False


def _parsed(content: bytes) -> saved_model_pb2.SavedModel:
  return saved_model_pb2.SavedModel.FromString(content)


def _tags(path: str) -> list[str] | None:
  """The tags of the graph to serve; None where there is but one graph."""
  file = pathlib.Path(path) / 'saved_model.pb'
  try:
    graphs = _parsed(file.read_bytes()).meta_graphs
  except message.DecodeError as error:
    raise ValueError('saved_model.pb is damaged') from error
  if len(graphs) < 2:
    return None
  known = [list(graph.meta_info_def.tags) for graph in graphs]
  return (
    [_TAG] if [_TAG] in known else next((t for t in known if _TAG in t), [])
  )


def _chosen(signatures, wanted: str) -> str:
  known = sorted(name for name in signatures if not name.startswith(_OWN))
  if wanted in known:
    return wanted
  if wanted:
    raise ValueError(
      f'no signature {wanted!r}; it has {", ".join(known) or "none"}'
    )
  if _SIGNATURE in known or len(known) == 1:
    return _SIGNATURE if _SIGNATURE in known else known[0]
  if known:
    raise ValueError(
      f'signatures {", ".join(known)} and no {_SIGNATURE}; name one with '
      '--signature'
    )
  raise ValueError(
    'a SavedModel without signatures; save it with model.export, or with '
    f'signatures={{{_SIGNATURE!r}: ...}}'
  )


def call_of(loaded, signature: str) -> tensorflow_call.Call:
  """Returns a signature of what tf.saved_model.load gave as a function.

  Raises:
    ValueError: no such signature, or one of several inputs.
  """
  chosen = loaded.signatures[_chosen(loaded.signatures, signature)]
  given = chosen.structured_input_signature[1]
  inputs = tuple(
    tensorflow_call.info(key, spec, _RANK_IN) for key, spec in given.items()
  )
  outputs = tuple(
    tensorflow_call.info(key, spec, _RANK_OUT)
    for key, spec in chosen.structured_outputs.items()
  )
  tensors.require_one_of_each(inputs, outputs, _REMEDY)

  def function(image):
    return chosen(**{inputs[0].name: image})[outputs[0].name]

  # The signature's variables live as long as what was loaded.
  function.loaded = loaded
  return tensorflow_call.Call(function, inputs, outputs)
