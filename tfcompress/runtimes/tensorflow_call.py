"""A TensorFlow function from images to scores, and what it takes and gives."""

import dataclasses
import re
from collections.abc import Callable

import tensorflow as tf

from tfcompress.core import measurements

_NOISE = re.compile(r'\x1b\[\d*m|\{\{function_node .*?\}\} ')
_NOT_COMPILED = re.compile(r'on XLA_\w+: (\w+) \(')
_RAISED = re.compile(r'in user code:.*?Error: ', re.DOTALL)
# Lines of an error that tell where, not what.
_WHERE = (
  'Graph execution error',
  'Detected at node',
  'Exception encountered when calling',
  'File "',
  '<stack traces unavailable>',
  '[[',
)


@dataclasses.dataclass(frozen=True)
class Call:
  """A model's function.

  Attributes:
    function: from a tensor to a tensor; whatever it needs lives as long as it.
    inputs: of the model.
    outputs: likewise.
    traced: whether it is to be called as it is, not from a tf.function.
  """

  function: Callable
  inputs: tuple[measurements.TensorInfo, ...]
  outputs: tuple[measurements.TensorInfo, ...]
  traced: bool = True


def info(name: str, tensor, rank: int) -> measurements.TensorInfo:
  """Returns what a record says of a tensor, or of the spec of one.

  Args:
    name: as in the file.
    tensor: has a shape and a dtype.
    rank: to expect of a shape that the file leaves open.
  """
  shape = tf.TensorShape(tensor.shape)
  sizes = [None] * rank if shape.rank is None else shape.as_list()
  return measurements.TensorInfo(
    name,
    tuple(-1 if size is None else size for size in sizes),
    tf.as_dtype(tensor.dtype).name,
  )


def reason(error: Exception) -> str:
  """Returns the line of a TensorFlow or Keras error that tells what is wrong."""
  text = _NOISE.sub('', getattr(error, 'message', None) or str(error))
  if operator := _NOT_COMPILED.search(text):
    return f'XLA cannot compile its operator {operator[1]}'
  lines = [line.strip() for line in _RAISED.sub('', text).splitlines()]
  telling = [line for line in lines if line and not line.startswith(_WHERE)]
  line = telling[0] if telling else type(error).__name__
  return line.partition(' in binary running on ')[0].partition(' [Op:')[0]
