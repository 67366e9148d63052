"""Where a model puts the true class."""

import numpy as np


def of(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns how many other classes are as likely as the label's, or more, (N,).

  Ties count against a model: one that gives all classes the same score knows
  nothing. So does a score that is no number.

  Args:
    scores: (N, C), higher is likelier.
    labels: (N,).
  """
  own = scores[np.arange(len(labels)), labels][:, None]
  # The label's own class is never below itself.
  return (~(scores < own)).sum(axis=1) - 1
