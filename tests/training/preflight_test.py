import pytest
import tf_keras

from tfcompress.core import types
from tfcompress.models import resnet
from tfcompress.training import preflight

layers = tf_keras.layers


def mobilenet(
  stem_padding=1, stem_stride=2, pool=True, middle=None
) -> tf_keras.Model:
  """A small network of depthwise separable convolutions."""
  x = image = layers.Input((32, 32, 3))
  if stem_padding:
    x = layers.ZeroPadding2D(stem_padding)(x)
  padding = 'valid' if stem_padding else 'same'
  x = layers.Conv2D(8, 3, stem_stride, padding, name='stem')(x)
  x = layers.BatchNormalization()(x)
  x = layers.ReLU(6.0)(x)
  for index in range(2):
    if index:
      x = layers.ZeroPadding2D(1)(x)
    x = layers.DepthwiseConv2D(
      3, 2 if index else 1, 'valid' if index else 'same', name=f'deep{index}'
    )(x)
    x = layers.ReLU()(x)
    y = layers.Conv2D(16, 1, name=f'wide{index}')(x)
    x = layers.ReLU()(layers.BatchNormalization()(y))
  shortcut = x
  x = layers.Add()([layers.Conv2D(16, 1, name='branch')(x), shortcut])
  if middle:
    x = middle(x)
  x = layers.GlobalAveragePooling2D()(x) if pool else layers.Flatten()(x)
  x = layers.Dense(4, name='logits')(x)
  return tf_keras.Model(image, layers.Softmax()(x))


def profiting(found: preflight.Preflight) -> list[str]:
  return [row.name for row in found.rows if row.may_profit]


@pytest.fixture(scope='module')
def resnet18() -> tf_keras.Model:
  return resnet.build(types.ModelSpec(width_multiplier=0.125, input_size=48))


@pytest.mark.parametrize('sparsity', [0.5, 0.9])
def test_no_layer_of_a_resnet_profits(sparsity, resnet18):
  found = preflight.check(resnet18, sparsity, 'element', ())
  assert len(found.rows) == 21
  assert profiting(found) == []
  rows = {row.name: row for row in found.rows}
  assert rows['stem_conv'] == preflight.Row(
    'stem_conv', (7, 7, 3, 8), sparsity, False, '7x7 convolution'
  )
  assert rows['stage1_block1_conv1'].reason == '3x3 convolution'
  assert rows['stage2_block1_shortcut'].reason == '1x1 convolution of stride 2'
  assert rows['logits'].reason == 'fully connected'
  assert rows['logits'].kernel_shape == (64, 100)


def test_the_table_of_a_resnet_is_short_and_ends_in_a_sentence(resnet18):
  found = preflight.check(resnet18, 0.5, 'element', ['logits'])
  *table, sentence = preflight.text(found).splitlines()
  assert len(table) == 22
  assert max(map(len, table)) <= 80
  assert table[1].split() == ['stem_conv', '7x7x3x8', '50', '%', 'no:'] + [
    '7x7',
    'convolution',
  ]
  assert table[-1].split() == ['logits', '64x100', '0', '%', 'no:', 'excluded']
  assert sentence == (
    'None of the 21 layers runs faster or is stored smaller for its zeros in a '
    '.tflite of tfcompress-export: only a compressed download (gzip) shrinks; '
    'use --stage=slim (removes channels), --stage=qat or a smaller '
    '--internal_size instead.'
  )


def test_a_bottlenecks_1x1_has_no_part_in_nchw():
  model = resnet.build(
    types.ModelSpec(depth=50, width_multiplier=0.125, input_size=48)
  )
  found = preflight.check(model, 0.9, 'element', ())
  assert profiting(found) == []
  rows = {row.name: row for row in found.rows}
  assert rows['stage1_block1_conv1'].reason.endswith('runs in NCHW')


def test_granularity_and_exclusion_leave_layers_dense(resnet18):
  excluded = ['stem_conv', 'stage1_block1_conv1']
  found = preflight.check(resnet18, 0.9, '2:4', excluded)
  rows = {row.name: row for row in found.rows}
  assert rows['stem_conv'].zeros == 0
  assert rows['stem_conv'].reason == '2:4 does not fit, stays dense'
  assert rows['stage1_block1_conv1'].zeros == 0
  assert rows['stage1_block1_conv1'].reason == 'excluded'
  # Its own share, not the one asked for.
  assert rows['stage1_block1_conv2'].zeros == 0.5


def test_1x1_convolutions_may_profit_over_two_thirds():
  model = mobilenet()
  found = preflight.check(model, 0.7, 'element', ())
  assert profiting(found) == ['wide0', 'wide1', 'branch']
  reasons = {row.name: row.reason for row in found.rows}
  assert reasons['stem'] == '3x3 convolution'
  assert reasons['deep0'] == '3x3 depthwise convolution'
  sentence = preflight.text(found).splitlines()[-1]
  assert sentence.startswith(
    '3 of the 7 layers may run faster for their zeros, wide0, wide1, branch, '
    'but only from a float32 .tflite'
  )
  assert 'EXPERIMENTAL_SPARSITY' in sentence
  assert 'without AVX' in sentence


@pytest.mark.parametrize('sparsity', [0.5, 2 / 3])
def test_1x1_convolutions_do_not_profit_up_to_two_thirds(sparsity):
  found = preflight.check(mobilenet(), sparsity, 'element', ())
  assert profiting(found) == []
  reasons = {row.name: row.reason for row in found.rows}
  share = round(100 * sparsity)
  assert (
    reasons['wide0'] == f'1x1, but {share} % zeros in its part, not over 67 %'
  )


def test_the_share_is_counted_over_the_part():
  # wide0 8 * 16, wide1 and branch 16 * 16, logits 16 * 4 weights: 704.
  model = mobilenet()
  without = preflight.check(model, 0.9, 'element', ['branch'])
  assert profiting(without) == []  # 0.9 * 448 / 704 = 57 %
  reasons = {row.name: row.reason for row in without.rows}
  assert reasons['wide0'].startswith('1x1, but 57 % zeros')
  without = preflight.check(model, 0.9, 'element', ['logits'])
  assert profiting(without) == ['wide0', 'wide1', 'branch']  # 82 %
  # Three quarters of 2:4's kind, whatever is asked for.
  assert len(profiting(preflight.check(model, 0.1, '3:4', ()))) == 3


@pytest.mark.parametrize(
  'changes',
  [
    {'stem_padding': None},  # 'same' pads an even image on one side only
    {'stem_padding': ((0, 1), (0, 1))},
    {'stem_stride': 1},
    {'pool': False},
    {'middle': layers.MaxPooling2D()},
    {'middle': layers.Conv2D(16, 3, padding='same')},
    {'middle': layers.Activation('softmax')},
    {'middle': lambda x: layers.Concatenate()([x, layers.Conv2D(4, 1)(x)])},
  ],
)
def test_one_thing_in_the_way_stops_all(changes):
  found = preflight.check(mobilenet(**changes), 0.9, 'element', ())
  assert profiting(found) == []
  reasons = {row.name: row.reason for row in found.rows}
  assert reasons['wide0'] == '1x1, but no part around it runs in NCHW'


def test_a_value_that_is_also_an_output_stops_all():
  model = mobilenet()
  twin = tf_keras.Model(
    model.input, [model.output, model.get_layer('wide1').output]
  )
  assert profiting(preflight.check(twin, 0.9, 'element', ())) == []


def test_another_granularity_is_refused(resnet18):
  with pytest.raises(ValueError, match="granularity 'block': expected element"):
    preflight.check(resnet18, 0.5, 'block', ())
