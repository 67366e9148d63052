"""Rewritten networks give the same numbers, and are what was meant."""

import dataclasses

import numpy as np
import pytest
import tf_keras

from tfcompress.core import types
from tfcompress.models import fake_quant, graph, resnet, rewrites

layers = tf_keras.layers
Rewrite = types.Rewrite
SPEC = types.ModelSpec(blocks=(1, 1), width_multiplier=0.125, input_size=32)


def randomized(model):
  """Weights of a network that was trained: no block is the identity."""
  rng = np.random.RandomState(0)
  for weight in model.weights:
    noise = rng.rand(*weight.shape) + 0.5
    if 'kernel' in weight.name:
      noise = rng.randn(*weight.shape) / np.sqrt(np.prod(weight.shape[:-1]))
    elif 'beta' in weight.name or 'mean' in weight.name:
      noise = rng.randn(*weight.shape)
    weight.assign(noise)
  return model


def pixels(size, count=4):
  rng = np.random.RandomState(1)
  return rng.randint(0, 256, (count, size, size, 3)).astype(np.float32)


def assert_same(model, other, size):
  images = pixels(size)
  expected = model.predict(images, verbose=0)
  assert expected.std() > 1e-3  # Not the same answer to everything.
  np.testing.assert_allclose(
    other.predict(images, verbose=0), expected, atol=1e-5
  )


def network(*body, size=32):
  """The layers on end, then a classifier of 5."""
  image = x = layers.Input((size, size, 3))
  for layer in body:
    x = layer(x)
  x = layers.Dense(5, name='logits')(layers.GlobalAveragePooling2D()(x))
  model = tf_keras.Model(image, layers.Softmax()(x))
  return randomized(model)


@pytest.mark.parametrize(
  ('stem', 'kernel'),
  [
    (types.Stem.CONV7_POOL, (7, 7, 4, 8)),
    (types.Stem.SPACE_TO_DEPTH4_CONV3, (12, 12, 4, 8)),
    (types.Stem.CONV3_STRIDE2, (3, 3, 4, 8)),
    (types.Stem.CONV3, (3, 3, 4, 8)),
  ],
)
def test_every_stem(stem, kernel):
  spec = dataclasses.replace(SPEC, stem=stem)
  model = randomized(resnet.build(spec))
  other, _ = rewrites.rewritten(model)
  assert other.get_layer('stem_conv').kernel.shape == kernel
  assert_same(model, other, 32)


@pytest.mark.parametrize('normalization', list(types.Normalization)[1:])
def test_a_normalization_goes_into_the_stem(normalization):
  spec = dataclasses.replace(SPEC, normalization=normalization)
  model = randomized(resnet.build(spec))
  other, done = rewrites.rewritten(model, [Rewrite.NORMALIZATION])
  assert done == (Rewrite.NORMALIZATION,)
  names = [layer.name for layer in other.layers]
  assert 'normalize' not in names
  # Without an offset there is nothing that a channel of white is good for.
  needs_white = normalization is not types.Normalization.UNIT
  assert ('stem_conv_white' in names) == needs_white
  assert_same(model, other, 32)


def test_layers_that_do_nothing_are_left_out():
  model = network(
    layers.Resizing(32, 32),
    layers.Rescaling(1.0),
    layers.ZeroPadding2D(0),
    layers.Conv2D(6, 3, activation='relu'),
    layers.Dropout(0.5),
    layers.MaxPooling2D(1, 1),
    layers.Activation('linear'),
  )
  other, done = rewrites.rewritten(model)
  assert done == (Rewrite.NO_OPS,)
  kinds = [type(layer).__name__ for layer in other.layers]
  assert kinds == [
    'InputLayer', 'Conv2D', 'GlobalAveragePooling2D', 'Dense', 'Softmax',
  ]  # fmt: skip
  assert_same(model, other, 32)


def test_a_last_layer_that_does_nothing_is_left_out():
  image = layers.Input((8, 8, 3))
  x = layers.Softmax()(layers.Dense(5)(layers.Flatten()(image)))
  model = tf_keras.Model(image, layers.Activation('linear')(x))
  other, _ = rewrites.rewritten(model, [Rewrite.NO_OPS])
  assert isinstance(other.layers[-1], layers.Softmax)
  assert other.output_shape == (None, 5)


def test_a_network_trained_for_int8_keeps_its_ranges():
  model = fake_quant.quantized(randomized(resnet.build(SPEC)))
  fake_quant.calibrate(model, [pixels(32)])
  same, done = rewrites.rewritten(model)
  assert same is model
  assert done == ()


@pytest.mark.parametrize(
  ('rewrite', 'message'),
  [
    (
      'normalization',
      r'=normalization does not fit .*: its pixels, .* are read by no Rescaling alone; leave it out',
    ),
    ('no_ops', 'every layer does something'),
  ],
)
def test_a_rewrite_that_does_not_fit(rewrite, message):
  model = network(layers.Conv2D(6, 3, padding='same'))
  with pytest.raises(ValueError, match=message):
    rewrites.rewritten(model, [Rewrite(rewrite)])
  same, done = rewrites.rewritten(model)
  assert same is model
  assert done == ()


@pytest.mark.parametrize(
  ('body', 'message'),
  [
    (
      [layers.Conv2D(3, 3), layers.Rescaling(2.0, 1.0), layers.Conv2D(4, 3)],
      'are read by no Rescaling alone',
    ),
    (
      [layers.Rescaling(2.0, 1.0), layers.DepthwiseConv2D(3)],
      'read by more or other than a convolution',
    ),
    (
      [layers.Rescaling(2.0, 1.0), layers.Conv2D(6, 3, groups=3)],
      'has groups',
    ),
  ],
)
def test_a_normalization_that_must_stay(body, message):
  with pytest.raises(ValueError, match=message):
    rewrites.rewritten(network(*body), [Rewrite.NORMALIZATION])


@pytest.mark.parametrize('before', [True, False])
def test_a_resize_beside_the_normalization(before):
  resize, scale = layers.Resizing(16, 16), layers.Rescaling([[[2.0, 1, 3]]], 1)
  conv = layers.Conv2D(6, 3, padding='same', name='conv')
  later = layers.Rescaling(0.5)  # of no pixels
  first = [resize, scale] if before else [scale, resize]
  model = network(*first, conv, layers.ReLU(), later)
  other, done = rewrites.rewritten(model)
  assert done == ((Rewrite.NORMALIZATION,) if before else ())
  assert_same(model, other, 32)


def test_a_clustered_stem_keeps_its_values():
  model = randomized(resnet.build(SPEC))
  kernel = model.get_layer('stem_conv').kernel
  kernel.assign(np.where(kernel > 0, 0.5, -0.25))
  other, done = rewrites.rewritten(model)
  assert done == ()
  assert other is model
  with pytest.raises(ValueError, match='stem_conv has few distinct weights'):
    rewrites.rewritten(model, [Rewrite.NORMALIZATION])


def test_some_can_be_left_out_of_all():
  model = resnet.build(SPEC)
  _, done = rewrites.rewritten(model, leave_out=[Rewrite.NORMALIZATION])
  assert done == ()


def test_a_layer_of_the_users_own_is_not_left_out():
  class Loud(layers.Dropout):
    def call(self, inputs, training=None):
      return 2 * inputs

  model = network(layers.Conv2D(6, 3), Loud(0.5))
  with pytest.raises(ValueError, match='every layer does something'):
    rewrites.rewritten(model, [Rewrite.NO_OPS])


def test_zeros_and_counts_stay():
  model = randomized(resnet.build(SPEC))
  kernel = model.get_layer('stem_conv').kernel
  kernel.assign(np.where(np.arange(kernel.shape[-1]) < 3, 0, kernel))
  other, _ = rewrites.rewritten(model)
  after = graph.kernels(other)['stem_conv'].numpy()
  assert not after[..., :3].any()
  assert after[..., 3:].any(axis=(0, 1, 2)).all()
  assert_same(model, other, 32)


def test_rounding_the_stem_does_not_move_its_output():
  pixel = np.float32([10.0, 100.0, 200.0])  # the mean, which becomes 0
  normalize = layers.Rescaling([0.1, 0.01, 0.02], [-1.0, -1.0, -4.0])
  conv = layers.Conv2D(6, 3, name='conv')
  model = network(normalize, conv)
  outputs = []
  for bits in (8, 32):
    other, _ = rewrites.rewritten(model, weight_bits=bits)
    rounded = other.get_layer('conv')
    kernel, bias = rounded.get_weights()
    step = np.abs(kernel).max(axis=(0, 1, 2)) / 127
    rounded.set_weights([np.round(kernel / step) * step, bias])
    part = tf_keras.Model(other.input, rounded.output)
    outputs.append(part(np.full((1, 32, 32, 3), pixel)).numpy())
  exact = np.broadcast_to(conv.get_weights()[1], outputs[0].shape)
  np.testing.assert_allclose(outputs[0], exact, atol=1e-4)
  assert np.abs(outputs[1] - exact).max() > 0.01
