"""Latency of one image at a time. Knows no data, no rules and no formats."""

import time

import numpy as np

from tfcompress.core import measurements, types
from tfcompress.runtimes import interface, load

_SEED = 0


def measure(config: measurements.MeasureConfig) -> measurements.LatencyRecord:
  """Times single inferences: input in, invoke, output out."""
  backend = load.open_model(config.model, config.runtime, config.num_threads)
  image = _image(backend, config)
  warmup_runs = config.warmup_runs
  if warmup_runs is None:
    warmup_runs = max(10, config.runs // 10)
  for _ in range(warmup_runs):
    backend.predict(image)
  samples = np.empty(config.runs, np.int64)
  for run in range(config.runs):
    start = time.perf_counter_ns()
    backend.predict(image)
    samples[run] = time.perf_counter_ns() - start
  backend.close()
  return summarize(samples / 1e6, warmup_runs)


def summarize(
  samples_ms: np.ndarray, warmup_runs: int, processes: int = 1
) -> measurements.LatencyRecord:
  """Returns the statistics of float64 samples (N,) in milliseconds."""
  median, p90, p99 = np.percentile(samples_ms, (50, 90, 99))
  return measurements.LatencyRecord(
    mean=float(samples_ms.mean()),
    median=float(median),
    p90=float(p90),
    p99=float(p99),
    min=float(samples_ms.min()),
    std=float(samples_ms.std()),
    runs=len(samples_ms),
    warmup_runs=warmup_runs,
    processes=processes,
    samples=tuple(float(sample) for sample in samples_ms),
  )


def _image(
  backend: interface.Backend, config: measurements.MeasureConfig
) -> np.ndarray:
  """A batch of one random image as the model takes it."""
  size = interface.image_size(backend, config.model)
  rng = np.random.RandomState(_SEED)
  pixels = rng.randint(0, 256, (1, size, size, 3)).astype(np.uint8)
  scaling = config.input_scaling or types.Normalization.RAW
  return interface.encode(pixels, backend.inputs[0], scaling)
