"""The flatbuffer's numbers against Keras's and the interpreter's."""

import pathlib
from collections.abc import Callable

import flatbuffers
import numpy as np
import pytest
import tf_keras
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from tfcompress.conversion import tflite
from tfcompress.core import types
from tfcompress.runtimes import tflite_file

layers = tf_keras.layers


def edited(source: str, target: pathlib.Path, change: Callable) -> str:
  """Writes `source` anew after `change(model)`, and returns where."""
  content = pathlib.Path(source).read_bytes()
  model = schema.ModelT.InitFromPackedBuf(content, 0)
  change(model)
  builder = flatbuffers.Builder(len(content))
  builder.Finish(model.Pack(builder), b'TFL3')
  target.write_bytes(bytes(builder.Output()))
  return str(target)


def tensor_named(model: schema.ModelT, part: str) -> schema.TensorT:
  """The one weight tensor whose name has `part` in it."""
  (found,) = [
    tensor
    for tensor in model.subgraphs[0].tensors
    if part in tensor.name.decode()
    and len(tensor.shape) in (2, 4)
    and model.buffers[tensor.buffer].data is not None
  ]
  return found


@pytest.fixture(scope='module')
def network() -> tf_keras.Model:
  """One of every operator that has weights, each with over 1024 of them."""
  x = image = layers.Input((16, 16, 3))
  for layer in (
    layers.Conv2D(64, 3, use_bias=False, name='conv'),
    layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name='deep'),
    layers.Conv2D(16, 1, use_bias=False, name='point'),
  ):
    x = layers.BatchNormalization(name=f'{layer.name}_bn')(layer(x))
    x = layers.ReLU()(x)
  x = layers.Dense(70, name='logits')(layers.GlobalAveragePooling2D()(x))
  model = tf_keras.Model(image, layers.Softmax()(x))
  rng = np.random.RandomState(0)
  for layer in model.layers:
    # Positive where batch normalization needs it, else around zero.
    low = 0.5 if isinstance(layer, layers.BatchNormalization) else -1
    layer.set_weights(
      [rng.uniform(low, 1.5, w.shape) for w in layer.get_weights()]
    )
  return model


@pytest.fixture(scope='module')
def files(network, tmp_path_factory) -> dict[types.Variant, str]:
  root = tmp_path_factory.mktemp('files')
  images = np.random.RandomState(0).randint(0, 256, (4, 16, 16, 3), np.uint8)
  paths = {}
  for variant in types.Variant:
    path = root / f'{variant.value}.tflite'
    path.write_bytes(tflite.convert(network, variant, representative=images))
    paths[variant] = str(path)
  return paths


def folded_kernels(network) -> dict[str, np.ndarray]:
  """The kernels, each output channel scaled by its batch normalization."""
  folded = {}
  for name in ('conv', 'deep', 'point'):
    kernel = network.get_layer(name).get_weights()[0]
    norm = network.get_layer(f'{name}_bn')
    scale = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + 1e-3)
    folded[name] = kernel * (
      scale.reshape(kernel.shape[2:]) if name == 'deep' else scale
    )
  folded['logits'] = network.get_layer('logits').get_weights()[0]
  return folded


@pytest.mark.parametrize(
  ('variant', 'dtype'),
  [
    (types.Variant.FLOAT32, 'float32'),
    (types.Variant.FLOAT16, 'float16'),
    (types.Variant.DYNAMIC, 'int8'),
    (types.Variant.INT8, 'int8'),
  ],
)
def test_weights_are_the_folded_kernels(variant, dtype, files, network):
  found = tflite_file.weights(files[variant])
  assert [weight.operator for weight in found] == [
    'conv_2d',
    'depthwise_conv_2d',
    'conv_2d',
    'fully_connected',
  ]
  for weight, (name, kernel) in zip(
    found, folded_kernels(network).items(), strict=True
  ):
    assert f'/{name}/' in weight.name
    assert weight.dtype == weight.values.dtype.name == dtype
    assert weight.values.shape == kernel.shape
    if dtype == 'int8':
      real = weight.scale * (weight.values - weight.zero_point)
      assert (np.abs(real - kernel) <= 0.501 * weight.scale).all()
    else:
      assert weight.scale is weight.quantized_dimension is None
      exact = 1e-3 if dtype == 'float16' else 1e-6
      np.testing.assert_allclose(weight.values, kernel, exact, exact)


def test_integers_and_scales_are_the_interpreters(files):
  interpreter = litert.Interpreter(
    files[types.Variant.INT8],
    experimental_op_resolver_type=(
      litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    ),
  )
  details = {d['name']: d for d in interpreter.get_tensor_details()}
  for weight in tflite_file.weights(files[types.Variant.INT8]):
    detail = details[weight.name]
    expected = interpreter.get_tensor(detail['index'])
    axes = {'conv_2d': (1, 2, 3, 0), 'fully_connected': (1, 0)}
    if weight.operator in axes:
      expected = expected.transpose(axes[weight.operator])
    np.testing.assert_array_equal(
      weight.values.reshape(-1), expected.reshape(-1)
    )
    quantization = detail['quantization_parameters']
    np.testing.assert_array_equal(
      weight.scale.reshape(-1), quantization['scales']
    )
    assert weight.quantized_dimension == quantization['quantized_dimension']


@pytest.mark.parametrize('variant', types.Variant)
def test_constants_against_the_interpreter(variant, files):
  interpreter = litert.Interpreter(
    files[variant],
    experimental_op_resolver_type=(
      litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    ),
  )
  total = nonzero = 0
  for detail in interpreter.get_tensor_details():
    quantized = len(detail['quantization_parameters']['scales']) > 0
    if not quantized and not np.issubdtype(detail['dtype'], np.floating):
      continue
    try:
      values = interpreter.get_tensor(detail['index'])
    except ValueError:  # no constant: nothing lies there before a run
      continue
    total += values.size
    nonzero += np.count_nonzero(values)
  assert tflite_file.constants(files[variant]) == (total, nonzero)
  kernels = 3 * 3 * 3 * 64 + 3 * 3 * 64 * 2 + 128 * 16 + 16 * 70
  assert kernels < total <= kernels + 64 + 128 + 16 + 70


@pytest.mark.parametrize('odd', [False, True])
def test_int4_by_hand(odd, files, tmp_path):
  numbers = np.array([-8, 7, 0, -1, 1, 0, 3, -4, 5] if odd else [2, -3, 0, 0])
  inputs = len(numbers)

  def change(model):
    tensor = tensor_named(model, 'logits/MatMul')
    nibbles = np.append(numbers & 15, 0)[: inputs + inputs % 2]
    packed = (nibbles[::2] | nibbles[1::2] << 4).astype(np.uint8)
    tensor.type = schema.TensorType.INT4
    tensor.shape = np.array([1, inputs], np.int32)
    tensor.quantization.scale = np.array([0.5], np.float32)
    tensor.quantization.zeroPoint = np.array([0])
    model.buffers[tensor.buffer].data = packed

  before = tflite_file.constants(files[types.Variant.INT8])
  path = edited(files[types.Variant.INT8], tmp_path / 'int4.tflite', change)
  weight = tflite_file.weights(path)[-1]
  assert weight.dtype == 'int4'
  assert weight.values.tolist() == numbers[:, None].tolist()
  total, nonzero = tflite_file.constants(path)
  logits = tflite_file.weights(files[types.Variant.INT8])[-1].values
  assert total == before[0] - logits.size + inputs
  assert nonzero == (
    before[1] - np.count_nonzero(logits) + np.count_nonzero(numbers)
  )


def test_a_file_written_anew_is_the_same(files, tmp_path):
  source = files[types.Variant.DYNAMIC]
  again = edited(source, tmp_path / 'same.tflite', lambda model: None)
  for one, other in zip(
    tflite_file.weights(source), tflite_file.weights(again), strict=True
  ):
    assert one.name == other.name
    np.testing.assert_array_equal(one.values, other.values)


def test_an_export_folder_stands_for_its_file(files, tmp_path):
  content = pathlib.Path(files[types.Variant.INT8]).read_bytes()
  (tmp_path / 'model.tflite').write_bytes(content)
  assert len(tflite_file.weights(str(tmp_path))) == 4


def test_weights_stored_sparse_are_refused(network, tmp_path):
  import tensorflow as tf

  sparse = tf_keras.models.clone_model(network)
  sparse.set_weights(
    [
      np.where(w > 1.2, w, 0) if w.ndim > 1 else w
      for w in network.get_weights()
    ]
  )
  converter = tf.lite.TFLiteConverter.from_keras_model(sparse)
  converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
  path = tmp_path / 'sparse.tflite'
  path.write_bytes(converter.convert())
  with pytest.raises(ValueError, match='is stored sparse, expected dense'):
    tflite_file.weights(str(path))


def test_another_file_is_refused(tmp_path):
  path = tmp_path / 'model.tflite'
  path.write_bytes(b'PK\x03\x04 something else')
  with pytest.raises(ValueError, match='not a .tflite file'):
    tflite_file.weights(str(path))
