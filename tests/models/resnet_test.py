import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfcompress.core import types
from tfcompress.models import graph, resnet, widths


def trainable(model) -> int:
  return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


@pytest.mark.parametrize(
  ('depth', 'parameters'),
  # torchvision's counts, and He 2016's networks.
  [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032)],
)
def test_parameter_counts(depth, parameters):
  spec = types.ModelSpec(depth=depth, num_classes=1000)
  assert trainable(resnet.build(spec)) == parameters


def test_half_width_by_hand():
  channels = widths.channels_of(types.ModelSpec(width_multiplier=0.5))
  assert channels['stem_conv'] == 32
  assert channels['stage4_block2_conv2'] == 256
  assert channels['stage2_block1_shortcut'] == 64
  # 3x3 convolutions and their batch normalizations, stage 1: 4 x 32 -> 32.
  stage_1 = 4 * (9 * 32 * 32 + 2 * 32)
  stages = stage_1
  for width in (64, 128, 256):
    half = width // 2
    stages += 9 * half * width + 3 * 9 * width * width + half * width
    stages += 5 * 2 * width
  stem, head = 49 * 3 * 32 + 2 * 32, 256 * 100 + 100
  model = resnet.build(types.ModelSpec(width_multiplier=0.5))
  assert trainable(model) == stem + stages + head


@pytest.mark.parametrize(
  ('stem', 'sizes'),
  [
    (types.Stem.CONV7_POOL, (16, 8, 4, 2)),
    (types.Stem.SPACE_TO_DEPTH4_CONV3, (16, 8, 4, 2)),
    (types.Stem.CONV3_STRIDE2, (32, 16, 8, 4)),
    (types.Stem.CONV3, (64, 32, 16, 8)),
  ],
)
def test_what_a_stem_leaves_of_64_pixels(stem, sizes):
  spec = types.ModelSpec(width_multiplier=0.125, input_size=64, stem=stem)
  model = resnet.build(spec)
  for stage, size in enumerate(sizes, start=1):
    layer = model.get_layer(f'stage{stage}_block2_add')
    assert layer.output_shape == (None, size, size, 2 ** (stage + 2))


def test_blocks_and_widths_of_each_stage_by_hand():
  spec = types.ModelSpec(
    blocks=(1, 2, 1),
    stage_widths=(16, 32, 48),
    stem=types.Stem.CONV3_STRIDE2,
    num_classes=10,
  )
  kernels = 9 * 3 * 16 + 2 * 9 * 16 * 16
  kernels += 9 * 16 * 32 + 3 * 9 * 32 * 32 + 16 * 32
  kernels += 9 * 32 * 48 + 9 * 48 * 48 + 32 * 48
  norms = 2 * (3 * 16 + 5 * 32 + 3 * 48)
  head = 48 * 10 + 10
  assert trainable(resnet.build(spec)) == kernels + norms + head
  assert spec.name == 'ResNet-18 of 1-2-1 blocks'


def test_a_channel_count_per_layer():
  spec = types.ModelSpec(width_multiplier=0.125, num_classes=7)
  channels = widths.channels_of(spec) | {'stage3_block2_conv1': 5}
  model = resnet.build(dataclasses.replace(spec, channels=channels))
  assert model.get_layer('stage3_block2_conv1').filters == 5
  assert model.output_shape == (None, 7)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'stem_conv': 9}, 'additions of stage 1 join layers of different'),
    ({'stage2_block1_shortcut': 9}, 'additions of stage 2'),
    ({'stage1_block1_conv1': 0}, 'without channels: stage1_block1_conv1'),
    ({'stage9_conv': 8}, 'missing or unknown: stage9_conv'),
  ],
)
def test_channels_that_do_not_fit(change, message):
  spec = types.ModelSpec(width_multiplier=0.125)
  channels = widths.channels_of(spec) | change
  with pytest.raises(ValueError, match=message):
    resnet.build(dataclasses.replace(spec, channels=channels))


@pytest.mark.parametrize(
  ('spec', 'message'),
  [
    (types.ModelSpec(depth=19), r'depth 19: expected one of \[18, 34, 50\]'),
    (types.ModelSpec(width_multiplier=0.001), 'without channels'),
    (types.ModelSpec(num_classes=1), '1 classes: expected at least 2'),
    (types.ModelSpec(blocks=(2, 0)), 'blocks 2, 0: expected 1 to 4 stages'),
    (types.ModelSpec(blocks=(1,) * 5), 'expected 1 to 4 stages of a block'),
    (types.ModelSpec(stage_widths=(8, 16)), '8, 16: expected one of at least'),
    (
      types.ModelSpec(blocks=(1, 1), stage_widths=(8, 0)),
      '8, 0: expected one of at least 1 for each of the 2 stages',
    ),
  ],
)
def test_specs_that_no_network_fits(spec, message):
  with pytest.raises(ValueError, match=message):
    resnet.build(spec)


def test_a_bottleneck_strides_on_its_3x3():
  model = resnet.build(types.ModelSpec(depth=50, width_multiplier=0.125))
  strides = [
    model.get_layer(f'stage2_block1_conv{i}').strides[0] for i in (1, 2, 3)
  ]
  assert strides == [1, 2, 1]


@pytest.mark.parametrize('normalization', types.Normalization)
def test_normalization_by_hand(normalization):
  spec = types.ModelSpec(width_multiplier=0.125, normalization=normalization)
  model = resnet.build(spec)
  pixel = np.array([0.0, 127.5, 255.0])
  expected = {
    types.Normalization.RAW: pixel,
    types.Normalization.UNIT: [0, 0.5, 1],
    types.Normalization.SYMMETRIC: [-1, 0, 1],
    types.Normalization.IMAGENET: [
      -0.485 / 0.229,
      (0.5 - 0.456) / 0.224,
      (1 - 0.406) / 0.225,
    ],
  }[normalization]
  names = [layer.name for layer in model.layers]
  got = pixel[None, None, None]
  if 'normalize' in names:
    got = model.get_layer('normalize')(tf.constant(got, tf.float32))
  np.testing.assert_allclose(np.ravel(got), expected, atol=1e-6)


def test_the_resize_inside_is_the_resize_outside():
  spec = types.ModelSpec(
    width_multiplier=0.125, input_size=96, internal_size=32, num_classes=5
  )
  model = resnet.build(spec)
  inner = graph.rebuild(model, input_size=32)
  rng = np.random.RandomState(0)
  images = rng.randint(0, 256, (3, 96, 96, 3)).astype(np.float32)
  small = tf.image.resize(images, (32, 32))
  np.testing.assert_allclose(model(images), inner(small), atol=1e-6)
  np.testing.assert_allclose(np.sum(model(images), -1), 1, atol=1e-6)


def test_bfloat16_computes_in_bfloat16_and_stores_float32():
  spec = types.ModelSpec(width_multiplier=0.125, input_size=32)
  model = resnet.build(spec, 'mixed_bfloat16')
  conv = model.get_layer('stage1_block1_conv1')
  assert conv.compute_dtype == 'bfloat16'
  assert {w.dtype for w in model.weights} == {tf.float32}
  assert model.output.dtype == tf.float32
