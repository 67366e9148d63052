"""The vocabulary of a challenge: its rules, its results, their order."""

from __future__ import annotations

import dataclasses
import datetime
import enum

from tfcompress.core import measurements, types

PLAIN = 'plain'  # the baseline that needs no file
# Of a challenge's repository.
CHALLENGE = 'challenge.toml'
HISTORY = 'history.jsonl'
BASELINE = 'baseline.json'
RECORDS = 'records'  # a folder, ID.json each
SUBMISSIONS = 'submissions'  # a folder, USERNAME/ each
# Of a submission's folder, beside its model.
METADATA = 'metadata.json'
LOADER = 'model_loader.py'
REQUIREMENTS = 'requirements.txt'


class ModelFormat(enum.Enum):
  """What metadata.json calls a model's format."""

  TFLITE = 'tflite'
  TENSORFLOW = 'tensorflow'
  PYTORCH = 'pytorch'


class Status(enum.Enum):
  """What became of a submission."""

  RANKED = 'ranked'
  FAILED = 'failed'  # it breaks a rule, or could not be measured
  VOID = 'void'  # handed in outside the submission window


@dataclasses.dataclass(frozen=True)
class Weights:
  """What each score counts; together 1."""

  size: float = 0.3
  latency: float = 0.3
  accuracy: float = 0.4


@dataclasses.dataclass(frozen=True)
class Window:
  """When submissions count; both ends belong to it, and have a time zone.

  Attributes:
    opens: None for from ever.
    closes: None for for ever.
  """

  opens: datetime.datetime | None = None
  closes: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a submission may be and take; beyond, it fails.

  Attributes:
    model_mib: of the model, with its loader.
    seconds: that opening it, and any answer, may take.
    memory_mib: of its processes together, while they run.
    processes: at once, threads not counted.
    install_seconds: that its requirements may take to be installed.
    environment_mib: of what is installed.
    top1_percent: that a model must reach; a ratio of sizes has no bound, so
      that a tiny model which knows nothing can score high.
  """

  model_mib: float = 100.0
  seconds: float = 120.0
  memory_mib: int = 8192
  processes: int = 64
  install_seconds: float = 600.0
  environment_mib: float = 4096.0
  top1_percent: float = 0.0


@dataclasses.dataclass(frozen=True)
class Baseline:
  """What submissions are scored against.

  Attributes:
    model: a file of the repository, measured beside every submission; PLAIN is
      a ResNet-18 in float32 with random weights.
    top1_percent: None where it is to be measured; a plain one has none.
  """

  model: str = PLAIN
  top1_percent: float | None = 69.76


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """How submissions are measured.

  Attributes:
    devices: that latency is measured on.
    ranking_device: the one of them that counts.
    num_threads: of one inference.
    runs: timed inferences, at least.
    seconds: of timed inferences, at least.
    processes: fresh ones that share them.
  """

  devices: tuple[measurements.Device, ...] = (measurements.Device.CPU,)
  ranking_device: measurements.Device = measurements.Device.CPU
  num_threads: int = 1
  runs: int = 1000
  seconds: float = 2.0
  processes: int = 5


@dataclasses.dataclass(frozen=True)
class Data:
  """The images that submissions are measured on, and where they come from.

  Attributes:
    dataset: as --dataset has it; a path in 'folder:PATH' is relative to the
      repository.
    public: likewise, what participants may check themselves on.
    transform: how images are brought to size.
    source: what `fetch` gets the dataset's folder from: 'kaggle:OWNER/NAME',
      'kaggle:OWNER/NAME/VERSION', 'kaggle:competitions/NAME' or the URL of an
      archive; '' for nothing.
    sha256: of the archive; a URL needs it.
  """

  dataset: str = 'synthetic100'
  public: str = 'synthetic100'
  transform: types.EvaluationTransform = types.EvaluationTransform.CHALLENGE
  source: str = ''
  sha256: str = ''


@dataclasses.dataclass(frozen=True)
class Challenge:
  """The rules of a challenge, as challenge.toml has them.

  Attributes:
    title: of the challenge.
    num_classes: probabilities that a model gives.
    image_size: height and width in pixels of what it takes.
    formats: that are accepted.
    packages: that requirements may name; what they need comes with them.
    weights: of the three scores.
    baseline: what is 1 in each.
    window: when submissions count.
    limits: on a submission.
    evaluation: how it is measured.
    data: on what.
  """

  title: str = 'ResNet-18 Model Compression Challenge'
  num_classes: int = 100
  image_size: int = 224
  formats: tuple[ModelFormat, ...] = tuple(ModelFormat)
  packages: tuple[str, ...] = (
    'einops', 'keras', 'numpy', 'safetensors', 'tensorflow', 'tf_keras',
    'tf-keras', 'timm', 'torch', 'torchvision',
  )  # fmt: skip
  weights: Weights = Weights()
  baseline: Baseline = Baseline()
  window: Window = Window()
  limits: Limits = Limits()
  evaluation: Evaluation = Evaluation()
  data: Data = Data()


@dataclasses.dataclass(frozen=True)
class Entry:
  """One result: a line of the history, never changed.

  Attributes:
    id: of the evaluation, letters, digits and dashes; no other has it.
    username: of the participant, who has the folder of this name.
    teamname: as metadata.json has it.
    model_format: of ModelFormat; '' where that is what was wrong.
    submitted: when it was handed in, ISO 8601 in UTC.
    evaluated: when its measurement ended, likewise.
    status: what became of it.
    reason: why it is not ranked, one sentence; '' where it is.
    sha256: of the model; '' where there is none.
    submission_sha256: of all its files, with their names; likewise.
    challenge_sha256: of the challenge.toml that it was measured by.
    pull_request: its number, where it came in one.
    record: on the ranking device, without the single times of latency;
      None where nothing was measured. The whole is RECORDS/ID.json.
    record_sha256: of that file; '' where there is none.
    others: on the other devices, likewise.
  """

  id: str
  username: str
  teamname: str
  model_format: str
  submitted: str
  evaluated: str
  status: Status
  reason: str = ''
  sha256: str = ''
  submission_sha256: str = ''
  challenge_sha256: str = ''
  pull_request: int | None = None
  record: measurements.Measurement | None = None
  record_sha256: str = ''
  others: tuple[measurements.Measurement, ...] = ()
  schema_version: int = 1


@dataclasses.dataclass(frozen=True)
class Standing:
  """A participant's best result, and where it stands.

  Attributes:
    rank: from 1.
    entry: the result.
    level_with: the username of the next one, if their difference may be chance:
      it lies within its own 95 % interval; '' if not, or if there is none.
  """

  rank: int
  entry: Entry
  level_with: str = ''
