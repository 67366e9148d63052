"""Fake-quantized networks: by hand, in training, and against their files."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from tfcompress.conversion import tflite
from tfcompress.core import quantized_layers, types
from tfcompress.models import fake_quant, graph, heads, resnet
from tfcompress.runtimes import tflite_file

layers = tf_keras.layers

SPEC = types.ModelSpec(
  blocks=(1, 1, 1, 1), internal_size=64, width_multiplier=0.25, num_classes=10
)


def images(count: int, size: int, seed: int, labels=None) -> np.ndarray:
  """Whole pixels as float32; a label tells the colors of 4x4 fields."""
  rng = np.random.RandomState(seed)
  fields = np.random.RandomState(0).randint(0, 256, (10, 4, 4, 3))
  fields = fields[rng.randint(0, 10, count) if labels is None else labels]
  smooth = tf.image.resize(fields, (size, size), 'bicubic').numpy()
  noise = rng.randn(count, size, size, 3) * 30
  return np.clip(np.round(smooth + noise), 0, 255).astype(np.float32)


def at_size(model: tf_keras.Model, size: int) -> tf_keras.Model:
  """The same network for images of another size."""
  config = model.get_config()
  config['layers'][0]['config']['batch_input_shape'] = (None, size, size, 3)
  for layer in config['layers']:
    layer.pop('build_config', None)
  other = tf_keras.Model.from_config(config)
  other.set_weights(model.get_weights())
  return other


class Masks(tf_keras.callbacks.Callback):
  """Keeps the smaller half of every kernel at zero."""

  def __init__(self, network: tf_keras.Model):
    super().__init__()
    kernels = graph.kernels(network).values()
    self.masks = [(k, np.abs(k) > np.median(np.abs(k))) for k in kernels]
    self.on_train_batch_end(0)

  def on_train_batch_end(self, batch, logs=None):
    for kernel, mask in self.masks:
      kernel.assign(kernel * mask)


@pytest.fixture(scope='module')
def plain() -> tf_keras.Model:
  """A ResNet whose resize from 224 to 64 pixels has nothing left to do."""
  tf_keras.utils.set_random_seed(1)
  model = at_size(resnet.build(SPEC), 64)
  for layer in model.layers:
    if isinstance(layer, layers.BatchNormalization):
      layer.gamma.assign(tf.ones_like(layer.gamma))
  return model


@pytest.fixture(scope='module')
def network(plain) -> tf_keras.Model:
  """A quantized ResNet of 10 classes, trained for 30 steps under masks."""
  network = fake_quant.quantized(plain)
  labels = np.arange(320) % 10
  pixels = images(320, 64, 1, labels)
  fake_quant.calibrate(network, [pixels[:32]])
  network.compile(
    tf_keras.optimizers.SGD(0.02, 0.9), 'sparse_categorical_crossentropy'
  )
  masks = Masks(network)
  network.fit(
    pixels, labels, batch_size=32, epochs=3, verbose=0, callbacks=[masks]
  )
  return network


def converted(
  network: tf_keras.Model, dtype: types.IoDtype = types.IoDtype.UINT8
) -> litert.Interpreter:
  interpreter = litert.Interpreter(
    model_content=tflite.convert(network, types.Variant.INT8, dtype),
    experimental_op_resolver_type=(
      litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    ),
  )
  interpreter.allocate_tensors()
  return interpreter


def dtypes(interpreter: litert.Interpreter) -> set[str]:
  details = interpreter.get_tensor_details()
  return {np.dtype(detail['dtype']).name for detail in details}


def outputs_of(interpreter: litert.Interpreter, pixels) -> np.ndarray:
  (inputs,) = interpreter.get_input_details()
  (outputs,) = interpreter.get_output_details()
  scale, zero_point = outputs['quantization']
  rows = []
  for image in pixels:
    interpreter.set_tensor(inputs['index'], image[None].astype(np.uint8))
    interpreter.invoke()
    row = interpreter.get_tensor(outputs['index'])[0]
    rows.append((row.astype(np.float32) - zero_point) * scale)
  return np.array(rows)


def snr_db(expected, got) -> float:
  noise = np.square(expected - got).sum()
  return 10 * np.log10(np.square(expected).sum() / noise)


@pytest.fixture(scope='module')
def file(network) -> litert.Interpreter:
  return converted(network)


def test_the_file_is_int8_throughout_and_takes_pixels(file):
  assert dtypes(file) == {'int8', 'uint8', 'int32'}
  (inputs,), (outputs,) = file.get_input_details(), file.get_output_details()
  assert inputs['dtype'] == outputs['dtype'] == np.uint8
  assert inputs['quantization'] == (1, 0)
  assert outputs['quantization'] == (1 / 256, 0)


def test_the_file_computes_what_the_network_computes(network, file):
  pixels = images(50, 64, 2)
  expected = np.array(network(pixels))
  got = outputs_of(file, pixels)
  assert snr_db(expected, got) >= 30
  assert (expected.argmax(-1) == got.argmax(-1)).mean() >= 0.95


def test_weights_in_the_file_by_hand(network, file):
  """Symmetric int8 per channel, batch normalization in the scales alone."""
  details = {
    detail['name'].split('/')[-2]: detail
    for detail in file.get_tensor_details()
    if len(detail['quantization_parameters']['scales']) > 1
    and detail['dtype'] == np.int8
  }
  for name, kernel in graph.kernels(network).items():
    rows = kernel.numpy().reshape(-1, kernel.shape[-1])
    scale = np.abs(rows).max(axis=0) / 127
    gain = np.ones_like(scale)
    if name != 'logits':
      norm = network.get_layer(f'{name}_bn')
      gain = norm.gamma / np.sqrt(norm.moving_variance + norm.epsilon)
    quantization = details[name]['quantization_parameters']
    np.testing.assert_allclose(quantization['scales'], scale * gain, rtol=1e-5)
    assert not quantization['zero_points'].any()
    got = np.moveaxis(file.get_tensor(details[name]['index']), 0, -1)
    got = got.reshape(rows.shape)
    # Ties may fall to either side.
    np.testing.assert_allclose(got, rows / scale, atol=0.501)
    # The masks of training.
    assert 0.5 <= (rows == 0).mean() < 0.52
    assert not got[rows == 0].any()


@pytest.mark.parametrize('suffix', ['keras', 'h5'])
def test_a_network_loads_as_it_was_saved(suffix, network, tmp_path):
  network.save(tmp_path / f'model.{suffix}')
  loaded = tf_keras.models.load_model(tmp_path / f'model.{suffix}')
  pixels = images(4, 64, 3)
  np.testing.assert_array_equal(loaded(pixels), network(pixels))
  assert fake_quant.is_quantized(loaded)


def test_a_clone_computes_the_same(network):
  clone = tf_keras.models.clone_model(network)
  clone.set_weights(network.get_weights())
  pixels = images(4, 64, 3)
  np.testing.assert_array_equal(clone(pixels), network(pixels))


def test_at_another_size_it_computes_the_same(network):
  pixels = images(4, 224, 3)
  small = np.floor(tf.image.resize(pixels, (64, 64)) + 0.5)
  expected = network(small)
  np.testing.assert_allclose(at_size(network, 224)(pixels), expected, atol=1e-6)
  # Likewise where the larger one is quantized anew.
  rebuilt = fake_quant.quantized(resnet.build(SPEC))
  rebuilt.set_weights(network.get_weights())
  np.testing.assert_allclose(rebuilt(pixels), expected, atol=1e-6)


def test_names_and_weights_are_those_of_the_float_model(plain):
  network = fake_quant.quantized(plain)
  assert not fake_quant.is_quantized(plain)
  assert fake_quant.is_quantized(network)
  kernels = graph.kernels(network)
  assert len(kernels) == 13
  assert list(kernels) == list(graph.kernels(plain))
  for layer in plain.layers:
    copies = network.get_layer(layer.name).get_weights()
    for weight, copy in zip(layer.get_weights(), copies, strict=True):
      np.testing.assert_array_equal(weight, copy)
  trained = [weight.shape for weight in network.trainable_weights]
  assert trained == [weight.shape for weight in plain.trainable_weights]


def test_it_ends_in_logits_that_distillation_finds(network):
  logits = heads.with_logits(network)
  pixels = images(4, 64, 3)
  np.testing.assert_allclose(
    tf.nn.softmax(logits(pixels)), network(pixels), atol=1e-6
  )
  assert logits.layers[-2].name == 'logits_range'


def test_a_bfloat16_model_is_quantized_in_float32():
  spec = types.ModelSpec(width_multiplier=0.125, input_size=32)
  network = fake_quant.quantized(resnet.build(spec, 'mixed_bfloat16'))
  assert {layer.compute_dtype for layer in network.layers} == {'float32'}


def test_normalization_is_exact(plain):
  network = fake_quant.quantized(plain)
  pixels = np.arange(256 * 3, dtype=np.float32).reshape(1, 16, 16, 3) % 256
  expected = plain.get_layer('normalize')(pixels)
  got = network.get_layer('normalize')(pixels)
  np.testing.assert_allclose(got, expected, atol=1e-6)


def test_ranges_stand_where_the_file_has_tensors():
  image = layers.Input((8, 8, 3), name='image')
  x = layers.Conv2D(4, 3, name='conv1')(image)
  x = layers.BatchNormalization(name='norm1')(x)
  x = layers.ReLU(name='relu1')(x)
  x = layers.MaxPooling2D(name='pool')(x)
  x = layers.Conv2D(4, 1, name='conv2')(x)
  y = layers.Conv2D(4, 1, activation='relu', name='conv3')(x)
  x = layers.Activation('relu', name='relu4')(layers.Add(name='add')([x, y]))
  x = layers.Dense(2, name='head')(layers.Flatten(name='flat')(x))
  x = layers.Softmax(name='probabilities')(x)
  network = fake_quant.quantized(tf_keras.Model(image, x))
  fixed = {
    layer.name: layer.fixed
    for layer in network.layers
    if isinstance(layer, quantized_layers.FakeQuant)
  }
  assert fixed == {
    'image_range': (0, 255),
    'relu1_range': (0, None),
    'conv2_range': (None, None),
    'conv3_range': (0, None),
    'relu4_range': (0, None),
    'head_range': (None, None),
  }


def two_layers() -> tf_keras.Model:
  """One 1x1 convolution from 3 channels to 2, ReLU, then the channels' mean."""
  image = layers.Input((1, 1, 3), name='image')
  x = layers.Conv2D(2, 1, use_bias=False, name='conv')(image)
  x = layers.GlobalAveragePooling2D(name='mean')(layers.ReLU(name='relu')(x))
  network = fake_quant.quantized(tf_keras.Model(image, x))
  network.get_layer('conv').set_weights(
    [np.array([[1, 2], [0, 0.3], [-0.5, 0]], np.float32)[None, None]]
  )
  return network


def test_outputs_by_hand():
  network = two_layers()
  network.get_layer('relu_range').set_weights([510.0])
  network.get_layer('mean_range').set_weights([0.0, 510.0])
  pixels = np.array([[200.4, 100, 50], [300, 0, 0]], np.float32)
  # Kernels in steps of 1/127 and 2/127: 0.3 becomes 19 steps, -0.5 becomes -64
  # (a tie, to even). Pixels are rounded and clipped, outputs in steps of 2.
  first = [200 - 50 * 64 / 127, 400 + 100 * 38 / 127]
  second = [255, 510]
  expected = 2 * np.round(np.array([first, second]) / 2)
  expected[1, 0] = 256  # 127.5 steps: half goes up
  np.testing.assert_allclose(network(pixels[:, None, None]), expected)


def pooled(pool, *before) -> tf_keras.Model:
  """An average of 14x14 pixels, or of what layers make of them, for int8."""
  image = x = layers.Input((14, 14, 3), name='image')
  for layer in before:
    x = layer(x)
  x = layers.Flatten()(pool(x))
  return fake_quant.quantized(tf_keras.Model(image, x))


def integers_of(network, pixels, resolver) -> tuple:
  """What a file's AVERAGE_POOL_2D takes and gives, and the scale of that."""
  content = tflite.convert(network, types.Variant.INT8, types.IoDtype.INT8)
  model = tflite_file.model_of(content)
  (pool,) = [
    operator
    for operator in model.subgraphs[0].operators
    if tflite_file.code_of(model, operator) == AVERAGE_POOL
  ]
  interpreter = litert.Interpreter(
    model_content=content,
    experimental_op_resolver_type=resolver,
    experimental_preserve_all_tensors=True,
  )
  interpreter.allocate_tensors()
  found = []
  for image in pixels:
    interpreter.set_tensor(
      interpreter.get_input_details()[0]['index'],
      (image[None] - 128).astype(np.int8),
    )
    interpreter.invoke()
    ends = pool.inputs[0], pool.outputs[0]
    found.append([interpreter.get_tensor(int(index))[0] for index in ends])
  taken, given = map(np.stack, zip(*found))
  return taken, given, interpreter.get_output_details()[0]['quantization']


AVERAGE_POOL = schema.BuiltinOperator.AVERAGE_POOL_2D
# Its own kernels and XNNPACK, which leaves this operator to them.
KERNELS = [litert.OpResolverType.BUILTIN_REF, litert.OpResolverType.AUTO]


@pytest.mark.parametrize('resolver', KERNELS)
@pytest.mark.parametrize(
  ('pool_size', 'strides', 'padding'),
  [(2, 2, 'valid'), (2, 2, 'same'), (3, 2, 'same'), ((4, 2), 3, 'valid')],
)
def test_an_average_is_the_files_bit_for_bit(
  pool_size, strides, padding, resolver
):
  pool = layers.AveragePooling2D(pool_size, strides, padding)
  pixels = np.random.RandomState(0).randint(0, 256, (16, 14, 14, 3))
  pixels = pixels.astype(np.float32)
  network = pooled(pool)
  _, given, (scale, zero_point) = integers_of(network, pixels, resolver)
  assert (scale, zero_point) == (1, -128)
  expected = given.reshape(16, -1) + 128.0
  np.testing.assert_array_equal(network(pixels), expected)
  # So it was to be: of a layer that does not round, most differ.
  with fake_quant.rounded_by_operators(network):
    assert (network(pixels).numpy() != expected).mean() > 0.5


@pytest.mark.parametrize('resolver', KERNELS)
def test_an_average_has_the_range_of_what_it_reads(resolver):
  """Through a layer that picks values; the range has a zero point of its own."""
  before = [layers.Conv2D(4, 3, name='conv'), layers.MaxPooling2D(2, 1)]
  tf_keras.utils.set_random_seed(2)
  network = pooled(layers.AveragePooling2D(3, 2, 'same', name='mean'), *before)
  pixels = images(16, 14, 8)
  fake_quant.calibrate(network, [pixels])
  taken, given, (scale, zero) = integers_of(network, pixels, resolver)
  assert -128 < zero < 127 and scale != 1
  low, high = network.get_layer('conv_range').weights
  real = lambda steps: tf.constant((np.float32(steps) - zero) * scale)
  got = network.get_layer('mean')([real(taken), low, high])
  steps = np.array(got) / scale + zero
  np.testing.assert_allclose(steps, given, atol=1e-3)


def test_an_average_by_hand(tmp_path):
  """Half steps go away from pixel 128, which is the integer 0."""
  network = pooled(layers.AveragePooling2D(14))
  pixels = np.full((4, 14, 14, 3), 128, np.float32)
  for image, (one, count) in zip(pixels, [(129, 98), (127, 98), (129, 97)]):
    image.reshape(-1, 3)[:count] = one
  expected = np.repeat([[129], [127], [128], [128]], 3, axis=1)
  np.testing.assert_array_equal(network(pixels), expected)
  network.save(tmp_path / 'model.keras')
  again = tf_keras.models.load_model(tmp_path / 'model.keras')
  np.testing.assert_array_equal(again(pixels), expected)


def test_gradients_pass_an_average():
  network = pooled(layers.AveragePooling2D(14))
  pixels = tf.Variable(images(1, 14, 9))
  with tf.GradientTape() as tape:
    total = tf.reduce_sum(network(pixels))
  np.testing.assert_allclose(tape.gradient(total, pixels), 1 / 14**2, 1e-6)


def test_calibration_by_hand():
  network = two_layers()
  pixels = np.zeros((2, 2, 1, 1, 3), np.float32)
  pixels[0, :, 0, 0, 0] = 10, 30  # outputs 10, 20 and 30, 60
  pixels[1, :, 0, 0, 2] = 100, 0  # outputs -50.4, 0: none after ReLU
  fake_quant.calibrate(network, pixels)
  assert network.get_layer('image_range').weights == []
  (high,) = network.get_layer('relu_range').get_weights()
  assert high == pytest.approx(30)  # the mean of 60 and 0
  low, high = network.get_layer('mean_range').get_weights()
  assert (low, high) == (0, pytest.approx(30))
  (low, high) = network.get_layer('image_range').fixed
  assert (low, high) == (0, 255)


def test_calibration_without_images():
  with pytest.raises(ValueError, match='no images to calibrate with: expected'):
    fake_quant.calibrate(two_layers(), [])


def test_ranges_follow_training_until_they_are_frozen():
  network = two_layers()
  ranges = network.get_layer('relu_range')
  ranges.set_weights([20.0])
  pixels = np.full((1, 1, 1, 3), 10, np.float32)  # outputs 4.96 and 23
  greatest = 10 * (2 + 38 / 127)
  network(pixels)
  assert ranges.get_weights() == [20]
  network(pixels, training=True)
  followed = 20 + 0.01 * (greatest - 20)
  assert ranges.get_weights() == [pytest.approx(followed)]
  ranges.trainable = False
  network(pixels, training=True)
  assert ranges.get_weights() == [pytest.approx(followed)]


def test_gradients_pass_what_is_rounded_and_stop_at_what_is_clipped():
  network = two_layers()
  network.get_layer('relu_range').set_weights([300.0])
  network.get_layer('mean_range').set_weights([0.0, 1000.0])
  pixels = np.array([200, 7, 0], np.float32).reshape(1, 1, 1, 3)
  with tf.GradientTape() as tape:
    total = tf.reduce_sum(network(pixels))  # 200 passes, 402 is clipped
  gradient = tape.gradient(total, graph.kernels(network)['conv'])
  np.testing.assert_array_equal(gradient[0, 0], [[200, 0], [7, 0], [0, 0]])


def test_a_step_changes_kernels_and_statistics(plain):
  network = fake_quant.quantized(plain)
  pixels, labels = images(8, 64, 4), np.arange(8)
  fake_quant.calibrate(network, [pixels])
  before = {weight.name: weight.numpy() for weight in network.weights}
  network.compile(
    tf_keras.optimizers.SGD(0.1), 'sparse_categorical_crossentropy'
  )
  network.train_on_batch(pixels, labels)
  changed = {
    weight.name
    for weight in network.weights
    if (weight.numpy() != before[weight.name]).any()
  }
  for name in graph.kernels(network):
    assert f'{name}/kernel:0' in changed
    if name != 'logits':
      assert f'{name}_bn/moving_mean:0' in changed
      assert f'{name}_bn/moving_variance:0' in changed


def mobile() -> tf_keras.Model:
  """Inverted residuals, and every other layer that can be quantized."""
  relu6 = lambda x: layers.ReLU(6.0)(layers.BatchNormalization()(x))
  image = layers.Input((32, 32, 3), name='image')
  x = layers.Rescaling(1 / 127.5, -1, name='normalize')(image)
  x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
  x = relu6(layers.Conv2D(8, 3, 2, use_bias=False, name='stem')(x))
  y = relu6(layers.Conv2D(16, 1, use_bias=False)(x))
  y = relu6(layers.DepthwiseConv2D(3, padding='same', name='depthwise')(y))
  y = layers.BatchNormalization()(layers.Conv2D(8, 1)(y))
  x = layers.Add()([x, y])
  x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation='relu')(x)
  x = layers.Concatenate()(
    [layers.MaxPooling2D()(x), layers.AveragePooling2D()(x)]
  )
  x = layers.Conv2D(4, 1, activation='relu')(x)
  x = layers.Reshape((-1,))(layers.Flatten()(x))
  x = layers.Dense(24, use_bias=False)(x)
  x = layers.Activation('relu')(layers.BatchNormalization()(x))
  x = layers.Dropout(0.2)(layers.Dense(16, activation='relu')(x))
  x = layers.Activation('softmax')(layers.Dense(10, name='logits')(x))
  return tf_keras.Model(image, x)


@pytest.mark.long
def test_a_mobile_network_goes_through():
  tf_keras.utils.set_random_seed(1)
  model = mobile()
  pixels = images(64, 32, 5)
  rng = np.random.RandomState(0)
  for layer in model.layers:
    if isinstance(layer, layers.BatchNormalization):
      gamma = rng.uniform(0.5, 1.5, layer.gamma.shape)
      # Of these, the converter left to itself makes a float convolution.
      gamma[:2] = 0, -1
      layer.gamma.assign(gamma)
      layer.momentum = 0.5
  for _ in range(5):
    model(pixels, training=True)
  network = fake_quant.quantized(model)
  fake_quant.calibrate(network, [pixels])
  depthwise = graph.kernels(network)['depthwise']
  assert depthwise is network.get_layer('depthwise').depthwise_kernel
  file = converted(network)
  assert dtypes(file) == {'int8', 'uint8', 'int32'}
  pixels = images(50, 32, 6)
  expected, got = np.array(network(pixels)), outputs_of(file, pixels)
  assert snr_db(expected, got) >= 25
  assert snr_db(np.array(model(pixels)), expected) >= 20


@pytest.mark.parametrize('dtype', [types.IoDtype.INT8, types.IoDtype.FLOAT32])
def test_other_inputs_and_outputs(dtype):
  network = two_layers()
  fake_quant.calibrate(network, [images(8, 1, 7)])
  file = converted(network, dtype)
  (inputs,), (outputs,) = file.get_input_details(), file.get_output_details()
  assert np.dtype(inputs['dtype']).name == dtype.value
  assert np.dtype(outputs['dtype']).name == dtype.value
  if dtype is types.IoDtype.INT8:
    assert inputs['quantization'] == (1, -128)


def after_conv(add_layers) -> tf_keras.Model:
  image = layers.Input((8, 8, 3))
  x = layers.Conv2D(4, 3, name='conv')(image)
  return tf_keras.Model(image, add_layers(x))


def used_twice(x):
  twice = layers.Conv2D(4, 1, name='twice')
  return twice(twice(x))


def read_twice(x):
  return layers.Add()([x, layers.BatchNormalization(name='norm')(x)])


def three(x):
  return layers.Add(name='three')([x, x, x])


@pytest.mark.parametrize(
  ('add_layers', 'message'),
  [
    (
      layers.LeakyReLU(name='leaky'),
      r'leaky \(LeakyReLU\) cannot be quantized',
    ),
    (lambda x: x * 2.0, r'tf.math.multiply \(TFOpLambda\) cannot'),
    (layers.ReLU(1.0, name='one'), 'one .* got relu1, expected one of'),
    (layers.ReLU(threshold=1.0, name='late'), 'late .* shifted ReLU'),
    (layers.Activation('tanh', name='tanh'), 'tanh .* got tanh, expected one'),
    (layers.Dense(2, activation='softmax', name='head'), 'head .* got softmax'),
    (read_twice, r'norm \(Batch.* got it after conv, expected .* nothing else'),
    (used_twice, 'twice .* expected it to be called once'),
    (three, 'three .* got 3 inputs, expected 2'),
    (
      lambda x: layers.AveragePooling2D()(layers.Softmax(name='soft')(x)),
      'soft .* expected no pooling of probabilities',
    ),
    (lambda x: [x, x], 'has 1 inputs and 2 outputs: expected one each'),
  ],
)
def test_what_cannot_be_quantized_is_named(add_layers, message):
  with pytest.raises(ValueError, match=message):
    fake_quant.quantized(after_conv(add_layers))


def test_a_batch_normalization_called_for_inference_is_refused():
  model = after_conv(
    lambda x: layers.BatchNormalization(name='norm')(x, training=False)
  )
  with pytest.raises(ValueError, match='norm .* without arguments'):
    fake_quant.quantized(model)
