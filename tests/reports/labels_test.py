import itertools

from tfcompress.reports import labels

FRAME = labels.Box(0, 0, 600, 400)


def place(circles, size=(90, 12)):
  return labels.place(circles, [size] * len(circles), FRAME)


def test_a_label_alone_is_beside_its_circle():
  circle = labels.Circle(300, 200, 20)
  (box,) = place([circle])
  near = box.nearest(circle.x, circle.y)
  distance = ((near[0] - 300) ** 2 + (near[1] - 200) ** 2) ** 0.5
  assert 20 <= distance <= 28
  assert box.overlap(circle.box) == 0
  assert (box.x1 - box.x0, box.y1 - box.y0) == (90, 12)


def test_labels_of_one_crowd_do_not_overlap():
  circles = [labels.Circle(60 + index, 380, 8) for index in range(10)]
  boxes = place(circles)
  for first, second in itertools.combinations(boxes, 2):
    assert first.overlap(second) == 0
  for box in boxes:
    assert box.outside(FRAME) == 0
    assert not any(box.contains(circle.x, circle.y) for circle in circles)


def test_overlap_is_an_area():
  box = labels.Box(0, 0, 4, 3)
  assert box.overlap(labels.Box(2, 1, 9, 9)) == 2 * 2
  assert box.overlap(labels.Box(4, 0, 9, 9)) == 0
  assert box.nearest(9, 1) == (4, 1)
  assert labels.Box(-2, 0, 5, 9).outside(box) == 2 + 1 + 6
