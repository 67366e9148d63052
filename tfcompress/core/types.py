"""The vocabulary of the program: specs, configs and records.

Everything that moves between packages, or between a command and a file, is
one of these frozen dataclasses. A spec says what a thing is, a config says
what to do, a record says what was done.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

# Mean and standard deviation of ImageNet's RGB channels on the scale [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalization(enum.Enum):
  """What is done to raw pixels 0..255, per RGB channel."""

  RAW = 'raw'  # x
  UNIT = 'unit'  # x / 255
  SYMMETRIC = 'symmetric'  # x / 127.5 - 1
  IMAGENET = 'imagenet'  # (x / 255 - mean) / std

  @property
  def scale(self) -> tuple[float, float, float]:
    """The factor of each channel in x * scale + offset."""
    if self is Normalization.IMAGENET:
      return tuple(1 / (255 * std) for std in IMAGENET_STD)
    factor = {'raw': 1.0, 'unit': 1 / 255, 'symmetric': 1 / 127.5}[self.value]
    return (factor,) * 3

  @property
  def offset(self) -> tuple[float, float, float]:
    """The offset of each channel in x * scale + offset."""
    if self is Normalization.IMAGENET:
      return tuple(-m / std for m, std in zip(IMAGENET_MEAN, IMAGENET_STD))
    return (-1.0 if self is Normalization.SYMMETRIC else 0.0,) * 3


@dataclasses.dataclass(frozen=True)
class ModelSpec:
  """A residual network, complete: the same spec always builds the same layers.

  Attributes:
    depth: 18, 34 or 50; None for a network of the user's own, whose layers are
      those of its model file.
    num_classes: outputs of the classifier.
    width_multiplier: scales every layer's channels.
    channels: out channels by convolution name; takes the place of
      `width_multiplier` and must name every convolution.
    input_size: height and width of the input in pixels.
    internal_size: the model resizes its input to this before the stem; None
      leaves it as it is.
    normalization: applied inside the model, to raw pixels 0..255.
  """

  depth: int | None = 18
  num_classes: int = 100
  width_multiplier: float = 1.0
  channels: Mapping[str, int] | None = None
  input_size: int = 224
  internal_size: int | None = None
  normalization: Normalization = Normalization.IMAGENET

  @property
  def stem_size(self) -> int:
    """Height and width in pixels of what the first convolution sees."""
    return self.internal_size or self.input_size

  @property
  def name(self) -> str:
    """What people call it."""
    return f'ResNet-{self.depth}' if self.depth else 'own network'


class EvaluationTransform(enum.Enum):
  """How a decoded image becomes the model's input."""

  CHALLENGE = 'challenge'  # resize to SxS, nothing else
  IMAGENET = 'imagenet'  # resize the short side to S * 256 / 224, center crop


class TrainTransform(enum.Enum):
  """How a training image is cropped."""

  RANDOM_RESIZED_CROP = 'random_resized_crop'
  PAD_AND_CROP = 'pad_and_crop'
  NONE = 'none'


class Split(enum.Enum):
  TRAIN = 'train'
  VALIDATION = 'validation'


@dataclasses.dataclass(frozen=True)
class DataSpec:
  """Which images.

  Attributes:
    dataset: a TFDS name or `folder:DIR`.
    data_dir: where TFDS keeps what it prepared; empty for TFDS's default.
    transform: how evaluation and calibration images are brought to size.
    skip_corrupt_images: leave out images that do not decode, and count them.
  """

  dataset: str = 'synthetic100'
  data_dir: str = ''
  transform: EvaluationTransform = EvaluationTransform.CHALLENGE
  skip_corrupt_images: bool = False


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
  """Random changes to training images.

  Attributes:
    crop: how the image is cropped.
    crop_min_area: least area of a random resized crop, as a share of the image.
    crop_padding: pixels of padding at 64x64, scaled with the size.
    flip: mirror left to right with probability one half.
    mixup_alpha: Beta(alpha, alpha) of mixup (Zhang 2018); 0 is off.
    cutmix_alpha: Beta(alpha, alpha) of CutMix (Yun 2019); 0 is off.
  """

  crop: TrainTransform = TrainTransform.RANDOM_RESIZED_CROP
  crop_min_area: float = 0.35
  crop_padding: int = 6
  flip: bool = True
  mixup_alpha: float = 0.0
  cutmix_alpha: float = 0.0


class Optimizer(enum.Enum):
  SGD = 'sgd'  # Nesterov momentum
  ADAMW = 'adamw'


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """The optimizer and its learning rate: linear warm-up, then cosine to zero.

  Attributes:
    optimizer: which.
    learning_rate: the peak, for a batch of any size (it is not scaled).
    momentum: Nesterov momentum of SGD.
    weight_decay: decoupled (Loshchilov 2019): w -= lr * weight_decay * w, on
      kernels only.
    warmup_epochs: length of the warm-up.
    clip_norm: greatest norm of all gradients together; 0 is off.
  """

  optimizer: Optimizer = Optimizer.SGD
  learning_rate: float = 0.1
  momentum: float = 0.9
  weight_decay: float = 5e-3
  warmup_epochs: float = 1.0
  clip_norm: float = 1.0


class MixedPrecision(enum.Enum):
  AUTO = 'auto'  # bfloat16 where the device computes in it
  BFLOAT16 = 'bfloat16'
  NONE = 'none'


class Stage(enum.Enum):
  BASELINE = 'baseline'
  SLIM = 'slim'
  PRUNE = 'prune'
  CLUSTER = 'cluster'
  QAT = 'qat'
  KD = 'kd'


class Importance(enum.Enum):
  """What says how much a channel matters; training.importance has the papers."""

  L1 = 'l1'
  L2 = 'l2'
  BN_GAMMA = 'bn_gamma'
  FPGM = 'fpgm'
  TAYLOR = 'taylor'


class Allocation(enum.Enum):
  """How a budget is spread over the groups of channels."""

  UNIFORM = 'uniform'  # the same share of every group
  GLOBAL = 'global'  # the least important of all groups
  LATENCY = 'latency'  # the least important for the time they take


@dataclasses.dataclass(frozen=True)
class SlimConfig:
  """Channel pruning over residual groups; give one of the four budgets.

  Attributes:
    channel_ratio: share of channels to remove.
    target_macs: multiply-accumulates of one image to keep, a number or a share
      of the parent's such as '50%'.
    target_parameters: trainable parameters to keep, likewise.
    target_latency: int8 milliseconds on LiteRT, one thread, likewise.
    importance: which channels go first.
    allocation: how the budget is spread over the groups.
    round_to: counts are multiples of this.
    slim_steps: surgeries, with an equal share of the epochs after each.
    progress: how far to go towards a target that is a number, on a logarithmic
      scale; below 1 in all but the last of several steps.
  """

  channel_ratio: float | None = None
  target_macs: str = ''
  target_parameters: str = ''
  target_latency: str = ''
  importance: Importance = Importance.L1
  allocation: Allocation = Allocation.UNIFORM
  round_to: int = 1
  slim_steps: int = 1
  progress: float = 1.0


class PruningSchedule(enum.Enum):
  POLYNOMIAL = 'polynomial'
  CONSTANT = 'constant'


class PruningScope(enum.Enum):
  """Among which weights the smallest are sought."""

  LAYER = 'layer'
  GLOBAL = 'global'


@dataclasses.dataclass(frozen=True)
class PruneConfig:
  """Magnitude pruning (Zhu & Gupta 2017).

  Attributes:
    schedule: how sparsity grows.
    initial_sparsity: share of zeros at the begin, polynomial only.
    target_sparsity: share of zeros at the end, of every pruned kernel or of
      all together.
    prune_begin: when pruning begins, as a fraction of training.
    prune_end: when the target is reached, as a fraction of training.
    granularity: 'element', 'M:N' or 'RxC'; training.masks has the meaning.
    scope: one threshold a layer, or one over all layers.
    rewind_epoch: mask the parent's weights at once, go back to those it had
      after this epoch, and train under the mask (Frankle 2019); None does not.
  """

  schedule: PruningSchedule = PruningSchedule.POLYNOMIAL
  initial_sparsity: float = 0.0
  target_sparsity: float = 0.5
  prune_begin: float = 0.0
  prune_end: float = 0.75
  granularity: str = 'element'
  scope: PruningScope = PruningScope.LAYER
  rewind_epoch: int | None = None


class Centroids(enum.Enum):
  """Where the centroids of a clustering start."""

  LINEAR = 'linear'
  RANDOM = 'random'
  DENSITY = 'density'
  KMEANS = 'kmeans++'


@dataclasses.dataclass(frozen=True)
class ClusterConfig:
  """Weight clustering (Han 2016).

  Attributes:
    clusters: distinct values of a kernel.
    centroids: where they start.
  """

  clusters: int = 16
  centroids: Centroids = Centroids.KMEANS


class DistillLoss(enum.Enum):
  KL = 'kl'  # Hinton 2015
  DKD = 'dkd'  # Zhao 2022


@dataclasses.dataclass(frozen=True)
class DistillConfig:
  """Knowledge distillation.

  Attributes:
    teacher: artifact folders, or `.keras` or `.h5` files; of several, the
      softened probabilities are averaged.
    teacher_scaling: what a `.keras` or `.h5` teacher expects of its pixels;
      artifacts take raw pixels.
    temperature: T of the softened distributions.
    alpha: weight of the distillation term; 1 - alpha weighs cross-entropy.
    distill_loss: what compares the outputs.
    tckd_weight: of DKD's target class term.
    nckd_weight: of DKD's term of the other classes.
    attention: layers whose attention maps the student learns (Zagoruyko 2017),
      each NAME or STUDENT:TEACHER.
    attention_weight: of that term.
    generations: born-again: students one after another, each the next one's
      teacher (Furlanello 2018).
  """

  teacher: tuple[str, ...] = ()
  teacher_scaling: Normalization = Normalization.RAW
  temperature: float = 4.0
  alpha: float = 0.7
  distill_loss: DistillLoss = DistillLoss.KL
  tckd_weight: float = 1.0
  nckd_weight: float = 8.0
  attention: tuple[str, ...] = ()
  attention_weight: float = 1000.0
  generations: int = 1


@dataclasses.dataclass(frozen=True)
class InitConfig:
  """A model of the user's own to start from.

  Attributes:
    init_from: a `.keras` or `.h5` file of tf_keras or Keras 3.
    init_scaling: what it expects of its pixels.
  """

  init_from: str = ''
  init_scaling: Normalization = Normalization.RAW


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """One training stage, complete.

  Attributes:
    stage: what to do.
    output_dir: the artifact folder to write.
    parent: artifact folder whose model training starts from; empty for a new
      model.
    init: a model of the user's own to start from.
    model: the model to build; None takes the parent's.
    data: the images.
    batch_size: images a step.
    epochs: passes over the training split; 0 changes a model without training.
    optimizer: the optimizer and its schedule.
    augment: random changes to training images.
    label_smoothing: probability moved from the label to all classes alike.
    exclude: patterns of the layers that slim, prune and cluster leave alone.
    slim: for stage `slim`.
    prune: for stage `prune`.
    cluster: for stage `cluster`.
    distill: the teachers; for stage `kd`, and where another stage has them.
    custom_objects: a module, or a `.py` file, whose classes and functions the
      model to start from names.
    keep_epoch: also keep the weights after this epoch, for a later rewind.
    mixed_precision: the type layers compute in; weights stay float32.
    seed: of initial weights, data order and augmentation, from 1 on: tf.data
      cannot shuffle by a tensor under a global seed of 0.
    deterministic: the same seed gives the same weights, bit for bit.
  """

  stage: Stage
  output_dir: str
  parent: str = ''
  init: InitConfig | None = None
  model: ModelSpec | None = ModelSpec()
  data: DataSpec = DataSpec()
  batch_size: int = 128
  epochs: int = 10
  optimizer: OptimizerConfig = OptimizerConfig()
  augment: AugmentConfig = AugmentConfig()
  label_smoothing: float = 0.0
  exclude: tuple[str, ...] = ()
  slim: SlimConfig | None = None
  prune: PruneConfig | None = None
  cluster: ClusterConfig | None = None
  distill: DistillConfig | None = None
  custom_objects: str = ''
  keep_epoch: int | None = None
  mixed_precision: MixedPrecision = MixedPrecision.AUTO
  seed: int = 1
  deterministic: bool = False


@dataclasses.dataclass(frozen=True)
class ParentRecord:
  """Where an artifact came from.

  Attributes:
    role: 'parent' or 'init' (its weights were taken), or 'teacher' (its
      outputs were).
    path: where it lay.
    sha256: of its model file.
  """

  role: str
  path: str
  sha256: str


@dataclasses.dataclass(frozen=True)
class SparsityRecord:
  """Zeros in the kernels and what they are worth on disk.

  Attributes:
    total: zeros over elements, of all kernels together.
    per_layer: zeros over elements by layer name.
    raw_bytes: all weights as float32.
    gzip_bytes: the same, gzipped.
    nonzero_bytes: four bytes for every nonzero weight.
  """

  total: float
  per_layer: Mapping[str, float]
  raw_bytes: int
  gzip_bytes: int
  nonzero_bytes: int


@dataclasses.dataclass(frozen=True)
class Manifest:
  """What `manifest.json` of an artifact says.

  Attributes:
    stage: the stage that made it.
    model: its spec, `channels` always filled in.
    data: what it was trained on.
    class_names: in the order of the outputs.
    input_scaling: what the model expects of its pixels.
    metrics: figures on the validation split, in percent or nats.
    training: epochs, optimizer and the stage's settings.
    parents: the artifacts and files it was made from.
    steps: the stages from the first ancestor to this one.
    sparsity: zeros in its kernels.
    environment: versions, CPU, device, git revision.
    clusters: distinct values by layer, of the kernels that are clustered.
    parameters: trainable ones.
    macs: multiply-accumulates of one image.
    quantized: whether it was trained for int8, with fake quantization inside.
    schema_version: of this record.
  """

  stage: Stage
  model: ModelSpec
  data: DataSpec
  class_names: tuple[str, ...]
  input_scaling: Normalization
  metrics: Mapping[str, float]
  training: Mapping[str, object]
  parents: tuple[ParentRecord, ...]
  steps: tuple[str, ...]
  sparsity: SparsityRecord
  environment: Mapping[str, object]
  clusters: Mapping[str, int] = dataclasses.field(default_factory=dict)
  parameters: int | None = None
  macs: int | None = None
  quantized: bool = False
  schema_version: int = 1


class IoDtype(enum.Enum):
  UINT8 = 'uint8'
  INT8 = 'int8'
  FLOAT32 = 'float32'


class Variant(enum.Enum):
  """What the numbers of a `.tflite` are; conversion.variants decodes them."""

  FLOAT32 = 'float32'
  FLOAT16 = 'float16'
  DYNAMIC = 'dynamic'
  INT8 = 'int8'


@dataclasses.dataclass(frozen=True)
class ExportConfig:
  """One export.

  Attributes:
    artifact: the artifact folder to export.
    output_dir: where the three files go.
    variant: what the numbers of the file are.
    io_dtype: of input and output; None takes the variant's own.
    calibration_examples: representative images, drawn evenly over the classes.
    parity_examples: held-out images on which file and parent are compared.
    min_agreement_percent: least share of parity images with the same top-1.
    min_snr_db: least signal-to-noise of the probabilities, in decibel.
    username: for metadata.json.
    teamname: for metadata.json.
    data: the images; None takes those the artifact was trained on.
    custom_objects: a module, or a `.py` file, whose classes and functions the
      artifact names.
  """

  artifact: str
  output_dir: str
  variant: Variant = Variant.INT8
  io_dtype: IoDtype | None = None
  calibration_examples: int = 200
  parity_examples: int = 200
  min_agreement_percent: float = 85.0
  min_snr_db: float = 10.0
  username: str = ''
  teamname: str = ''
  data: DataSpec | None = None
  custom_objects: str = ''


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
  data: DataSpec = DataSpec()
  input_scaling: Normalization | None = None
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
