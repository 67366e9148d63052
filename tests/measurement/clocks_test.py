"""A model that brings code cannot make its own times."""

import time
from unittest import mock

import numpy as np
import pytest

from tests import needs
from tests.measurement import programs
from tfcompress.core import measurements, types
from tfcompress.measurement import clocks, latency, opened, witness

IMAGES = np.random.RandomState(0).randint(0, 256, (60, 224, 224, 3), np.uint8)
# What the module of `programs` computes.
SCORES = np.zeros((60, 100), np.float32)
SCORES[:, :3] = IMAGES.mean((1, 2))
ANSWERS = witness.Witness(IMAGES, SCORES)
LIMITS = measurements.Limits(isolation=measurements.Isolation.PROCESS)
SLEEP = 'time.sleep(0.01)'
OTHERWISE = 'it does not answer by the image alone'
COUNTS = f"""
seen[len(seen)] = 1
if len(seen) < 30:
  {SLEEP}
else:
  x = x * 0
"""
WORKER = 'import sys; worker = sys.modules["__main__"].Worker\n'
# Answers before it is asked.
EARLY = """
import os, sys
worker = sys.modules["__main__"].Worker
was = worker.share
def share(self, **arguments):
  was(self, **arguments)
  for descriptor in range(3, 1024):
    try:
      os.write(descriptor, b'{"done": null}\\n' * 90)
    except OSError:
      pass
worker.share = share
"""


def timed(file: measurements.OpenConfig, strict: bool = True, **beside):
  """The model's times, and those of another beside it."""
  config = lambda file: measurements.MeasureConfig(
    file,
    input_scaling=types.Preprocessing(),
    limits=LIMITS,
    strict=strict,
    **{'runs': 40, 'seconds': 0.0, 'processes': 1, 'warmup_runs': 2},
  )
  images = lambda size: IMAGES[: latency.NUM_IMAGES, :size, :size]
  jobs = [latency.Job(config(file), images, ANSWERS)]
  if beside:
    jobs.append(latency.Job(config(measurements.OpenConfig(**beside)), images))
  return latency.measure(jobs)[0][0]


def test_an_honest_model_is_compared_on_images_that_it_sees_once(tmp_path):
  found = timed(programs.write(tmp_path, forward=SLEEP))
  assert not found.failure
  assert (found.compared, found.different) == (len(found.ms[0]), 0) == (40, 0)
  assert 10 <= min(found.ms[0]) <= np.median(found.ms[0]) < 20


def test_a_tflite_is_compared_too(exported, folder):
  path = exported[types.Variant.INT8]
  images = IMAGES[:, :48, :48]
  wrong = witness.Witness(images, np.zeros((60, 3), np.float32))
  config = measurements.MeasureConfig(
    measurements.OpenConfig(path, num_threads=1),
    input_scaling=types.Preprocessing(),
    limits=LIMITS,
    runs=40,
    processes=2,
  )
  job = latency.Job(config, lambda size: images[:8], wrong)
  [found], _ = latency.measure([job])
  # Others are made of eight.
  assert (found.compared, found.different) == (104, 104)
  assert [len(part) for part in found.ms] == [52, 52]
  [said] = found.warnings
  assert 'otherwise while it is timed' in said and '104 of 104' in said


@needs.pytorch
def test_only_runs_count_whose_answers_are_compared(tmp_path):
  from tests.hosting import torch_graphs

  # Pure colors. Of one that begins elsewhere, the first channel is of two.
  images = np.zeros((24, 48, 48, 3), np.uint8)
  for number, image in enumerate(images):
    image[..., number % 3] = 120 + number
  path = tmp_path / 'model.pt'
  path.write_bytes(torch_graphs.script(torch_graphs.KnowsThePractice()))
  scores = images.mean((1, 2))[:, ::-1].astype(np.float32)
  config = measurements.MeasureConfig(
    measurements.OpenConfig(str(path), num_threads=1, image_size=48),
    input_scaling=types.Preprocessing(),
    limits=LIMITS,
    **{'runs': 20, 'seconds': 0.0, 'processes': 1, 'warmup_runs': 2},
  )
  job = latency.Job(
    config, lambda size: images[:8], witness.Witness(images, scores)
  )
  [found], _ = latency.measure([job])
  assert not found.failure and not found.different
  assert len(found.ms[0]) == found.compared >= 16
  assert min(found.ms[0]) > 1  # It takes a tenth for the others.


@pytest.mark.parametrize(
  ('load', 'forward', 'sentence'),
  [
    ('', COUNTS, OTHERWISE),
    # In the place of the evaluator's own code, which runs beside it.
    (WORKER + 'worker.answer = lambda self: None', SLEEP, OTHERWISE),
    (EARLY, SLEEP, 'cannot be trusted'),
  ],
)
def test_one_that_skips_the_work_is_found(load, forward, sentence, tmp_path):
  found = timed(programs.write(tmp_path, load or 'pass', forward))
  assert sentence in found.failure
  assert found.different > 5 or sentence != OTHERWISE


def test_one_that_stops_its_own_clock_gains_nothing(tmp_path):
  load = 'was = time.perf_counter_ns; time.perf_counter_ns = lambda: was() // 9'
  found = timed(programs.write(tmp_path, load, SLEEP))
  assert not found.failure and min(found.ms[0]) >= 10


class Model:
  """Stands for a process on a machine where nothing else runs."""

  path = 'some.pt'

  def __init__(self, cores: float, idle_cores: float):
    self._cores, self._idle_cores = cores, idle_cores
    self._cpu, self._seen, self._worked = 0.0, time.perf_counter(), 0.0
    info = measurements.TensorInfo('image', (1, 224, 224, 3), 'uint8')
    self.about = mock.Mock(
      inputs=(info,), image_size=224, batch_size=1, preprocessing=None
    )

  def share(self, count):
    pass

  def answer(self, encoded):
    self._worked += 0.02
    self._cpu += 0.02 * self._cores
    time.sleep(0.02)
    return np.zeros(100), 20.0

  def cpu_seconds(self) -> float:
    now = time.perf_counter()
    idle = max(0.0, now - self._seen - self._worked)
    self._cpu += idle * self._idle_cores
    self._seen, self._worked = now, 0.0
    return self._cpu


@pytest.mark.parametrize(
  ('cores', 'idle_cores', 'sentence'),
  [
    (1.0, 0.0, ''),
    (
      2.0,
      0.0,
      r'computed on \d\.\d cores while it was timed, expected at most 1',
    ),
    (1.0, 0.9, r'computed for 0\.\d+ s while others were timed'),
  ],
)
def test_cores_beside_those_asked_for(cores, idle_cores, sentence):
  file = measurements.OpenConfig('some.pt', num_threads=1, loader='x.py')
  config = measurements.MeasureConfig(file)
  timer = clocks.of(Model(cores, idle_cores), config, ANSWERS)
  for _ in range(5):
    timer.time(2)
    time.sleep(0.08)
  if not sentence:
    timer.require_honest()
    return
  with pytest.raises(opened.ModelError, match=sentence):
    timer.require_honest()
