import numpy as np
import pytest
import tf_keras

from tfcompress.core import ranks as core_ranks
from tfcompress.training import ranks


def test_ranks_are_those_of_evaluate():
  """Few different scores, so that most images have ties, and some are NaN."""
  random = np.random.RandomState(0)
  scores = random.randint(0, 4, (200, 9)).astype(np.float32)
  scores[random.rand(200, 9) < 0.05] = np.nan
  labels = random.randint(0, 9, 200)
  found = ranks.of(labels, scores).numpy()
  np.testing.assert_array_equal(found, core_ranks.of(scores, labels))
  by_hand = [
    sum(not row[label] > other for other in np.delete(row, label))
    for row, label in zip(scores, labels)
  ]
  np.testing.assert_array_equal(found, by_hand)


def test_a_network_that_knows_nothing_is_never_right():
  targets = np.eye(8, dtype=np.float32)
  for scores in (np.zeros((8, 8)), np.full((8, 8), np.nan)):
    assert not ranks.top1(targets, scores).numpy().any()
    assert not ranks.top5(targets, scores).numpy().any()


@pytest.mark.parametrize(
  ('classes', 'names'), [(4, ['top1']), (5, ['top1']), (6, ['top1', 'top5'])]
)
def test_keras_shows_them(classes, names):
  model = tf_keras.Sequential([tf_keras.layers.Activation('linear')])
  model.compile(loss='mse', metrics=ranks.metrics(classes))
  scores = np.tile(np.arange(classes, 0, -1.0), (classes, 1))
  found = model.evaluate(
    scores, np.eye(classes), verbose=0, return_dict=True, batch_size=4
  )
  assert found.pop('loss') > 0
  assert list(found) == names
  assert found['top1'] == pytest.approx(1 / classes)  # The first alone.
  if 'top5' in found:
    assert found['top5'] == pytest.approx(5 / classes)
