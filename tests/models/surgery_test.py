"""Removing channels: counts by hand, and outputs that must not change."""

import numpy as np
import pytest
import tf_keras

from tfcompress.core import configs, types
from tfcompress.models import channels as channels_lib
from tfcompress.models import graph, resnet, surgery
from tfcompress.training import budget, importance

layers = tf_keras.layers


def mobile_net() -> tf_keras.Model:
  """Depthwise and pointwise, an inverted residual, two joined branches."""
  image = layers.Input((32, 32, 3), name='image')
  x = layers.Rescaling(1 / 255, name='normalize')(image)
  x = layers.ZeroPadding2D(1, name='pad')(x)
  x = layers.Conv2D(8, 3, 2, use_bias=False, name='stem')(x)
  x = layers.BatchNormalization(name='stem_bn')(x)
  x = layers.ReLU(6.0, name='stem_relu')(x)
  y = layers.Conv2D(24, 1, name='expand')(x)
  y = layers.Activation('relu', name='expand_relu')(y)
  y = layers.DepthwiseConv2D(3, padding='same', name='depthwise')(y)
  y = layers.BatchNormalization(name='depthwise_bn')(y)
  y = layers.Conv2D(8, 1, name='project')(y)
  x = layers.Add(name='add')([x, y])
  left = layers.Conv2D(6, 3, activation='relu', name='left')(x)
  right = layers.Conv2D(10, 3, activation='relu', name='right')(x)
  x = layers.Concatenate(name='both')([left, right])
  x = layers.AveragePooling2D(name='average')(x)
  x = layers.DepthwiseConv2D(
    3, depth_multiplier=2, padding='same', name='wide'
  )(x)
  x = layers.MaxPooling2D(name='max')(x)
  x = layers.Flatten(name='flat')(x)
  x = layers.Dense(20, activation='relu', name='hidden')(x)
  x = layers.Dense(5, name='logits')(x)
  return tf_keras.Model(image, layers.Softmax(name='probabilities')(x))


def resnet_of(depth: int) -> tf_keras.Model:
  return resnet.build(
    types.ModelSpec(
      depth=depth, width_multiplier=0.25, input_size=32, num_classes=5
    )
  )


MODELS = {
  'ResNet-18': lambda: resnet_of(18),
  'ResNet-34': lambda: resnet_of(34),
  'ResNet-50': lambda: resnet_of(50),
  'MobileNet-like': mobile_net,
}


def with_random_weights(model: tf_keras.Model) -> tf_keras.Model:
  """Weights of a size that keeps the logits far from saturation."""
  rng = np.random.RandomState(0)
  for layer in model.layers:
    values = layer.get_weights()
    if hasattr(layer, 'gamma'):
      values = [rng.uniform(0.5, 1.5, value.shape) for value in values]
    elif values:
      fan_in = max(1, values[0][..., 0].size)
      values = [rng.randn(*value.shape) / fan_in**0.5 for value in values]
    layer.set_weights(values)
  return model


def zero(model, channels, kept) -> None:
  """Makes every channel that is not kept zero, wherever it is written."""
  for layer in model.layers:
    gone = ~kept[channels.outputs[layer.name]]
    values = layer.get_weights()
    if hasattr(layer, 'gamma'):
      for value in values[:2]:  # gamma and beta
        value[gone] = 0
    elif graph.is_depthwise(layer):
      flat = values[0].reshape(*values[0].shape[:2], -1)
      flat[..., gone] = 0
      values[0] = flat.reshape(values[0].shape)
      values[1][gone] = 0
    elif values:
      for value in values:
        value[..., gone] = 0
    layer.set_weights(values)


def images_of(count: int) -> np.ndarray:
  rng = np.random.RandomState(2)
  return rng.randint(0, 256, (count, 32, 32, 3)).astype(np.float32)


def without(channels, share: float) -> np.ndarray:
  kept = np.ones(channels.count, bool)
  rng = np.random.RandomState(1)
  for group in channels.groups:
    count = round(share * len(group.ids))
    kept[rng.permutation(group.ids)[:count]] = False
  return kept


@pytest.mark.parametrize('name', MODELS)
def test_removing_what_is_zero_changes_no_output(name):
  model = with_random_weights(MODELS[name]())
  channels = channels_lib.of(model)
  kept = without(channels, 0.4)
  zero(model, channels, kept)
  smaller = surgery.keep(model, channels, kept)
  images = images_of(4)
  before, after = model(images).numpy(), smaller(images).numpy()
  assert before.std(axis=0).max() > 1e-3  # Not one answer for all images.
  np.testing.assert_allclose(after, before, atol=1e-5)
  for layer in model.layers:
    if graph.kernel_of(layer) is not None and layer.name != 'logits':
      left = smaller.get_layer(layer.name)
      assert left.output_shape[-1] < layer.output_shape[-1]
      assert np.prod(graph.kernel_of(left).shape) < np.prod(
        graph.kernel_of(layer).shape
      )
  assert graph.macs(smaller) < 0.7 * graph.macs(model)
  assert surgery.counted(model, channels, kept) == (
    graph.macs(smaller),
    graph.trainable_parameters(smaller),
  )


@pytest.mark.parametrize(
  'depth',
  [
    18,
    pytest.param(34, marks=pytest.mark.long),
    pytest.param(50, marks=pytest.mark.long),
  ],
)
def test_the_smaller_network_is_the_one_its_spec_builds(depth):
  model = with_random_weights(resnet_of(depth))
  channels = channels_lib.of(model)
  smaller = surgery.keep(model, channels, without(channels, 0.3))
  spec = types.ModelSpec(
    depth=depth,
    channels=graph.channels(smaller),
    input_size=32,
    num_classes=5,
  )
  built = resnet.build(spec)
  built.set_weights(smaller.get_weights())
  images = images_of(2)
  np.testing.assert_array_equal(built(images), smaller(images))


def test_additions_tie_channels_together():
  groups = channels_lib.of(resnet_of(18)).groups
  sizes = {group.layers: len(group.ids) for group in groups}
  assert (
    sizes[('stem_conv', 'stage1_block1_conv2', 'stage1_block2_conv2')] == 16
  )
  assert sizes[('stage1_block1_conv1',)] == 16
  assert (
    sizes[
      ('stage4_block1_conv2', 'stage4_block1_shortcut', 'stage4_block2_conv2')
    ]
    == 128
  )
  # One group for each of 4 stages' streams, one inside each of 8 blocks.
  assert len(groups) == 12


def test_groups_of_a_mobile_net_by_hand():
  groups = channels_lib.of(mobile_net()).groups
  assert {(group.layers, len(group.ids)) for group in groups} == {
    (('stem', 'project'), 8),
    (('expand',), 24),
    (('left',), 6),
    (('right',), 10),
    (('hidden',), 20),
  }


def test_macs_and_parameters_by_hand():
  model = mobile_net()
  by_hand = {
    'stem': 16 * 16 * 9 * 3 * 8,
    'expand': 16 * 16 * 8 * 24,
    'depthwise': 16 * 16 * 9 * 24,
    'project': 16 * 16 * 24 * 8,
    'left': 14 * 14 * 9 * 8 * 6,
    'right': 14 * 14 * 9 * 8 * 10,
    'wide': 7 * 7 * 9 * 16 * 2,
    'hidden': 3 * 3 * 32 * 20,
    'logits': 20 * 5,
  }
  assert graph.macs(model) == sum(by_hand.values())
  weights = [
    9 * 3 * 8, 2 * 8, 8 * 24 + 24, 9 * 24 + 24, 2 * 24, 24 * 8 + 8,
    9 * 8 * 6 + 6, 9 * 8 * 10 + 10, 9 * 32 + 32, 288 * 20 + 20, 20 * 5 + 5,
  ]  # fmt: skip
  assert graph.trainable_parameters(model) == sum(weights)


def test_a_layer_that_channels_cannot_be_followed_through_is_named():
  image = layers.Input((8, 8, 3))
  x = layers.Conv2D(4, 3, name='conv')(image)
  x = layers.Permute((3, 1, 2), name='turn')(x)
  model = tf_keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
  with pytest.raises(ValueError, match=r'layer turn \(Permute\): channels can'):
    channels_lib.of(model)


def test_grouped_convolutions_are_refused():
  image = layers.Input((8, 8, 3))
  x = layers.Conv2D(4, 3)(image)
  x = layers.Conv2D(4, 3, groups=2, name='grouped')(x)
  model = tf_keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
  with pytest.raises(ValueError, match='layer grouped .* without groups'):
    channels_lib.of(model)


def test_a_layer_that_is_called_twice_is_named():
  image = layers.Input((8, 8, 3))
  twice = layers.Conv2D(3, 3, padding='same', name='twice')
  x = layers.Flatten()(twice(twice(image)))
  with pytest.raises(ValueError, match='layer twice is called 2 times'):
    channels_lib.of(tf_keras.Model(image, layers.Dense(2)(x)))


def test_no_layer_is_left_without_channels():
  model = mobile_net()
  channels = channels_lib.of(model)
  kept = np.ones(channels.count, bool)
  kept[channels.outputs['left']] = False
  with pytest.raises(ValueError, match='layer left would be left without'):
    surgery.keep(model, channels, kept)


def resnet18_by_hand(widths, pixels, classes=100):
  """Trainable parameters and MACs of a ResNet-18, convolution by convolution.

  Args:
    widths: channels of the four stages; the stem has those of the first.
    pixels: a side of the stem's output.
  """
  parameters = 7 * 7 * 3 * widths[0] + 2 * widths[0]
  macs = 7 * 7 * 3 * widths[0] * pixels**2
  before, side = widths[0], pixels // 2
  for stage, width in enumerate(widths):
    side = side if stage == 0 else side // 2
    kernels = [9 * before * width] + [9 * width * width] * 3
    if stage:
      kernels.append(before * width)  # The shortcut's.
    parameters += sum(kernels) + 2 * width * len(kernels)
    macs += sum(kernels) * side**2
    before = width
  return parameters + before * classes + classes, macs + before * classes


def test_30_percent_of_a_resnet_18_by_hand():
  """Pruned channels are the least of each group, rounded to the nearest."""
  assert resnet18_by_hand((64, 128, 256, 512), 112, 1000) == (
    11_689_512,  # As torchvision counts it.
    1_814_073_344,
  )
  model = resnet.build(types.ModelSpec())
  whole = (graph.trainable_parameters(model), graph.macs(model))
  assert whole == resnet18_by_hand((64, 128, 256, 512), 112)
  assert whole == (11_227_812, 1_813_612_544)
  channels = channels_lib.of(model)
  scores = importance.scores(model, channels, configs.Importance.L1, ())
  choice = budget.Choice(channels.groups, scores, channels.count, 1, True)
  kept = budget.at_ratio(choice, 0.3)
  # 0.7 of 64, 128, 256, 512: 44.8, 89.6, 179.2 and 358.4.
  left = resnet18_by_hand((45, 90, 179, 358), 112)
  smaller = surgery.keep(model, channels, kept)
  assert (graph.trainable_parameters(smaller), graph.macs(smaller)) == left
  assert left == (5_508_790, 916_939_284)


def test_a_rescaling_of_each_channel_keeps_its_channels():
  image = layers.Input((8, 8, 3))
  x = layers.Conv2D(5, 3, name='scaled')(image)
  x = layers.Rescaling([1.0, 2.0, 3.0, 4.0, 5.0], name='constants')(x)
  x = layers.Conv2D(6, 3, name='free')(x)
  x = layers.GlobalAveragePooling2D()(x)
  model = tf_keras.Model(image, layers.Dense(2)(x))
  groups = channels_lib.of(model).groups
  assert [group.layers for group in groups] == [('free',)]


def test_squeeze_and_excite_by_a_reshape():
  image = layers.Input((8, 8, 3))
  x = layers.Conv2D(8, 3, name='conv')(image)
  y = layers.GlobalAveragePooling2D()(x)
  y = layers.Reshape((1, 1, 8), name='reshape')(y)
  y = layers.Conv2D(4, 1, activation='relu', name='squeeze')(y)
  y = layers.Conv2D(8, 1, activation='sigmoid', name='excite')(y)
  x = layers.Multiply()([x, y])
  x = layers.GlobalAveragePooling2D()(x)
  model = with_random_weights(tf_keras.Model(image, layers.Dense(2)(x)))
  channels = channels_lib.of(model)
  groups = {group.layers for group in channels.groups}
  assert groups == {('conv', 'excite'), ('squeeze',)}
  smaller = surgery.keep(model, channels, without(channels, 0.5))
  assert smaller.get_layer('reshape').output_shape == (None, 1, 1, 4)
