import dataclasses

import numpy as np

from tests.reports import tables_test
from tfcompress.core import measurements
from tfcompress.reports import pareto


def model(size, ms, top1, failure=None):
  of = tables_test.RECORD
  return dataclasses.replace(
    of,
    size=size and measurements.SizeRecord(size, size / 2**20, 1, None, None),
    latency_ms=ms and dataclasses.replace(of.latency_ms, mean=ms),
    accuracy=top1 and dataclasses.replace(of.accuracy, top1_percent=top1),
    failure=failure,
  )


def test_the_front_is_what_no_other_beats():
  rng = np.random.RandomState(0)
  at = rng.randint(1, 6, (40, 3))
  found = pareto.front([model(*map(int, point)) for point in at])
  costs = at * [1, 1, -1]
  beaten = [
    any((other <= one).all() and (other < one).any() for other in costs)
    for one in costs
  ]
  assert 0 < len(found) < 40
  assert found == {i for i, is_beaten in enumerate(beaten) if not is_beaten}


def test_two_that_are_alike_are_both_on_it():
  assert pareto.front([model(2, 1.0, 70.0), model(2, 1.0, 70.0)]) == {0, 1}


def test_only_those_with_all_figures_that_there_are():
  models = [
    model(2, 1.0, 70.0), model(1, None, 70.0), model(3, 0.5, 60.0),
    model(1, 0.1, 99.0, failure='it crashed'),
  ]  # fmt: skip
  assert pareto.front(models) == {0, 2}
  assert pareto.measured(models) == 'size, latency and top-1'


def test_a_single_figure_or_model_has_no_front():
  assert not pareto.front([model(1, None, None), model(2, None, None)])
  assert not pareto.front([model(1, 1.0, 70.0)])
