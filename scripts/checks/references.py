"""What each library says of images, in its own few lines.

Each takes uint8 images (N, S, S, 3) to probabilities (N, C), and nothing of
tfcompress has a part in it.
"""

import pathlib
from collections.abc import Callable

import numpy as np
import onnx.reference
import tensorflow as tf
from ai_edge_litert import interpreter as litert

Reference = Callable[[np.ndarray], np.ndarray]


def of_interpreter(path: pathlib.Path) -> Reference:
  """LiteRT's interpreter: quantized at its input, dequantized at its output."""

  def reference(images: np.ndarray) -> np.ndarray:
    interpreter = litert.Interpreter(str(path))
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    (scores,) = interpreter.get_output_details()
    size, found = image['shape'][0], []
    padding = -len(images) % size
    padded = np.concatenate([images, images[: int(padding)]])
    for start in range(0, len(padded), size):
      batch = _quantized(padded[start : start + size], image)
      interpreter.set_tensor(image['index'], batch)
      interpreter.invoke()
      found.append(interpreter.get_tensor(scores['index']))
    return _dequantized(np.concatenate(found)[: len(images)], scores)

  return reference


def of_keras(lib, path: pathlib.Path) -> Reference:
  """Either Keras, reading the file again."""
  return lambda images: np.asarray(
    lib.models.load_model(path)(images.astype(np.float32))
  )


def of_saved_model(path: pathlib.Path) -> Reference:
  """A SavedModel's default signature."""

  def reference(images: np.ndarray) -> np.ndarray:
    signature = tf.saved_model.load(str(path)).signatures['serving_default']
    (name,) = signature.structured_input_signature[1]
    (scores,) = signature(**{name: images.astype(np.float32)}).values()
    return scores.numpy()

  return reference


def of_graph(graph_def) -> Reference:
  """A session of a frozen graph with `image` and `scores`."""

  def reference(images: np.ndarray) -> np.ndarray:
    with tf.Graph().as_default() as graph:
      tf.import_graph_def(graph_def, name='')
      with tf.compat.v1.Session(graph=graph) as session:
        return session.run('scores:0', {'image:0': images.astype(np.float32)})

  return reference


def of_onnx(path: pathlib.Path) -> Reference:
  """ONNX's own reference, in NumPy."""

  def reference(images: np.ndarray) -> np.ndarray:
    evaluator = onnx.reference.ReferenceEvaluator(str(path))
    shape = evaluator.input_types_[0].tensor_type.shape
    if shape.dim[1].dim_value == 3:
      images = images.transpose(0, 3, 1, 2)
    (scores,) = evaluator.run(None, {'image': images.astype(np.float32)})
    return scores

  return reference


def _quantized(images: np.ndarray, detail: dict) -> np.ndarray:
  scale, zero_point = detail['quantization']
  if not scale:
    return images.astype(detail['dtype'])
  limits = np.iinfo(detail['dtype'])
  steps = np.round(images / np.float32(scale)) + zero_point
  return np.clip(steps, limits.min, limits.max).astype(detail['dtype'])


def _dequantized(scores: np.ndarray, detail: dict) -> np.ndarray:
  scale, zero_point = detail['quantization']
  if not scale:
    return scores.astype(np.float32)
  return scale * (scores.astype(np.float64) - zero_point)
