"""Whose clock times an opened model, and what is seen of it meanwhile.

A model's own process has the finer clock. But code that a model brings along
runs in there too, and could stop it, or skip the work; such a model is given
one image at a time that it has not seen before, and our clock runs until its
answer is here.
"""

import time

import numpy as np

from tfcompress.core import measurements, types
from tfcompress.measurement import opened, replies, warmup, witness
from tfcompress.runtimes import interface

NUM_IMAGES = 8  # to time inside, or to warm up on outside
# CPU time that is more than noise: beside the cores asked for, and at work
# while others are timed.
_CORES_BESIDE, _SHARE_IDLE, _SECONDS_BESIDE = 0.15, 0.05, 0.1


class Inside:
  """The clock of the model's process."""

  def __init__(
    self,
    model: opened.Opened,
    config: measurements.MeasureConfig,
    images: witness.Witness,
  ):
    """Gives a model the images that it is timed on.

    Args:
      model: the model.
      config: its input_scaling.
      images: some; without scores nothing is compared.
    """
    self._model, self._images = model, images
    count = len(images.images)
    model.share(NUM_IMAGES)[0, :count] = images.images
    model.prepare(count, _scaling(config))
    self._due: list[dict[int, int]] = []
    self.compared = self.different = 0

  def warm(self, runs: int | None) -> replies.Warmed:
    """Runs untimed inferences: so many, or until the times are steady."""
    return self._model.warm(runs)

  def plan(self, turns: int, runs: int) -> int:
    """Says how many turns there will be; returns the runs of each."""
    self._due = [{} for _ in range(turns)]
    for run, image in witness.places(
      len(self._images.scores), turns * runs
    ).items():
      self._due[run // runs][run % runs] = image
    return runs

  def time(self, runs: int) -> list[float]:
    """Returns the milliseconds of the inferences of a turn."""
    due = self._due.pop() if self._due else {}
    ms = self._model.time(runs, witnesses=due)
    for image in due.values():
      self.compared += 1
      self.different += self._images.disagrees(
        image, self._model.witnessed(image)
      )
    return ms

  def require_honest(self) -> None:
    """Raises ModelError if the times cannot be."""
    self._model.require_honest_times()


class Outside:
  """Our own clock, for a model whose process is not to be believed."""

  def __init__(
    self,
    model: opened.Opened,
    config: measurements.MeasureConfig,
    images: witness.Witness,
  ):
    """As `Inside`; the more images there are, the more runs see a new one."""
    self._model, self._images = model, images
    self._threads = config.file.num_threads or 1
    self._on_gpu = config.file.device is measurements.Device.GPU
    self._scaling = _scaling(config)
    half = -(-len(images.images) // 2)
    self._practice = images.images[: min(NUM_IMAGES, half)]
    self._new = list(range(len(self._practice), len(images.images)))
    self._random = np.random.default_rng()
    model.share(NUM_IMAGES)
    self._cpu = self._worked = self._idle_cpu = 0.0
    self._waited, self._idle = 0.0, 0.0
    self._ended: tuple[float, float] | None = None
    self.compared = self.different = 0

  def warm(self, runs: int | None) -> replies.Warmed:
    """As `Inside`."""
    return warmup.until_steady(
      lambda count: np.array([self._practised() for _ in range(count)]), runs
    )

  def plan(self, turns: int, runs: int) -> int:
    """As `Inside`; no more runs than there are images to compare."""
    if len(self._images.scores):
      runs = max(1, min(runs, len(self._new) // turns))
    return runs

  def time(self, runs: int) -> list[float]:
    """As `Inside`."""
    cpu, start = self._model.cpu_seconds(), time.perf_counter()
    if self._ended:
      self._idle_cpu += cpu - self._ended[0]
      self._idle += start - self._ended[1]
    ms = [self._once() for _ in range(runs)]
    self._ended = self._model.cpu_seconds(), time.perf_counter()
    self._cpu += self._ended[0] - cpu
    self._worked += self._ended[1] - start
    return ms

  def require_honest(self) -> None:
    """Raises ModelError if other cores were used, or others' turns."""
    if self._on_gpu:  # Its driver works on cores of its own.
      return
    path = self._model.path
    most = (self._threads + _CORES_BESIDE) * self._worked + _SECONDS_BESIDE
    if self._cpu > most:
      raise opened.ModelError(
        f'{path}: computed on {self._cpu / self._worked:.1f} cores while it was '
        f'timed, expected at most {self._threads}'
      )
    if self._idle_cpu > _SHARE_IDLE * self._idle + _SECONDS_BESIDE:
      raise opened.ModelError(
        f'{path}: computed for {self._idle_cpu:.2f} s while others were timed'
      )

  def _once(self) -> float:
    """Times an image that the model has not seen, as long as there are some."""
    if not self._new:
      return self._practised()
    index = self._new.pop()
    scores, ms = self._model.answer(self._encoded(self._images.images[index]))
    if len(self._images.scores):
      self.compared += 1
      self.different += self._images.disagrees(index, scores)
    return ms

  def _practised(self) -> float:
    """Times an image made of one that is not compared."""
    image = self._practice[self._random.integers(len(self._practice))]
    pixels = np.roll(
      image.reshape(-1, 3), self._random.integers(len(image) ** 2), axis=0
    )
    return self._model.answer(self._encoded(pixels.reshape(image.shape)))[1]

  def _encoded(self, image: np.ndarray) -> np.ndarray:
    info = self._model.about.inputs[0]
    return interface.encode(image[None], info, self._scaling)


def of(
  model: opened.Opened,
  config: measurements.MeasureConfig,
  images: witness.Witness,
) -> Inside | Outside:
  """Returns the clock to time a model by; arguments as of `Inside`."""
  return (Outside if config.file.own_code else Inside)(model, config, images)


def _scaling(config: measurements.MeasureConfig) -> types.Normalization:
  return config.input_scaling or types.Normalization.RAW
