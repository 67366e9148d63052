"""Which of several models no other beats."""

from collections.abc import Callable, Sequence

from tfcompress.core import measurements

_Measurement = measurements.Measurement

# Each is less for a better model; None where it was not measured.
_FIGURES: dict[str, Callable[[_Measurement], float | None]] = {
  'size': lambda r: r.size and r.size.mib,
  'latency': lambda r: r.latency_ms and r.latency_ms.mean,
  'top-1': lambda r: r.accuracy and -r.accuracy.top1_percent,
}


def measured(records: Sequence[_Measurement]) -> str:
  """Returns the names of the figures that are compared, as a list in words."""
  names = [name for name, _ in _compared(records)]
  return ' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))


def front(records: Sequence[_Measurement]) -> frozenset[int]:
  """Returns the places of the models on the Pareto front.

  For each of the others there is one that is at least as good in size, latency
  and top-1, and better in one of them. Figures that no model has are left out;
  a model that lacks one of the rest, or has failed, is not on the front. With a
  single figure, or a single model, there is no front.
  """
  compared = _compared(records)
  points = {
    index: tuple(figure(record) for _, figure in compared)
    for index, record in enumerate(records)
    if not record.failure
  }
  points = {index: at for index, at in points.items() if None not in at}
  if len(compared) < 2 or len(points) < 2:
    return frozenset()
  return frozenset(
    index
    for index, at in points.items()
    if not any(_beats(other, at) for other in points.values())
  )


def _compared(records: Sequence[_Measurement]):
  """The figures that there are, by name."""
  sound = [record for record in records if not record.failure]
  return [
    (name, figure)
    for name, figure in _FIGURES.items()
    if any(figure(record) is not None for record in sound)
  ]


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
  return one != other and all(a <= b for a, b in zip(one, other))
