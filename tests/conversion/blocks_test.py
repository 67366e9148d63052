"""Convolutions over blocks give what those over pixels give."""

import numpy as np
import pytest
import tf_keras
from ai_edge_litert import schema_py_generated as schema

from tests.conversion import flatbuffer_test
from tests.models import rewrites_test
from tfcompress.conversion import blocks, flatbuffer, layer_names, tflite
from tfcompress.core import types
from tfcompress.models import resnet, rewrites
from tfcompress.runtimes import tflite_file

layers = tf_keras.layers
SPACE_TO_DEPTH = types.Rewrite.SPACE_TO_DEPTH


def convolutions(content):
  """Shape of the weights, (O, H, W, I), and stride of each."""
  model = tflite_file.model_of(content)
  (part,) = model.subgraphs
  return [
    (tuple(part.tensors[op.inputs[1]].shape), op.builtinOptions.strideH)
    for op in part.operators
    if tflite_file.code_of(model, op) == schema.BuiltinOperator.CONV_2D
  ]


def rewritten(content, network):
  names = layer_names.of_model(network)
  file = flatbuffer.rewritten(content, names, [SPACE_TO_DEPTH])
  assert file.done == (SPACE_TO_DEPTH,)
  assert 'SPACE_TO_DEPTH' in flatbuffer_test.operators(file.content)
  return file


def assert_same(content, other, images, atol=0.0):
  expected = flatbuffer_test.outputs(content, images).astype(np.float32)
  got = flatbuffer_test.outputs(other, images).astype(np.float32)
  assert len(np.unique(expected.round(4), axis=0)) > len(images) // 2
  np.testing.assert_allclose(got, expected, rtol=0, atol=atol)


def test_a_kernel_in_blocks_by_hand():
  # One channel in and out, 3x3 with a stride of 2, padded after: the blocks'
  # channels are upper left, upper right, lower left, lower right.
  kernel = np.arange(1, 10, dtype=np.float32).reshape(3, 3, 1, 1)
  moved = blocks.Blocks(stride=2, before=0, size=2).kernel(kernel)[..., 0]
  assert moved[0, 0].tolist() == [1, 2, 4, 5]
  assert moved[0, 1].tolist() == [3, 0, 6, 0]
  assert moved[1, 0].tolist() == [7, 8, 0, 0]
  assert moved[1, 1].tolist() == [9, 0, 0, 0]


def test_constant_channels_come_last_by_hand():
  kernel = np.arange(1, 9, dtype=np.float32).reshape(2, 2, 2, 1)
  plan = blocks.Blocks(stride=2, before=0, size=1, constant=1)
  assert plan.kernel(kernel).reshape(-1).tolist() == [1, 3, 5, 7, 2, 4, 6, 8]


@pytest.mark.parametrize(
  ('kernel', 'stride', 'padding', 'size'),
  [
    (2, 2, 'valid', 1),
    (3, 2, 'valid', 2),
    (4, 4, 'same', 1),
    (5, 2, 'same', 3),
    (7, 2, 'valid', 4),
    (8, 4, 'valid', 2),
    (11, 4, 'same', 3),
  ],
)
def test_every_convolution(kernel, stride, padding, size):
  conv = layers.Conv2D(6, kernel, stride, padding, name='conv')
  dim = layers.Rescaling(0.01)  # so that one class does not take it all
  network = rewrites_test.network(dim, conv, layers.ReLU())
  content = tflite.convert(network, types.Variant.FLOAT32)
  other = rewritten(content, network)
  assert other.blocks['conv'].size == size
  shape = (6, size, size, 3 * stride**2)
  assert convolutions(other.content) == [(shape, 1)]
  # Weights and zeros beside them, and not the kernel that was.
  more = 4 * 6 * 3 * ((size * stride) ** 2 - kernel**2)
  names = layer_names.LayerNames(['conv'])
  before = flatbuffer.rewritten(content, names, ()).content
  assert abs(len(other.content) - len(before) - more) < 150
  assert_same(content, other.content, rewrites_test.pixels(32), 1e-5)


@pytest.mark.parametrize(
  ('conv', 'size'),
  [
    (layers.Conv2D(6, 3, 1, 'same'), 32),  # no stride
    (layers.Conv2D(6, 3, 2, 'same'), 31),  # not divided by it
    (layers.Conv2D(6, (3, 5), 2, 'same'), 32),
    (layers.DepthwiseConv2D(3, 2, 'same'), 32),
  ],
)
def test_convolutions_that_stay(conv, size):
  network = rewrites_test.network(conv, size=size)
  content = tflite.convert(network, types.Variant.FLOAT32)
  file = flatbuffer.rewritten(content)
  assert file.done == ()
  assert flatbuffer_test.operators(file.content) == (
    flatbuffer_test.operators(content)
  )
  message = '=space_to_depth does not fit the file: it has no convolution over'
  with pytest.raises(ValueError, match=message):
    flatbuffer.rewritten(content, wanted=[SPACE_TO_DEPTH])


@pytest.mark.parametrize('internal', [64, 112, 224])
@pytest.mark.parametrize('width', [0.5, 1.0])
def test_all_rewrites_of_a_resnet_of_every_size(width, internal):
  spec = types.ModelSpec(
    blocks=(1, 1), width_multiplier=width, internal_size=internal
  )
  model = rewrites_test.randomized(resnet.build(spec))
  network, done = rewrites.rewritten(model)
  assert done == (types.Rewrite.NORMALIZATION,)
  other = rewritten(tflite.convert(network, types.Variant.FLOAT32), network)
  # 7x7/2 over three colors is 4x4 over the 12 of 2x2 pixels and 4 of white.
  stem = ((round(64 * width), 4, 4, 16), 1)
  assert convolutions(other.content)[0] == stem
  images = rewrites_test.pixels(224)
  expected = model.predict(images, verbose=0)
  assert expected.std() > 1e-3  # Not the same answer to everything.
  got = flatbuffer_test.outputs(other.content, images)
  np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(
  ('variant', 'fold'),
  [
    (types.Variant.FLOAT16, True),
    (types.Variant.INT8, False),
    (types.Variant.INT8, True),
    (types.Variant.STATIC_WI8_AI8, True),
    (types.Variant.STATIC_WI4_AI8, False),
    (types.Variant.WEIGHT_ONLY_WI4_AFP32, False),
  ],
)
def test_every_variant(variant, fold):
  spec = types.ModelSpec(width_multiplier=0.25, input_size=32, blocks=(1, 1))
  network = rewrites_test.randomized(resnet.build(spec))
  wanted = [types.Rewrite.NORMALIZATION] if fold else []
  network, _ = rewrites.rewritten(network, wanted)
  images = rewrites_test.pixels(32, 40)
  content = tflite.convert(network, variant, None, images)
  other = rewritten(content, network)
  # With a normalization in it, there is a channel of white to each pixel.
  assert convolutions(other.content)[0][0] == (16, 4, 4, 16 if fold else 12)
  is_static = variant.value.startswith(('int8', 'static'))
  shown = images.astype(np.uint8) if is_static else images
  assert_same(content, other.content, shown, 0.0 if is_static else 1e-5)
