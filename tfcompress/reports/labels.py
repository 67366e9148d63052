"""Where labels go beside circles so that neither hides the other."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence

_ANGLES = 24
_GAPS = (
  3.0,
  6.0,
  12.0,
  26.0,
  44.0,
  66.0,
  92.0,
  122.0,
)  # from the circle, in pixels
_PASSES = 4
# What is worse: in units of a pixel of distance, by pixel of overlap.
_ON_LABEL = 4.0
_ON_CIRCLE = 0.4
_ON_CENTER = 300.0
_LEADER_ON_LABEL = 60.0
_LEADER_ON_CIRCLE = 12.0
_ON_LINE = 0.1
_OUTSIDE = 50.0
_TOO_NEAR = 10.0


@dataclasses.dataclass(frozen=True)
class Box:
  """A rectangle, in pixels."""

  x0: float
  y0: float
  x1: float
  y1: float

  def overlap(self, other: 'Box') -> float:
    """The area that both cover."""
    width = min(self.x1, other.x1) - max(self.x0, other.x0)
    height = min(self.y1, other.y1) - max(self.y0, other.y0)
    return max(0.0, width) * max(0.0, height)

  def contains(self, x: float, y: float) -> bool:
    return self.x0 <= x <= self.x1 and self.y0 <= y <= self.y1

  def is_apart(self, other: 'Box') -> bool:
    """Whether no point is in both."""
    return (
      self.x1 < other.x0
      or other.x1 < self.x0
      or self.y1 < other.y0
      or other.y1 < self.y0
    )

  def nearest(self, x: float, y: float) -> tuple[float, float]:
    """The point of it that is nearest to another."""
    clamp = lambda value, low, high: max(low, min(high, value))
    return clamp(x, self.x0, self.x1), clamp(y, self.y0, self.y1)

  def outside(self, frame: 'Box') -> float:
    """By how many pixels it stands out of a frame."""
    return (
      max(0.0, frame.x0 - self.x0)
      + max(0.0, frame.y0 - self.y0)
      + max(0.0, self.x1 - frame.x1)
      + max(0.0, self.y1 - frame.y1)
    )


@dataclasses.dataclass(frozen=True)
class Circle:
  """A circle, in pixels."""

  x: float
  y: float
  radius: float

  @functools.cached_property
  def box(self) -> Box:
    """The square of the same area, about."""
    half = 0.88 * self.radius
    return Box(self.x - half, self.y - half, self.x + half, self.y + half)


def place(
  circles: Sequence[Circle],
  sizes: Sequence[tuple[float, float]],
  frame: Box,
  lines: Sequence[Box] = (),
) -> list[Box]:
  """Returns a box for the label of each circle.

  Each label in turn takes the best of its places while the others stay, a few
  times over.

  Args:
    circles: what is labelled, and after those what is not.
    sizes: width and height of each label.
    frame: what labels should stay in.
    lines: what else they should not lie on, each a thin box.
  """
  boxes = [
    next(_candidates(circle, size)) for circle, size in zip(circles, sizes)
  ]
  for _ in range(_PASSES):
    for index, (circle, size) in enumerate(zip(circles, sizes)):
      others = boxes[:index] + boxes[index + 1 :]
      boxes[index] = min(
        _candidates(circle, size),
        key=lambda box: (
          _cost(box, circle, others, circles)
          + _OUTSIDE * box.outside(frame)
          + _ON_LINE * sum(box.overlap(line) for line in lines)
        ),
      )
  return boxes


def _candidates(circle: Circle, size: tuple[float, float]) -> Iterator[Box]:
  """Boxes around a circle, the near ones first, that on the right above all."""
  width, height = size
  for gap in _GAPS:
    for step in range(_ANGLES):
      angle = 2 * math.pi * step / _ANGLES
      cosine, sine = math.cos(angle), math.sin(angle)
      reach = circle.radius + gap
      x = circle.x + reach * cosine + cosine * width / 2
      y = circle.y + reach * sine + sine * height / 2
      yield Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _cost(
  box: Box,
  circle: Circle,
  others: Sequence[Box],
  circles: Sequence[Circle],
) -> float:
  near = box.nearest(circle.x, circle.y)
  gap = math.dist(near, (circle.x, circle.y)) - circle.radius
  cost = gap + _TOO_NEAR * max(0.0, _GAPS[0] - gap)
  cost += _ON_LABEL * sum(box.overlap(other) for other in others)
  for other in circles:
    cost += _ON_CIRCLE * box.overlap(other.box)
    cost += _ON_CENTER * box.contains(other.x, other.y)
  return cost + _leader_cost(near, circle, others, circles)


def _leader_cost(
  start: tuple[float, float],
  circle: Circle,
  others: Sequence[Box],
  circles: Sequence[Circle],
) -> float:
  """What the line from a label to its circle crosses."""
  points = [
    (
      start[0] + (circle.x - start[0]) * step / 12,
      start[1] + (circle.y - start[1]) * step / 12,
    )
    for step in range(1, 12)
  ]
  reach = Box(*map(min, zip(*points)), *map(max, zip(*points)))
  crosses = lambda box: (
    not box.is_apart(reach) and any(box.contains(*point) for point in points)
  )
  cost = _LEADER_ON_LABEL * sum(map(crosses, others))
  hidden = [other.box for other in circles if other != circle]
  return cost + _LEADER_ON_CIRCLE * sum(map(crosses, hidden))
