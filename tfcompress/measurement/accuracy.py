"""Accuracy over a whole split, every example counted once.

The labels stay in this process: the one that opened the model sees images.
"""

import dataclasses
import functools
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tqdm

from tfcompress.core import chance, measurements, ranks, types
from tfcompress.data import pipelines, sources
from tfcompress.measurement import (
  opened,
  preprocessing,
  statistics,
  witness,
)
from tfcompress.runtimes import load

# Images that change hands at once. At the end of each the copies of a model wait
# for the last; those of a slow one must answer in time.
_CHUNK, _SLOW_CHUNK, _SLOW_MS = 96, 8, 500
_TOP = 5
_ROUNDED = 0.01  # that a probability may be above one
_TRIED_IMAGES = 200
_LONGEST_MAP = 2**20  # characters
# The same for all models of this process, and known to none of them: images lie
# in the order of their classes.
_ORDER = random.SystemRandom().randrange(1, 2**31)
# Several of them with a thread each compute more than one with several.
_COPIED = (
  measurements.Runtime.LITERT_CPU,
  measurements.Runtime.OPENVINO,
  measurements.Runtime.ONNXRUNTIME,
)


@dataclasses.dataclass(frozen=True)
class Classified:
  """Scores of labelled images.

  Attributes:
    scores: (N, C), as the model gives them: they rank the classes, for
      probabilities may be rounded to equal ones.
    probabilities: (N, C).
    labels: (N,).
    batch_size: images that went through the model at once.
    answers: what came of some of the images; for who compares.
    warnings: what makes this doubtful.
  """

  scores: np.ndarray
  probabilities: np.ndarray
  labels: np.ndarray
  batch_size: int
  answers: witness.Witness | None = None
  warnings: tuple[str, ...] = ()

  @functools.cached_property
  def ranks(self) -> np.ndarray:
    """How many classes come before the label's, (N,)."""
    return ranks.of(self.scores, self.labels)

  @functools.cached_property
  def top1(self) -> np.ndarray:
    """The likeliest class of each image, (N,); of equals, not the label's."""
    found = self.scores.argmax(axis=1)
    tied = np.flatnonzero((found == self.labels) & (self.ranks > 0))
    others = self.scores[tied]
    others[np.arange(len(tied)), self.labels[tied]] = -np.inf
    found[tied] = others.argmax(axis=1)
    return found


def measure(
  config: measurements.MeasureConfig,
) -> tuple[Classified, measurements.DatasetRecord]:
  """Runs a model over the validation split on all cores.

  Raises:
    ModelError: the split has other classes than the model, or what the model's
      process ends on.
    ValueError: the split cannot be read.
  """
  source = sources.load(config.data, training=False)
  cores = len(os.sched_getaffinity(0))
  runtime = load.runtime_of(config.file.model, config.file.runtime)
  copies, threads = (cores, 1) if runtime in _COPIED else (1, cores)
  file = dataclasses.replace(config.file, num_threads=threads)
  with opened.Opened(file, config.limits, copies=copies) as model:
    columns = _columns(model, source, config)
    slots = model.share(chunk_of(model))
    scaling, says = preprocessing.told(config, model.about)
    tried, doubts = None, []
    with pipelines.naming_corrupt_images(source):
      if scaling is None:
        scaling, tried, doubts = _found_scaling(
          model, slots, source, config, columns
        )
      found = classify(
        model, slots, _batches(model, source, config), scaling, columns,
        source.num_examples[types.Split.VALIDATION],
      )  # fmt: skip
  by_chance = preprocessing.of_chance(
    int((found.top1 == found.labels).sum()),
    len(found.labels),
    len(source.class_names),
    tried=tried is not None,
  )
  # Of candidates none of which fits, no one is expected to be the best.
  warnings = (*(by_chance or doubts), *_of_ties(found.scores, found.labels))
  found = dataclasses.replace(found, warnings=warnings)
  return found, measurements.DatasetRecord(
    name=source.name,
    split=types.Split.VALIDATION.value,
    num_examples=len(found.labels),
    transform=config.data.transform.value,
    input_scaling=scaling.label,
    skipped_examples=source.skipped_examples[types.Split.VALIDATION],
    scaling_source=says,
    scaling_top1_percent=tried,
    class_names=source.class_names,
    preprocessing=scaling,
  )


def chunk_of(model: opened.Opened) -> int:
  """Returns how many images a model should be given at once."""
  return _SLOW_CHUNK if model.about.first_ms > _SLOW_MS else _CHUNK


def classify(
  model: opened.Opened,
  slots: np.ndarray,
  batches: Iterable[tuple[np.ndarray, np.ndarray]],
  scaling: types.Preprocessing,
  columns: np.ndarray | None = None,
  total: int | None = None,
) -> Classified:
  """Runs a model over batches.

  Args:
    model: the model.
    slots: that it shares, uint8 (slots, N, S, S, 3), N as `chunk_of` says.
    batches: uint8 images (B, S, S, 3), B at most N, and labels (B,).
    scaling: what the model expects of its pixels.
    columns: the outputs that are the classes, in order; None for all.
    total: images in all, for a progress bar; None for no bar.
  """
  progress = tqdm.tqdm(
    total=total,
    desc='accuracy',
    unit='img',
    delay=5,  # A short pass needs no bar.
    disable=total is None,
    mininterval=0.2 if sys.stderr.isatty() else 20,
  )
  parts, kept = [], _Kept(witness.chosen(total or 0))
  with progress:
    for part in _in_turns(model, slots, kept.of(batches), scaling):
      parts.append(part)
      progress.update(len(part[1]))
  scores, labels, batch_sizes = zip(*parts)
  scores = np.concatenate(scores)
  answers = kept.witness(scores)
  if scores.shape[1] == 1:
    scores = as_two(scores)
  probabilities = statistics.probabilities(scores)
  if columns is not None:
    scores, probabilities = scores[:, columns], probabilities[:, columns]
    probabilities = probabilities / np.maximum(
      1e-12, probabilities.sum(axis=1, keepdims=True)
    )
  return Classified(
    scores, probabilities, np.concatenate(labels), batch_sizes[0], answers
  )


def as_two(scores: np.ndarray) -> np.ndarray:
  """Returns scores (N, 2) of two classes, where a model gives the second's.

  Args:
    scores: (N, 1), its probability, or its logit where some are none.
  """
  if scores.min() < 0 or scores.max() > 1 + _ROUNDED:
    return np.concatenate([np.zeros_like(scores), scores], axis=1)
  second = scores.clip(max=1)
  return np.concatenate([1 - second, second], axis=1)


class _Kept:
  """The images of some numbers, out of batches that pass by."""

  def __init__(self, numbers: frozenset[int]):
    self._numbers, self._found = numbers, {}

  def of(self, batches):
    """Yields the batches as they are."""
    start = 0
    for images, labels in batches:
      for number in self._numbers & set(range(start, start + len(images))):
        self._found[number] = images[number - start].copy()
      start += len(images)
      yield images, labels

  def witness(self, scores: np.ndarray) -> witness.Witness:
    """Returns the images with theirs of all scores (N, C)."""
    images = list(self._found.values())
    return witness.Witness(np.array(images), scores[list(self._found)])


def _of_ties(scores: np.ndarray, labels: np.ndarray) -> Iterator[str]:
  """What others, who take the first of equal scores, would call top-1."""
  first = scores.argmax(axis=1) == labels
  lost = int((first & (ranks.of(scores, labels) > 0)).sum())
  if lost:
    yield (
      f'{lost:,} of {len(labels):,} images have their class and others at the '
      'same highest score, as rounded outputs may, and count as wrong; where the '
      f'first of equals counts, top-1 is {100 * first.mean():.2f} %'
    )


def summarize(
  found: Classified,
  class_names: tuple[str, ...] = (),
  reference: Classified | None = None,
) -> measurements.AccuracyRecord:
  """Returns the accuracy of classified images.

  Args:
    found: of the model.
    class_names: to tell each class's accuracy; () for not.
    reference: the same images, of the model to agree with.
  """
  count, num_classes = found.scores.shape
  correct, among = (int((found.ranks < k).sum()) for k in (1, _TOP))
  percent = lambda right: 100 * right / count
  interval = lambda right: tuple(
    100 * bound for bound in chance.wilson_interval(right, count)
  )
  agreement = per_class = confusion = None
  if reference is not None and len(reference.labels) == count:
    agreement = 100 * float((found.top1 == reference.top1).mean())
  counts = confusion_of(found.labels, found.top1, num_classes)
  images = counts.sum(axis=1)
  shares = 100 * counts.diagonal() / np.maximum(1, images)
  if class_names:
    confusion = tuple(tuple(map(int, row)) for row in counts)
    per_class = dict(zip(class_names, map(float, shares), strict=True))
  # The true class is always among as many classes as there are.
  has_top = num_classes > _TOP
  return measurements.AccuracyRecord(
    top1_percent=percent(correct),
    top5_percent=percent(among) if has_top else None,
    top1_ci95_percent=interval(correct),
    num_examples=count,
    top5_ci95_percent=interval(among) if has_top else None,
    calibration_error=statistics.calibration_error(
      found.probabilities, found.ranks == 0
    ),
    agreement_percent=agreement,
    batch_size=found.batch_size,
    per_class_percent=per_class,
    confusion=confusion,
    balanced_percent=float(shares[images > 0].mean()),
  )


def confusion_of(
  labels: np.ndarray, top1: np.ndarray, num_classes: int
) -> np.ndarray:
  """Returns how many images of each class (rows) got which top-1 (columns)."""
  pairs = labels * num_classes + top1
  counts = np.bincount(pairs, minlength=num_classes**2)
  return counts.reshape(num_classes, num_classes)


def _columns(
  model: opened.Opened,
  source: sources.Source,
  config: measurements.MeasureConfig,
) -> np.ndarray | None:
  """Which outputs the classes are, in order; None where they are all.

  Raises:
    ModelError: outputs and classes are not known to be the same.
    ValueError: what is no class map of the split.
  """
  outputs, classes = model.about.num_outputs, len(source.class_names)
  path = config.file.model
  if outputs == 1:
    if classes != 2:
      raise opened.ModelError(
        f'{path} has one output, {source.name} {classes} classes; one output '
        'tells two classes apart: give --dataset the images of two, or a model '
        'with a score for each class'
      )
    outputs = 2
  if config.class_map:
    columns = _class_map(config.class_map, classes)
    if columns.max() < outputs:
      return columns
    raise opened.ModelError(
      f'{path}: --class_map={config.class_map}: {columns.min()} to '
      f"{columns.max()}, expected 0 to {outputs - 1}, the model's outputs"
    )
  if outputs != classes:
    raise opened.ModelError(
      f'{path} has {outputs} outputs, {source.name} {classes} classes; give '
      '--dataset the images it was made for, or --class_map a file with the '
      "index of the model's output for each class, a line a class"
    )
  if config.class_names:
    try:
      sources.require_classes(source, config.class_names)
    except ValueError as error:
      raise opened.ModelError(f'{path}: {error}') from error
  return None


def _class_map(path: str, classes: int) -> np.ndarray:
  try:
    with open(path) as file:
      columns = np.array(file.read(_LONGEST_MAP).split(), np.int64)
  except (OSError, ValueError, OverflowError) as error:
    raise ValueError(
      f'--class_map={path}: {error}; expected a whole number a line'
    ) from error
  if len(columns) != classes or len(set(columns.tolist())) != classes:
    raise ValueError(
      f'--class_map={path}: {len(set(columns.tolist()))} different numbers, '
      f'expected {classes}, one for each class'
    )
  if columns.min() < 0:
    raise ValueError(f'--class_map={path}: {columns.min()} is no output')
  return columns


def _batches(model, source, config) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  return pipelines.evaluation(
    source,
    types.Split.VALIDATION,
    config.data.transform,
    batch_size=chunk_of(model),
    input_size=model.about.image_size,
    order=_ORDER,
  ).as_numpy_iterator()


def _found_scaling(
  model, slots, source, config, columns
) -> tuple[types.Preprocessing, dict[str, float], list[str]]:
  """What classifies best, the top-1 of every candidate, and doubts of it."""
  images, labels = pipelines.evenly_drawn(
    source,
    types.Split.VALIDATION,
    config.data.transform,
    count=_TRIED_IMAGES,
    input_size=model.about.image_size,
  )
  chunk = chunk_of(model)
  parts = [
    (images[start : start + chunk], labels[start : start + chunk])
    for start in range(0, len(images), chunk)
  ]
  right = {}
  for scaling in preprocessing.candidates(config.input_channels):
    found = classify(model, slots, parts, scaling, columns)
    right[scaling] = found.top1 == found.labels
  best, doubts = preprocessing.best(right, model.about.inputs[0])
  tried = {one.label: 100 * float(hits.mean()) for one, hits in right.items()}
  return best, tried, doubts


def _in_turns(
  model, slots, batches, scaling
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
  """Scores, labels and batch size; a slot is filled while another is computed."""
  collect: Callable | None = None
  for number, (images, labels) in enumerate(batches):
    slot = number % len(slots)
    slots[slot, : len(images)] = images
    model.begin_predict(slot, len(images), scaling)
    if collect:
      yield collect()
    collect = lambda slot=slot, labels=labels: _with_labels(model, slot, labels)
  if collect:
    yield collect()


def _with_labels(model, slot: int, labels: np.ndarray):
  scores, batch_size = model.scores(slot, len(labels))
  return scores, labels, batch_size
