"""A pool and a convolution give what a strided one gives, on a GPU too."""

import numpy as np
import pytest
import tf_keras

from tests import needs
from tests.conversion import blocks_test, flatbuffer_test
from tests.models import rewrites_test
from tests.runtimes import litert_gpu_test
from tfcompress.conversion import flatbuffer, tflite
from tfcompress.core import types
from tfcompress.models import resnet

layers = tf_keras.layers
STRIDES = types.Rewrite.STRIDES
INT8, FLOAT32 = types.Variant.INT8, types.Variant.FLOAT32
DYNAMIC = types.Variant.DYNAMIC_WI8_AFP32
VARIANTS = (INT8, FLOAT32, DYNAMIC)
REFUSED = '=strides does not fit the file: it has no 1x1 convolution with a str'


def strided(content):
  """How many 1x1 convolutions have a stride."""
  found = blocks_test.convolutions(content)
  return sum(shape[1:3] == (1, 1) and stride > 1 for shape, stride in found)


def pools(content):
  return flatbuffer_test.operators(content).count('MAX_POOL_2D')


def shown_to(variant, images):
  return images.astype(np.uint8) if variant is INT8 else images


@pytest.fixture(scope='module')
def network():
  """Two shortcuts with a stride, over 10x10 and over 5x5 pixels."""
  spec = types.ModelSpec(
    width_multiplier=0.125,
    input_size=48,
    internal_size=40,
    blocks=(1, 1, 1),
    num_classes=8,
  )
  return rewrites_test.randomized(resnet.build(spec))


@pytest.fixture(scope='module')
def images():
  return rewrites_test.pixels(48, 20)


@pytest.fixture(scope='module')
def files(network, images):
  """Each variant as it was, and with the rewrite."""
  found = {}
  for variant in VARIANTS:
    content = tflite.convert(network, variant, None, images)
    file = flatbuffer.rewritten(content, wanted=[STRIDES])
    assert file.done == (STRIDES,)
    found[variant] = (content, file.content)
  return found


@pytest.mark.parametrize('variant', VARIANTS)
def test_a_resnet_of_the_same_outputs(variant, files, images):
  content, other = files[variant]
  assert (strided(content), strided(other)) == (2, 0)
  assert pools(other) == pools(content) + 2
  # A few bytes for two operators, and no weights.
  assert len(other) < len(content) + 500
  # A dynamic convolution rounds by the range of its pixels, now fewer.
  atol = 0.01 if variant is DYNAMIC else 0.0
  blocks_test.assert_same(content, other, shown_to(variant, images), atol)


@pytest.mark.parametrize(
  ('stride', 'padding', 'size'),
  [(2, 'valid', 31), (2, 'same', 32), (3, 'same', 32)],
)
def test_every_stride(stride, padding, size):
  body = (layers.Rescaling(0.01), layers.Conv2D(6, 1, stride, padding))
  content = tflite.convert(rewrites_test.network(*body, size=size), FLOAT32)
  other = flatbuffer.rewritten(content, wanted=[STRIDES]).content
  names = flatbuffer_test.operators(other)
  assert names[names.index('CONV_2D') - 1] == 'MAX_POOL_2D'
  assert blocks_test.convolutions(other) == [((6, 1, 1, 3), 1)]
  blocks_test.assert_same(content, other, rewrites_test.pixels(size))


def test_it_is_left_out_unless_asked_for(files):
  for content, _ in files.values():
    file = flatbuffer.rewritten(content)
    assert STRIDES not in file.done
    assert strided(file.content) == 2


def test_other_convolutions_stay():
  network = rewrites_test.network(
    layers.Conv2D(6, 1, 1),
    layers.Conv2D(6, 3, 2),  # reads what lies between, too
    layers.DepthwiseConv2D(1, 2),
  )
  content = tflite.convert(network, FLOAT32)
  with pytest.raises(ValueError, match=REFUSED):
    flatbuffer.rewritten(content, wanted=[STRIDES])


@needs.vulkan
def test_a_gpu_computes_it(files, images, tmp_path):
  jobs = {}
  for variant in (INT8, DYNAMIC):
    np.save(tmp_path / variant.value, shown_to(variant, images))
    for name, content in zip(('as it was', 'other'), files[variant]):
      path = tmp_path / f'{variant.value} {name}.tflite'
      path.write_bytes(content)
      jobs[path.stem] = {
        'config': {'model': str(path)},
        'images': str(tmp_path / f'{variant.value}.npy'),
      }
  found = litert_gpu_test.answers(jobs, needs.SWIFTSHADER)
  # Twice what was seen, int8 in 256ths: a GPU rounds elsewhere on the way.
  for variant, atol in ((INT8, 4), (DYNAMIC, 0.01)):
    error = found[f'{variant.value} as it was']['error']
    assert 'miscompiles it for the GPU (Shape mismatch' in error
    assert error.endswith(',strides')
    other = found[f'{variant.value} other']
    assert other['info']['fully_delegated']
    expected = flatbuffer_test.outputs(
      files[variant][0], shown_to(variant, images)
    )
    np.testing.assert_allclose(other['values'], expected, rtol=0, atol=atol)
