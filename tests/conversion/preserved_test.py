"""Zeros and clusters of a parent against those of its files."""

import numpy as np
import pytest
import tf_keras

from tests.runtimes import tflite_file_test
from tfcompress.conversion import preserved, tflite
from tfcompress.core import types
from tfcompress.models import resnet
from tfcompress.runtimes import tflite_file

SPEC = types.ModelSpec(
  blocks=(1, 1, 2, 1),
  width_multiplier=0.125,
  num_classes=5,
  input_size=48,
  internal_size=32,
)
PRUNED = 'stage3_block2_conv1'
CLUSTERED = 'stage4_block1_conv2'
LEVELS = 9


def sparse(kernel, rng):
  return np.where(rng.rand(*kernel.shape) < 0.5, 0, kernel)


def clustered(kernel, rng):
  """A kernel of `LEVELS` values, one of them zero in every second draw."""
  centroids = rng.uniform(-1, 1, LEVELS).astype(np.float32)
  centroids[0] = rng.randint(2)
  return centroids[rng.randint(LEVELS, size=kernel.shape)]


@pytest.fixture(scope='module')
def network() -> tf_keras.Model:
  """A ResNet: stages 1 to 3 have zeros, stage 4 has clusters."""
  model = resnet.build(SPEC)
  rng = np.random.RandomState(0)
  for layer in model.layers:
    if isinstance(layer, tf_keras.layers.BatchNormalization):
      shapes = [w.shape for w in layer.get_weights()]
      layer.set_weights([rng.uniform(0.5, 1.5, shape) for shape in shapes])
    elif layer.name.startswith('stage'):
      change = clustered if layer.name.startswith('stage4') else sparse
      if hasattr(layer, 'kernel'):
        layer.kernel.assign(change(layer.kernel.numpy(), rng))
  return model


@pytest.fixture(scope='module')
def kernels(network) -> dict[str, np.ndarray]:
  return {
    layer.name: layer.kernel.numpy()
    for layer in network.layers
    if hasattr(layer, 'kernel')
  }


@pytest.fixture(scope='module')
def files(network, tmp_path_factory) -> dict[types.Variant, str]:
  root = tmp_path_factory.mktemp('files')
  images = np.random.RandomState(0).randint(0, 256, (4, 48, 48, 3), np.uint8)
  paths = {}
  for variant in types.Variant:
    path = root / f'{variant.value}.tflite'
    path.write_bytes(tflite.convert(network, variant, representative=images))
    paths[variant] = str(path)
  return paths


@pytest.mark.parametrize('variant', types.Variant)
def test_every_variant_keeps_zeros_and_clusters(variant, files, kernels):
  layers = preserved.check(kernels, files[variant])
  assert [layer.name for layer in layers] == list(kernels)
  for layer in layers:
    kernel = kernels[layer.name]
    assert layer.zeros >= (kernel == 0).mean()
    if layer.name.startswith('stage4'):
      assert 2 < layer.clusters <= LEVELS


@pytest.mark.parametrize(
  ('variant', 'dtypes'),
  [
    (types.Variant.FLOAT32, {'float32'}),
    (types.Variant.FLOAT16, {'float16'}),
    # The converter leaves less than 1024 weights as they are.
    (types.Variant.DYNAMIC, {'int8', 'float32'}),
    (types.Variant.INT8, {'int8'}),
  ],
)
def test_types_of_the_files_numbers(variant, dtypes, files, kernels):
  layers = preserved.check(kernels, files[variant])
  assert {layer.dtype for layer in layers} == dtypes
  if variant is types.Variant.DYNAMIC:
    for layer in layers:
      is_small = kernels[layer.name].size < 1024
      assert layer.dtype == ('float32' if is_small else 'int8')


def test_counts_of_the_file_by_hand(files, kernels):
  layers = preserved.check(kernels, files[types.Variant.INT8])
  weights = {
    weight.name.split('/')[-2]: weight.values
    for weight in tflite_file.weights(files[types.Variant.INT8])
  }
  for layer in layers:
    values = weights[layer.name]
    assert layer.zeros == pytest.approx((values == 0).sum() / values.size)
    assert layer.clusters == max(
      len(set(values[..., channel].ravel().tolist()))
      for channel in range(values.shape[-1])
    )


def tampered(source, tmp_path, part, number, to_zero=None) -> str:
  """Writes a file in which the weights' first number that fits is `number`.

  Args:
    part: of the tensor's name.
    number: the new one.
    to_zero: whether the old one is a zero; None takes the very first.
  """

  def change(model):
    tensor = tflite_file_test.tensor_named(model, part)
    data = model.buffers[tensor.buffer].data.copy()
    fits = np.flatnonzero((data == 0) | (to_zero is None))
    data[fits[0]] = np.int8(number).view(np.uint8)
    model.buffers[tensor.buffer].data = data

  return tflite_file_test.edited(source, tmp_path / 'tampered.tflite', change)


def test_one_zero_that_drifted_is_found(files, kernels, tmp_path):
  path = tampered(
    files[types.Variant.INT8], tmp_path, f'{PRUNED}/Conv2D', 1, to_zero=True
  )
  zeros = int((kernels[PRUNED] == 0).sum())
  with pytest.raises(
    ValueError,
    match=f'zeros drifted: of the {zeros} zeros in layer {PRUNED} 1 are none '
    r'in the file \(int8\), expected 0',
  ):
    preserved.check(kernels, path)


def test_one_value_beside_its_cluster_is_found(files, kernels, tmp_path):
  source = files[types.Variant.INT8]
  (weight,) = [w for w in tflite_file.weights(source) if CLUSTERED in w.name]
  free = min(
    set(range(-127, 128)) - set(weight.values[..., 0].ravel().tolist())
  )
  path = tampered(source, tmp_path, f'{CLUSTERED}/Conv2D', free)
  count = len(np.unique(kernels[CLUSTERED][..., 0]))
  with pytest.raises(
    ValueError,
    match=f'clusters drifted: 1 of the 64 output channels of layer {CLUSTERED} '
    rf'have more distinct values in the file \(int8\) than in its kernel, '
    f'channel 0 has {count + 1}, expected at most {count}',
  ):
    preserved.check(kernels, path)


@pytest.mark.parametrize('variant', types.Variant)
def test_kernels_with_other_zeros_are_not_the_files(variant, files, kernels):
  other = kernels | {PRUNED: kernels[PRUNED][::-1]}
  with pytest.raises(ValueError, match=f'zeros drifted: .* layer {PRUNED} '):
    preserved.check(other, files[variant])


@pytest.mark.parametrize('variant', types.Variant)
def test_a_kernel_with_fewer_clusters_is_not_the_files(variant, files, kernels):
  fewer = np.where(kernels[CLUSTERED] > 0, np.float32(0.5), np.float32(-0.25))
  other = kernels | {CLUSTERED: fewer}
  with pytest.raises(
    ValueError, match=f'clusters drifted: 64 of the 64 .* layer {CLUSTERED} '
  ):
    preserved.check(other, files[variant])


def test_a_kernel_without_weights_is_named(files, kernels):
  extra = kernels | {'neck': np.zeros((5, 5, 8, 8), np.float32)}
  with pytest.raises(
    ValueError, match=r'layer neck has a kernel of shape \(5, 5, 8, 8\) but no'
  ):
    preserved.check(extra, files[types.Variant.INT8])
  wider = kernels | {PRUNED: np.zeros((3, 3, 32, 40), np.float32)}
  with pytest.raises(
    ValueError, match=rf'layer {PRUNED} .* \[\(3, 3, 32, 32\)\] of that name'
  ):
    preserved.check(wider, files[types.Variant.INT8])


def test_names_count_more_than_order(files, kernels):
  backwards = dict(reversed(kernels.items()))
  layers = preserved.check(backwards, files[types.Variant.INT8])
  assert [layer.name for layer in layers] == list(backwards)


def test_without_names_order_counts(files, kernels, tmp_path):
  def change(model):
    for index, tensor in enumerate(model.subgraphs[0].tensors):
      tensor.name = f'tensor{index}'.encode()

  source = files[types.Variant.INT8]
  path = tflite_file_test.edited(source, tmp_path / 'nameless.tflite', change)
  nameless = preserved.check(kernels, path)
  assert nameless == preserved.check(kernels, source)


def test_a_gamma_of_zero_and_equal_kernels_pass(tmp_path):
  """As a network begins: its last gammas fold whole kernels to zero."""
  model = resnet.build(SPEC)
  kernels = {
    layer.name: np.round(layer.kernel.numpy(), 2)
    for layer in model.layers
    if hasattr(layer, 'kernel')
  }
  first, second = 'stage3_block1_conv2', 'stage3_block2_conv1'
  kernels[second] = kernels[first]
  for name, kernel in kernels.items():
    model.get_layer(name).kernel.assign(kernel)
  path = tmp_path / 'model.tflite'
  path.write_bytes(tflite.convert(model, types.Variant.DYNAMIC))
  layers = {layer.name: layer for layer in preserved.check(kernels, str(path))}
  assert layers[first].zeros == 1 and layers[first].clusters == 1
  assert layers[second].clusters > 1


def test_a_depthwise_kernel_counts_every_filter(tmp_path):
  rng = np.random.RandomState(0)
  values = np.float32([-1, 0, 0.25, 1])
  image = tf_keras.layers.Input((16, 16, 3))
  layer = tf_keras.layers.DepthwiseConv2D(7, depth_multiplier=4, name='deep')
  model = tf_keras.Model(image, layer(image))
  kernel = values[rng.randint(4, size=(7, 7, 3, 4))]
  layer.depthwise_kernel.assign(kernel)
  path = tmp_path / 'model.tflite'
  path.write_bytes(tflite.convert(model, types.Variant.FLOAT32))
  (found,) = preserved.check({'deep': kernel}, str(path))
  assert found.clusters == 4
  assert found.zeros == (kernel == 0).mean() > 0.2
