"""Latency of one image at a time, of several models in turns."""

import contextlib
import dataclasses
import math
import statistics as medians
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tfcompress.core import measurements, types
from tfcompress.measurement import machine, opened, sandbox, statistics

NUM_IMAGES = 8
_TURNS = 10  # of each model in a process
_TURN_MS = 30.0  # at least: the first runs find the caches full of another's
_MOST_RUNS = 2000  # of a turn, unless more are asked for
_REPEATED_RUNS, _REMEMBERED = 20, 0.5


@dataclasses.dataclass
class Timed:
  """What was seen of one model; of lists, an element a process."""

  ms: list[list[float]] = dataclasses.field(default_factory=list)
  load_ms: list[float] = dataclasses.field(default_factory=list)
  first_ms: list[float] = dataclasses.field(default_factory=list)
  warm_ms: list[float] = dataclasses.field(default_factory=list)
  warmup_runs: int = 0
  steady: bool = True
  warnings: list[str] = dataclasses.field(default_factory=list)
  failure: str = ''


def measure(
  configs: Sequence[measurements.MeasureConfig],
  images: Callable[[int], np.ndarray],
  on_round: Callable[[], object] = lambda: None,
) -> tuple[list[Timed], measurements.MachineRecord]:
  """Times models in turns, in fresh processes that are pinned to cores.

  A model that fails is left out from then on, and its `failure` says why.

  Args:
    configs: that share runs, seconds, processes, warmup_runs and threads.
    images: by size, uint8 (NUM_IMAGES, S, S, 3) that are timed.
    on_round: called when every model has been timed in one more process.
  """
  found = [Timed() for _ in configs]
  watch, cores, seconds = machine.Watch(), (), 0.0
  for index in range(configs[0].processes):
    cores = machine.idlest_cores(configs[0].file.num_threads or 1)
    seconds += _round(configs, found, images, cores, first=not index)
    on_round()
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
    mean_ci95=statistics.mean_interval([np.mean(part) for part in timed.ms]),
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


def _round(configs, found, images, cores, *, first: bool) -> float:
  """One process of every model; returns their CPU time in seconds."""
  with contextlib.ExitStack() as stack:
    models = {}
    for index, config in enumerate(configs):
      if found[index].failure:
        continue
      with _noting(found[index]):
        # A GPU's driver has threads of its own.
        pinned = () if sandbox.on_gpu(config.file) else cores
        model = stack.enter_context(
          opened.Opened(config.file, config.limits, cores=pinned)
        )
        _warm(model, config, found[index], images)
        models[index] = model
    _take_turns(configs[0], models, found)
    for index, model in list(models.items()):
      with _noting(found[index]):
        model.require_honest_times()
        if first:
          scaling = configs[index].input_scaling
          found[index].warnings += _oddities(model, scaling, found[index])
    return sum(model.cpu_seconds for model in models.values())


@contextlib.contextmanager
def _noting(timed: Timed) -> Iterator[None]:
  """Keeps a model's failure from the others."""
  try:
    yield
  except opened.ModelError as error:
    timed.failure = str(error)


def prepare(
  model: opened.Opened,
  config: measurements.MeasureConfig,
  images: Callable[[int], np.ndarray],
) -> None:
  """Gives a model the images that it is timed on."""
  pixels = images(model.about.image_size)
  model.share(len(pixels))[0] = pixels
  scaling = config.input_scaling or types.Normalization.RAW
  model.prepare(len(pixels), scaling)


def _warm(model: opened.Opened, config, timed: Timed, images) -> None:
  """Runs a model until its times are steady."""
  prepare(model, config, images)
  warmed = model.warm(config.warmup_runs)
  timed.load_ms.append(model.about.load_ms)
  timed.first_ms.append(model.about.first_ms)
  timed.warm_ms.append(warmed.ms)
  timed.warmup_runs += warmed.runs
  timed.steady &= warmed.steady


def _take_turns(
  config: measurements.MeasureConfig,
  models: Mapping[int, opened.Opened],
  found: Sequence[Timed],
) -> None:
  """Times some runs of each model, then again, forwards and backwards."""
  turn = {
    # From the first process, so that all have as many runs.
    index: _runs_of_turn(config, max(found[index].warm_ms[0], 1e-4))
    for index in models
  }
  for index in models:
    found[index].ms.append([])
  order = list(models)
  for _ in range(_TURNS):
    for index in order:
      if not found[index].failure:
        with _noting(found[index]):
          found[index].ms[-1] += models[index].time(turn[index])
    order.reverse()


def _runs_of_turn(config: measurements.MeasureConfig, ms: float) -> int:
  """Runs of one turn of a model that takes so many milliseconds."""
  share = config.processes * _TURNS
  by_time = max(1e3 * config.seconds / share, _TURN_MS) / ms
  return math.ceil(max(config.runs / share, min(by_time, _MOST_RUNS)))


def _oddities(
  model: opened.Opened, scaling: types.Normalization | None, timed: Timed
) -> list[str]:
  """What is wrong with a model that does not compute what it is asked."""
  odd = []
  model.begin_predict(0, NUM_IMAGES, scaling or types.Normalization.RAW)
  scores, _ = model.scores(0, NUM_IMAGES)
  if (scores == scores[0]).all():
    odd.append(
      f'it gives the same output for {NUM_IMAGES} different images: a constant'
    )
  new = medians.median(model.time(_REPEATED_RUNS))
  seen = medians.median(model.time(_REPEATED_RUNS, fresh=False))
  if seen < _REMEMBERED * new:
    odd.append(
      f'it answers an image that it has seen before {new / seen:.1f} times '
      'faster: it remembers; the times are of new images'
    )
  return odd
