"""Ranges of the tensors between layers: what was seen, or the least error.

min_max takes the least and the greatest value seen on the calibration images.
mse shrinks that to the range whose rounding errs least in the mean square: what
is outside is clipped, so that what is inside is rounded more finely. It counts
all values of all images in a histogram; the upper bound and then the lower one
become the best of `FRACTIONS` of what was seen, twice over. Zero stays in every
range.

Pixels keep 0..255, and probabilities TFLite's own 0..1. Kernels keep each output
channel's greatest magnitude, unless `kernel_ranges` has litert-quantizer clip
them: see `variants`. Between layers its algorithms are the same as min-max.
"""

import os
import warnings
from collections.abc import Callable, Mapping

import numpy as np
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from tfcompress.core import types
from tfcompress.runtimes import tflite_file

FRACTIONS = np.geomspace(1.0, 0.1, 47)
STEPS = 255  # between the 256 numbers of an int8
_BINS = 2048
_PIXELS = (0.0, 255.0)

Range = tuple[float, float]


def of_activations(
  content: bytes, images: np.ndarray, calibration: types.Calibration
) -> dict[str, Range]:
  """Runs a float32 file on images and returns each tensor's range, by name.

  Args:
    content: a `.tflite` that takes one image.
    images: (N, S, S, 3), 0..255.
    calibration: how a range is chosen of what was seen.

  Raises:
    ValueError: a tensor has values that are not finite.
  """
  graph = tflite_file.model_of(content).subgraphs[0]
  names = _activations(graph)
  seen = dict.fromkeys(names.values(), (0.0, 0.0))

  def widen(name: str, values: np.ndarray) -> None:
    low, high = seen[name]
    seen[name] = (
      float(np.minimum(values.min(), low)),
      float(np.maximum(values.max(), high)),
    )

  _run(content, images, names, widen)
  for name, bounds in seen.items():
    if not np.isfinite(bounds).all():
      raise ValueError(
        f'tensor {name} is not finite on the calibration images, expected '
        'finite numbers; check the weights of the model'
      )
  # A tensor that is zero throughout takes any scale but zero.
  seen = {
    name: (low, high if low < high else 1.0)
    for name, (low, high) in seen.items()
  }
  if calibration is types.Calibration.MSE:
    counts = _counted(content, images, names, seen)
    seen = {name: best_range(*counts[name], *seen[name]) for name in seen}
  return seen | {names[graph.inputs[0]]: _PIXELS}


def best_range(
  values: np.ndarray, counts: np.ndarray, low: float, high: float
) -> Range:
  """Shrinks a range to the one whose 256 steps err least on the values.

  Args:
    values: (K,).
    counts: how often there is each, (K,).
    low: the range's lower bound, at most 0.
    high: its upper bound, at least 0.
  """

  def error(bounds: Range) -> float:
    return float(counts @ np.square(values - rounded(values, *bounds)))

  lows, highs = low * FRACTIONS, high * FRACTIONS
  for _ in range(2):
    high = min(highs, key=lambda bound: error((low, bound)))
    low = min(lows, key=lambda bound: error((bound, high)))
  return float(low), float(high)


def rounded(values: np.ndarray, low: float, high: float) -> np.ndarray:
  """Returns values as 256 steps over a range with zero in it hold them."""
  scale = (high - low) / STEPS
  zero_point = np.rint(-low / scale)
  steps = np.clip(np.rint(values / scale) + zero_point, 0, STEPS)
  return (steps - zero_point) * scale


def _activations(graph: schema.SubGraphT) -> dict[int, str]:
  """Names, by index, of the float tensors that are no constants."""
  computed = [*graph.inputs]
  for operator in graph.operators:
    computed += list(operator.outputs)
  return {
    int(index): graph.tensors[index].name.decode()
    for index in computed
    if graph.tensors[index].type == schema.TensorType.FLOAT32
  }


def _run(
  content: bytes,
  images: np.ndarray,
  names: Mapping[int, str],
  see: Callable[[str, np.ndarray], None],
) -> None:
  """Shows every tensor's values (K,) of every image."""
  with warnings.catch_warnings():
    # It warns that keeping all tensors takes memory.
    warnings.simplefilter('ignore', UserWarning)
    interpreter = litert.Interpreter(
      model_content=content,
      num_threads=len(os.sched_getaffinity(0)),
      experimental_preserve_all_tensors=True,
    )
  interpreter.allocate_tensors()
  pixels = interpreter.get_input_details()[0]['index']
  for image in images:
    interpreter.set_tensor(pixels, image[None].astype(np.float32))
    interpreter.invoke()
    for index, name in names.items():
      # A view, which must be gone before the next image.
      see(name, interpreter.tensor(index)().reshape(-1))


def _counted(
  content: bytes,
  images: np.ndarray,
  names: Mapping[int, str],
  seen: Mapping[str, Range],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Histograms of all tensors: values (K,), zero among them, and counts."""
  widths = {
    name: (high - low) / (_BINS - 1) for name, (low, high) in seen.items()
  }
  firsts = {name: round(seen[name][0] / widths[name]) for name in seen}
  counts = {name: np.zeros(_BINS + 1, np.int64) for name in seen}

  def count(name: str, values: np.ndarray) -> None:
    bins = np.rint(values * np.float32(1 / widths[name])).astype(np.int64)
    # float32 may round a bound to the bin beyond it.
    places = np.clip(bins - firsts[name], 0, _BINS)
    counts[name] += np.bincount(places, minlength=_BINS + 1)

  _run(content, images, names, count)
  return {
    name: (widths[name] * (firsts[name] + np.arange(_BINS + 1)), counts[name])
    for name in seen
  }
