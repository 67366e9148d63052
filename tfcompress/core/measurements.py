"""What is to be measured of a model file, and what was."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from tfcompress.core import types


class Runtime(enum.Enum):
  NULL = 'null'
  LITERT_CPU = 'litert_cpu'
  TENSORFLOW = 'tensorflow'


class Part(enum.Enum):
  """A part of a measurement."""

  SIZE = 'size'
  LATENCY = 'latency'
  MEMORY = 'memory'
  ACCURACY = 'accuracy'


@dataclasses.dataclass(frozen=True)
class MeasureConfig:
  """How to measure one model file.

  Attributes:
    model: the file or folder.
    parts: what to measure.
    data: the images for accuracy.
    input_scaling: what the file expects of its pixels; None asks its metadata.
    runtime: None takes the one made for the file's format.
    class_names: of the model's outputs, which the data must have; empty where
      the file does not tell.
    num_threads: threads of one timed inference; accuracy uses every core.
    runs: timed inferences.
    warmup_runs: inferences before them; None takes runs / 10, at least 10.
  """

  model: str
  parts: tuple[Part, ...] = tuple(Part)
  data: types.DataSpec = types.DataSpec()
  input_scaling: types.Normalization | None = None
  runtime: Runtime | None = None
  class_names: tuple[str, ...] = ()
  num_threads: int = 1
  runs: int = 100
  warmup_runs: int | None = None


@dataclasses.dataclass(frozen=True)
class TensorInfo:
  """One input or output of a model file.

  Attributes:
    name: as in the file.
    shape: -1 for a free dimension.
    dtype: numpy's name.
    scale: of a quantized tensor, real = scale * (q - zero_point); else None.
    zero_point: likewise.
  """

  name: str
  shape: tuple[int, ...]
  dtype: str
  scale: float | None = None
  zero_point: int | None = None


@dataclasses.dataclass(frozen=True)
class ModelRecord:
  path: str
  sha256: str
  format: str
  inputs: tuple[TensorInfo, ...]
  outputs: tuple[TensorInfo, ...]


@dataclasses.dataclass(frozen=True)
class DatasetRecord:
  name: str
  split: str
  num_examples: int
  transform: str
  input_scaling: str
  skipped_examples: int = 0


@dataclasses.dataclass(frozen=True)
class RuntimeRecord:
  name: str
  version: str
  device: str
  num_threads: int
  fully_delegated: bool | None


@dataclasses.dataclass(frozen=True)
class SizeRecord:
  """Size on disk; parameters are None where the format does not tell."""

  bytes: int
  mib: float
  gzip_bytes: int
  parameters: int | None
  nonzero_parameters: int | None


@dataclasses.dataclass(frozen=True)
class LatencyRecord:
  """One image at a time, in milliseconds; `samples` are in order."""

  mean: float
  median: float
  p90: float
  p99: float
  min: float
  std: float
  runs: int
  warmup_runs: int
  processes: int
  samples: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class OperatorRecord:
  """One operator of a file, timed alone.

  Attributes:
    operator: TFLite's name, such as 'CONV_2D'.
    name: of what it writes.
    shape: of what it writes.
    dtype: of what it writes.
    ms: median time in milliseconds, one thread.
  """

  operator: str
  name: str
  shape: tuple[int, ...]
  dtype: str
  ms: float


@dataclasses.dataclass(frozen=True)
class ProfileRecord:
  """Where a file's time goes.

  Attributes:
    operators: in the order of execution.
    whole_ms: median time of the whole file. The operators' sum differs: alone,
      each finds its data in the caches, but a runtime may also fuse some.
  """

  operators: tuple[OperatorRecord, ...]
  whole_ms: float


@dataclasses.dataclass(frozen=True)
class MemoryRecord:
  """Resident memory of a fresh process that runs the model, in MiB.

  Attributes:
    peak: highest of the process, runtime included.
    model: what opening the model and running it once added.
  """

  peak: float
  model: float


@dataclasses.dataclass(frozen=True)
class AccuracyRecord:
  top1_percent: float
  top5_percent: float
  top1_ci95_percent: tuple[float, float]
  num_examples: int


@dataclasses.dataclass(frozen=True)
class BaselineRecord:
  """What a score compares with; None where it was not needed.

  `source` says where the figures are from.
  """

  size_mib: float | None
  latency_ms: float | None
  top1_percent: float | None
  source: str


@dataclasses.dataclass(frozen=True)
class ScoreRecord:
  """Ratios to the baseline; 1.0 is the baseline, higher is better."""

  size: float | None
  latency: float | None
  accuracy: float | None
  final: float | None
  baseline: BaselineRecord


@dataclasses.dataclass(frozen=True)
class Measurement:
  """What `evaluate --output_file` writes; a part not asked for is None."""

  model: ModelRecord
  dataset: DatasetRecord | None
  runtime: RuntimeRecord
  size: SizeRecord | None
  latency_ms: LatencyRecord | None
  throughput_per_s: float | None
  memory_mib: MemoryRecord | None
  accuracy: AccuracyRecord | None
  score: ScoreRecord | None
  environment: Mapping[str, object]
  schema_version: int = 1
