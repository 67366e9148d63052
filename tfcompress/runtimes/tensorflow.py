"""TensorFlow: `.keras` and `.h5` files and SavedModel folders, in float32."""

import os
import pathlib

import numpy as np
import tensorflow as tf

from tfcompress.core import environment, errors, keras_files, measurements

_SIGNATURE = 'serving_default'


class TensorFlow:
  """A model as one traced function."""

  def __init__(self, path: str, config: measurements.OpenConfig):
    """Opens a file or folder.

    Args:
      path: a `.keras` or `.h5` file or a SavedModel folder.
      num_threads: threads within an operator, which TensorFlow takes once a
        process, before it computes anything; None leaves it alone.

    Raises:
      ValueError: nothing that TensorFlow or Keras can open.
    """
    # A record says CPU: nothing may run anywhere else.
    tf.config.set_visible_devices([], 'GPU')
    if config.num_threads is not None:
      _set_threads(config.num_threads)
    if pathlib.Path(path).is_dir():
      self._function, self.inputs, self.outputs = _saved_model(path)
    else:
      self._function, self.inputs, self.outputs = _keras_model(path)

  def predict(self, batch: np.ndarray) -> np.ndarray:
    return self._function(tf.constant(batch)).numpy()

  def info(self) -> measurements.RuntimeRecord:
    return measurements.RuntimeRecord(
      name=measurements.Runtime.TENSORFLOW.value,
      version=tf.__version__,
      device=environment.cpu_name(),
      num_threads=_threads(),
      fully_delegated=None,
    )

  def close(self) -> None:
    del self._function


def _set_threads(num_threads: int) -> None:
  threading = tf.config.threading
  if threading.get_intra_op_parallelism_threads() == num_threads:
    return
  try:
    threading.set_intra_op_parallelism_threads(num_threads)
    threading.set_inter_op_parallelism_threads(1)
  except RuntimeError as error:
    raise ValueError(
      f'TensorFlow already runs on {_threads()} threads in this process; open '
      f'the model in a fresh process to run it on {num_threads}'
    ) from error


def _threads() -> int:
  """Threads within an operator; TensorFlow's 0 stands for every core."""
  return tf.config.threading.get_intra_op_parallelism_threads() or len(
    os.sched_getaffinity(0)
  )


def _keras_model(path: str):
  model = keras_files.load(path)
  if len(model.inputs) != 1 or len(model.outputs) != 1:
    raise ValueError(
      f'{path}: {len(model.inputs)} inputs and {len(model.outputs)} outputs, '
      'expected one image in and one vector out'
    )
  info = lambda name, shape, dtype: measurements.TensorInfo(
    name, tuple(-1 if size is None else size for size in shape), dtype
  )
  function = tf.function(lambda batch: model(batch, training=False))
  return (
    function,
    (info('image', model.input_shape, _dtype(model.inputs[0])),),
    (info('output', model.output_shape, _dtype(model.outputs[0])),),
  )


def _dtype(tensor) -> str:
  return tf.as_dtype(tensor.dtype).name


def _saved_model(path: str):
  try:
    loaded = tf.saved_model.load(path)
  except (
    OSError,
    ValueError,
    RuntimeError,
    IndexError,
    tf.errors.OpError,
  ) as error:
    raise ValueError(
      f'{path}: not a SavedModel ({errors.first_line(error)})'
    ) from error
  if _SIGNATURE not in loaded.signatures:
    raise ValueError(
      f'{path}: signatures {sorted(loaded.signatures)}, expected {_SIGNATURE}'
    )
  function = loaded.signatures[_SIGNATURE]
  inputs = function.structured_input_signature[1]
  outputs = function.structured_outputs
  if len(inputs) != 1 or len(outputs) != 1:
    raise ValueError(
      f'{path}: {len(inputs)} inputs and {len(outputs)} outputs, '
      'expected one image in and one vector out'
    )
  ((input_name, input_spec),) = inputs.items()
  ((output_name, output_spec),) = outputs.items()
  call = lambda batch: function(**{input_name: batch})[output_name]
  # The signature's variables live as long as what was loaded.
  call.loaded = loaded
  return (
    call,
    (_info(input_name, input_spec),),
    (_info(output_name, output_spec),),
  )


def _info(name: str, spec) -> measurements.TensorInfo:
  shape = tuple(-1 if size is None else size for size in spec.shape)
  return measurements.TensorInfo(name, shape, spec.dtype.name)
