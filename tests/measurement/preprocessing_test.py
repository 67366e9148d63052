"""What is done to pixels, and which of it fits a model best."""

import numpy as np
import pytest

from tfcompress.core import measurements, records, types
from tfcompress.measurement import preprocessing
from tfcompress.runtimes import interface

RAW, UNIT, SYMMETRIC, IMAGENET = preprocessing.candidates(types.Channels.RGB)
FLOAT = measurements.TensorInfo('x', (1, 2, 2, 3), 'float32')
BYTES = measurements.TensorInfo('x', (1, 2, 2, 3), 'uint8', 1 / 127.5, 127)


def right(count: int, of: int = 100, first: int = 0) -> np.ndarray:
  """So many images from the first on."""
  hits = np.zeros(of, bool)
  hits[first : first + count] = True
  return hits


def test_names_of_what_is_done():
  assert [one.label for one in (RAW, UNIT, SYMMETRIC, IMAGENET)] == [
    'raw', 'unit', 'symmetric', 'imagenet',
  ]  # fmt: skip
  bgr = preprocessing.candidates(types.Channels.BGR)
  assert [one.label for one in bgr][1:] == [
    'unit, bgr', 'symmetric, bgr', 'imagenet, bgr',
  ]  # fmt: skip
  assert bgr[3].mean == IMAGENET.mean[::-1] and bgr[3].std != IMAGENET.std
  assert types.Preprocessing((128.0,) * 3, (64.0,) * 3).label == (
    '(x - 128) / 64'
  )


def test_it_survives_json():
  for one in (IMAGENET, types.Preprocessing(channels=types.Channels.BGR)):
    kind = types.Preprocessing
    assert records.from_json(kind, records.to_json(one)) == one


def test_the_best_is_taken_and_doubt_is_said():
  clear = {RAW: right(10), UNIT: right(30), SYMMETRIC: right(90)}
  assert preprocessing.best(clear, FLOAT) == (SYMMETRIC, [])
  close = {RAW: right(10), UNIT: right(90), SYMMETRIC: right(88, first=5)}
  best, [doubt] = preprocessing.best(close, FLOAT)
  assert best is UNIT
  assert 'unit 90.0 %, symmetric 88.0 % of 100 images; --input_scal' in doubt


def test_what_answers_alike_is_no_doubt():
  alike = {RAW: right(90), UNIT: right(91), SYMMETRIC: right(5)}
  assert preprocessing.best(alike, FLOAT) == (UNIT, [])


def test_bytes_are_taken_as_they_are_unless_another_is_better():
  rounded = {RAW: right(90), SYMMETRIC: right(92)}
  assert preprocessing.best(rounded, BYTES) == (RAW, [])
  other = {RAW: right(60), IMAGENET: right(92)}
  assert preprocessing.best(other, BYTES) == (IMAGENET, [])


def test_a_label_has_every_number_where_they_differ():
  label = lambda *mean: types.Preprocessing(mean).label
  assert label(104.0, 117.0, 104.0) == '(x - 104, 117, 104) / 1'
  assert label(128.0, 128.0, 128.0) == '(x - 128) / 1'


def test_chance_by_the_interval():
  assert not preprocessing.of_chance(47, 48, 4, tried=True)
  [sentence] = preprocessing.of_chance(14, 48, 4, tried=True)
  assert 'chance (25.0 %) with any scaling of its pixels' in sentence
  [sentence] = preprocessing.of_chance(50, 100, 2, tried=False)
  assert 'chance (50.0 %): the order of its outputs' in sentence


@pytest.mark.parametrize(
  ('dtype', 'scale', 'zero_point', 'is_bytes'),
  [
    ('uint8', 1.0, 0, True),
    ('uint8', 1 / 127.5, 127, True),
    ('uint8', 0.0187, 114, True),
    ('uint8', None, None, True),
    ('int8', 1.0, -128, True),
    ('int8', 1 / 255, -128, True),
    ('int8', 1 / 127.5, -1, True),
    ('int8', 1 / 127.5, 0, True),
    ('int8', 1.0, 0, True),
    ('int8', None, None, True),
    ('int8', 0.0187, -14, False),  # pixels as ImageNet's are normalized
    ('int8', 0.5, -128, False),
    ('float32', None, None, False),
    ('int16', 0.01, 0, False),
  ],
)
def test_which_inputs_take_bytes(dtype, scale, zero_point, is_bytes):
  info = measurements.TensorInfo('x', (1, 2, 2, 3), dtype, scale, zero_point)
  assert interface.takes_bytes(info) == is_bytes
  if is_bytes:
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3) * 23
    encoded = interface.encode(pixels, info, RAW)
    less = 128 if dtype == 'int8' else 0
    assert encoded.dtype == dtype
    np.testing.assert_array_equal(encoded, pixels.astype(int) - less)


def test_any_mean_deviation_and_order_by_hand():
  pixels = np.uint8([10, 20, 30]).reshape(1, 1, 1, 3)
  bgr = types.Preprocessing(
    (1.0, 2.0, 3.0), (2.0, 4.0, 8.0), types.Channels.BGR
  )
  encoded = interface.encode(pixels, FLOAT, bgr)
  np.testing.assert_allclose(encoded.ravel(), [14.5, 4.5, 0.875])
  first = measurements.TensorInfo('x', (1, 3, 2, 2), 'float32')
  wide = np.broadcast_to(pixels, (1, 2, 2, 3))
  encoded = interface.encode(wide, first, bgr)
  np.testing.assert_allclose(encoded[0, :, 0, 0], [14.5, 4.5, 0.875])
  # A quantized input gets the step that is nearest.
  info = measurements.TensorInfo('x', (1, 1, 1, 3), 'int8', 0.5, -10)
  encoded = interface.encode(pixels, info, bgr)
  np.testing.assert_array_equal(encoded.ravel(), [19, -1, -8])
