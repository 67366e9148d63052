"""What is to be measured of a model file, and what was."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from tfcompress.core import types

USUAL_SIZE = 224  # pixels, where nothing tells how large images are to be


class Runtime(enum.Enum):
  """What runs a file."""

  LITERT_CPU = 'litert_cpu'
  LITERT_GPU = 'litert_gpu'
  TENSORFLOW = 'tensorflow'
  OPENVINO = 'openvino'
  TORCH = 'torch'
  ONNXRUNTIME = 'onnxruntime'
  NULL = 'null'  # computes nothing: the harness's own cost


class Device(enum.Enum):
  CPU = 'cpu'
  GPU = 'gpu'


class Precision(enum.Enum):
  """In what a GPU computes what the file has as floats."""

  FP16 = 'fp16'
  FP32 = 'fp32'


class Isolation(enum.Enum):
  """How a process that opens a stranger's file is kept from the machine."""

  BUBBLEWRAP = 'bubblewrap'
  PROCESS = 'process'  # limits alone
  NONE = 'none'


class Part(enum.Enum):
  """A part of a measurement."""

  SIZE = 'size'
  LATENCY = 'latency'
  MEMORY = 'memory'
  ACCURACY = 'accuracy'


@dataclasses.dataclass(frozen=True)
class OpenConfig:
  """How to open one model file.

  Attributes:
    model: the file or folder.
    runtime: None takes the one made for the file's format.
    num_threads: of one inference; None takes the runtime's default.
    device: where TensorFlow or PyTorch computes; `litert_gpu` is always a GPU.
    precision: of `litert_gpu`.
    allow_cpu: `litert_gpu` may leave operators to the CPU.
    xla: TensorFlow compiles the model with XLA.
    signature: of a `.tflite` or SavedModel with several; '' takes the only one
      or, of a SavedModel, 'serving_default'.
    input_name: of a frozen graph; '' takes its only placeholder.
    output_name: likewise; '' takes the only tensor that nothing reads.
    custom_objects: a module, or a `.py` file, whose classes and functions a
      Keras file names.
    loader: a `.py` file whose `load_model(path)` returns what PyTorch or
      TensorFlow runs: the module of a state dict, for example.
    allow_pickle: a `.pt` may run code of its own as it is opened.
    image_size: height and width in pixels of what a model gets that takes any;
      None takes USUAL_SIZE.
    environment: the folder of a virtual environment whose packages come before
      ours, which it names in a `.pth` file; '' for none.
  """

  model: str
  runtime: Runtime | None = None
  num_threads: int | None = None
  device: Device = Device.CPU
  precision: Precision = Precision.FP32
  allow_cpu: bool = False
  xla: bool = False
  signature: str = ''
  input_name: str = ''
  output_name: str = ''
  custom_objects: str = ''
  loader: str = ''
  allow_pickle: bool = False
  image_size: int | None = None
  environment: str = ''

  @property
  def size_of_any(self) -> int:
    """Height and width of what a model gets that takes any."""
    return self.image_size or USUAL_SIZE

  @property
  def own_code(self) -> tuple[str, ...]:
    """Which of the fields let code of the model's own run."""
    names = ('loader', 'custom_objects', 'allow_pickle', 'environment')
    return tuple(name for name in names if getattr(self, name))


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a process that opens a stranger's file may use.

  Attributes:
    isolation: how it is kept to that; None takes bubblewrap where it is
      installed and works, else plain limits.
    memory_limit: MiB of resident memory, of all its processes.
    time_limit: seconds, for opening the file and for any answer.
    process_limit: processes at once, threads not counted.
    file_limit: MiB of one file that it writes.
  """

  isolation: Isolation | None = None
  memory_limit: int = 8192
  time_limit: float = 300.0
  process_limit: int = 64
  file_limit: int = 256


@dataclasses.dataclass(frozen=True)
class MeasureConfig:
  """How to measure one model file.

  Attributes:
    file: how to open it.
    parts: what to measure.
    data: the images for accuracy, and for timing.
    input_scaling: what the file expects of its pixels; None takes what the file
      itself says, else tries the usual ones on labelled images.
    scaling_source: who says so, 'flag' or 'metadata'; 'auto' tries whatever the
      file says.
    input_channels: the order of colors of what is tried, or of what the file
      says.
    class_names: of the model's outputs, which the data must have; empty where
      the file does not tell.
    class_map: a text file that names for each of the data's classes, in order,
      the index of the model's output, where it has more outputs than classes.
    runs: timed inferences, at least; they are shared by the processes.
    seconds: of timed inferences, at least, likewise.
    processes: fresh ones, each of which times its share.
    warmup_runs: inferences before them; None runs until the times are steady.
    batch_sizes: whose throughput is to be measured.
    per_class: record every class's accuracy and the confusion matrix.
    profile: time every operator.
    strict: a model that does not answer by the image alone fails; it is warned
      of otherwise.
    limits: on the process that opens the file.
  """

  file: OpenConfig
  parts: tuple[Part, ...] = tuple(Part)
  data: types.DataSpec = types.DataSpec()
  input_scaling: types.Preprocessing | None = None
  scaling_source: str = 'flag'
  input_channels: types.Channels = types.Channels.RGB
  class_names: tuple[str, ...] = ()
  class_map: str = ''
  runs: int = 500
  seconds: float = 1.0
  processes: int = 5
  warmup_runs: int | None = None
  batch_sizes: tuple[int, ...] = ()
  per_class: bool = False
  profile: bool = False
  strict: bool = False
  limits: Limits = Limits()


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
  """A model file.

  Attributes:
    path: as it was given.
    sha256: of the file.
    format: of runtimes.formats.
    inputs: what it takes.
    outputs: what it gives.
    image_size: height and width in pixels of what it was given.
    batch_size: images that one inference takes; more than one only where the
      file has it so.
  """

  path: str
  sha256: str
  format: str
  inputs: tuple[TensorInfo, ...]
  outputs: tuple[TensorInfo, ...]
  image_size: int | None = None
  batch_size: int | None = None


@dataclasses.dataclass(frozen=True)
class DatasetRecord:
  """What images a model was measured on, and how they came to it.

  Attributes:
    name: of the dataset.
    split: of it.
    num_examples: images that were classified.
    transform: how they were brought to size.
    input_scaling: what was done to their pixels, in words.
    skipped_examples: images that did not decode.
    scaling_source: 'metadata', 'flag', 'auto', or 'file' where the model's own
      file says it.
    scaling_top1_percent: of 'auto', by every candidate, on a part of the images.
    class_names: of the outputs, in order.
    preprocessing: what was done to their pixels, in numbers.
  """

  name: str
  split: str
  num_examples: int
  transform: str
  input_scaling: str
  skipped_examples: int = 0
  scaling_source: str | None = None
  scaling_top1_percent: Mapping[str, float] | None = None
  class_names: tuple[str, ...] = ()
  preprocessing: types.Preprocessing | None = None


@dataclasses.dataclass(frozen=True)
class RuntimeRecord:
  """What ran a file.

  Attributes:
    name: of Runtime.
    version: of the library.
    device: the name of the CPU or GPU.
    num_threads: of one inference.
    fully_delegated: whether a GPU runs every operator; None of a CPU.
    delegated_percent: operators that XNNPACK, or a GPU, runs, of all; None
      where the runtime does not tell.
    precision: of floats where it is not plain float32, such as 'fp16' or
      'tf32'.
  """

  name: str
  version: str
  device: str
  num_threads: int
  fully_delegated: bool | None
  delegated_percent: float | None = None
  precision: str | None = None


@dataclasses.dataclass(frozen=True)
class SizeRecord:
  """Size on disk; parameters are None where the format does not tell."""

  bytes: int
  mib: float
  gzip_bytes: int
  parameters: int | None
  nonzero_parameters: int | None


Interval = tuple[float, float]  # 95 % confidence, low and high


@dataclasses.dataclass(frozen=True)
class LatencyRecord:
  """One image, in milliseconds; of a file that takes several at once, its share.

  Attributes:
    mean: of all samples, as the percentiles below.
    median: None if there are too few samples for its interval.
    p90: likewise.
    p99: likewise.
    min: of all samples.
    std: of all samples.
    runs: how many samples there are.
    warmup_runs: untimed inferences before them, of all processes.
    processes: each of which gave as many samples as the others.
    samples: in the order of the processes, and of time in each.
    mean_ci95: from the means of the processes; None of fewer than two.
    median_ci95: from the ranks of the samples.
    p90_ci95: likewise.
    p99_ci95: likewise.
    load_ms: to open the file in a process that has its runtime; median.
    first_ms: the first inference after that; median.
    steady: whether the times stopped falling in the warm-up.
    image: what was timed, such as 'synthetic100, 8 images'.
  """

  mean: float
  median: float | None
  p90: float | None
  p99: float | None
  min: float
  std: float
  runs: int
  warmup_runs: int
  processes: int
  samples: tuple[float, ...]
  mean_ci95: Interval | None = None
  median_ci95: Interval | None = None
  p90_ci95: Interval | None = None
  p99_ci95: Interval | None = None
  load_ms: float | None = None
  first_ms: float | None = None
  steady: bool | None = None
  image: str | None = None


@dataclasses.dataclass(frozen=True)
class ThroughputRecord:
  """Images a second in batches of one size, every core at work."""

  batch_size: int
  images_per_s: float


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
  """How often a model is right.

  Attributes:
    top1_percent: images whose class is likelier than all others.
    top5_percent: images whose class is among the five likeliest, other classes
      that are as likely before it; None of five classes or fewer.
    top1_ci95_percent: Wilson's interval.
    num_examples: images.
    top5_ci95_percent: Wilson's interval.
    calibration_error: expected calibration error, 0 to 1, in 15 bins of equal
      width (Guo 2017, equation 3).
    agreement_percent: images with the same top-1 as the first model of the
      comparison; None of the first.
    batch_size: images that went through the model at once.
    per_class_percent: top-1 by class.
    confusion: images by class (rows) and top-1 (columns), in the order of
      per_class_percent.
    balanced_percent: balanced accuracy, the mean over the classes of each one's
      top-1.
  """

  top1_percent: float
  top5_percent: float | None
  top1_ci95_percent: Interval
  num_examples: int
  top5_ci95_percent: Interval | None = None
  calibration_error: float | None = None
  agreement_percent: float | None = None
  batch_size: int | None = None
  per_class_percent: Mapping[str, float] | None = None
  confusion: tuple[tuple[int, ...], ...] | None = None
  balanced_percent: float | None = None


@dataclasses.dataclass(frozen=True)
class RatioRecord:
  """Latency of a reference over this model's: how many times faster it is.

  Both were timed in turns, in pairs of processes.

  Attributes:
    reference: the other model's path.
    latency: from the medians of each pair of processes, for what interrupts
      one process does not interrupt the other; their geometric mean.
    latency_ci95: likewise.
  """

  reference: str
  latency: float
  latency_ci95: Interval | None


@dataclasses.dataclass(frozen=True)
class IsolationRecord:
  """How the process that opened the file was kept from the machine.

  Attributes:
    level: of Isolation.
    contained: what it could not reach or exceed.
    open: what it could.
  """

  level: str
  contained: tuple[str, ...]
  open: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class MachineRecord:
  """What else the machine did while latency was measured.

  Attributes:
    cores: that timed processes were pinned to; empty if they were not.
    governor: of the clock rate, as Linux names it.
    load_before: running processes, the average of a minute.
    load_after: likewise.
    others_cores: cores kept busy by other processes.
    busy: whether that is too much to trust the figures.
  """

  cores: tuple[int, ...]
  governor: str | None
  load_before: float
  load_after: float
  others_cores: float | None
  busy: bool


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
  """Ratios to the baseline; 1.0 is the baseline, higher is better.

  Attributes:
    size: baseline size / size.
    latency: baseline latency / latency.
    accuracy: top-1 / baseline top-1.
    final: their weighted sum.
    baseline: what the ratios are to.
    final_ci95: from the intervals of latency and accuracy; None where one of
      them is not known.
    weights: of size, latency and accuracy in that sum.
  """

  size: float | None
  latency: float | None
  accuracy: float | None
  final: float | None
  baseline: BaselineRecord
  final_ci95: Interval | None = None
  weights: tuple[float, ...] = (0.3, 0.3, 0.4)


@dataclasses.dataclass(frozen=True)
class Measurement:
  """What `evaluate --output_file` writes; a part not asked for is None.

  `warnings` are sentences on what makes its figures doubtful. `failure` is the
  sentence that measuring ended on; what was measured before is there.
  """

  model: ModelRecord
  dataset: DatasetRecord | None
  runtime: RuntimeRecord | None
  size: SizeRecord | None
  latency_ms: LatencyRecord | None
  throughput_per_s: float | None
  memory_mib: MemoryRecord | None
  accuracy: AccuracyRecord | None
  score: ScoreRecord | None
  environment: Mapping[str, object]
  schema_version: int = 1
  throughput: tuple[ThroughputRecord, ...] = ()
  profile: ProfileRecord | None = None
  ratio: RatioRecord | None = None
  isolation: IsolationRecord | None = None
  machine: MachineRecord | None = None
  warnings: tuple[str, ...] = ()
  failure: str | None = None
