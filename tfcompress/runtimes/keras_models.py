"""`.keras` and `.h5` files of tf_keras and Keras 3, in float32."""

import tensorflow as tf

from tfcompress.core import custom, keras_files
from tfcompress.runtimes import tensorflow_call, tensors

_REMEDY = 'the evaluator measures classifiers of one image'
_RANK_IN, _RANK_OUT = 4, 2


def load(path: str, custom_objects: str) -> tensorflow_call.Call:
  """Returns a Keras model as a function, for inference.

  Args:
    path: the file.
    custom_objects: a module or a `.py` file, whose classes and functions the
      file names; '' for none.

  Raises:
    ValueError: no whole Keras model, one with code in the file, or one with a
      custom layer that is not known.
  """
  model = _open(path, custom_objects)
  if not getattr(model, 'inputs', None):
    raise ValueError(
      f'{type(model).__name__} does not tell its input: a subclassed model, or '
      'one that was saved before it was built; write it with model.export and '
      'give that folder'
    )
  inputs, outputs = (
    tuple(tensorflow_call.info(one.name, one, rank) for one in ends)
    for ends, rank in ((model.inputs, _RANK_IN), (model.outputs, _RANK_OUT))
  )
  tensors.require_one_of_each(inputs, outputs, _REMEDY)
  return tensorflow_call.Call(
    inference_of(model), inputs, outputs, traced=False
  )


def inference_of(model):
  """Returns a Keras model as a function of its only input, for inference."""
  given = getattr(model, 'input', None)
  is_nested = isinstance(given, (dict, list, tuple))

  def function(image):
    if is_nested:
      image = tf.nest.pack_sequence_as(given, [image])
    (scores,) = tf.nest.flatten(model(image, training=False))
    return scores

  return function


def _open(path: str, custom_objects: str):
  """The model in a file, or the name of a custom object that it lacks."""
  objects = custom.register(custom_objects)
  description = keras_files.architecture(path)
  keras_files.require_no_code(description, path)
  try:
    return keras_files.load(path, objects)
  except ValueError as error:
    raise custom.explained(error, description, objects) from error
