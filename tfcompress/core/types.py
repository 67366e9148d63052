"""The vocabulary of the program: specs, and what an artifact and export are.

Everything that moves between packages, or between a command and a file, is a
frozen dataclass of this module, of `configs` (what a training is to do) or of
`measurements` (what was measured). A spec says what a thing is, a config says
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

  @property
  def preprocessing(self) -> Preprocessing:
    """The same as a mean and a standard deviation."""
    if self is Normalization.IMAGENET:
      return Preprocessing(
        tuple(255 * mean for mean in IMAGENET_MEAN),
        tuple(255 * std for std in IMAGENET_STD),
      )
    std = {'raw': 1.0, 'unit': 255.0, 'symmetric': 127.5}[self.value]
    mean = 127.5 if self is Normalization.SYMMETRIC else 0.0
    return Preprocessing((mean,) * 3, (std,) * 3)


class Channels(enum.Enum):
  """The order of a pixel's colors."""

  RGB = 'rgb'
  BGR = 'bgr'


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """What becomes of raw RGB pixels x, 0..255: an order, then (x - mean) / std.

  Attributes:
    mean: of each channel, in the order that the model takes.
    std: likewise.
    channels: that order.
  """

  mean: tuple[float, ...] = (0.0, 0.0, 0.0)
  std: tuple[float, ...] = (1.0, 1.0, 1.0)
  channels: Channels = Channels.RGB

  @property
  def is_raw(self) -> bool:
    """Whether the values of pixels stay as they are."""
    return set(self.mean) == {0.0} and set(self.std) == {1.0}

  @property
  def label(self) -> str:
    """Such as 'imagenet', 'unit, bgr' or '(x - 128) / 64'."""
    name = next(
      (
        one.value
        for one in Normalization
        if one.preprocessing.ordered(self.channels) == self
      ),
      f'(x - {_brief(self.mean)}) / {_brief(self.std)}',
    )
    return name if self.channels is Channels.RGB else f'{name}, bgr'

  def ordered(self, channels: Channels) -> Preprocessing:
    """Returns the same for a model that takes colors in another order."""
    if channels is self.channels:
      return self
    return Preprocessing(self.mean[::-1], self.std[::-1], channels)


def _brief(values: tuple[float, ...]) -> str:
  """One number where all are the same."""
  shown = values[:1] if len(set(values)) == 1 else values
  return ', '.join(f'{value:g}' for value in shown)


class Stem(enum.Enum):
  """What comes before the first stage; the smaller the image, the less."""

  CONV7_POOL = 'conv7_pool'  # 7x7/2 and a 3x3/2 max pool: He 2016
  # Blocks of 4x4 pixels as channels, then 3x3, which is one 12x12/4.
  SPACE_TO_DEPTH4_CONV3 = 'space_to_depth4_conv3'
  CONV3_STRIDE2 = 'conv3_stride2'  # 3x3/2
  CONV3 = 'conv3'  # 3x3/1, as on CIFAR


@dataclasses.dataclass(frozen=True)
class ModelSpec:
  """A residual network, complete: the same spec always builds the same layers.

  Attributes:
    depth: 18, 34 or 50; None for a network of the user's own, whose layers are
      those of its model file.
    num_classes: outputs of the classifier.
    width_multiplier: scales every layer's channels.
    stage_widths: channels of each stage at width 1; empty for He's 64, 128,
      256, 512. The stem has those of the first.
    blocks: residual blocks of each stage; empty for those of the depth.
    stem: what comes before the first stage.
    channels: out channels by convolution name; takes the place of the widths
      and must name every convolution.
    input_size: height and width of the input in pixels.
    internal_size: the model resizes its input to this before the stem; None
      leaves it as it is.
    normalization: applied inside the model, to raw pixels 0..255.
  """

  depth: int | None = 18
  num_classes: int = 100
  width_multiplier: float = 1.0
  stage_widths: tuple[int, ...] = ()
  blocks: tuple[int, ...] = ()
  stem: Stem = Stem.CONV7_POOL
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
    if not self.depth:
      return 'own network'
    blocks = f' of {"-".join(map(str, self.blocks))} blocks'
    return f'ResNet-{self.depth}' + (blocks if self.blocks else '')


class EvaluationTransform(enum.Enum):
  """How a decoded image becomes the model's input."""

  CHALLENGE = 'challenge'  # resize to SxS, nothing else
  IMAGENET = 'imagenet'  # resize the short side to S * 256 / 224, center crop


class Split(enum.Enum):
  TRAIN = 'train'
  VALIDATION = 'validation'


# Datasets that are drawn here, the one of more and larger images first.
GENERATED = ('synthetic100', 'synthetic100_small')


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


class Stage(enum.Enum):
  BASELINE = 'baseline'
  SLIM = 'slim'
  PRUNE = 'prune'
  CLUSTER = 'cluster'
  QAT = 'qat'
  KD = 'kd'


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
  STATIC_WI8_AI8 = 'static_wi8_ai8'
  STATIC_WI4_AI8 = 'static_wi4_ai8'
  MIXED_WI4_WI8_AI8 = 'mixed_wi4_wi8_ai8'
  DYNAMIC_WI8_AFP32 = 'dynamic_wi8_afp32'
  DYNAMIC_WI4_AFP32 = 'dynamic_wi4_afp32'
  WEIGHT_ONLY_WI8_AFP32 = 'weight_only_wi8_afp32'
  WEIGHT_ONLY_WI4_AFP32 = 'weight_only_wi4_afp32'


class Calibration(enum.Enum):
  """How the range of a quantized tensor is chosen."""

  MIN_MAX = 'min_max'
  MSE = 'mse'  # the range whose rounding errs least


class KernelRange(enum.Enum):
  """What of a kernel's output channel is held, and what clipped."""

  MIN_MAX = 'min_max'  # the greatest weight, nothing is clipped
  MSE = 'mse'  # what errs least where weights are normally distributed
  OCTAV = 'octav'  # what errs least, by Newton's method (Sakr 2022)


class Rewrite(enum.Enum):
  """A change to the graph that computes the same; conversion has them."""

  SPACE_TO_DEPTH = 'space_to_depth'
  NORMALIZATION = 'normalization'
  RESIZE = 'resize'
  NO_OPS = 'no_ops'
  STRIDES = 'strides'  # for LiteRT on a GPU, and on request alone


@dataclasses.dataclass(frozen=True)
class LayerSensitivity:
  """What a file loses where one layer of it is quantized, and only that one.

  Attributes:
    layer: its name.
    operator: TFLite's, such as 'CONV_2D'.
    parameters: weights in its kernel.
    bits: of one of them.
    snr_db: signal-to-noise of the file's probabilities against its float
      parent's.
    top1_drop: points of top-1 that the file lacks of its parent's.
    examples: held-out images that both were run on.
  """

  layer: str
  operator: str
  parameters: int
  bits: int
  snr_db: float
  top1_drop: float
  examples: int


@dataclasses.dataclass(frozen=True)
class ExportConfig:
  """One export.

  Attributes:
    artifact: the artifact folder to export.
    output_dir: where the three files go.
    variant: what the numbers of the file are.
    io_dtype: of input and output; None takes the variant's own.
    rewrites: exact changes to the graph; None takes all that fit but STRIDES.
    calibration: how ranges are chosen, of the variants of litert-quantizer.
    calibration_examples: representative images, drawn evenly over the classes.
    kernel_ranges: how kernels' ranges are chosen, of the same variants.
    sensitivity: quantize one layer at a time, and write what each costs.
    keep_float: this many of the most sensitive layers stay in float.
    max_drop: points of top-1 that the file may lack of its parent's; as many of
      the most sensitive layers as it takes stay in higher precision. None takes
      the variant's own, which is 1 of a mixed one and none of the others.
    profile: time the file operator by operator.
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
  rewrites: tuple[Rewrite, ...] | None = None
  calibration: Calibration = Calibration.MIN_MAX
  calibration_examples: int = 200
  kernel_ranges: KernelRange = KernelRange.MIN_MAX
  sensitivity: bool = False
  keep_float: int = 0
  max_drop: float | None = None
  profile: bool = False
  parity_examples: int = 200
  min_agreement_percent: float = 85.0
  min_snr_db: float = 10.0
  username: str = ''
  teamname: str = ''
  data: DataSpec | None = None
  custom_objects: str = ''
