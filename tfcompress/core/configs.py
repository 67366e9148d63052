"""What a training is to do: its stage and that stage's settings."""

from __future__ import annotations

import dataclasses
import enum

from tfcompress.core import types


class TrainTransform(enum.Enum):
  """How a training image is cropped."""

  RANDOM_RESIZED_CROP = 'random_resized_crop'
  PAD_AND_CROP = 'pad_and_crop'
  NONE = 'none'


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
    learning_rate: the peak, for a batch of any size (it is not scaled); None
      for what fits the stage and what it starts from.
    momentum: Nesterov momentum of SGD.
    weight_decay: decoupled (Loshchilov 2019): w -= lr * weight_decay * w, on
      kernels only.
    warmup_epochs: length of the warm-up; None likewise.
    clip_norm: greatest norm of all gradients together; 0 is off.
  """

  optimizer: Optimizer = Optimizer.SGD
  learning_rate: float | None = None
  momentum: float = 0.9
  weight_decay: float = 5e-3
  warmup_epochs: float | None = None
  clip_norm: float = 1.0


class MixedPrecision(enum.Enum):
  AUTO = 'auto'  # bfloat16 where the device computes in it
  BFLOAT16 = 'bfloat16'
  NONE = 'none'


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
    first_plan: what the first of several steps wrote down of the channels that
      it found; `channel_ratio` is a share of them.
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
  first_plan: str = ''


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
  KMEANS = 'kmeans'  # k-means++ (Arthur 2007)


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
    attention_weight: beta of that term, which counts by its half.
    generations: born-again: students one after another, each the next one's
      teacher (Furlanello 2018).
  """

  teacher: tuple[str, ...] = ()
  teacher_scaling: types.Normalization = types.Normalization.RAW
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
    init_scaling: what it expects of its pixels; None tries all on labelled
      images.
  """

  init_from: str = ''
  init_scaling: types.Normalization | None = types.Normalization.RAW


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
    batch_size: images a step, at most those there are to train on.
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
    keep_best: the artifact gets the weights of the epoch with the best top-1 on
      the validation split, the first of equals; of an epoch only that fulfils
      what the stage is for.
    patience: stop after so many epochs without a better one; None does not.
    keep_epoch: also keep the weights after this epoch, for a later rewind.
    mixed_precision: the type layers compute in; weights stay float32.
    seed: of initial weights, data order and augmentation, from 1 on: tf.data
      cannot shuffle by a tensor under a global seed of 0.
    deterministic: the same seed gives the same weights, bit for bit.
  """

  stage: types.Stage
  output_dir: str
  parent: str = ''
  init: InitConfig | None = None
  model: types.ModelSpec | None = types.ModelSpec()
  data: types.DataSpec = types.DataSpec()
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
  keep_best: bool = False
  patience: int | None = None
  keep_epoch: int | None = None
  mixed_precision: MixedPrecision = MixedPrecision.AUTO
  seed: int = 1
  deterministic: bool = False


def needs_training_images(config: TrainConfig) -> bool:
  """Whether a stage looks at training images: to train, or to change a model."""
  by_gradients = config.slim and config.slim.importance is Importance.TAYLOR
  return bool(config.epochs or config.stage is types.Stage.QAT or by_gradients)
