"""TensorFlow: Keras files, SavedModel folders and frozen graphs."""

import os
import pathlib

import numpy as np
import tensorflow as tf

from tfcompress.core import measurements
from tfcompress.runtimes import (
  frozen_graph,
  keras_models,
  loaded_models,
  saved_models,
  tensorflow_call,
  tensorflow_device,
  tensors,
)


class TensorFlow:
  """A model as one traced function."""

  def __init__(self, path: str, config: measurements.OpenConfig):
    """Opens a file or folder.

    Args:
      path: a `.keras`, `.h5` or `.pb` file or a SavedModel folder.
      config: its num_threads are threads within an operator, which TensorFlow
        takes once a process, before it computes anything; None leaves it alone.
        Its `loader`, where there is one, opens the file instead.

    Raises:
      ValueError: nothing that TensorFlow or Keras can open, or no GPU where
        one was asked for.
    """
    try:
      self._place = tensorflow_device.choose(config.device)
      if config.num_threads is not None:
        _set_threads(config.num_threads)
      with tf.device(self._place.device):
        call = _load(path, config)
    except ValueError as error:
      text = str(error)
      if not text.startswith((path, '--loader=')):
        text = f'{path}: {text}'
      raise ValueError(text) from error
    self.inputs, self.outputs = call.inputs, call.outputs
    self._function = call.function
    if config.xla or not call.traced:
      self._function = tf.function(
        call.function, jit_compile=config.xla or None
      )

  def predict(self, batch: np.ndarray) -> np.ndarray:
    try:
      with tf.device(self._place.device):
        scores = self._function(tf.constant(batch))
    except Exception as error:  # A loader's model may raise anything.
      raise ValueError(
        f'TensorFlow cannot run the model ({tensorflow_call.reason(error)})'
      ) from error
    tensorflow_device.require(scores, self._place)
    return tensors.require_rows(scores.numpy(), batch)

  def info(self) -> measurements.RuntimeRecord:
    return measurements.RuntimeRecord(
      name=measurements.Runtime.TENSORFLOW.value,
      version=tf.__version__,
      device=self._place.name,
      num_threads=_threads(),
      fully_delegated=None,
      precision=self._place.precision,
    )

  def close(self) -> None:
    del self._function


def _load(path: str, config: measurements.OpenConfig) -> tensorflow_call.Call:
  if config.loader:
    return loaded_models.load(path, config)
  file = pathlib.Path(path)
  if file.is_dir():
    return saved_models.load(path, config.signature)
  if file.suffix.lower() == '.pb':
    return frozen_graph.load(path, config.input_name, config.output_name)
  return keras_models.load(path, config.custom_objects)


def _set_threads(num_threads: int) -> None:
  threading = tf.config.threading
  if threading.get_intra_op_parallelism_threads() == num_threads:
    return
  try:
    threading.set_intra_op_parallelism_threads(num_threads)
    threading.set_inter_op_parallelism_threads(1)
    tf.zeros(0)  # From now on, no code of a model's can choose others.
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
