"""Measurements that nobody made, but such as there are."""

import dataclasses

import numpy as np

from tfcompress.competition import scoring
from tfcompress.core import measurements

CLASSES = tuple(f'{shape} {n:02d}' for shape in ('ring', 'star') for n in range(50))  # fmt: skip
ENVIRONMENT = {
  'python': '3.11.2',
  'platform': 'Linux-6.1.0-x86_64-with-glibc2.36',
  'packages': {'tensorflow': '2.21.0', 'ai-edge-litert': '2.3.0'},
  'cpu': 'Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz',
  'cpu_flags': ['avx2', 'avx512f', 'avx512_vnni', 'amx_bf16'],
  'cpu_cores': 2,
  'device': 'cpu',
  'git_revision': None,
}
REFERENCE = 'exported/baseline/model.tflite'


def latency(mean_ms: float, seed: int) -> measurements.LatencyRecord:
  """Five processes of 200 runs, from a gamma distribution."""
  rng = np.random.RandomState(seed)
  samples = mean_ms * (0.93 + rng.gamma(2.0, 0.035, 1000))
  means = samples.reshape(5, 200).mean(axis=1)
  half = 2.776 * means.std(ddof=1) / 5**0.5
  median, p90 = np.percentile(samples, (50, 90))
  return measurements.LatencyRecord(
    mean=float(samples.mean()),
    median=float(median),
    p90=float(p90),
    p99=None,
    min=float(samples.min()),
    std=float(samples.std()),
    runs=1000,
    warmup_runs=250,
    processes=5,
    samples=tuple(map(float, samples)),
    mean_ci95=(float(samples.mean() - half), float(samples.mean() + half)),
    median_ci95=(float(median) * 0.998, float(median) * 1.002),
    p90_ci95=(float(p90) * 0.99, float(p90) * 1.01),
    load_ms=11.25,
    first_ms=3.5,
    steady=True,
    image='synthetic100, 8 images',
  )


def accuracy(top1: float, seed: int) -> measurements.AccuracyRecord:
  """50 images of each of 100 classes."""
  rng = np.random.RandomState(seed)
  confusion = np.zeros((100, 100), int)
  for row in range(100):
    share = np.clip(rng.normal(top1 / 100, 0.1), 0.05, 1.0)
    weights = rng.gamma(0.1, 1.0, 100)
    weights[row] = 0
    weights *= (1 - share) / weights.sum()
    weights[row] = share
    confusion[row] = rng.multinomial(50, weights / weights.sum())
  right = 100 * confusion.trace() / confusion.sum()
  per_class = 100 * confusion.diagonal() / confusion.sum(axis=1)
  return measurements.AccuracyRecord(
    top1_percent=float(right),
    top5_percent=float(right) + 12,
    top1_ci95_percent=(float(right) - 1.1, float(right) + 1.1),
    num_examples=5000,
    top5_ci95_percent=(float(right) + 11.5, float(right) + 12.5),
    calibration_error=0.0321,
    agreement_percent=93.5,
    batch_size=8,
    per_class_percent=dict(zip(CLASSES, map(float, per_class))),
    confusion=tuple(tuple(map(int, row)) for row in confusion),
  )


def profile(whole_ms: float) -> measurements.ProfileRecord:
  """Twenty-two operators, each of half the time of the one before."""
  names = ['CONV_2D'] * 18 + ['ADD', 'MEAN', 'FULLY_CONNECTED', 'SOFTMAX']
  return measurements.ProfileRecord(
    tuple(
      measurements.OperatorRecord(
        name,
        f'resnet/stage_{i // 5}/block_{i % 5}/activation/Relu;resnet/stage_'
        f'{i // 5}/block_{i % 5}/batch_norm/FusedBatchNormV3',
        (1, 56, 56, 64),
        'int8',
        whole_ms * 0.8**i / 5,
      )
      for i, name in enumerate(names)
    ),
    whole_ms,
  )


def record(
  path: str, mib: float, mean_ms: float, top1: float, seed: int
) -> measurements.Measurement:
  """A measurement with everything in it."""
  timed, right = latency(mean_ms, seed), accuracy(top1, seed)
  ratio = 6.2 / mean_ms
  return measurements.Measurement(
    model=measurements.ModelRecord(
      path,
      f'{seed:064x}',
      'tflite',
      (measurements.TensorInfo('image', (-1, 224, 224, 3), 'uint8', 1.0, 0),),
      (measurements.TensorInfo('probabilities', (1, 100), 'uint8', 0.004, 0),),
    ),
    dataset=measurements.DatasetRecord(
      'synthetic100', 'validation', 5000, 'challenge', 'imagenet', 0, 'auto',
      {'raw': 11.5, 'unit': 52.0, 'symmetric': 50.5, 'imagenet': 79.0},
    ),
    runtime=measurements.RuntimeRecord(
      'litert_cpu', '2.3.0', 'Intel Xeon', 1, None, 98.5
    ),
    size=measurements.SizeRecord(
      int(mib * 2**20), mib, int(mib * 2**19), 11227812, 11100000
    ),
    latency_ms=timed,
    throughput_per_s=1000 / timed.mean,
    memory_mib=measurements.MemoryRecord(74.7, 31.5),
    accuracy=right,
    score=scoring.score(
      size_mib=mib,
      latency_ms=timed.mean,
      top1_percent=right.top1_percent,
      baseline=measurements.BaselineRecord(44.7, 23.5, 69.76, 'challenge'),
    ),
    environment=ENVIRONMENT,
    throughput=tuple(
      measurements.ThroughputRecord(size, 2000 / mean_ms * size / (size + 1))
      for size in (1, 4, 16, 64)
    ),
    profile=profile(timed.mean),
    ratio=measurements.RatioRecord(
      REFERENCE, ratio, (ratio * 0.98, ratio * 1.02)
    ),
    isolation=measurements.IsolationRecord(
      'bubblewrap', ('network', 'files', 'memory'), ('processes',)
    ),
    machine=measurements.MachineRecord(
      (0,), 'performance', 0.4, 1.1, 0.05, False
    ),
  )  # fmt: skip


def _failed(path: str) -> measurements.Measurement:
  return measurements.Measurement(
    measurements.ModelRecord(path, 'f' * 64, 'onnx', (), ()),
    *(None,) * 8,
    environment=ENVIRONMENT,
    failure=f'{path}: the file ends in the middle of a tensor',
  )


def four() -> list[measurements.Measurement]:
  """A reference, one as fast, one faster on a busy machine, one that failed."""
  first = record(REFERENCE, 42.85, 6.2, 79.3, 1)
  first = dataclasses.replace(
    first,
    ratio=None,
    accuracy=dataclasses.replace(first.accuracy, agreement_percent=None),
  )
  second = record('exported/dynamic/model.tflite', 10.9, 6.21, 78.9, 2)
  third = record('exported/slim_kd_int8/model.tflite', 2.77, 0.51, 77.6, 3)
  busy = measurements.MachineRecord((), None, 2.5, 3.1, 1.2, True)
  third = dataclasses.replace(third, machine=busy)
  return [first, second, third, _failed('exported/broken.onnx')]
