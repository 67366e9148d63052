"""Measurements as flat rows, every figure in full."""

import csv
import io
from collections.abc import Sequence

from tfcompress.core import measurements

# Where in a record each column is from; a number is a place in a tuple.
_SCORE = {
  'score_size': 'score.size',
  'score_latency': 'score.latency',
  'score_accuracy': 'score.accuracy',
  'score': 'score.final',
  'baseline': 'score.baseline.source',
}
COLUMNS = {
  'model': 'model.path',
  'sha256': 'model.sha256',
  'format': 'model.format',
  'image_size': 'model.image_size',
  'images_at_once': 'model.batch_size',
  'runtime': 'runtime.name',
  'runtime_version': 'runtime.version',
  'device': 'runtime.device',
  'num_threads': 'runtime.num_threads',
  'precision': 'runtime.precision',
  'fully_delegated': 'runtime.fully_delegated',
  'delegated_percent': 'runtime.delegated_percent',
  'size_bytes': 'size.bytes',
  'size_mib': 'size.mib',
  'gzip_bytes': 'size.gzip_bytes',
  'parameters': 'size.parameters',
  'nonzero_parameters': 'size.nonzero_parameters',
  'latency_mean_ms': 'latency_ms.mean',
  'latency_mean_low_ms': 'latency_ms.mean_ci95.0',
  'latency_mean_high_ms': 'latency_ms.mean_ci95.1',
  'latency_median_ms': 'latency_ms.median',
  'latency_median_low_ms': 'latency_ms.median_ci95.0',
  'latency_median_high_ms': 'latency_ms.median_ci95.1',
  'latency_p90_ms': 'latency_ms.p90',
  'latency_p90_low_ms': 'latency_ms.p90_ci95.0',
  'latency_p90_high_ms': 'latency_ms.p90_ci95.1',
  'latency_p99_ms': 'latency_ms.p99',
  'latency_p99_low_ms': 'latency_ms.p99_ci95.0',
  'latency_p99_high_ms': 'latency_ms.p99_ci95.1',
  'latency_min_ms': 'latency_ms.min',
  'latency_std_ms': 'latency_ms.std',
  'load_ms': 'latency_ms.load_ms',
  'first_inference_ms': 'latency_ms.first_ms',
  'runs': 'latency_ms.runs',
  'warmup_runs': 'latency_ms.warmup_runs',
  'processes': 'latency_ms.processes',
  'steady': 'latency_ms.steady',
  'ratio_reference': 'ratio.reference',
  'latency_ratio': 'ratio.latency',
  'latency_ratio_low': 'ratio.latency_ci95.0',
  'latency_ratio_high': 'ratio.latency_ci95.1',
  'throughput_images_per_s': 'throughput_per_s',
  'best_batch_size': 'best_throughput.batch_size',
  'best_throughput_images_per_s': 'best_throughput.images_per_s',
  'peak_memory_mib': 'memory_mib.peak',
  'model_memory_mib': 'memory_mib.model',
  'top1_percent': 'accuracy.top1_percent',
  'top1_low_percent': 'accuracy.top1_ci95_percent.0',
  'top1_high_percent': 'accuracy.top1_ci95_percent.1',
  'balanced_percent': 'accuracy.balanced_percent',
  'top5_percent': 'accuracy.top5_percent',
  'top5_low_percent': 'accuracy.top5_ci95_percent.0',
  'top5_high_percent': 'accuracy.top5_ci95_percent.1',
  'calibration_error': 'accuracy.calibration_error',
  'agreement_percent': 'accuracy.agreement_percent',
  'num_examples': 'accuracy.num_examples',
  'batch_size': 'accuracy.batch_size',
  'dataset': 'dataset.name',
  'split': 'dataset.split',
  'transform': 'dataset.transform',
  'input_scaling': 'dataset.input_scaling',
  'scaling_source': 'dataset.scaling_source',
  'skipped_examples': 'dataset.skipped_examples',
  **_SCORE,
  'isolation': 'isolation.level',
  'others_cores': 'machine.others_cores',
  'busy': 'machine.busy',
  'failure': 'failure',
}


def as_csv(records: Sequence[measurements.Measurement]) -> str:
  """Returns a line a model, below the names of the columns.

  Those of the score are left out where no model has one.
  """
  scored = any(record.score for record in records)
  columns = {
    name: path for name, path in COLUMNS.items() if scored or name not in _SCORE
  }
  out = io.StringIO()
  writer = csv.writer(out, lineterminator='\n')
  writer.writerow(columns)
  writer.writerows(
    [_at(record, path) for path in columns.values()] for record in records
  )
  return out.getvalue()


def _at(record: measurements.Measurement, path: str) -> object:
  """What is at a place of a record; None if a part on the way is."""
  first, *rest = path.split('.')
  if first == 'best_throughput':
    value = _best(record)
  else:
    value = getattr(record, first)
  for name in rest:
    if value is None:
      return None
    value = value[int(name)] if name.isdigit() else getattr(value, name)
  return value


def _best(
  record: measurements.Measurement,
) -> measurements.ThroughputRecord | None:
  """The batch size of most images a second."""
  return max(record.throughput, key=lambda t: t.images_per_s, default=None)
