"""Latency of one image at a time, of several models in turns."""

import contextlib
import dataclasses
import math
import statistics as medians
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tfcompress.core import measurements
from tfcompress.measurement import (
  clocks,
  machine,
  opened,
  preprocessing,
  sandbox,
  statistics,
  witness,
)

NUM_IMAGES = clocks.NUM_IMAGES
_TURNS = 10  # of each model in a process
_TURN_MS = 30.0  # at least: the first runs find the caches full of another's
_MOST_RUNS = 2000  # of a turn, unless more are asked for
# Less is what caches of the CPU do.
_REPEATED_RUNS, _REMEMBERED, _REMEMBERED_MS = 20, 0.5, 0.2


@dataclasses.dataclass
class Timed:
  """What was seen of one model; of lists, an element a process.

  Of a file that takes several images at once, `ms` are one image's share.
  """

  ms: list[list[float]] = dataclasses.field(default_factory=list)
  load_ms: list[float] = dataclasses.field(default_factory=list)
  first_ms: list[float] = dataclasses.field(default_factory=list)
  warm_ms: list[float] = dataclasses.field(default_factory=list)
  warmup_runs: int = 0
  images: int = 0
  batch_size: int = 1
  steady: bool = True
  warnings: list[str] = dataclasses.field(default_factory=list)
  compared: int = 0  # answers
  different: int = 0
  failure: str = ''


@dataclasses.dataclass(frozen=True)
class Job:
  """A model that is to be timed.

  Attributes:
    config: how.
    images: by size, uint8 (NUM_IMAGES, S, S, 3) that are timed if nothing else
      is known of it.
    answers: what it said of some of the dataset's; None if it was not asked.
  """

  config: measurements.MeasureConfig
  images: Callable[[int], np.ndarray]
  answers: witness.Witness | None = None


def measure(
  jobs: Sequence[Job], on_round: Callable[[], object] = lambda: None
) -> tuple[list[Timed], measurements.MachineRecord]:
  """Times models in turns, in fresh processes that are pinned to cores.

  A model that fails is left out from then on, and its `failure` says why.

  Args:
    jobs: whose configs share runs, seconds, processes, warmup_runs and threads.
    on_round: called when every model has been timed in one more process.
  """
  found = [Timed() for _ in jobs]
  watch, cores, seconds = machine.Watch(), (), 0.0
  config = jobs[0].config
  for index in range(config.processes):
    cores = machine.idlest_cores(config.file.num_threads or 1)
    seconds += _round(jobs, found, cores, first=not index)
    on_round()
  for job, timed in zip(jobs, found):
    _compare(job.config, timed)
  return found, watch.record(cores, seconds)


def summarize(timed: Timed, image: str) -> measurements.LatencyRecord:
  """Returns the statistics of a model's times.

  Args:
    timed: what was seen of it.
    image: what was timed, for the record.
  """
  samples = np.concatenate(timed.ms)
  percentiles = {}
  for name, percent in (('median', 50), ('p90', 90), ('p99', 99)):
    interval = statistics.percentile_interval(samples, percent)
    value = None if interval is None else float(np.percentile(samples, percent))
    percentiles |= {name: value, f'{name}_ci95': interval}
  return measurements.LatencyRecord(
    mean=float(samples.mean()),
    mean_ci95=statistics.mean_time_interval(
      [np.mean(part) for part in timed.ms]
    ),
    min=float(samples.min()),
    std=float(samples.std()),
    runs=len(samples),
    warmup_runs=timed.warmup_runs,
    processes=len(timed.ms),
    samples=tuple(float(sample) for sample in samples),
    load_ms=medians.median(timed.load_ms),
    first_ms=medians.median(timed.first_ms),
    steady=timed.steady,
    image=image,
    **percentiles,
  )


def ratio(
  reference: Timed, timed: Timed, path: str
) -> measurements.RatioRecord | None:
  """Returns how many times faster a model is than the reference at `path`.

  None where they were not timed in the same processes' turns.
  """
  if len(reference.ms) != len(timed.ms):
    return None
  pairs = [[np.median(part) for part in one.ms] for one in (reference, timed)]
  return measurements.RatioRecord(path, *statistics.ratio(*pairs))


def _round(
  jobs: Sequence[Job],
  found: Sequence[Timed],
  cores: tuple[int, ...],
  *,
  first: bool,
) -> float:
  """One process of every model; returns their CPU time in seconds."""
  with contextlib.ExitStack() as stack:
    models, timers = {}, {}
    for index, job in enumerate(jobs):
      if found[index].failure:
        continue
      with _noting(found[index]):
        # A GPU's driver has threads of its own.
        pinned = () if sandbox.on_gpu(job.config.file) else cores
        model = stack.enter_context(
          opened.Opened(job.config.file, job.config.limits, cores=pinned)
        )
        timers[index] = _warm(model, job, found[index])
        models[index] = model
    _take_turns(jobs[0].config, timers, found)
    for index, model in models.items():
      with _noting(found[index]):
        timers[index].require_honest()
        found[index].compared += timers[index].compared
        found[index].different += timers[index].different
        if first and not found[index].different:
          _note_oddities(model, timers[index], jobs[index], found[index])
    return sum(model.cpu_seconds() for model in models.values())


@contextlib.contextmanager
def _noting(timed: Timed) -> Iterator[None]:
  """Keeps a model's failure from the others."""
  try:
    yield
  except opened.ModelError as error:
    timed.failure = timed.failure or str(error)


def prepare(
  model: opened.Opened,
  config: measurements.MeasureConfig,
  images: Callable[[int], np.ndarray],
) -> None:
  """Gives a model the images that it is timed on."""
  pixels = images(model.about.image_size)
  model.share(len(pixels))[0] = pixels
  model.prepare(len(pixels), preprocessing.of_timed(config, model.about))


def _warm(
  model: opened.Opened, job: Job, timed: Timed
) -> clocks.Inside | clocks.Outside:
  """Runs a model until its times are steady; returns what times it."""
  if job.answers is None:
    images = witness.Witness(job.images(model.about.image_size), np.empty(0))
  else:
    images = job.answers.shuffled()
  timed.images = len(images.images)
  timed.batch_size = model.about.batch_size
  timer = clocks.of(model, job.config, images)
  warmed = timer.warm(job.config.warmup_runs)
  timed.load_ms.append(model.about.load_ms)
  timed.first_ms.append(model.about.first_ms)
  timed.warm_ms.append(warmed.ms)
  timed.warmup_runs += warmed.runs
  timed.steady &= warmed.steady
  return timer


def _take_turns(
  config: measurements.MeasureConfig,
  timers: Mapping[int, clocks.Inside | clocks.Outside],
  found: Sequence[Timed],
) -> None:
  """Times some runs of each model, then again, forwards and backwards."""
  turn = {
    # From the first process, so that all have as many runs.
    index: timer.plan(
      _TURNS, _runs_of_turn(config, max(found[index].warm_ms[0], 1e-4))
    )
    for index, timer in timers.items()
  }
  for index in timers:
    found[index].ms.append([])
  order = list(timers)
  for _ in range(_TURNS):
    for index in order:
      if not found[index].failure:
        with _noting(found[index]):
          ms = timers[index].time(turn[index])
          found[index].ms[-1] += [one / found[index].batch_size for one in ms]
    order.reverse()


def _runs_of_turn(config: measurements.MeasureConfig, ms: float) -> int:
  """Runs of one turn of a model that takes so many milliseconds."""
  share = config.processes * _TURNS
  by_time = max(1e3 * config.seconds / share, _TURN_MS) / ms
  return math.ceil(max(config.runs / share, min(by_time, _MOST_RUNS)))


def _compare(config: measurements.MeasureConfig, timed: Timed) -> None:
  """Says of a model that it answers otherwise while it is timed."""
  if not timed.different:
    return
  odd = (
    f'it answers otherwise while it is timed than while its accuracy is '
    f'measured ({timed.different} of {timed.compared} images): it does not '
    'answer by the image alone'
  )
  if config.strict:
    timed.failure = timed.failure or f'{config.file.model}: {odd}'
  else:
    timed.warnings.append(f'{odd}, so its latency is not that of its accuracy')


def _note_oddities(
  model: opened.Opened,
  timer: clocks.Inside | clocks.Outside,
  job: Job,
  timed: Timed,
) -> None:
  """Says what is wrong with a model that does not compute what it is asked."""
  images = job.images(model.about.image_size)
  timer.slots[0, : len(images)] = images
  for odd in _oddities(model, job):
    if job.config.strict:
      timed.failure = timed.failure or f'{job.config.file.model}: {odd}'
    timed.warnings.append(odd)


def _oddities(model: opened.Opened, job: Job) -> Iterator[str]:
  scaling = preprocessing.of_timed(job.config, model.about)
  model.prepare(NUM_IMAGES, scaling)
  model.begin_predict(0, NUM_IMAGES, scaling)
  scores, _ = model.scores(0, NUM_IMAGES)
  if (scores == scores[0]).all():
    yield (
      f'it gives the same output for {NUM_IMAGES} different images: a constant'
    )
  new = medians.median(model.time(_REPEATED_RUNS))
  seen = medians.median(model.time(_REPEATED_RUNS, fresh=False))
  if seen < _REMEMBERED * new and new - seen > _REMEMBERED_MS:
    yield (
      f'it answers an image that it has seen before {new / seen:.1f} times '
      'faster: it remembers; the times are of new images'
    )
