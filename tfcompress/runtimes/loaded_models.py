"""What a user's `load_model` returns for TensorFlow, as a function.

A Keras model is run for inference and traced, what tf.saved_model.load gave by
its signature. Anything else is called as it is, with a float32 tensor.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tfcompress.core import measurements
from tfcompress.runtimes import (
  keras_models,
  loaders,
  saved_models,
  tensorflow_call,
)

Info = measurements.TensorInfo
_EXPECTED = (
  'a Keras model, a tf.Module with __call__, or a function of a tensor'
)
_RANK = 4


class _NotScoresError(ValueError):
  """A model that returns other than one row of scores for each image."""


def load(path: str, config: measurements.OpenConfig) -> tensorflow_call.Call:
  """Returns what the loader of `config` opens, as a function.

  Its input is what it declares, else the first shape that runs: of any number
  of images, if it takes two.

  Raises:
    ValueError: a loader that gives no model, or one that takes no image or
      gives other than one row of scores for it.
  """
  model = loaders.run(
    path, config.loader, _EXPECTED, tensorflow_call.reason, _is_model
  )
  if getattr(model, 'signatures', None):
    return saved_models.call_of(model, config.signature)
  function = _only(model)
  if _is_keras(model):
    function = tf.function(keras_models.inference_of(model))
  candidates = _inputs(model)
  return tensorflow_call.Call(
    function, *_probed(function, candidates, config.size_of_any)
  )


def _is_model(loaded) -> bool:
  return callable(loaded) or bool(getattr(loaded, 'signatures', None))


def _is_keras(model) -> bool:
  """Whether it is a layer of either Keras; one that is not imported has none."""
  libs = (sys.modules.get(name) for name in ('tf_keras', 'keras'))
  return any(lib and isinstance(model, lib.layers.Layer) for lib in libs)


def _only(model: Callable) -> Callable:
  """A function that returns the only tensor that another one does."""

  def function(image):
    found = tf.nest.flatten(model(image))
    if len(found) == 1 and tf.is_tensor(found[0]):
      return found[0]
    if len(found) != 1 or not isinstance(found[0], np.ndarray):
      kinds = ', '.join(type(one).__name__ for one in found) or 'nothing'
      raise _NotScoresError(f'returns {kinds}, expected one tensor (B, C)')
    with tf.device('/CPU:0'):  # An array was not computed elsewhere.
      return tf.convert_to_tensor(found[0])

  return function


def _inputs(model) -> list[Info]:
  """What it declares to take; else what it may, the likeliest first."""
  if specs := list(_declared(model)):
    return [tensorflow_call.info('image', specs[0], _RANK)]
  shapes = ((-1, -1, -1, 3), (-1, 3, -1, -1))
  return [Info('image', shape, 'float32') for shape in shapes]


def _declared(model) -> Iterator[tf.TensorSpec]:
  """The specs of its inputs: a Keras model's, or a tf.function's."""
  if _is_keras(model):
    return iter(getattr(model, 'inputs', None) or ())
  if isinstance(model, tf.Module):
    model = model.__call__
  signature = getattr(model, 'structured_input_signature', None)
  signature = signature or getattr(model, 'input_signature', None)
  found = tf.nest.flatten(signature)
  return (spec for spec in found if isinstance(spec, tf.TensorSpec))


def _probed(
  function: Callable, candidates: list[Info], size: int
) -> tuple[tuple[Info, ...], tuple[Info, ...]]:
  """The first input that runs, and what comes of it."""
  failures = []
  for given in candidates:
    try:
      scores = _scores(function, given, 1, size)
    except _NotScoresError:
      raise
    except Exception as error:  # A user's code may raise anything.
      failures.append(tensorflow_call.reason(error))
      continue
    runs = lambda batch, size, given=given, scores=scores: (
      _classes(function, given, batch, size) == scores.shape[1]
    )
    # Of half or twice the size, too: any may be meant.
    if -1 in given.shape[1:] and not (runs(1, size // 2) or runs(1, 2 * size)):
      given = _filled(given, size)
    batch = given.shape[0]
    if batch < 0 and not runs(2, size):
      batch = 1
    given = dataclasses.replace(given, shape=(batch, *given.shape[1:]))
    shape = (batch, scores.shape[1])
    return (given,), (Info('output', shape, scores.dtype.name),)
  tried = ' nor '.join(str(_sizes(one, 1, size)) for one in candidates)
  raise ValueError(
    f'does not take images {tried}; {failures[0]}; where it takes another size, '
    '--input_size says it'
  )


def _classes(
  function: Callable, given: Info, batch: int, size: int
) -> int | None:
  """How many scores an image of a size gets; None where such a batch fails."""
  try:
    return _scores(function, given, batch, size).shape[1]
  except Exception:  # Likewise.
    return None


def _scores(
  function: Callable, given: Info, batch: int, size: int
) -> tf.Tensor:
  """What comes of black images, (B, C)."""
  sizes = _sizes(given, batch, size)
  scores = function(tf.zeros(sizes, given.dtype))
  if scores.shape.rank != 2 or scores.shape[0] != sizes[0]:
    raise _NotScoresError(
      f'returns a tensor {tuple(scores.shape)} for {sizes[0]} images, expected '
      '(B, C)'
    )
  return scores


def _filled(given: Info, size: int) -> Info:
  """An input with the size of an image where that is free."""
  first, *sides = given.shape
  sides = (size if side < 0 else side for side in sides)
  return dataclasses.replace(given, shape=(first, *sides))


def _sizes(given: Info, batch: int, size: int) -> tuple[int, ...]:
  """A shape, with sizes where it is free."""
  first, *sides = _filled(given, size).shape
  return (batch if first < 0 else first, *sides)
