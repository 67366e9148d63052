"""The keys of challenge.toml: what each says, and what it may be."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Key:
  """A key of challenge.toml.

  Attributes:
    meaning: sentences for the file's comment, with the unit.
    low: the least number; None of what is no number.
    high: the greatest.
    above: whether the least is itself too low.
    example: how it is written where it is not there.
  """

  meaning: str
  low: float | None = None
  high: float | None = None
  above: bool = False
  example: str = ''


TABLES: Mapping[str, str] = {
  'weights': 'What each score counts; together 1.',
  'baseline': 'What submissions are scored against: it has 1 in every score.',
  'window': 'When submissions count. Both ends belong to it.',
  'limits': 'What a submission may be and take; beyond, it fails.',
  'evaluation': 'How submissions are measured.',
  'data': 'The images that submissions are measured on.',
}

KEYS: Mapping[str, Key] = {
  'title': Key('The name of the challenge.'),
  'num_classes': Key('How many probabilities a model gives.', 2, 10**6),
  'image_size': Key(
    'Height and width in pixels of the image that a model takes.', 8, 4096
  ),
  'formats': Key(
    'Formats that are accepted: "tflite", "tensorflow" and "pytorch".'
  ),
  'packages': Key(
    'Python packages that a requirements.txt may name; what they need comes '
    'with them. "*" allows all, [] none.'
  ),
  'weights.size': Key('Of size: baseline size / size.', 0, 1),
  'weights.latency': Key('Of latency: baseline latency / latency.', 0, 1),
  'weights.accuracy': Key('Of accuracy: top-1 / baseline top-1.', 0, 1),
  'baseline.model': Key(
    'A model file of this repository, measured beside every submission. "plain" '
    'is a ResNet-18 in float32 with random weights.'
  ),
  'baseline.top1_percent': Key(
    'Its top-1 in percent; without this line it is measured. A plain one needs '
    'it, for it has learned nothing.',
    0,
    100,
    above=True,
    example='69.76',
  ),
  'window.opens': Key(
    'From when on, with a time zone; without this line, from ever.',
    example='2026-05-01T00:00:00+02:00',
  ),
  'window.closes': Key(
    'Until when, with a time zone; without this line, for ever.',
    example='2026-05-31T23:59:59+02:00',
  ),
  'limits.model_mib': Key(
    'MiB (2^20 bytes) of the model, with its loader.', 0, 10**6, above=True
  ),
  'limits.seconds': Key(
    'Seconds that opening the model, and any answer, may take.',
    0,
    86400,
    above=True,
  ),
  'limits.memory_mib': Key('MiB of memory of all its processes.', 1, 2**30),
  'limits.processes': Key(
    'Processes at once, threads not counted.', 1, 100_000
  ),
  'limits.install_seconds': Key(
    'Seconds that its requirements may take to be installed.',
    0,
    86400,
    above=True,
  ),
  'limits.environment_mib': Key(
    'MiB of what is installed.', 0, 10**7, above=True
  ),
  'limits.top1_percent': Key(
    'Top-1 in percent that a model must reach. Ratios of sizes have no bound: '
    'a tiny model that knows nothing can score high.',
    0,
    100,
  ),
  'evaluation.devices': Key(
    'Devices that latency is measured on: "cpu", "gpu".'
  ),
  'evaluation.ranking_device': Key('The one of them that counts.'),
  'evaluation.num_threads': Key('Threads of one inference.', 1, 1024),
  'evaluation.runs': Key('Timed inferences, at least.', 1, 10**7),
  'evaluation.seconds': Key('Seconds of timed inferences, at least.', 0, 86400),
  'evaluation.processes': Key('Fresh processes that share them.', 1, 1000),
  'data.dataset': Key(
    'The private images: a TFDS name, or "folder:PATH" of a folder in this '
    'repository that git does not have; without a source, also of one elsewhere '
    'by its absolute path. `leaderboard fetch` prepares what TFDS downloads.'
  ),
  'data.public': Key(
    'Those that participants may check themselves on, likewise.'
  ),
  'data.transform': Key(
    'How they are brought to size: "challenge" resizes, "imagenet" crops the '
    'center as well.'
  ),
  'data.source': Key(
    'Where `leaderboard fetch` gets the private folder: "kaggle:OWNER/NAME", '
    '"kaggle:competitions/NAME", the URL of an archive, or "" for nowhere.'
  ),
  'data.sha256': Key(
    'Of the archive, 64 hex digits; a URL needs it, Kaggle does not.'
  ),
}
