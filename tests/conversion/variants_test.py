"""All variants of a small network: numbers in the file, ranges, refusals."""

import dataclasses
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import quantizer

from tests import conftest
from tfcompress.conversion import parity, ranges, rounding, tflite, variants
from tfcompress.core import types
from tfcompress.runtimes import interface, load, tflite_file

ROOT = pathlib.Path(__file__).parents[2]
V = types.Variant
MSE = types.Calibration.MSE
KR = types.KernelRange
KERNELS = ['stem', 'inner', 'outer', 'wide', 'shortcut', 'deep', 'logits']


@pytest.fixture(scope='module')
def network() -> tf_keras.Model:
  """Two residual blocks, a depthwise convolution, and probabilities."""
  tf_keras.utils.set_random_seed(3)
  blocks = conftest.own_network()
  x = blocks.get_layer('joined_2').output
  x = tf_keras.layers.DepthwiseConv2D(3, use_bias=False, name='deep')(x)
  x = tf_keras.layers.GlobalAveragePooling2D(name='mean')(x)
  x = tf_keras.layers.Dense(5, name='logits')(x)
  model = tf_keras.Model(blocks.input, tf_keras.layers.Softmax()(x))
  rng = np.random.RandomState(0)
  for layer in model.layers:
    if isinstance(layer, tf_keras.layers.BatchNormalization):
      shapes = [weight.shape for weight in layer.get_weights()]
      layer.set_weights([rng.uniform(0.5, 1.5, shape) for shape in shapes])
  return model


@pytest.fixture(scope='module')
def images() -> np.ndarray:
  rng = np.random.RandomState(1)
  tint = rng.randint(0, 200, (12, 1, 1, 3))
  return (tint + rng.randint(0, 56, (12, 32, 32, 3))).astype(np.uint8)


@pytest.fixture(scope='module')
def known(network, images) -> parity.HeldOut:
  labels = network.predict(images.astype(np.float32), verbose=0).argmax(-1)
  return parity.held_out(network, images, labels)


@pytest.fixture(scope='module')
def files(network, images, tmp_path_factory) -> dict[V, str]:
  root = tmp_path_factory.mktemp('variants')
  paths = {}
  for variant in V:
    path = root / f'{variant.value}.tflite'
    path.write_bytes(tflite.convert(network, variant, representative=images))
    paths[variant] = str(path)
  return paths


@pytest.mark.parametrize(
  ('variant', 'kernels', 'depthwise', 'io_dtype', 'least_snr_db'),
  [
    (V.FLOAT32, 'float32', 'float32', 'float32', 100),
    (V.FLOAT16, 'float16', 'float16', 'float32', 50),
    (V.DYNAMIC, 'int8', 'float32', 'float32', 35),
    (V.INT8, 'int8', 'int8', 'uint8', 35),
    (V.STATIC_WI8_AI8, 'int8', 'int8', 'uint8', 35),
    (V.STATIC_WI4_AI8, 'int4', 'int8', 'uint8', 17),
    (V.MIXED_WI4_WI8_AI8, 'int4', 'int8', 'uint8', 17),
    (V.DYNAMIC_WI8_AFP32, 'int8', 'int8', 'float32', 35),
    (V.DYNAMIC_WI4_AFP32, 'int4', 'int8', 'float32', 17),
    (V.WEIGHT_ONLY_WI8_AFP32, 'int8', 'int8', 'float32', 35),
    (V.WEIGHT_ONLY_WI4_AFP32, 'int4', 'int8', 'float32', 17),
  ],
)
def test_numbers_of_a_file_are_those_of_its_name(
  variant, kernels, depthwise, io_dtype, least_snr_db, files, known
):
  weights = tflite_file.weights(files[variant])
  found = {weight.name.split('/')[-2]: weight for weight in weights}
  assert sorted(found) == sorted(KERNELS)
  for name, weight in found.items():
    if variant is V.DYNAMIC and weight.values.size < 1024:
      assert weight.dtype == 'float32'
      continue
    assert weight.dtype == (depthwise if name == 'deep' else kernels)
    if 'int' in weight.dtype:
      outputs = 32 if name == 'deep' else weight.values.shape[-1]
      assert weight.scale.size == outputs  # one each
      assert not weight.zero_point.any()
      most = np.abs(weight.values).max()
      assert most == (7 if weight.dtype == 'int4' else 127)
  backend = load.open_model(files[variant])
  (pixels,), (probabilities,) = backend.inputs, backend.outputs
  assert pixels.dtype == probabilities.dtype == io_dtype
  if io_dtype == 'uint8':
    assert (pixels.scale, pixels.zero_point) == (1.0, 0)
    assert (probabilities.scale, probabilities.zero_point) == (1 / 256, 0)
  backend.close()
  assert parity.measure(files[variant], known).snr_db > least_snr_db


def test_fewer_bits_are_fewer_bytes(files):
  size = {v: pathlib.Path(path).stat().st_size for v, path in files.items()}
  for mode in (
    'STATIC_WI{}_AI8',
    'DYNAMIC_WI{}_AFP32',
    'WEIGHT_ONLY_WI{}_AFP32',
  ):
    int4, int8 = (size[V[mode.format(bits)]] for bits in (4, 8))
    assert int4 < int8 < size[V.FLOAT16] < size[V.FLOAT32]
  assert size[V.STATIC_WI8_AI8] <= size[V.INT8]
  assert size[V.MIXED_WI4_WI8_AI8] == size[V.STATIC_WI4_AI8]


def test_both_engines_compute_the_same_int8(files, images):
  outputs = []
  for variant in (V.INT8, V.STATIC_WI8_AI8):
    backend = load.open_model(files[variant])
    outputs.append([backend.predict(image[None]) for image in images])
    backend.close()
  steps = np.abs(np.subtract(*np.int64(outputs)))
  assert steps.max() <= 1


def test_static_files_take_every_io_dtype(network, images, tmp_path):
  decoded = {}
  for dtype in types.IoDtype:
    path = tmp_path / f'{dtype.value}.tflite'
    path.write_bytes(tflite.convert(network, V.STATIC_WI8_AI8, dtype, images))
    backend = load.open_model(str(path))
    (pixels,), (out,) = backend.inputs, backend.outputs
    assert pixels.dtype == out.dtype == dtype.value
    raw = types.Preprocessing()
    encoded = interface.encode(images[:1], pixels, raw)
    decoded[dtype] = interface.decode(backend.predict(encoded), out)
    backend.close()
  first, *others = decoded.values()
  for other in others:
    np.testing.assert_array_equal(first, other)


def error(values, low, high, counts=None) -> float:
  """Mean squared error of int8 by hand, one value after the other."""
  scale = (high - low) / 255
  zero = round(-128 - low / scale)
  steps = [min(max(round(x / scale) + zero, -128), 127) for x in values]
  squares = [(x - (q - zero) * scale) ** 2 for x, q in zip(values, steps)]
  return float(np.average(squares, weights=counts))


@pytest.mark.parametrize(
  ('others', 'expected'), [(1, 40), (10_000, 10.35), (1_000_000, 4)]
)
def test_the_range_of_least_error_by_hand(others, expected):
  """The more there are of the others, the less an outlier is worth."""
  values = np.append(np.abs(np.random.RandomState(0).randn(300)), 40.0)
  counts = np.append(np.full(300, others), 1)
  low, high = ranges.best_range(values, counts, 0.0, 40.0)
  candidates = 40 * ranges.FRACTIONS
  by_hand = min(candidates, key=lambda bound: error(values, 0, bound, counts))
  assert (low, high) == (0, pytest.approx(by_hand))
  assert by_hand == pytest.approx(expected, abs=0.01)


def test_both_bounds_of_a_range_shrink():
  values = np.append(np.random.RandomState(0).randn(200), [-20.0, 60.0])
  counts = np.append(np.full(200, 100_000), [1, 1])
  low, high = ranges.best_range(values, counts, -20.0, 60.0)
  wrong = lambda low, high: error(values, low, high, counts)
  pairs = [(a, b) for a in ranges.FRACTIONS[::3] for b in ranges.FRACTIONS[::3]]
  best = min(wrong(-20 * a, 60 * b) for a, b in pairs)
  assert -20 < low < 0 < high < 60
  assert wrong(low, high) <= 1.02 * best < 0.2 * wrong(-20, 60)


def squared_error(values, high) -> float:
  """As `error`, of values from 0 on, all at once."""
  scale = high / 255
  steps = np.clip(np.rint(values / scale), 0, 255)
  return float(np.square(values - steps * scale).mean())


@pytest.mark.parametrize('calibration', types.Calibration)
def test_ranges_in_the_file_are_the_activations(
  calibration, network, images, tmp_path
):
  path = tmp_path / 'static.tflite'
  path.write_bytes(
    tflite.convert(
      network,
      V.STATIC_WI8_AI8,
      representative=images,
      calibration=calibration,
    )
  )
  interpreter = litert.Interpreter(
    str(path),
    experimental_op_resolver_type=(
      litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    ),
  )
  scales = {}
  for detail in interpreter.get_tensor_details():
    if '_relu/' in detail['name'] or '/joined/' in detail['name']:
      scales[detail['name'].split('/')[1]] = detail['quantization'][0]
  for name in ('stem_relu', 'inner_relu', 'joined'):
    part = tf_keras.Model(network.input, network.get_layer(name).output)
    values = part.predict(images.astype(np.float32), verbose=0).ravel()
    high = 255 * scales[name]
    if calibration is types.Calibration.MIN_MAX:
      assert high == pytest.approx(values.max(), rel=1e-5)
      continue
    best = min(
      squared_error(values, values.max() * f) for f in ranges.FRACTIONS
    )
    assert squared_error(values, high) == pytest.approx(best, rel=0.02)


@pytest.fixture(scope='module')
def with_zeros() -> tuple[tf_keras.Model, np.ndarray]:
  """A convolution with a filter of zeros and one nearly so, and images."""
  layers = tf_keras.layers
  image = layers.Input((8, 8, 3))
  x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name='conv')(image))
  model = tf_keras.Model(image, layers.Softmax()(x))
  rng = np.random.RandomState(0)
  kernel = rng.uniform(-0.01, 0.01, (3, 3, 3, 4))
  kernel[..., 1], kernel[..., 2] = 0, 1e-20
  model.get_layer('conv').set_weights([kernel, np.array([0, 1.5, -1, 0.5])])
  return model, rng.randint(0, 256, (4, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
  'variant', [V.STATIC_WI8_AI8, V.STATIC_WI4_AI8, V.WEIGHT_ONLY_WI4_AFP32]
)
@pytest.mark.parametrize('kernel_ranges', types.KernelRange)
def test_a_filter_of_zeros_keeps_its_bias(variant, kernel_ranges, with_zeros):
  """Its scale would be too small for a bias of 32 bits, or nothing."""
  model, images = with_zeros
  known = parity.held_out(model, images, np.zeros(4, np.int64))
  file = tflite.float_file(model, variant, images, kernel_ranges=kernel_ranges)
  snr_db = lambda file: (
    parity.measure_content(
      rounding.quantized(file, file.lowest_bits(), types.IoDtype.FLOAT32), known
    ).snr_db
  )
  assert snr_db(file) > 30
  if variant is V.STATIC_WI8_AI8:
    # litert-quantizer by itself writes whatever is left of such a bias.
    with np.errstate(invalid='ignore'):
      assert snr_db(dataclasses.replace(file, magnitudes={})) < 10


def kernels_of(model, variant, images, kernel_ranges, tmp_path):
  """Real values of a file's kernels, and its weights, by layer."""
  file = tflite.float_file(model, variant, images, kernel_ranges=kernel_ranges)
  path = tmp_path / f'{kernel_ranges.value}.tflite'
  bits = file.lowest_bits()
  path.write_bytes(rounding.quantized(file, bits, types.IoDtype.FLOAT32))
  return {
    weight.name.split('/')[-2]: weight.values * weight.scale
    for weight in tflite_file.weights(str(path))
  }


def test_only_kernels_of_the_lowest_bits_are_clipped(network, tmp_path):
  """A depthwise one is int8 in a variant of int4."""
  variant = V.WEIGHT_ONLY_WI4_AFP32
  plain, clipped = (
    kernels_of(network, variant, None, one, tmp_path)
    for one in (KR.MIN_MAX, KR.MSE)
  )
  unlike = [n for n in plain if not np.array_equal(plain[n], clipped[n])]
  assert sorted(unlike) == sorted({*KERNELS} - {'deep'})


@pytest.mark.parametrize('kernel_ranges', [KR.MSE, KR.OCTAV])
def test_a_clipped_kernel_errs_nearly_least(kernel_ranges, tmp_path):
  """Against the best of many scales, of weights that are normal."""
  layers = tf_keras.layers
  image = layers.Input((8, 8, 3))
  x = layers.Dense(4, use_bias=False, name='dense')(layers.Flatten()(image))
  model = tf_keras.Model(image, layers.Softmax()(x))
  kernel = np.random.RandomState(0).randn(192, 4).astype(np.float32)
  model.get_layer('dense').set_weights([kernel])
  found = kernels_of(
    model, V.WEIGHT_ONLY_WI4_AFP32, None, kernel_ranges, tmp_path
  )
  error = lambda values: np.square(values - kernel).mean(axis=0)
  rounded = lambda scale: np.clip(np.rint(kernel / scale), -7, 7) * scale
  best = min(error(rounded(scale)).sum() for scale in np.linspace(0.1, 1, 200))
  whole = error(rounded(np.abs(kernel).max(axis=0) / 7)).sum()
  assert error(found['dense']).sum() < 1.1 * best < 0.95 * whole


def test_no_progress_bar_of_another_library(capsys):
  layers = tf_keras.layers
  image = x = layers.Input((4, 4, 3))
  for _ in range(34):
    x = layers.Dense(3, 'relu', bias_initializer='normal')(x)
  x = layers.Softmax()(layers.GlobalAveragePooling2D()(x))
  file = tflite.float_file(tf_keras.Model(image, x), V.WEIGHT_ONLY_WI8_AFP32)
  assert len(tflite_file.model_of(file.content).subgraphs[0].tensors) > 100
  capsys.readouterr()
  rounding.quantized(file, file.lowest_bits(), types.IoDtype.FLOAT32)
  assert capsys.readouterr() == ('', '')


def test_constants_lie_inside_the_flatbuffer():
  """litert-quantizer puts more than 256 KiB of them behind it."""
  layers = tf_keras.layers
  image = layers.Input((8, 8, 3))
  x = layers.Dense(1600, use_bias=False)(layers.Flatten()(image))
  model = tf_keras.Model(image, layers.Dense(3, 'softmax')(x))
  file = tflite.float_file(model, V.WEIGHT_ONLY_WI8_AFP32)
  by_itself = quantizer.Quantizer(file.content)
  by_itself.add_weight_only_config('.*', '*', 8)
  raw = by_itself.quantize(enable_progress_bar=False).quantized_model
  ours = tflite.convert(model, V.WEIGHT_ONLY_WI8_AFP32)
  offsets = lambda content: [
    buffer.offset
    for buffer in schema.ModelT.InitFromPackedBuf(content, 0).buffers
  ]
  assert any(offsets(bytes(raw)))
  assert not any(offsets(ours))


@pytest.mark.parametrize(
  ('variant', 'options', 'message'),
  [
    (V.INT8, {'sensitivity': True}, r'--sensitivity is not for --variant=int8'),
    (
      V.INT8,
      {'keep_float': 3},
      r'--keep_float=3 .*use --variant=static_wi8_ai8$',
    ),
    (
      V.DYNAMIC,
      {'max_drop': 1.5},
      r'--max_drop=1.5 .*use --variant=dynamic_wi8_afp32$',
    ),
    (V.INT8, {'calibration': MSE}, r'--calibration=mse .*use --variant=static'),
    (
      V.WEIGHT_ONLY_WI4_AFP32,
      {'calibration': MSE},
      'activations have no calibrated ranges; leave it out',
    ),
    (
      V.FLOAT16,
      {'kernel_ranges': KR.OCTAV},
      '--kernel_ranges=octav .*use --variant=weight_only_wi8_afp32$',
    ),
    (
      V.DYNAMIC_WI8_AFP32,
      {'io_dtype': types.IoDtype.UINT8},
      'io_dtype=uint8 contradicts --variant=dynamic_wi8_afp32: expected float32',
    ),
  ],
)
def test_options_that_a_variant_cannot_have(variant, options, message):
  config = types.ExportConfig('a', 'b', variant=variant, **options)
  with pytest.raises(ValueError, match=message):
    variants.require_options(config)


@pytest.mark.parametrize(
  ('variant', 'message'),
  [
    ('static_wi3_ai8', 'int3 weights are out of range, expected wi4 or wi8; '),
    ('static_wi8_ai16', 'int16 activations are out of range, expected ai8; '),
    ('int7', 'value should be one of <float32|float16|'),
  ],
)
def test_bits_out_of_range_are_one_line(variant, message):
  result = subprocess.run(
    [sys.executable, '-m', 'tfcompress.export', f'--variant={variant}'],
    capture_output=True,
    text=True,
    cwd=ROOT,
  )
  assert result.returncode == 1
  (line,) = result.stderr.splitlines()
  assert f'--variant={variant}: {message}' in line
  assert 'mixed_wi4_wi8_ai8' in line


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda x: np.where(x > 250, np.nan, x), 'values that are not finite'),
    (lambda x: x / 255, 'values from 0 to 1, expected raw pixels 0..255'),
    (lambda x: x / 127.5 - 1, 'values from -1 to 1, expected raw pixels'),
    (lambda x: x * 257.0, 'values from 0 to 65535, expected raw pixels'),
  ],
)
@pytest.mark.parametrize('variant', [V.INT8, V.STATIC_WI4_AI8])
def test_images_that_are_no_pixels(variant, change, message, network, images):
  images = images.copy()
  images[0, 0], images[-1, -1] = 0, 255
  with pytest.raises(ValueError, match=message):
    tflite.convert(network, variant, representative=change(images * 1.0))


def test_weights_that_are_not_finite_are_refused(images):
  image = tf_keras.layers.Input((32, 32, 3))
  x = tf_keras.layers.Conv2D(4, 3, name='broken')(image)
  x = tf_keras.layers.Softmax()(tf_keras.layers.GlobalAveragePooling2D()(x))
  model = tf_keras.Model(image, x)
  model.get_layer('broken').bias.assign([0, np.nan, 0, 0])
  with pytest.raises(ValueError, match='broken.* is not finite on the calibr'):
    tflite.convert(model, V.STATIC_WI8_AI8, representative=images)


def test_what_has_no_fast_kernel_says_why():
  fast = {('conv_2d', 'int8'): 20, ('fully_connected', 'int4'): 1}
  assert variants.slowness(V.STATIC_WI4_AI8, fast) == ''
  slow = {('conv_2d', 'int4'): 3, ('conv_2d', 'int8'): 1}
  assert variants.slowness(V.STATIC_WI4_AI8, slow) == (
    '--variant=static_wi4_ai8: 3 conv_2d of int4 have no fast kernel: '
    "LiteRT's CPU backend (XNNPACK) has int4 kernels for dense layers only; "
    'for speed take --variant=static_wi8_ai8'
  )
  dense = {('fully_connected', 'int4'): 1}
  assert 'anew for every image' in variants.slowness(
    V.WEIGHT_ONLY_WI4_AFP32, dense
  )
  assert variants.slowness(V.DYNAMIC_WI4_AFP32, dense) == ''
  deep = {('depthwise_conv_2d', 'int8'): 2}
  for variant in (V.DYNAMIC, V.DYNAMIC_WI8_AFP32):
    assert 'no depthwise convolution of float32' in variants.slowness(
      variant, deep
    )
  assert variants.slowness(V.STATIC_WI8_AI8, deep) == ''


def test_every_variant_has_a_recipe_and_a_line_in_the_table():
  assert set(variants.RECIPES) == set(V)
  for variant, recipe in variants.RECIPES.items():
    assert f'| {variant.value} |' in variants.__doc__
    assert (recipe.configure is None) == bool(recipe.bits)


@pytest.mark.parametrize('variant', [V.INT8, V.STATIC_WI8_AI8])
def test_an_operator_that_tflite_lacks_is_one_line(variant, images):
  class Odd(tf_keras.layers.Layer):
    def call(self, inputs):
      return tf.math.erfinv(inputs / 300)

  image = tf_keras.Input((32, 32, 3))
  x = tf_keras.layers.GlobalAveragePooling2D()(Odd()(image))
  model = tf_keras.Model(image, tf_keras.layers.Dense(3)(x))
  with pytest.raises(
    ValueError, match='the converter cannot make a .* file of this network'
  ) as caught:
    tflite.convert(model, variant, representative=images)
  assert len(str(caught.value)) < 400
