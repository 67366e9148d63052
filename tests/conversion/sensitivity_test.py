"""Which layers cost most, and which of them stay in higher precision."""

import csv

import numpy as np
import pytest
import tf_keras

from tests import conftest
from tfcompress.conversion import (
  parity,
  precision,
  rounding,
  sensitivity,
  tflite,
  variants,
)
from tfcompress.core import types
from tfcompress.reports import sensitivity as sensitivity_report
from tfcompress.runtimes import tflite_file

V = types.Variant
LAYERS = ['stem', 'inner', 'outer', 'wide', 'shortcut', 'logits']
SPOILT = 'outer'


@pytest.fixture(scope='module')
def network() -> tf_keras.Model:
  """Two residual blocks; a weight of one layer dwarfs the others there."""
  tf_keras.utils.set_random_seed(5)
  blocks = conftest.own_network()
  softmax = tf_keras.layers.Softmax()(blocks.output)
  model = tf_keras.Model(blocks.input, softmax)
  kernel = model.get_layer(SPOILT).kernel
  spoilt = kernel.numpy()
  spoilt[1, 1, 0] = 30 * np.abs(spoilt).max()
  kernel.assign(spoilt)
  return model


@pytest.fixture(scope='module')
def known(network) -> parity.HeldOut:
  """Images whose labels are what the parent says, so that its top-1 is 100."""
  rng = np.random.RandomState(1)
  tint = rng.randint(0, 200, (60, 1, 1, 3))
  images = (tint + rng.randint(0, 56, (60, 32, 32, 3))).astype(np.uint8)
  labels = network.predict(images.astype(np.float32), verbose=0).argmax(-1)
  return parity.held_out(network, images, labels)


@pytest.fixture(scope='module')
def weight_only(network):
  return tflite.float_file(network, V.WEIGHT_ONLY_WI4_AFP32)


@pytest.fixture(scope='module')
def static(network, known):
  return tflite.float_file(network, V.STATIC_WI4_AI8, known.images[:12])


def rounded(kernel: np.ndarray) -> np.ndarray:
  """A kernel as int4 by hand, a scale for each output channel."""
  kernel = kernel.reshape(-1, kernel.shape[-1])
  scale = np.abs(kernel).max(axis=0) / 7
  return np.rint(kernel / scale) * scale


def by_hand(network, name: str, known: parity.HeldOut) -> parity.Parity:
  """The network with one kernel rounded, in Keras."""
  layer = network.get_layer(name)
  kept = layer.kernel.numpy()
  layer.kernel.assign(rounded(kept).reshape(kept.shape))
  found = network.predict(known.images.astype(np.float32), verbose=0)
  layer.kernel.assign(kept)
  return parity.compare(known.parent, found, known.labels)


def test_a_layers_cost_by_hand(network, weight_only, known):
  layers = sensitivity.measure(weight_only, known)
  assert sorted(layer.layer for layer in layers) == sorted(LAYERS)
  for layer in layers:
    expected = by_hand(network, layer.layer, known)
    assert layer.snr_db == pytest.approx(expected.snr_db, abs=0.1)
    assert layer.top1_drop == pytest.approx(expected.top1_drop)
    kernel = network.get_layer(layer.layer).kernel
    assert layer.parameters == np.prod(kernel.shape)
    assert (layer.bits, layer.examples) == (4, 60)
  costs = [layer.snr_db for layer in layers]
  assert costs == sorted(costs)
  assert layers[0].layer == SPOILT


def config(variant=V.STATIC_WI4_AI8, **options) -> types.ExportConfig:
  return types.ExportConfig('a', 'b', variant=variant, **options)


def drop_of(file, bits: dict[str, int], known: parity.HeldOut) -> float:
  content = rounding.quantized(file, bits, types.IoDtype.UINT8)
  return parity.measure_content(content, known).top1_drop


def numbers(content: bytes, tmp_path) -> dict[str, str]:
  """The dtype of each layer's weights in a file."""
  path = tmp_path / 'file.tflite'
  path.write_bytes(content)
  return {
    next(name for name in LAYERS if f'/{name}/' in weight.name): weight.dtype
    for weight in tflite_file.weights(str(path))
  }


def test_only_the_most_sensitive_layers_stay_in_float(static, known, tmp_path):
  seen = []
  for count in (1, 3):
    chosen = precision.choose(
      static, config(keep_float=count), known, seen.append
    )
    dtypes = numbers(chosen.content, tmp_path)
    in_float = [name for name in LAYERS if dtypes[name] == 'float32']
    most_sensitive = [layer.layer for layer in seen[-1]][:count]
    assert sorted(in_float) == sorted(most_sensitive)
    assert {dtypes[name] for name in set(LAYERS) - {*in_float}} == {'int4'}
  assert most_sensitive[0] == SPOILT
  assert chosen.parity.snr_db > 10 + seen[-1][0].snr_db


def test_more_float_layers_than_there_are(static, known):
  message = '--keep_float=7: the network has 6 layers with a kernel'
  with pytest.raises(ValueError, match=message):
    precision.choose(static, config(keep_float=7), known, print)


def test_a_drop_that_is_met_costs_as_few_layers_as_it_takes(
  static, known, tmp_path
):
  seen = []
  lost = precision.choose(static, config(), known, seen.append)
  assert lost.parity.top1_drop > 5
  assert set(lost.bits.values()) == {4}
  assert not seen  # Nobody asked.
  chosen = precision.choose(static, config(max_drop=5.0), known, seen.append)
  assert chosen.is_within
  assert chosen.parity.top1_drop <= 5
  order = [layer.layer for layer in seen[0]]
  risen = [name for name in order if chosen.bits[name] > 4]
  assert risen == order[: len(risen)]
  assert len(risen) < len(LAYERS)
  dtypes = numbers(chosen.content, tmp_path)
  assert dtypes == {
    name: {4: 'int4', 8: 'int8'}[bits] for name, bits in chosen.bits.items()
  }
  assert drop_of(static, chosen.bits | {risen[-1]: 4}, known) > 5


def test_a_mixed_file_loses_a_point_at_most(network, known, tmp_path):
  mixed = V.MIXED_WI4_WI8_AI8
  file = tflite.float_file(network, mixed, known.images[:12])
  chosen = precision.choose(file, config(mixed), known, lambda layers: None)
  assert chosen.is_within
  assert chosen.parity.top1_drop <= 1
  assert set(numbers(chosen.content, tmp_path).values()) == {'int4', 'int8'}


def test_a_drop_that_cannot_be_met_gives_the_smallest(network, known):
  mixed = V.MIXED_WI4_WI8_AI8
  file = tflite.float_file(network, mixed, known.images[:12])
  wanted = config(mixed, max_drop=-1.0)  # The parent's top-1 is 100.
  chosen = precision.choose(file, wanted, known, lambda layers: None)
  assert not chosen.is_within
  assert set(chosen.bits.values()) <= {4, 8}
  assert chosen.parity.top1_drop == drop_of(file, chosen.bits, known)
  for bits in (4, 8):
    every_layer = dict.fromkeys(LAYERS, bits)
    assert chosen.parity.top1_drop <= drop_of(file, every_layer, known)


def attempts(drops: list[float], limit: float, asked: list[int]):
  """Attempts of known drops; notes which were asked for."""

  def attempt(count: int) -> precision.Attempt:
    asked.append(count)
    result = parity.Parity(100.0, 30.0, 100, 100.0, 100.0 - drops[count])
    return precision.Attempt(b'', {}, result, drops[count] <= limit)

  return attempt


@pytest.mark.parametrize('first', range(14))
def test_the_fewest_that_are_enough_in_few_tries(first):
  drops, asked = [float(max(first - i, 0)) for i in range(14)], []
  found = precision.fewest(attempts(drops, 0.0, asked), 13)
  assert found.is_within
  assert max(asked) >= first
  assert first in asked
  assert first == 0 or first - 1 in asked
  assert len(asked) == len(set(asked)) <= 9


def test_the_smallest_drop_where_none_is_enough():
  drops = [9.0, 8.0, 3.0, 7.0, 6.0]
  found = precision.fewest(attempts(drops, 1.0, []), 4)
  assert not found.is_within
  assert found.parity.top1_drop == pytest.approx(3)


def test_layers_rise_one_step_each_before_any_goes_on():
  possible = {'a': (4, 8, 32), 'b': (4, 8, 32), 'deep': (8, 32)}
  bits = {'a': 4, 'b': 4, 'deep': 8}
  steps = precision.risen(bits, possible, ['b', 'deep', 'a'])
  assert [tuple(step.values()) for step in steps] == [
    (4, 4, 8),
    (4, 8, 8),
    (8, 8, 8),
    (8, 32, 8),
    (8, 32, 32),
    (32, 32, 32),
  ]


def test_the_mixed_variant_ends_at_int8():
  assert variants.RECIPES[V.MIXED_WI4_WI8_AI8].bits == (4, 8)
  assert precision.limit(config(V.MIXED_WI4_WI8_AI8)) == 1
  assert precision.limit(config(V.MIXED_WI4_WI8_AI8, max_drop=3.0)) == 3
  assert precision.limit(config()) is None


ROWS = (
  types.LayerSensitivity('stem', 'CONV_2D', 1728, 4, 12.34, 2.5, 200),
  types.LayerSensitivity(
    'logits', 'FULLY_CONNECTED', 51200, 4, 40.0, -0.5, 200
  ),
)


def test_tables_and_picture(tmp_path):
  lines = sensitivity_report.table(ROWS).splitlines()
  assert lines[2].split() == ['stem', 'CONV_2D', '1,728', '4', '12.3', '+2.50']
  assert 'on 200 held-out images; the most sensitive layer first' in lines[-1]
  sensitivity_report.write(tmp_path, ROWS, V.STATIC_WI4_AI8)
  with open(tmp_path / 'sensitivity.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [row['layer'] for row in rows] == ['stem', 'logits']
  assert [float(row['snr_db']) for row in rows] == [12.34, 40.0]
  assert [float(row['top1_drop']) for row in rows] == [2.5, -0.5]
  text = (tmp_path / 'sensitivity.md').read_text()
  assert text.startswith('# static_wi4_ai8, layer by layer\n')
  assert '| logits | FULLY_CONNECTED | 51,200 | 4 | 40.0 | -0.50 |' in text
  picture = (tmp_path / 'sensitivity.png').read_bytes()
  assert picture.startswith(b'\x89PNG')


def test_the_picture_has_a_bar_a_layer():
  from tfcompress.reports import sensitivity_plot

  snr, drop = sensitivity_plot.draw(ROWS, V.STATIC_WI4_AI8).axes
  assert [bar.get_width() for bar in snr.patches] == [12.34, 40.0]
  assert [bar.get_width() for bar in drop.patches] == [2.5, -0.5]
  labels = [label.get_text() for label in snr.get_yticklabels()]
  assert labels == ['stem  int4', 'logits  int4']
  top, bottom = snr.patches
  to_pixels = snr.transData.transform
  assert to_pixels((0, top.get_y()))[1] > to_pixels((0, bottom.get_y()))[1]
