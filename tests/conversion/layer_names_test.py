"""Which layer a file's tensor is of: names that converters made, and files."""

import numpy as np
import pytest
import tf_keras

from tfcompress.conversion import (
  flatbuffer,
  layer_names,
  parity,
  preserved,
  sensitivity,
  tflite,
)
from tfcompress.core import types
from tfcompress.runtimes import tflite_file

layers = tf_keras.layers
V = types.Variant
SLASHES = ['stem/conv', 'conv', 'block/conv', 'head/conv']


@pytest.mark.parametrize(
  ('tensor', 'expected'),
  [
    # A padding, an activation, a normalization have no kernel.
    ('net/stem/Conv2D;;net/stem_pad/Pad', 'stem'),
    ('net/stem_pad/Pad;net/stem/Conv2D1', 'stem'),
    ('net/relu/Relu;net/bn/FusedBatchNormV3;net/deep/depthwise', 'deep'),
    ('net/deep/bn/Fused;net/deep/depthwise;;net/deep/pad/Pad', 'deep'),
    # Nothing of it has one: the last, as ever.
    ('net/relu/Relu;net/stem_pad/Pad', 'stem_pad'),
    # The longest, not the last; but not a part of another word.
    ('net/block/conv/Conv2D', 'block/conv'),
    ('net/conv/Conv2D', 'conv'),
    ('net/block/conv_1/Conv2D', None),
    # An operator or a network that is called as a layer is.
    ('net/conv/relu', 'conv'),
    ('relu/relu', 'relu'),
    ('net/net/Conv2D', 'net'),
    ('net/conv/Conv2D;net/net/BiasAdd', 'net'),
    # Named after its layer alone, and inside a scope of the converter's.
    ('block/conv', 'block/conv'),
    ('StatefulPartitionedCall/net/block/conv/Conv2D', 'block/conv'),
    ('arith.constant', None),
    ('', None),
  ],
)
def test_the_layer_of_a_name(tensor, expected):
  with_kernel = {'stem', 'deep', 'block/conv', 'conv', 'net'}
  every = with_kernel | {'stem_pad', 'relu', 'bn', 'deep/bn', 'deep/pad'}
  names = layer_names.LayerNames(every, with_kernel, 'net')
  assert names.of(tensor) == expected


def test_a_network_named_as_the_scope_of_a_layer():
  names = layer_names.LayerNames(['conv', 'stem/conv'], ['conv'], 'stem')
  assert names.of('stem/conv/Conv2D') == 'conv'
  assert names.of('stem/stem/conv/Conv2D') == 'stem/conv'


@pytest.fixture(scope='module')
def slashes() -> tf_keras.Model:
  """Names of which each ends as another, and a padding that is fused."""
  tf_keras.utils.set_random_seed(4)
  image = layers.Input((16, 16, 3))
  x = layers.ZeroPadding2D(1, name='stem/conv_pad')(image)
  for name, stride in zip(SLASHES[:3], (2, 1, 1)):
    x = layers.Conv2D(
      4, 3, stride, activation='relu', bias_initializer='normal', name=name
    )(x)
  x = layers.GlobalAveragePooling2D()(x)
  x = layers.Dense(4, activation='softmax', name='head/conv')(x)
  return tf_keras.Model(image, x, name='stem')


@pytest.fixture(scope='module')
def images() -> np.ndarray:
  rng = np.random.RandomState(0)
  return rng.randint(0, 256, (6, 16, 16, 3)).astype(np.uint8)


def by_value(network, weights) -> list[str]:
  """Whose each weight is, by comparing it with all kernels."""
  return [
    next(
      layer.name
      for layer in network.layers
      if layer.weights
      and layer.kernel.shape == weight.values.shape
      and np.allclose(layer.kernel, weight.values * weight.scale, atol=0.01)
    )
    for weight in weights
  ]


@pytest.mark.parametrize('variant', [V.INT8, V.STATIC_WI8_AI8])
def test_a_files_tensors_are_named_after_their_own_layers(
  variant, slashes, images, tmp_path
):
  names = layer_names.of_model(slashes)
  content = tflite.convert(slashes, variant, None, images)
  path = tmp_path / 'model.tflite'
  path.write_bytes(flatbuffer.rewritten(content, names).content)
  weights = tflite_file.weights(str(path))
  assert [weight.name for weight in weights] == SLASHES
  # The first is over blocks of pixels now.
  assert by_value(slashes, weights[1:]) == SLASHES[1:]
  # Layers of one shape, asked for in another order, keep their own weights.
  kernels = {n: slashes.get_layer(n).kernel.numpy() for n in SLASHES[:0:-1]}
  kernels['conv'][0, 0, 0] = 0
  with pytest.raises(ValueError, match='zeros in layer conv 4 are none'):
    preserved.check(kernels, str(path))


def test_sensitivity_names_every_layer(slashes, images):
  file = tflite.float_file(slashes, V.WEIGHT_ONLY_WI4_AFP32)
  assert [layer.name for layer in file.layers] == SLASHES
  known = parity.held_out(slashes, images, np.arange(6) % 4)
  ranked = sensitivity.measure(file, known)
  for layer in ranked:
    kernel = slashes.get_layer(layer.layer).kernel
    assert layer.parameters == np.prod(kernel.shape)
  assert sorted(layer.layer for layer in ranked) == sorted(SLASHES)


def test_layers_of_equal_kernels_have_their_own_names():
  """The converter keeps one tensor for the two."""
  image = layers.Input((8, 8, 3))
  x = layers.Conv2D(3, 3, padding='same', name='first')(image)
  x = layers.Conv2D(3, 3, padding='same', activation='relu', name='second')(x)
  x = layers.GlobalAveragePooling2D()(x)
  model = tf_keras.Model(image, layers.Softmax()(x))
  kernel = np.random.RandomState(0).randn(3, 3, 3, 3)
  for name in ('first', 'second'):
    model.get_layer(name).set_weights([kernel, np.zeros(3)])
  file = tflite.float_file(model, V.WEIGHT_ONLY_WI8_AFP32)
  assert [layer.name for layer in file.layers] == ['first', 'second']
