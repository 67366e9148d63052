import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.core import keras_files, types
from tfcompress.models import keras3, outside

L = keras.layers
K = tf_keras.layers
RAW, UNIT = types.Normalization.RAW, types.Normalization.UNIT
PIXELS = (
  np.random.RandomState(1).randint(0, 256, (5, 8, 8, 3)).astype('float32')
)
KERASES = pytest.mark.parametrize('lib', [tf_keras, keras], ids=['2', '3'])
SUFFIXES = pytest.mark.parametrize('suffix', keras_files.SUFFIXES)


def randomize(model):
  """Gives every weight a value that no initializer gives."""
  rng = np.random.RandomState(2)
  for layer in model.layers:
    if hasattr(layer, 'layers'):
      randomize(layer)
    elif type(layer).__name__ != 'Normalization':
      layer.set_weights(
        [rng.uniform(0.1, 0.9, w.shape) for w in layer.get_weights()]
      )
  return model


def classifier(lib, *blocks):
  """Blocks of layers between an 8x8 image and three logits."""
  image = x = lib.layers.Input((8, 8, 3))
  for block in blocks:
    x = block(x)
  if len(x.shape) > 2:
    x = lib.layers.GlobalAveragePooling2D(name='gap')(x)
  return randomize(lib.Model(image, lib.layers.Dense(3, name='head')(x)))


def save(model, tmp_path, suffix='.keras') -> str:
  path = str(tmp_path / f'model{suffix}')
  model.save(path)
  return path


def logits(model, pixels=PIXELS):
  assert type(model.layers[-1]).__name__ == 'Softmax'
  return np.array(tf_keras.Model(model.input, model.layers[-1].input)(pixels))


def outputs_of(model, pixels):
  return np.array(model(pixels.astype('float32'), training=False))


def softmax(z):
  e = np.exp(z - z.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def reload(model, tmp_path, scaling=UNIT, suffix='.keras'):
  """Loads a model of logits, and compares with what it was saved from."""
  loaded = outside.load(save(model, tmp_path, suffix), scaling)
  expected = outputs_of(model, PIXELS * scaling.scale + scaling.offset)
  assert expected.std() > 1e-3  # else nothing would be compared
  np.testing.assert_allclose(logits(loaded), expected, rtol=1e-5, atol=1e-5)
  probabilities = np.array(loaded(PIXELS))
  np.testing.assert_allclose(probabilities, softmax(expected), atol=1e-5)
  return loaded


def names(model):
  return [layer.name for layer in model.layers]


def kinds(model):
  return [type(layer).__name__ for layer in model.layers]


def adapted(layer):
  layer.adapt(PIXELS / 255)
  return layer


def merge(layer):
  return lambda x: layer([x, L.Conv2D(3, 3, padding='same')(x)])


BLOCKS = {
  'Activation': lambda: L.Activation('tanh'),
  'Add': lambda: merge(L.Add()),
  'AlphaDropout': lambda: L.AlphaDropout(0.5),
  'Average': lambda: merge(L.Average()),
  'AveragePooling2D': lambda: L.AveragePooling2D(3, 2, 'same'),
  'BatchNormalization': lambda: L.BatchNormalization(epsilon=0.01),
  'Concatenate': lambda: merge(L.Concatenate()),
  'Conv2D': lambda: L.Conv2D(4, (3, 5), 2, 'same', kernel_regularizer='l2'),
  'Cropping2D': lambda: L.Cropping2D(((1, 2), (0, 3))),
  'Dense': lambda: L.Dense(4, 'relu', use_bias=False),
  'DepthwiseConv2D': lambda: L.DepthwiseConv2D(3, 2, depth_multiplier=2),
  'Dropout': lambda: L.Dropout(0.5, noise_shape=(None, 1, 1, 1)),
  'ELU': lambda: lambda x: L.ELU(0.3)(L.Rescaling(2.0, -1.0)(x)),
  'Flatten': lambda: L.Flatten(),
  'GaussianDropout': lambda: L.GaussianDropout(0.5),
  'GaussianNoise': lambda: L.GaussianNoise(0.5, seed=3),
  'GlobalAveragePooling2D': lambda: L.GlobalAveragePooling2D(keepdims=True),
  'GlobalMaxPooling2D': lambda: L.GlobalMaxPooling2D(keepdims=True),
  'GroupNormalization': lambda: L.GroupNormalization(3),
  'LayerNormalization': lambda: L.LayerNormalization(),
  'LeakyReLU': lambda: (
    lambda x: L.LeakyReLU(negative_slope=0.4)(L.Rescaling(2.0, -1.0)(x))
  ),
  'MaxPooling2D': lambda: L.MaxPooling2D(2),
  'Maximum': lambda: merge(L.Maximum()),
  'Minimum': lambda: merge(L.Minimum()),
  'Multiply': lambda: merge(L.Multiply()),
  'Normalization': lambda: adapted(L.Normalization()),
  'PReLU': lambda: (
    lambda x: L.PReLU(shared_axes=[1, 2])(L.Rescaling(2.0, -1.0)(x))
  ),
  'Permute': lambda: L.Permute((3, 1, 2)),
  'ReLU': lambda: L.ReLU(0.6, negative_slope=0.1, threshold=0.21),
  'Rescaling': lambda: L.Rescaling([1.0, 2.0, 3.0], [0.1, 0.2, 0.3]),
  'Reshape': lambda: L.Reshape((4, 16, -1)),
  'Resizing': lambda: L.Resizing(5, 3, crop_to_aspect_ratio=True),
  'SeparableConv2D': lambda: L.SeparableConv2D(4, 3, activation='relu'),
  'Softmax': lambda: L.Softmax(axis=1),
  'SpatialDropout2D': lambda: L.SpatialDropout2D(0.5),
  'Subtract': lambda: merge(L.Subtract()),
  'UpSampling2D': lambda: L.UpSampling2D(2, interpolation='bilinear'),
  'ZeroPadding2D': lambda: L.ZeroPadding2D(((1, 0), (0, 2))),
}


def test_blocks_cover_what_is_supported():
  assert set(BLOCKS) == keras3.SUPPORTED


@pytest.mark.parametrize('kind', BLOCKS)
def test_layer_of_keras_3(kind, tmp_path):
  reload(classifier(keras, BLOCKS[kind]()), tmp_path)


@pytest.mark.parametrize('activation', keras3.ACTIVATIONS)
def test_activation_of_keras_3(activation, tmp_path):
  spread = lambda: L.Rescaling(14.0, -7.0)
  conv = L.Conv2D(3, 1, activation=activation, name='conv')
  model = classifier(keras, spread(), conv)
  conv.set_weights([np.eye(3)[None, None] * 0.9, np.array([-1, 0, 1])])
  assert 'conv' in names(reload(model, tmp_path))
  layer = L.Activation(activation, name='activation')
  loaded = reload(classifier(keras, spread(), layer), tmp_path)
  assert ('activation' in names(loaded)) == (activation != 'linear')


@pytest.mark.parametrize(
  'statistics',
  [
    {'axis': None, 'mean': 0.4, 'variance': 0.1},
    {'mean': [0.1, 0.2, 0.3], 'variance': [1, 2, 3]},
    {'mean': 0.2, 'variance': 0.3, 'invert': True},
  ],
)
@KERASES
def test_given_normalization(lib, statistics, tmp_path):
  layer = lib.layers.Normalization(**statistics)
  loaded = reload(classifier(lib, layer), tmp_path)
  assert kinds(loaded).count('Rescaling') == 2
  assert 'Normalization' not in kinds(loaded)


def residual(lib, size=8, blocks=2):
  L = lib.layers
  image = L.Input((size, size, 3))
  x = L.Conv2D(4, 3, padding='same', use_bias=False)(image)
  for _ in range(blocks):
    y = L.BatchNormalization()(x)
    y = L.Conv2D(4, 3, padding='same', use_bias=False)(L.ReLU()(y))
    y = L.Conv2D(4, 1)(L.Activation('relu')(L.BatchNormalization()(y)))
    x = L.Add()([x, y])
  x = L.Dropout(0.2)(L.GlobalAveragePooling2D()(x))
  return randomize(lib.Model(image, L.Dense(3, name='head')(x)))


@KERASES
@SUFFIXES
def test_residual_network(lib, suffix, tmp_path):
  model = residual(lib)
  loaded = reload(model, tmp_path, UNIT, suffix)
  assert loaded.count_params() == model.count_params()
  # The input, its scaling and the softmax are new.
  assert names(loaded)[2:-1] == names(model)[1:]
  assert loaded.name == model.name
  assert all(layer.trainable for layer in loaded.layers)
  assert not loaded.losses


@KERASES
@SUFFIXES
def test_sequential_with_softmax(lib, suffix, tmp_path):
  L = lib.layers
  model = lib.Sequential(
    [
      L.Input((8, 8, 3)),
      L.Conv2D(4, 3, activation='relu'),
      L.Flatten(),
      L.Dense(3, activation='softmax', name='head'),
    ]
  )
  path = save(randomize(model), tmp_path, suffix)
  loaded = outside.load(path, UNIT)
  np.testing.assert_allclose(loaded(PIXELS), model(PIXELS / 255), atol=1e-5)
  kernel, bias = model.layers[-1].get_weights()
  assert names(loaded)[-2:] == ['head', 'probabilities']
  assert loaded.get_layer('head').activation.__name__ == 'linear'
  np.testing.assert_array_equal(loaded.get_layer('head').kernel, kernel)
  features = tf_keras.Model(loaded.input, loaded.layers[-2].input)(PIXELS)
  by_hand = np.array(features) @ kernel + bias
  np.testing.assert_allclose(logits(loaded), by_hand, rtol=1e-5)


@KERASES
def test_submodels_are_taken_apart(lib, tmp_path):
  L = lib.layers
  augmentation = lib.Sequential([L.RandomFlip(), L.RandomRotation(0.1)])
  inner = lib.Sequential(
    [L.Conv2D(4, 1, name='conv'), L.BatchNormalization(name='bn')], name='inner'
  )
  x = image = L.Input((8, 8, 3))
  x = L.ReLU(name='relu')(L.Conv2D(3, 3, name='conv')(inner(x)))
  base = lib.Model(image, x, name='base')
  image = L.Input((8, 8, 3), name='pixels')
  x = L.ReLU(name='relu')(base(augmentation(image), training=False))
  x = L.Dense(3, name='head')(L.GlobalMaxPooling2D(name='pool')(x))
  base.trainable = False
  model = randomize(lib.Model(image, x))
  loaded = reload(model, tmp_path, RAW)
  assert names(loaded)[1:] == [
    'inner_conv', 'bn', 'conv', 'base_relu', 'relu', 'pool', 'head',
    'probabilities',
  ]  # fmt: skip
  assert not any(hasattr(layer, 'layers') for layer in loaded.layers)
  assert len(loaded.trainable_weights) == 8


@KERASES
def test_arithmetic_between_layers(lib, tmp_path):
  def block(x):
    x = 2.0 - (x / 0.5 - np.float32(0.25)) * np.array([1, 2, 3], 'float32')
    y = lib.layers.Conv2D(3, 1)(1.0 + x)
    return (x + y) * lib.layers.ReLU()(x - y)

  loaded = reload(classifier(lib, block), tmp_path)
  assert kinds(loaded).count('Rescaling') == 6
  assert not any('Op' in kind for kind in kinds(loaded))


@KERASES
def test_only_dropout_is_left_of_training(lib, tmp_path):
  L = lib.layers
  model = classifier(
    lib,
    L.RandomContrast(0.1),
    L.RandomTranslation(0.1, 0.1),
    L.GaussianNoise(0.1),
    L.Activation('linear'),
    L.Conv2D(4, 3, kernel_regularizer='l2', kernel_constraint='max_norm'),
    L.Dropout(0.3),
  )
  loaded = reload(model, tmp_path, RAW)
  assert kinds(loaded)[1:4] == ['GaussianNoise', 'Conv2D', 'Dropout']
  assert loaded.layers[3].rate == 0.3
  assert loaded.layers[2].kernel_regularizer is None
  assert loaded.layers[2].kernel_constraint is None


@KERASES
@pytest.mark.parametrize('policy', ['mixed_bfloat16', 'float16', 'float64'])
def test_other_floats_become_float32(lib, policy, tmp_path):
  statistics = {'mean': [0.1, 0.2, 0.3], 'variance': [1, 2, 3]}
  normalize = lambda: lib.layers.Normalization(**statistics)
  double = lambda x: x * 2.0
  conv = lambda: lib.layers.Conv2D(4, 3, activation='relu')
  try:
    lib.mixed_precision.set_global_policy(policy)
    model = classifier(lib, normalize(), double, conv())
    loaded = outside.load(save(model, tmp_path), UNIT)
  finally:
    lib.mixed_precision.set_global_policy('float32')
  assert {layer.compute_dtype for layer in loaded.layers} == {'float32'}
  single = classifier(lib, normalize(), double, conv())
  for layer, other in zip(single.layers, model.layers):
    layer.set_weights([w.astype('float32') for w in other.get_weights()])
  expected = outputs_of(single, PIXELS / 255)
  np.testing.assert_allclose(logits(loaded), expected, rtol=1e-5, atol=1e-5)


@KERASES
def test_inputs_and_outputs_in_structures(lib, tmp_path):
  image = lib.layers.Input((8, 8, 3), dtype='uint8', name='pixels')
  x = lib.layers.Rescaling(1 / 255)(image)
  x = lib.layers.Dense(3, name='head')(lib.layers.Flatten()(x))
  model = randomize(lib.Model({'pixels': image}, {'logits': x}))
  loaded = outside.load(save(model, tmp_path), RAW)
  kernel, bias = model.get_layer('head').get_weights()
  by_hand = PIXELS.reshape(5, -1) / 255 @ kernel + bias
  np.testing.assert_allclose(logits(loaded), by_hand, rtol=1e-5)
  assert loaded.input.dtype == 'float32'


def test_names_that_tf_keras_does_not_take(tmp_path):
  convs = [L.Conv2D(3, 1, name=name) for name in ('my conv', '_conv', 'image')]
  loaded = reload(classifier(keras, *convs), tmp_path, RAW)
  assert names(loaded)[:4] == ['image_2', 'my_conv', 'layer_conv', 'image']


@pytest.mark.parametrize('scaling', list(types.Normalization))
def test_scaling_is_put_in_front(scaling, tmp_path):
  model = classifier(keras, L.Conv2D(4, 3, name='normalize'))
  loaded = reload(model, tmp_path, scaling)
  scaled = scaling is not RAW
  assert kinds(loaded)[1] == ('Rescaling' if scaled else 'Conv2D')
  assert ('normalize_2' in names(loaded)) == scaled
  if scaled:
    np.testing.assert_allclose(
      loaded.layers[1](PIXELS),
      PIXELS * scaling.scale + scaling.offset,
      atol=1e-6,
    )


@KERASES
@pytest.mark.parametrize('ending', ['Softmax', 'Activation', 'Reshape'])
def test_probabilities_are_kept(lib, ending, tmp_path):
  L = lib.layers
  model = classifier(lib)
  x = {
    'Softmax': L.Softmax(),
    'Activation': L.Activation('softmax'),
    'Reshape': lambda x: L.Reshape((3,))(L.Softmax()(x)),
  }[ending](model.output)
  model = lib.Model(model.input, x)
  loaded = outside.load(save(model, tmp_path), UNIT)
  assert kinds(loaded)[-1] == ending
  np.testing.assert_allclose(loaded(PIXELS), model(PIXELS / 255), atol=1e-6)


def test_result_can_be_saved_and_loaded(tmp_path):
  loaded = reload(residual(keras), tmp_path)
  again = keras_files.load(save(loaded, tmp_path))
  np.testing.assert_array_equal(again(PIXELS), loaded(PIXELS))


@pytest.mark.long
def test_mobilenet_v2_of_keras_3(tmp_path):
  model = keras.applications.MobileNetV2(
    (32, 32, 3), 0.35, weights=None, classes=10
  )
  rng = np.random.RandomState(0)
  kernel, bias = model.layers[-1].get_weights()
  model.layers[-1].set_weights([rng.randn(*kernel.shape), bias + 0.1])
  symmetric = types.Normalization.SYMMETRIC
  loaded = outside.load(save(model, tmp_path), symmetric)
  pixels = rng.randint(0, 256, (2, 32, 32, 3)).astype('float32')
  assert loaded.count_params() == model.count_params() == 423018
  np.testing.assert_allclose(
    loaded(pixels), model(pixels / 127.5 - 1), atol=1e-5
  )


CUSTOM = """
import tf_keras
from tf_keras.layers import Dense

class Shift(tf_keras.layers.Layer):
  def __init__(self, by, function=None, **kwargs):
    super().__init__(**kwargs)
    self.by = by

  def build(self, shape):
    self.weight = self.add_weight('weight', shape[-1:])

  def call(self, x):
    return x + self.by * self.weight

  def get_config(self):
    return super().get_config() | {'by': self.by}

def double(x):
  return x * 2
"""


@pytest.fixture
def custom(tmp_path, monkeypatch):
  """The names in a module in the current directory, forgotten afterwards."""
  known = dict(tf_keras.utils.get_custom_objects())
  (tmp_path / 'my_layers.py').write_text(CUSTOM)
  monkeypatch.chdir(tmp_path)
  names = {'__name__': 'my_layers'}
  exec(CUSTOM, names)
  yield names
  tf_keras.utils.get_custom_objects().clear()
  tf_keras.utils.get_custom_objects().update(known)


@SUFFIXES
@pytest.mark.parametrize('module', ['my_layers', './my_layers.py'])
def test_custom_layer_of_tf_keras(module, suffix, custom, tmp_path):
  model = classifier(tf_keras, custom['Shift'](3.0, name='shift'))
  loaded = outside.load(save(model, tmp_path, suffix), UNIT, module)
  expected = np.array(model(PIXELS / 255))
  np.testing.assert_allclose(logits(loaded), expected, rtol=1e-5)
  assert loaded.get_layer('shift').by == 3.0
  # They stay known, so that the network can be built anew.
  assert names(tf_keras.models.clone_model(loaded)) == names(loaded)
  assert 'Dense' not in tf_keras.utils.get_custom_objects()


def test_custom_function_of_tf_keras(custom, tmp_path):
  conv = K.Conv2D(3, 1, activation=custom['double'])
  model = classifier(tf_keras, conv)
  loaded = outside.load(save(model, tmp_path), UNIT, 'my_layers')
  expected = np.array(model(PIXELS / 255))
  np.testing.assert_allclose(logits(loaded), expected, rtol=1e-5)
  # tf_keras writes functions to .h5 files as it cannot read them.
  with pytest.raises(ValueError, match=r'in spite of .* \(double\): .*Unknown'):
    outside.load(save(model, tmp_path, '.h5'), UNIT, 'my_layers')


@SUFFIXES
def test_custom_objects_are_named(suffix, custom, tmp_path):
  shift = custom['Shift'](3.0)
  path = save(classifier(tf_keras, shift), tmp_path, suffix)
  with pytest.raises(ValueError, match="'Shift' .* --custom_objects=MODULE"):
    outside.load(path, UNIT)
  activation = K.Activation(custom['double'])
  path = save(classifier(tf_keras, activation), tmp_path, suffix)
  with pytest.raises(ValueError, match="'double' .* --custom_objects=MODULE"):
    outside.load(path, UNIT)
  with pytest.raises(
    ValueError, match='custom_objects=nowhere: ModuleNotFoundError: No mod'
  ):
    outside.load(path, UNIT, 'nowhere')
  with pytest.raises(ValueError, match='custom_objects=nowhere.py: .*No such'):
    outside.load(path, UNIT, 'nowhere.py')


CUSTOM_3 = """
import keras

class Shift3(keras.layers.Layer):
  def call(self, x):
    return x + 1

def double(x):
  return x * 2
"""


@SUFFIXES
def test_custom_layers_of_keras_3_are_refused(suffix, custom, tmp_path):
  (tmp_path / 'my_layers_3.py').write_text(CUSTOM_3)
  exec(CUSTOM_3, custom)
  layer = custom['Shift3'](name='shift')
  path = save(classifier(keras, layer), tmp_path, suffix)
  with pytest.raises(ValueError, match="'Shift3' .* --custom_objects=MODULE"):
    outside.load(path, UNIT)
  with pytest.raises(ValueError, match=r'layer shift is a custom .*\(Shift3\)'):
    outside.load(path, UNIT, 'my_layers_3.py')
  activation = L.Activation(custom['double'], name='act')
  path = save(classifier(keras, activation), tmp_path, suffix)
  with pytest.raises(ValueError, match="'double' .* --custom_objects=MODULE"):
    outside.load(path, UNIT)
  with pytest.raises(
    ValueError, match='layer act has activation double, which'
  ):
    outside.load(path, UNIT, 'my_layers_3.py')


def two_inputs(lib):
  images = [lib.layers.Input((8, 8, 3)) for _ in range(2)]
  x = lib.layers.Flatten()(lib.layers.Add()(images))
  return lib.Model(images, lib.layers.Dense(3)(x))


def two_outputs(lib):
  model = classifier(lib)
  return lib.Model(model.input, [model.output, model.output])


def input_of(*shape):
  def model(lib):
    image = lib.layers.Input(shape)
    x = lib.layers.GlobalMaxPooling2D()(lib.layers.Conv2D(3, 1)(image))
    return lib.Model(image, x)

  return model


def output_of(*layer_names_and_arguments):
  def model(lib):
    x = classifier(lib)
    y = x.output
    for name, *arguments in layer_names_and_arguments:
      y = getattr(lib.layers, name)(*arguments, name='last')(y)
    return lib.Model(x.input, y)

  return model


def unbuilt(lib):
  return lib.Sequential([lib.layers.Flatten(), lib.layers.Dense(3)])


def shared_layer(lib):
  conv = lib.layers.Conv2D(3, 1, name='twice')
  return classifier(lib, conv, lib.layers.ReLU(), conv)


def shared_submodel(lib):
  base = lib.Sequential(
    [lib.layers.Input((8, 8, 3)), lib.layers.Conv2D(3, 1)], name='twice'
  )
  return classifier(lib, base, lib.layers.ReLU(), base)


def submodel_of_two_inputs(lib):
  images = [lib.layers.Input((8, 8, 3)) for _ in range(2)]
  two = lib.Model(images, lib.layers.Add()(images), name='two')
  return classifier(lib, lambda x: two([x, x]))


def channels_first(lib):
  pool = lib.layers.MaxPooling2D(1, data_format='channels_first', name='pool')
  return classifier(lib, pool)


def operation(lib):
  if lib is keras:
    return classifier(lib, keras.ops.relu)
  return classifier(lib, lambda x: tf_keras.backend.relu(x))


@KERASES
@pytest.mark.parametrize(
  'model, message',
  [
    (two_inputs, 'a model of 2 inputs and 1 outputs, expected one of each'),
    (two_outputs, 'a model of 1 inputs and 2 outputs, expected one of each'),
    (unbuilt, 'a model of 0 inputs and unknown outputs, expected one of each'),
    (
      input_of(8, 9, 3),
      r'input \(None, 8, 9, 3\), expected \(None, S, S, 3\) of a fixed S',
    ),
    (input_of(8, 8, 1), r'input \(None, 8, 8, 1\), expected \(None, S, S, 3'),
    (
      input_of(None, None, 3),
      r'input \(None, None, None, 3\), expected \(None, S, S, 3\)',
    ),
    (
      output_of(['Reshape', (1, 3)]),
      r'output \(None, 1, 3\), expected \(None, classes\)',
    ),
    (
      output_of(['Dense', 1, 'sigmoid']),
      '1 output, expected at least 2 classes',
    ),
    (
      output_of(['Dense', 4, 'sigmoid']),
      'layer last ends the model in sigmoid, expected a softmax or logits',
    ),
    (
      output_of(['Activation', 'sigmoid']),
      'layer last ends the model in sigmoid, expected a softmax or logits',
    ),
    (shared_layer, 'layer twice is called more than once, expected once'),
    (shared_submodel, 'layer twice is called more than once, expected once'),
    (submodel_of_two_inputs, 'two has 2 inputs, expected one'),
    (
      channels_first,
      "layer pool has data_format='channels_first', expected channels_last",
    ),
    (
      operation,
      r"layer .*relu is the bare operation 'relu', expected the layer ReLU",
    ),
  ],
)
def test_refusals(lib, model, message, tmp_path):
  path = save(model(lib), tmp_path)
  with pytest.raises(ValueError, match=f'model.keras: {message}'):
    outside.load(path, RAW)


def test_dropout_at_inference_is_refused(tmp_path):
  dropout = K.Dropout(0.5, name='drop')
  model = classifier(tf_keras, lambda x: dropout(x, training=True))
  with pytest.raises(ValueError, match='layer drop .* with training=True, exp'):
    outside.load(save(model, tmp_path), RAW)


@KERASES
@SUFFIXES
def test_lambdas_are_refused_and_not_run(lib, suffix, tmp_path):
  inner = lib.Sequential(
    [lib.layers.Lambda(lambda x: x + 1, name='code', output_shape=(8, 8, 3))]
  )
  path = save(classifier(lib, inner), tmp_path, suffix)
  with pytest.raises(ValueError, match='layer code is a Lambda, .* not run'):
    outside.load(path, RAW)


@KERASES
def test_subclassed_models_are_refused(lib, tmp_path):
  class Net(lib.Model):
    def __init__(self, **kwargs):
      super().__init__(**kwargs)
      self.dense = lib.layers.Dense(3)

    def call(self, x):
      return self.dense(x)

  model = Net()
  model(PIXELS)
  with pytest.raises(ValueError, match=r'a subclassed model \(Net\), expected'):
    outside.load(save(model, tmp_path), RAW)


@pytest.mark.parametrize(
  'layer, message',
  [
    (
      lambda: L.Activation('squareplus', name='x'),
      'layer x has activation squareplus, which tf_keras lacks; available: elu',
    ),
    (
      lambda: L.Conv2D(3, 1, activation=L.ReLU(3.0), name='x'),
      'layer x has activation ReLU, which tf_keras lacks',
    ),
    (
      lambda: L.RMSNormalization(name='x'),
      'layer x is a RMSNormalization, which is not rebuilt in tf_keras; avail',
    ),
    (
      lambda: L.Resizing(5, 5, antialias=True, name='x'),
      'layer x has antialias=True, which tf_keras lacks; expected False',
    ),
    (
      lambda: L.LayerNormalization(rms_scaling=True, name='x'),
      'layer x has rms_scaling=True, which tf_keras lacks; expected False',
    ),
    (
      lambda: adapted(L.Normalization(axis=1, name='x')),
      r'layer x is a Normalization of axis \(1,\), expected statistics of the',
    ),
  ],
)
def test_what_tf_keras_lacks_is_refused(layer, message, tmp_path):
  path = save(classifier(keras, layer()), tmp_path)
  with pytest.raises(ValueError, match=message):
    outside.load(path, UNIT)


def test_quantized_layers_are_refused(tmp_path):
  model = classifier(keras)
  model.quantize('int8')
  with pytest.raises(ValueError, match=r'layer head is quantized \(int8\)'):
    outside.load(save(model, tmp_path), UNIT)


@pytest.mark.parametrize('wrong', ['relu', 'tanh'])
def test_other_outputs_are_refused(wrong, tmp_path, monkeypatch):
  monkeypatch.setitem(keras3._SAME, 'gelu', wrong)
  path = save(classifier(keras, L.Activation('gelu')), tmp_path)
  with pytest.raises(
    ValueError, match=r'outputs differ by 0.\d+, expected at most \d\S*e-05'
  ):
    outside.load(path, UNIT)


def test_files_that_hold_no_model_are_refused(tmp_path):
  path = str(tmp_path / 'model.weights.h5')
  classifier(keras).save_weights(path)
  with pytest.raises(ValueError, match='no model config found.*model.save'):
    outside.load(path, RAW)
  with pytest.raises(ValueError, match='nowhere.keras: no such model file'):
    outside.load('nowhere.keras', RAW)
  (tmp_path / 'a.keras').write_text('text')
  with pytest.raises(ValueError, match='a.keras: not a .keras file'):
    outside.load(str(tmp_path / 'a.keras'), RAW)
