"""What a model answered while its accuracy was measured.

One that answers otherwise while it is timed does not do the same work.
"""

import dataclasses
import random

import numpy as np

_MOST = 256
_TOLERANCE = 0.02  # of the largest score: GPUs and batches round otherwise
# Nobody can know which images are compared.
_RANDOM = random.SystemRandom()


@dataclasses.dataclass(frozen=True)
class Witness:
  """Some images of the dataset and their scores.

  Attributes:
    images: uint8 (N, S, S, 3).
    scores: float32 (N, C), as the model gave them.
  """

  images: np.ndarray
  scores: np.ndarray

  def shuffled(self) -> 'Witness':
    """Returns the same in random order."""
    order = _RANDOM.sample(range(len(self.images)), len(self.images))
    return Witness(self.images[order], self.scores[order])

  def disagrees(self, index: int, scores: np.ndarray) -> bool:
    """Whether scores (C,) are not those of an image."""
    largest = max(1e-9, float(np.abs(self.scores).max()))
    difference = np.abs(scores - self.scores[index]).max()
    return not difference <= _TOLERANCE * largest


def chosen(total: int) -> frozenset[int]:
  """Returns the numbers of the images to keep of so many."""
  return frozenset(_RANDOM.sample(range(total), min(_MOST, total)))


def places(count: int, runs: int) -> list[int]:
  """Returns which so many of some runs see an image as it is, ascending."""
  return sorted(_RANDOM.sample(range(runs), min(count, runs)))
