import numpy as np

from tfcompress.core import ranks


def test_ranks_by_hand():
  scores = np.array([[0.1, 0.7, 0.2], [0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])
  found = ranks.of(scores, np.array([2, 0, 1]))
  assert found.tolist() == [1, 1, 1]
  # A class that is alone at the top, a tie below it, numbers that are none.
  nan = np.nan
  scores = np.array([[3, 2, 2, 2], [3, 2, 2, 2], [nan, 1, 0, 0], [nan] * 4])
  found = ranks.of(scores, np.array([0, 2, 1, 3]))
  assert found.tolist() == [0, 3, 1, 3]
