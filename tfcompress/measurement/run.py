"""Measures model files, each part in processes of its own."""

import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tqdm

from tfcompress.core import environment, measurements, records
from tfcompress.data import timed
from tfcompress.measurement import (
  int8,
  latency,
  opened,
  replies,
  sandbox,
  size,
)
from tfcompress.runtimes import formats, interface

Part = measurements.Part
_RATE_SECONDS = 1.0


def measure(
  configs: Sequence[measurements.MeasureConfig], *, with_baseline: bool = False
) -> list[measurements.Measurement]:
  """Measures the parts that configs ask for; the others stay None.

  Latency is measured in turns, so that all models see the same machine; ratios
  and agreement are to the first.

  Args:
    configs: of the models. Latency takes runs, seconds, processes and threads
      from the first.
    with_baseline: the first is what the others are scored against: without it
      nothing is measured.

  Returns:
    A measurement a config. Where its `failure` says why, the model failed, or
    has other classes than the data, and what comes after is not measured.

  Raises:
    ValueError: no model there, data that cannot be read, or a baseline that
      fails before anything else is measured.
  """
  loading = timed.begin_import() if _takes_tensorflow(configs) else None
  found = [_Found(config) for config in configs]
  for one in found:
    one.attempt(one.describe, len(configs) == 1)
    _require(with_baseline, found)
  # First, for it finds that the images are of other classes.
  reference = None
  for one in found:
    one.attempt(one.measure_accuracy, reference)
    _require(with_baseline, found)
    reference = reference or one.classified
  if loading:
    loading.join()  # It would take time from what is timed.
  _measure_latency(found)
  for one in found:
    one.attempt(one.measure_rates)
    one.attempt(one.profile)
  _explain(found)
  return [one.record for one in found]


def _takes_tensorflow(configs: Sequence[measurements.MeasureConfig]) -> bool:
  """Whether what is going to be timed does."""
  return any(
    Part.LATENCY in config.parts and timed.needs_tensorflow(config.data)
    for config in configs
  )


def _require(with_baseline: bool, found: Sequence['_Found']) -> None:
  """Raises ValueError where the first is a baseline, and has failed."""
  if with_baseline and found[0].record.failure:
    raise ValueError(f'the baseline fails: {found[0].record.failure}')


class _Found:
  """What is known of one model by now."""

  def __init__(self, config: measurements.MeasureConfig):
    path = config.file.model
    self.config = config
    self.classified = None
    level = sandbox.level_of(config.limits.isolation)
    file = interface.file_of(path)
    self.record = measurements.Measurement(
      model=measurements.ModelRecord(
        path, records.sha256(file), formats.format_of(path).value, (), ()
      ),
      dataset=None,
      runtime=None,
      size=None,
      latency_ms=None,
      throughput_per_s=None,
      memory_mib=None,
      accuracy=None,
      score=None,
      environment=environment.describe(),
      warnings=_of_own_code(config.file),
      isolation=sandbox.record(level),
    )

  @property
  def file_bytes(self) -> int:
    return interface.file_of(self.config.file.model).stat().st_size

  def attempt(self, part: Callable[..., None], *arguments) -> None:
    """Measures a part, unless the model has failed; its failure is recorded."""
    if not self.record.failure:
      try:
        part(*arguments)
      except opened.ModelError as error:
        self.add(failure=str(error))

  def add(self, **fields) -> None:
    self.record = dataclasses.replace(self.record, **fields)

  def warn(self, *sentences: str) -> None:
    self.add(warnings=(*self.record.warnings, *sentences))

  def describe(self, alone: bool) -> None:
    """Opens the model: what it is, its size, and the memory it takes.

    Args:
      alone: whether it is the only one that is measured.
    """
    parts = self.config.parts
    if Part.SIZE in parts:
      self.add(size=size.measure(self.config.file.model))
    with opened.Opened(self.config.file, self.config.limits) as model:
      about = model.about
      self.warn(*_of_size(about, self.config, alone), *_of_interface(about))
      self.add(
        model=dataclasses.replace(
          self.record.model,
          inputs=about.inputs,
          outputs=about.outputs,
          image_size=about.image_size,
          batch_size=about.batch_size,
        ),
        runtime=about.runtime,
        environment={
          **self.record.environment,
          'device': about.runtime.device,
        },
      )
      if Part.MEMORY in parts:
        self.add(
          memory_mib=measurements.MemoryRecord(about.peak_mib, about.grown_mib)
        )
      if Part.SIZE in parts:
        counted = model.parameters()
        self.add(
          size=dataclasses.replace(
            self.record.size,
            parameters=counted.total,
            nonzero_parameters=counted.nonzero,
          )
        )

  def measure_rates(self) -> None:
    """Images a second, by batch size."""
    if not self.config.batch_sizes:
      return
    cores = len(os.sched_getaffinity(0))
    file = dataclasses.replace(self.config.file, num_threads=cores)
    rates = []
    for batch_size in self.config.batch_sizes:
      with opened.Opened(file, self.config.limits) as model:
        latency.prepare(model, self.config, self.images)
        try:
          rate = model.throughput(batch_size, _RATE_SECONDS)
        except opened.ModelError as error:  # Of this size alone.
          self.warn(f'no throughput of batches of {batch_size}: {error}')
          continue
        rates.append(measurements.ThroughputRecord(batch_size, rate))
    self.add(throughput=tuple(rates))

  def profile(self) -> None:
    """Where the time of a `.tflite` goes."""
    if self.config.profile:
      self.add(profile=self._profile())

  def profile_known(self) -> measurements.ProfileRecord | None:
    """The same for who compares; None where it cannot be told."""
    try:
      return self.record.profile or self._profile()
    except opened.ModelError:
      return None

  def _profile(self) -> measurements.ProfileRecord:
    with opened.Opened(self.config.file, self.config.limits) as model:
      return model.profile()

  def measure_accuracy(self, reference) -> None:
    """Classifies the images, and compares with what the reference said."""
    if Part.ACCURACY not in self.config.parts:
      return
    from tfcompress.measurement import accuracy

    self.classified, dataset = accuracy.measure(self.config)
    names = dataset.class_names if self.config.per_class else ()
    record = accuracy.summarize(self.classified, names, reference)
    self.add(dataset=dataset, accuracy=record)
    self.warn(*self.classified.warnings)

  def job(self, images: Callable[[int], np.ndarray]) -> latency.Job:
    """What timing this model takes; `images` where nothing is known of it."""
    if not self.classified:
      return latency.Job(self.config, images)
    scaling = self.record.dataset.preprocessing
    config = dataclasses.replace(self.config, input_scaling=scaling)
    return latency.Job(config, images, self.classified.answers)

  def images(self, image_size: int) -> np.ndarray:
    """What is timed: uint8 (NUM_IMAGES, S, S, 3)."""
    return _images(self.config.data, image_size)


def _of_own_code(file: measurements.OpenConfig) -> tuple[str, ...]:
  """What is to be said of a model that brings code along."""
  if not file.own_code:
    return ()
  names = ', '.join(file.own_code)
  return (
    f'it ran code of its own ({names}): its latency is by the clock outside, '
    'so messages to its process count; its memory, parameters, throughput and '
    'what it takes to open are what that code lets be seen',
  )


def _of_size(
  about: replies.Opened, config: measurements.MeasureConfig, alone: bool
) -> Iterator[str]:
  """What is to be said where images of another size were asked for.

  A challenge says it in its own words.

  Raises:
    ModelError: no other model can have been meant.
  """
  wanted = config.file.image_size
  if config.strict or wanted in (None, about.image_size):
    return
  made = f'made for images of {about.image_size} pixels'
  if alone:
    raise opened.ModelError(
      f'{config.file.model}: {made}, got --input_size={wanted}; leave it out'
    )
  yield f'it is {made}, and gets those: --input_size={wanted} is for others'


def _of_interface(about: replies.Opened) -> Iterator[str]:
  """What is to be said of how a model takes its images."""
  if not about.size_told:
    size = about.image_size
    yield (
      f'nothing tells how large its images are to be, so it is shown {size}x'
      f'{size} pixels; --input_size says what it was made for'
    )
  if about.batch_size > 1:
    yield (
      f'{about.batch_size} images go through it at once: its latency, images/s '
      'and score are of one of them, its first inference of all'
    )


@functools.lru_cache(maxsize=8)
def _images(data, image_size: int) -> np.ndarray:
  return timed.images(data, image_size, latency.NUM_IMAGES)


def _measure_latency(found: Sequence[_Found]) -> None:
  """Times all models that want it, in turns."""
  wanted = [
    one
    for one in found
    if Part.LATENCY in one.config.parts and not one.record.failure
  ]
  if not wanted:
    return
  with tqdm.tqdm(
    total=wanted[0].config.processes,
    desc='latency',
    unit='process',
    delay=5,
    mininterval=0.2 if sys.stderr.isatty() else 20,
  ) as progress:
    jobs = [one.job(wanted[0].images) for one in wanted]
    timings, machine = latency.measure(jobs, progress.update)
  for one, timing in zip(wanted, timings):
    one.add(machine=machine)
    if timing.failure:
      one.add(failure=timing.failure)
      continue
    data = one.config.data.dataset
    record = latency.summarize(timing, f'{data}, {timing.images} images')
    one.add(
      latency_ms=record,
      throughput_per_s=1000 / record.mean,
    )
    one.warn(*timing.warnings)
    if timing is not timings[0] and not timings[0].failure:
      path = wanted[0].config.file.model
      one.add(ratio=latency.ratio(timings[0], timing, path))


def _explain(found: Sequence[_Found]) -> None:
  """Says why an int8 file is not faster than the float one it is timed with."""
  timed = list(filter(_is_profiled, found))
  if not timed or timed[0].record.ratio:
    return  # Their times are compared with those of another runtime.
  profile_of = functools.cache(lambda one: one.profile_known())
  for one in timed[1:]:
    # An int8 file is the smaller one of the same network.
    small, large = sorted((one, timed[0]), key=lambda of: of.file_bytes)
    times = int8.faster(one.record.ratio, inverted=small is not one)
    if times is None or small.file_bytes == large.file_bytes:
      continue
    own = profile_of(small)
    if own is None or not int8.is_int8(own):
      continue
    other = profile_of(large)
    if other and int8.is_float(other):
      words = int8.why(small.record, times, own, other)
      small.add(warnings=(*small.record.warnings, words))


def _is_profiled(one: _Found) -> bool:
  """Whether what ran a model is what `profile` times; not for a challenge."""
  return bool(
    one.record.latency_ms
    and one.record.runtime.name == measurements.Runtime.LITERT_CPU.value
    and not one.record.failure
    and not one.config.strict
  )
