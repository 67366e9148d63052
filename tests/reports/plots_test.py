import itertools
import math

import pytest

from tests.reports import comparison_test
from tfcompress.reports import labels, plots

VARIANTS = {
  'int8': (5.0, 0.74, 79.3),
  'static_wi8_ai8': (5.0, 0.75, 79.3),
  'dynamic': (5.0, 1.1, 79.5),
  'dynamic_wi8_afp32': (5.0, 1.12, 79.4),
  'weight_only_wi8_afp32': (5.0, 2.6, 79.5),
  'float16': (10.0, 2.42, 79.5),
  'float32': (20.0, 2.4, 79.5),
  'static_wi4_ai8': (2.5, 90.0, 76.0),
  'weight_only_wi4_afp32': (2.5, 2.8, 31.25),
}
ROWS = (
  *comparison_test.ROWS,
  *(
    comparison_test.row(f'3_prune {name}', ('a', 'b', 'prune'), *figures)
    for name, figures in VARIANTS.items()
  ),
)


@pytest.fixture(scope='module')
def picture():
  return plots.draw(ROWS, 'a title')


def texts(picture):
  (axes,) = picture.axes
  return {text.get_text(): text for text in axes.texts if text.get_text()}


def test_every_file_that_was_measured_is_named_and_no_label_hides(picture):
  found = texts(picture)
  assert found.keys() == {
    '1_baseline float32 (reference)',
    '2_slim int8',
    *(
      f'3_prune {name}' for name in VARIANTS if name != 'weight_only_wi4_afp32'
    ),
    '3_prune weight_only_wi4_afp32, 31.2 %',
  }
  assert picture.get_supxlabel() == 'failed: 2_slim wi4'
  boxes = [
    labels.Box(*text.get_window_extent().extents) for text in found.values()
  ]
  canvas = labels.Box(0, 0, *picture.canvas.get_width_height())
  assert [box.outside(canvas) for box in boxes] == [0] * len(boxes)
  for first, second in itertools.combinations(boxes, 2):
    assert first.overlap(second) == 0


def test_the_area_of_a_circle_is_the_size(picture):
  (axes,) = picture.axes
  filled = {
    (line.get_xdata()[0], line.get_ydata()[0]): line.get_markersize()
    for line in axes.lines
    if line.get_alpha()
  }
  area = lambda where: math.pi * filled[where] ** 2
  assert area((4.0, 80.0)) / area((2.4, 79.5)) == pytest.approx(40 / 20)
  assert area((2.4, 79.5)) / area((90.0, 76.0)) == pytest.approx(20 / 2.5)


def test_one_slow_and_one_useless_file_do_not_squash_the_others(picture):
  (axes,) = picture.axes
  assert axes.get_xscale() == 'log'
  low, high = axes.get_ylim()
  assert 70 < low < 76 and high < 83
  narrow = plots.draw(comparison_test.ROWS[:1] + ROWS[8:10], '')
  assert narrow.axes[0].get_xscale() == 'linear'


def test_it_is_written_as_a_picture_to_look_at(tmp_path):
  path = tmp_path / 'x.png'
  plots.write(path, ROWS, 'a title')
  content = path.read_bytes()
  assert content.startswith(b'\x89PNG')
  width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
  assert (width, height) == (1100, 700)


def test_nothing_measured_is_an_empty_picture():
  assert not plots.draw(ROWS[2:3], '').axes[0].lines
