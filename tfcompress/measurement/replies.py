"""What the process that opened a model answers, and how it is told to.

Requests and answers are lines of JSON: nothing of a stranger's process is
unpickled. Images and scores are in memory that both processes share.
"""

import dataclasses

from tfcompress.core import measurements, types

NUM_SLOTS = 2  # One is filled while the other is computed.
ALIGNED = 64  # bytes, of what begins anew in the shared memory


@dataclasses.dataclass(frozen=True)
class Opened:
  """A model that was opened and has run once.

  Attributes:
    inputs: of the file.
    outputs: of the file.
    runtime: what runs it.
    image_size: height and width of its input in pixels.
    size_told: whether the file, or who asked, says how large that is.
    batch_size: images that one inference takes.
    preprocessing: what the file itself says of its pixels.
    num_outputs: scores of one image.
    load_ms: to open the file, the runtime being imported.
    first_ms: of the first inference.
    grown_mib: resident memory that both of them took.
    peak_mib: highest resident memory of the process.
  """

  inputs: tuple[measurements.TensorInfo, ...]
  outputs: tuple[measurements.TensorInfo, ...]
  runtime: measurements.RuntimeRecord
  image_size: int
  num_outputs: int
  load_ms: float
  first_ms: float
  grown_mib: float
  peak_mib: float
  size_told: bool = True
  batch_size: int = 1
  preprocessing: types.Preprocessing | None = None


@dataclasses.dataclass(frozen=True)
class Warmed:
  """Times that stopped falling, or not.

  Attributes:
    runs: inferences so far.
    ms: median of the last ones.
    steady: whether it was no shorter than that of those before.
  """

  runs: int
  ms: float
  steady: bool


@dataclasses.dataclass(frozen=True)
class Timed:
  """Times of single inferences in milliseconds."""

  ms: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Predicted:
  """Scores are in the shared memory; so many images went in at once."""

  batch_size: int


@dataclasses.dataclass(frozen=True)
class Rate:
  images: int
  seconds: float


@dataclasses.dataclass(frozen=True)
class Parameters:
  """Numbers in a file's weights; None where the format does not tell."""

  total: int | None
  nonzero: int | None
