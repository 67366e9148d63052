"""Whose clock times an opened model, and what is seen of it meanwhile.

A model's own process has the finer clock. But code that a model brings along
runs in there too, and could stop it, or skip the work; such a model is given
one image at a time that it has not seen before, and our clock runs until its
answer is here.

By either clock, a run counts only if its answer is compared with what the model
said of the same image while its accuracy was measured: a graph alone can count
its calls, or tell an image of the dataset from one that was made of it.
"""

import time

import numpy as np

from tfcompress.core import measurements
from tfcompress.measurement import (
  opened,
  preprocessing,
  replies,
  sandbox,
  warmup,
  witness,
)
from tfcompress.runtimes import interface

NUM_IMAGES = 8  # to make others of, that do not count
_MOST_OF_TURN = 256  # runs that count
# CPU time that is more than noise: beside the cores asked for, and at work
# while others are timed.
_CORES_BESIDE, _SHARE_IDLE, _SECONDS_BESIDE = 0.15, 0.05, 0.1


class Inside:
  """The clock of the model's process.

  Attributes:
    slots: for images, as `Opened.share` returns them.
    compared: answers.
    different: those of them that were other ones.
  """

  def __init__(
    self,
    model: opened.Opened,
    config: measurements.MeasureConfig,
    images: witness.Witness,
  ):
    """Gives a model the images that it is timed on.

    Args:
      model: the model.
      config: its input_scaling, and how many runs there are to be.
      images: some; without scores nothing is compared.
    """
    self._model, self._images = model, images
    self._strict = config.strict
    self._least = -(-config.runs // config.processes)
    count = min(_practised_of(images), NUM_IMAGES)
    rows = max(len(images.images), min(self._least, _MOST_OF_TURN), NUM_IMAGES)
    self.slots = model.share(rows)
    self.slots[0, : len(images.images)] = images.images
    model.prepare(count, preprocessing.of_timed(config, model.about))
    self._new = list(range(count, len(images.scores)))
    self._due: list[list[int]] = []
    self._effort = _Effort(model, config)
    self.compared = self.different = 0

  def warm(self, runs: int | None) -> replies.Warmed:
    """Runs untimed inferences: so many, or until the times are steady."""
    return self._model.warm(runs)

  def plan(self, turns: int, runs: int) -> int:
    """Says how many turns there will be; returns the runs of each."""
    if self._new:
      count = max(len(self._new), self._least)
      self._due = [[] for _ in range(turns)]
      for run in witness.places(count, turns * runs):
        self._due[run // runs].append(run % runs)
      self._due = [due[: self.slots.shape[1]] for due in self._due]
    return runs

  def time(self, runs: int) -> list[float]:
    """Returns the milliseconds of the inferences of a turn that count."""
    due = self._due.pop() if self._due else []
    seen = [self._next() for _ in due]
    with self._effort:
      ms = self._model.time(runs, witnesses=dict(zip(due, seen)))
    if not self._new:
      return ms
    for image, scores in zip(seen, self._model.witnessed(len(due))):
      self.compared += 1
      self.different += self._images.disagrees(image, scores)
    return [ms[run] for run in due]

  def require_honest(self) -> None:
    """Raises ModelError if the times cannot be, or others' turns were used."""
    self._model.require_honest_times()
    if self._strict:  # Several threads of a runtime wait for more at work.
      self._effort.require_honest()

  def _next(self) -> int:
    """The image that has not been seen for longest."""
    image = self._new.pop(0)
    self._new.append(image)
    return image


class Outside:
  """Our own clock, for a model whose process is not to be believed.

  Attributes:
    slots: as of `Inside`.
    compared: likewise.
    different: likewise.
  """

  def __init__(
    self,
    model: opened.Opened,
    config: measurements.MeasureConfig,
    images: witness.Witness,
  ):
    """As `Inside`; the more images there are, the more runs see a new one."""
    self._model, self._images = model, images
    self._scaling = preprocessing.of_timed(config, model.about)
    count = min(_practised_of(images), NUM_IMAGES)
    self._practice = images.images[:count]
    self._new = list(range(count, len(images.scores)))
    self._random = np.random.default_rng()
    self.slots = model.share(NUM_IMAGES)
    self._effort = _Effort(model, config)
    self.compared = self.different = 0

  def warm(self, runs: int | None) -> replies.Warmed:
    """As `Inside`."""
    return warmup.until_steady(
      lambda count: np.array([self._practised() for _ in range(count)]), runs
    )

  def plan(self, turns: int, runs: int) -> int:
    """As `Inside`; no more runs than there are images to compare."""
    if self._new:
      runs = max(1, min(runs, len(self._new) // turns))
    return runs

  def time(self, runs: int) -> list[float]:
    """As `Inside`; all of them count."""
    with self._effort:
      return [self._once() for _ in range(runs)]

  def require_honest(self) -> None:
    """Raises ModelError if other cores were used, or others' turns."""
    self._effort.require_honest()

  def _once(self) -> float:
    """Times the image that has not been seen for longest."""
    if not self._new:
      return self._practised()
    index = self._new.pop(0)
    self._new.append(index)
    scores, ms = self._model.answer(self._encoded(self._images.images[index]))
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
    """An image as the model takes it, with others where it takes several."""
    about = self._model.about
    others = self._random.choice(self._practice, about.batch_size - 1)
    batch = np.concatenate([image[None], others])
    return interface.encode(batch, about.inputs[0], self._scaling)


class _Effort:
  """The CPU time of a model in its turns, and in others'."""

  def __init__(self, model: opened.Opened, config: measurements.MeasureConfig):
    self._model = model
    self._threads = config.file.num_threads or 1
    self._on_gpu = sandbox.on_gpu(config.file)
    self._cpu = self._worked = self._idle_cpu = self._idle = 0.0
    self._last: tuple[float, float] | None = None

  def __enter__(self) -> None:
    """Begins a turn of the model."""
    cpu, now = self._seen()
    if self._last:
      self._idle_cpu += cpu - self._last[0]
      self._idle += now - self._last[1]
    self._last = cpu, now

  def __exit__(self, *_) -> None:
    cpu, now = self._seen()
    self._cpu += cpu - self._last[0]
    self._worked += now - self._last[1]
    self._last = cpu, now

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

  def _seen(self) -> tuple[float, float]:
    return self._model.cpu_seconds(), time.perf_counter()


def of(
  model: opened.Opened,
  config: measurements.MeasureConfig,
  images: witness.Witness,
) -> Inside | Outside:
  """Returns the clock to time a model by; arguments as of `Inside`."""
  return (Outside if config.file.own_code else Inside)(model, config, images)


def _practised_of(images: witness.Witness) -> int:
  """How many images others are made of; the rest are seen as they are."""
  count = len(images.images)
  return -(-count // 2) if len(images.scores) else count
