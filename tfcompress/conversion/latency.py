"""How long a network takes as the int8 file that it would become."""

import pathlib
import statistics
import tempfile
import time

import numpy as np
import tf_keras

from tfcompress.conversion import flatbuffer, tflite
from tfcompress.core import records, types
from tfcompress.models import rewrites
from tfcompress.runtimes import load

_WARMUP_RUNS, _RUNS = 10, 60


def int8_latency_ms(model: tf_keras.Model) -> float:
  """Returns the median time of one image on LiteRT, one thread, in ms.

  Args:
    model: from images (B, S, S, 3), 0..255, to probabilities (B, C). Its
      weights and ranges do not matter, only its layers.
  """
  size = model.input_shape[1]
  rng = np.random.RandomState(0)
  images = rng.randint(0, 256, (2, size, size, 3)).astype(np.uint8)
  network, _ = rewrites.rewritten(model)
  content = tflite.convert(network, types.Variant.INT8, None, images)
  content = flatbuffer.rewritten(content).content
  with tempfile.TemporaryDirectory() as scratch:
    path = pathlib.Path(scratch) / records.EXPORTED
    path.write_bytes(content)
    return median_ms(str(path), images[:1])


def median_ms(path: str, image: np.ndarray) -> float:
  """Returns the median time of one uint8 image (1, S, S, 3) in ms."""
  backend = load.open_model(path, num_threads=1)
  samples = []
  for _ in range(_WARMUP_RUNS + _RUNS):
    start = time.perf_counter()
    backend.predict(image)
    samples.append(1e3 * (time.perf_counter() - start))
  backend.close()
  return statistics.median(samples[_WARMUP_RUNS:])
