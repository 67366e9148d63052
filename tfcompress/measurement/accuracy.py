"""Top-1 and top-5 over a whole split, every example counted once."""

import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures

import numpy as np
import tqdm

from tfcompress.core import measurements, types
from tfcompress.data import pipelines, sources
from tfcompress.runtimes import interface, load

BATCH = 8
_TOP = 5


def measure(
  config: measurements.MeasureConfig,
) -> tuple[measurements.AccuracyRecord, measurements.DatasetRecord]:
  """Runs a model over the validation split on all cores.

  Raises:
    ValueError: the split has other classes than the model.
  """
  source = sources.load(config.data)
  backends = _open(config)
  size = interface.image_size(backends[0], config.model)
  _require_classes(backends[0], source, config)
  batches = pipelines.evaluation(
    source,
    types.Split.VALIDATION,
    config.data.transform,
    batch_size=BATCH,
    input_size=size,
  )
  scaling = config.input_scaling or types.Normalization.RAW
  with pipelines.naming_corrupt_images(source):
    progress = tqdm.tqdm(
      total=source.num_examples[types.Split.VALIDATION],
      desc='accuracy',
      unit='img',
      delay=5,  # A short pass needs no bar.
      mininterval=0.2 if sys.stderr.isatty() else 20,
    )
    with progress:
      found = ranks(
        backends, batches.as_numpy_iterator(), scaling, progress.update
      )
  for backend in backends:
    backend.close()
  return summarize(found), measurements.DatasetRecord(
    name=source.name,
    split=types.Split.VALIDATION.value,
    num_examples=len(found),
    transform=config.data.transform.value,
    input_scaling=scaling.value,
    skipped_examples=source.skipped_examples[types.Split.VALIDATION],
  )


def summarize(ranks: np.ndarray) -> measurements.AccuracyRecord:
  """Returns the accuracy of whole ranks (N,), 0 being a correct top-1."""
  correct = int((ranks == 0).sum())
  return measurements.AccuracyRecord(
    top1_percent=100 * correct / len(ranks),
    top5_percent=100 * int((ranks < _TOP).sum()) / len(ranks),
    top1_ci95_percent=tuple(
      100 * bound for bound in wilson_interval(correct, len(ranks))
    ),
    num_examples=len(ranks),
  )


def rank_of(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns how many classes come before the label's, whole numbers (N,).

  Args:
    scores: (N, C), higher is likelier; among equals the first class wins.
    labels: (N,).
  """
  own = scores[np.arange(len(labels)), labels][:, None]
  earlier = np.arange(scores.shape[1])[None] < labels[:, None]
  return ((scores > own) | ((scores == own) & earlier)).sum(axis=1)


def wilson_interval(
  correct: int, total: int, z: float = 1.959964
) -> tuple[float, float]:
  """Returns the 95 % interval of a share (Wilson 1927), within 0..1."""
  share = correct / total
  center = share + z * z / (2 * total)
  half = z * math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
  scale = 1 + z * z / total
  return max(0.0, (center - half) / scale), min(1.0, (center + half) / scale)


def _open(config: measurements.MeasureConfig) -> list[interface.Backend]:
  """One backend a core, of one thread each; TensorFlow uses all by itself."""
  runtime = load.runtime_of(config.model, config.runtime)
  if runtime is measurements.Runtime.TENSORFLOW:
    return [load.open_model(config.model, runtime)]
  cores = len(os.sched_getaffinity(0))
  return [load.open_model(config.model, runtime, 1) for _ in range(cores)]


def _require_classes(
  backend: interface.Backend,
  source: sources.Source,
  config: measurements.MeasureConfig,
) -> None:
  """Raises ValueError unless outputs and classes are known to be the same."""
  outputs = backend.outputs[0].shape[-1]
  if outputs != len(source.class_names):
    raise ValueError(
      f'{config.model} has {outputs} outputs, {source.name} '
      f'{len(source.class_names)} classes; give --dataset the images it was '
      'made for'
    )
  if config.class_names:
    sources.require_classes(source, config.class_names)


def ranks(
  backends: list[interface.Backend],
  batches: Iterator[tuple[np.ndarray, np.ndarray]],
  scaling: types.Normalization,
  on_images: Callable[[int], object] = lambda count: None,
) -> np.ndarray:
  """Ranks all examples; every backend takes batches as it gets free.

  Args:
    backends: of the same model, one a thread.
    batches: uint8 images (B, S, S, 3) and labels (B,).
    scaling: what the model expects of its pixels.
    on_images: told how many examples a batch had.

  Returns:
    Whole numbers (N,), 0 being a correct top-1; not in the examples' order.
  """
  lock, failed = threading.Lock(), threading.Event()

  def work(backend) -> list[np.ndarray]:
    found = []
    while not failed.is_set():
      with lock:
        batch = next(batches, None)
      if batch is None:
        break
      try:
        found.append(rank_of(_scores(backend, batch[0], scaling), batch[1]))
      except ValueError:
        failed.set()  # The others need not go on.
        raise
      with lock:
        on_images(len(batch[1]))
    return found

  with futures.ThreadPoolExecutor(len(backends)) as pool:
    parts = [part for parts in pool.map(work, backends) for part in parts]
  return np.concatenate(parts)


def _scores(backend, images: np.ndarray, scaling) -> np.ndarray:
  """Scores (B, C) of uint8 images, in the batches that the file is made for."""
  info = backend.inputs[0]
  encoded = interface.encode(images, info, scaling)
  step = info.shape[0] if info.shape[0] > 0 else len(images)
  raw = [
    backend.predict(encoded[i : i + step]) for i in range(0, len(encoded), step)
  ]
  scores = interface.decode(np.concatenate(raw), backend.outputs[0])
  if not np.isfinite(scores).all():
    raise ValueError('the model gives outputs that are not finite')
  return scores
