import dataclasses

import numpy as np
import pytest

from tests.measurement import programs
from tfcompress.core import measurements, types
from tfcompress.measurement import latency, warmup

IMAGES = np.random.RandomState(0).randint(
  0, 256, (latency.NUM_IMAGES, 224, 224, 3), np.uint8
)
LIMITS = measurements.Limits(isolation=measurements.Isolation.PROCESS)


def config(file: measurements.OpenConfig, **fields):
  return measurements.MeasureConfig(
    file,
    input_scaling=types.Preprocessing(),
    limits=LIMITS,
    **{'runs': 20, 'seconds': 0.0, 'processes': 2, 'warmup_runs': 2, **fields},
  )


def of_size(size: int) -> np.ndarray:
  return IMAGES[:, :size, :size]


def test_statistics_against_numpy():
  parts = np.random.RandomState(0).gamma(2, 1, (5, 101))
  timed = latency.Timed(
    ms=[list(part) for part in parts],
    load_ms=[3.0, 1.0, 2.0, 5.0, 4.0],
    first_ms=[9.0, 8.0, 7.0, 6.0, 5.0],
    warmup_runs=50,
  )
  record = latency.summarize(timed, 'a picture')
  samples = parts.ravel()
  assert record.mean == pytest.approx(np.mean(samples))
  assert record.median == pytest.approx(sorted(samples)[252])
  assert record.p90 == pytest.approx(np.quantile(samples, 0.9))
  assert record.p99 == pytest.approx(np.quantile(samples, 0.99))
  assert record.std == pytest.approx(np.std(samples))
  assert record.min == min(samples)
  assert (record.runs, record.warmup_runs, record.processes) == (505, 50, 5)
  assert (record.load_ms, record.first_ms, record.steady) == (3.0, 7.0, True)
  np.testing.assert_array_equal(record.samples, samples)
  low, high = record.mean_ci95
  assert low < record.mean < high
  assert record.median_ci95[0] <= record.median <= record.median_ci95[1]


def test_no_percentile_from_too_few_samples():
  timed = latency.Timed(ms=[[1.0] * 30, [2.0] * 30], load_ms=[1], first_ms=[1])
  record = latency.summarize(timed, '')
  assert record.median is not None and record.p90 is not None
  assert record.p99 is record.p99_ci95 is None


def test_a_ratio_is_of_pairs_of_processes():
  slow = latency.Timed(ms=[[4.0, 4.0, 100.0], [40.0, 40.0, 40.0]])
  fast = latency.Timed(ms=[[2.0, 2.0, 2.0], [20.0, 20.0, 20.0]])
  ratio = latency.ratio(slow, fast, 'slow.tflite')
  assert ratio.reference == 'slow.tflite'
  assert ratio.latency == pytest.approx(2)
  assert ratio.latency_ci95 == pytest.approx((2, 2))
  fast.ms.pop()
  assert latency.ratio(slow, fast, 'slow.tflite') is None


def test_warming_up_ends_when_times_stop_falling():
  left = [*np.linspace(10, 1, 40), *np.ones(10_000)]

  def times(runs: int) -> np.ndarray:
    taken, left[:runs] = np.array(left[:runs]), []
    return taken

  warmed = warmup.until_steady(times)
  assert (warmed.ms, warmed.steady) == (1.0, True)
  assert 40 < warmed.runs < 200
  endless = iter(0.99**i for i in range(100_000))
  falling = lambda runs: np.array([next(endless) for _ in range(runs)])
  assert not warmup.until_steady(falling).steady
  assert warmup.until_steady(times, 7).runs == 7


def test_models_are_timed_in_turns(exported):
  files = [
    measurements.OpenConfig(exported[variant], num_threads=1)
    for variant in (types.Variant.INT8, types.Variant.FLOAT32)
  ]
  broken = measurements.OpenConfig(
    files[0].model, runtime=measurements.Runtime.NULL, signature='x'
  )
  rounds = []
  found, machine = latency.measure(
    [
      latency.Job(config(file, warmup_runs=None, runs=60), of_size)
      for file in (*files, broken)
    ],
    lambda: rounds.append(1),
  )
  assert len(rounds) == 2
  for timed in found:
    assert not timed.failure and not timed.warnings[1:]
    assert [len(part) for part in timed.ms] == [len(timed.ms[0])] * 2
    assert sum(map(len, timed.ms)) >= 60
    assert min(min(part) for part in timed.ms) > 0
    assert len(timed.load_ms) == len(timed.first_ms) == 2
  assert machine.others_cores is not None
  assert len(machine.cores) <= 1
  ratio = latency.ratio(found[0], found[2], 'x')
  assert ratio.latency > 10  # The null runtime computes nothing.


def test_one_that_fails_leaves_the_others_alone(exported, tmp_path):
  good = measurements.OpenConfig(exported[types.Variant.INT8], num_threads=1)
  path = tmp_path / 'cut.tflite'
  path.write_bytes(b'\0\0\0\0TFL3 and nothing else')
  bad = measurements.OpenConfig(str(path), num_threads=1)
  found, _ = latency.measure(
    [latency.Job(config(file), of_size) for file in (good, bad)]
  )
  assert 'cut.tflite' in found[1].failure
  assert not found[0].failure and len(found[0].ms) == 2


@pytest.mark.parametrize(
  ('forward', 'warning'),
  [
    ('x = x * 0', 'the same output for 8 different images: a constant'),
    (programs.REMEMBERS, 'seen before .* times faster: it remembers'),
  ],
)
def test_models_that_do_not_compute_are_named(forward, warning, tmp_path):
  file = programs.write(tmp_path, forward=forward)
  job = latency.Job(config(file, processes=1, runs=30), of_size)
  found, _ = latency.measure([job])
  assert not found[0].failure
  [said] = found[0].warnings
  assert pytest.importorskip('re').search(warning, said)


def test_throughput_by_batch_size(exported):
  from tfcompress.measurement import opened

  file = measurements.OpenConfig(exported[types.Variant.INT8], num_threads=1)
  with opened.Opened(file, LIMITS) as model:
    latency.prepare(model, config(file), of_size)
    assert model.throughput(1, 0.1) > 10
    with pytest.raises(opened.ModelError, match='for batches of 1, got'):
      model.throughput(4, 0.1)
  free = dataclasses.replace(file, runtime=measurements.Runtime.NULL)
  with opened.Opened(free, LIMITS) as model:
    latency.prepare(model, config(free), of_size)
    assert model.about.num_outputs == 100
