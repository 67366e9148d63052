"""The figures of scripts/benchmark, each a ratio measured in one run."""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
os.environ['PYTHONPATH'] = str(ROOT)

from tfcompress.core import native_logs  # noqa: E402

native_logs.silence()

import conversion  # noqa: E402
import evaluation  # noqa: E402
import training  # noqa: E402

from tfcompress.core import environment  # noqa: E402

# In this order; pipeline compares with what training found.
BENCHMARKS = {
  'onednn': training.onednn,
  'training': training.training,
  'pipeline': training.pipeline,
  'cached': training.cached,
  'prune': training.prune,
  'slim': conversion.slim,
  'rewrites': conversion.rewrites,
  'quantizer': conversion.quantizer,
  'compress': conversion.compress,
  'harness': evaluation.harness,
  'accuracy': evaluation.accuracy,
  'noise': evaluation.noise,
  'same': evaluation.same,
  'start': evaluation.start,
  'memory': evaluation.memory,
  'help': evaluation.help_seconds,
}


def main() -> None:
  wanted = sys.argv[1:] or list(BENCHMARKS)
  if unknown := [name for name in wanted if name not in BENCHMARKS]:
    sys.exit(f'error: {unknown[0]!r} is none of {", ".join(BENCHMARKS)}')
  print(f'{environment.cpu_name()}, {len(os.sched_getaffinity(0))} cores')
  for name, measure in BENCHMARKS.items():
    if name in wanted:
      measure()


if __name__ == '__main__':
  main()
