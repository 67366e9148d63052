"""SavedModels, frozen graphs and Keras files: what opens and what does not."""

import pathlib

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.runtimes import sample_models
from tfcompress.core import keras_files, measurements
from tfcompress.runtimes import load

SIZE = sample_models.SIZE
SHAPE = (None, SIZE, SIZE, 3)
IMAGES = np.random.RandomState(0).rand(2, SIZE, SIZE, 3).astype(np.float32)
v1 = tf.compat.v1
KERASES = pytest.mark.parametrize('lib', [tf_keras, keras])
SUFFIXES = pytest.mark.parametrize('suffix', keras_files.SUFFIXES)


def opened(path, **options):
  return load.open_file(measurements.OpenConfig(str(path), **options))


def require(path, expected, **options) -> None:
  got = opened(path, **options).predict(IMAGES)
  np.testing.assert_allclose(got, expected, atol=1e-5)


def refused(path, message: str, **options) -> None:
  with pytest.raises(ValueError, match=f'{path}: {message}') as caught:
    opened(path, **options)
  assert '\n' not in str(caught.value)


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> pathlib.Path:
  """A folder with files of TensorFlow 1 and one of several signatures."""
  root = tmp_path_factory.mktemp('tensorflow')
  sample_models.save_tf1(root)
  sample_models.save_several(root)
  return root


def test_signatures(root):
  path = root / 'several'
  kernel = sample_models.Several().kernel
  maps = tf.nn.conv2d(IMAGES, kernel, 1, 'VALID')
  expected = tf.reduce_mean(maps, (1, 2))
  require(path, expected, signature='any_size')
  require(path, expected, signature='any_size', xla=True)
  known = 'any_size, fixed, two'
  refused(path, f'signatures {known} and no serving_default; name one with')
  refused(path, f"no signature 'best'; it has {known}", signature='best')
  refused(path, '2 inputs .* --signature', signature='two')


def test_the_only_signature_whatever_its_name(tmp_path):
  module = sample_models.Several()
  tf.saved_model.save(module, str(tmp_path / 'a'), {'x': module.fixed})
  got = opened(tmp_path / 'a').predict(IMAGES[:1])
  np.testing.assert_allclose(got, IMAGES[:1].sum((1, 2)), rtol=1e-5)
  tf.saved_model.save(tf.Module(), str(tmp_path / 'b'))
  refused(tmp_path / 'b', 'a SavedModel without signatures; save it with')


def test_a_saved_model_of_strings(tmp_path):
  def scores(encoded):
    return tf.strings.to_number(encoded)[:, None]

  spec = tf.TensorSpec((None,), tf.string)
  module = tf.Module()
  module.f = tf.function(scores, input_signature=[spec])
  tf.saved_model.save(module, str(tmp_path / 'a'), module.f)
  refused(tmp_path / 'a', 'encoded is of dtype string, expected numbers')


def test_a_tf1_saved_model_of_two_graphs(tmp_path):
  with tf.Graph().as_default(), v1.Session() as session:
    image = v1.placeholder(tf.float32, SHAPE)
    weight = v1.get_variable('weight', initializer=2.0)
    builder = v1.saved_model.Builder(str(tmp_path / 'a'))
    session.run(v1.global_variables_initializer())
    signature = lambda scale: {
      'serving_default': v1.saved_model.predict_signature_def(
        {'x': image}, {'y': tf.reduce_mean(image * weight * scale, (1, 2))}
      )
    }
    builder.add_meta_graph_and_variables(session, ['train'], signature(5))
    builder.add_meta_graph(['serve'], signature(1))
    builder.save()
  require(tmp_path / 'a', 2 * IMAGES.mean((1, 2)))


def write_graph(path: pathlib.Path, build) -> str:
  with tf.Graph().as_default() as graph:
    build()
  path.write_bytes(graph.as_graph_def().SerializeToString())
  return str(path)


def two_of_each():
  image = v1.placeholder(tf.float32, SHAPE, name='image')
  keep = v1.placeholder(tf.float32, (), name='keep')
  scale = v1.placeholder_with_default(3.0, (), name='scale')
  tf.reduce_mean(image * scale, (1, 2), name='mean')
  tf.reduce_max(tf.multiply(image, keep, name='kept'), (1, 2), name='max')


def test_frozen_graphs_with_more_than_one_of_each(tmp_path):
  path = write_graph(tmp_path / 'a.pb', two_of_each)
  refused(path, r'2 tensors may be its output \(mean:0, max:0\); name one with')
  refused(path, '2 tensors may be its input', output_name='max')
  refused(path, "no tensor 'x'; --output_name may be one", output_name='x')
  refused(
    path, "no tensor 'x'; --input_name", output_name='mean', input_name='x'
  )
  refused(
    path,
    'max:0 takes keep:0 beside image:0, expected one input',
    input_name='image',
    output_name='max',
  )
  require(path, 3 * IMAGES.mean((1, 2)), output_name='mean')
  require(
    path, IMAGES.max((1, 2)), input_name='kept:0', output_name='max', xla=True
  )


def test_files_that_are_no_frozen_graphs(root, tmp_path):
  refused(
    root / 'tf1' / 'saved_model.pb',
    f'the graph of a SavedModel, .* give its folder, {root}/tf1',
  )
  variables = lambda: v1.Variable(1.0, name='weight', use_resource=False)
  path = write_graph(tmp_path / 'a.pb', variables)
  refused(path, r'a graph with variables \(weight\), expected a frozen one')


@KERASES
def test_inputs_in_a_dict(lib, tmp_path):
  image = lib.layers.Input(SHAPE[1:], name='image')
  scores = lib.layers.GlobalAveragePooling2D()(image)
  lib.Model({'image': image}, {'s': scores}).save(tmp_path / 'a.keras')
  require(tmp_path / 'a.keras', IMAGES.mean((1, 2)))


@pytest.mark.parametrize('lib', [tf_keras, keras])
def test_old_h5_files_that_tell_no_version(lib, tmp_path):
  path = tmp_path / 'a.h5'
  # What only Keras 3 can read has its own class names for what tf_keras lacks.
  more = [] if lib is tf_keras else [keras.layers.RMSNormalization()]
  model = sample_models.network(lib, *more)
  model.save(path)
  with h5py.File(path, 'a') as file:
    del file.attrs['keras_version']
  require(path, model.predict(IMAGES, verbose=0))


def test_old_h5_files_that_neither_keras_reads(tmp_path):
  path = tmp_path / 'a.hdf5'
  sample_models.network(tf_keras).save(path, save_format='h5')
  with h5py.File(path, 'a') as file:
    del file.attrs['keras_version']
    config = file.attrs['model_config']
    file.attrs['model_config'] = config.replace('"Conv2D"', '"Conv2E"')
  refused(path, "'Conv2E' is not of Keras; register")
  with pytest.raises(
    ValueError, match=r'neither tf_keras \(.*Conv2E.*\) nor Keras 3 \(.*Conv2E'
  ):
    keras_files.load(str(path))


@KERASES
@SUFFIXES
def test_custom_layers(lib, suffix, tmp_path):
  source = (
    f'import {lib.__name__}\n'
    f'class Shift(keras.layers.Layer):\n'
    '  def call(self, x):\n'
    '    return x * x\n'
  ).replace('(keras.', f'({lib.__name__}.')
  (tmp_path / 'my_layers.py').write_text(source)
  names = {'__name__': 'my_layers'}
  exec(source, names)
  model = sample_models.network(lib, names['Shift'](name='shift'))
  path = tmp_path / f'a{suffix}'
  model.save(path)
  known = dict(tf_keras.utils.get_custom_objects())
  try:
    refused(path, "'Shift' is not of Keras; .* --custom_objects=MODULE")
    require(
      path,
      model.predict(IMAGES, verbose=0),
      custom_objects=str(tmp_path / 'my_layers.py'),
    )
  finally:
    tf_keras.utils.get_custom_objects().clear()
    tf_keras.utils.get_custom_objects().update(known)


@KERASES
@SUFFIXES
def test_code_in_a_file_is_not_run(lib, suffix, tmp_path):
  ran = tmp_path / 'ran'
  touch = lambda x, ran=str(ran): __import__('pathlib').Path(ran).touch() or x
  code = lib.layers.Lambda(touch, name='code')
  path = tmp_path / f'a{suffix}'
  sample_models.network(lib, code).save(path)
  ran.unlink()
  refused(path, 'layer code is a Lambda, whose code is not run from a file')
  assert not ran.exists()


@KERASES
def test_subclassed_models_that_tell_no_input(lib, tmp_path):
  class Net(lib.Model):
    def call(self, x):
      return x

  @lib.saving.register_keras_serializable('tests')
  class Known(Net):
    pass

  model = Known()
  model(IMAGES)
  model.save(tmp_path / 'a.keras')
  refused(tmp_path / 'a.keras', 'Known does not tell its input: a subclassed')


def test_a_gpu_that_is_not_there(root):
  if tf.config.list_physical_devices('GPU'):
    pytest.skip('there is a GPU')
  refused(
    root / 'frozen.pb',
    r"a GPU was asked for .* sees none .*CPU:0\); .*'tensorflow\[and-cuda\]",
    device=measurements.Device.GPU,
  )


def test_what_fails_while_it_runs(tmp_path):
  def divide():
    image = v1.placeholder(tf.int32, SHAPE)
    tf.reduce_mean(image // tf.reduce_max(image), (1, 2))

  backend = opened(write_graph(tmp_path / 'a.pb', divide))
  with pytest.raises(ValueError) as caught:
    backend.predict(np.zeros((2, SIZE, SIZE, 3), np.int32))
  expected = 'TensorFlow cannot run the model (Integer division by zero)'
  assert str(caught.value) == expected


def test_operators_that_tensorflow_lacks(root, tmp_path):
  graph = v1.GraphDef.FromString((root / 'frozen.pb').read_bytes())
  next(node for node in graph.node if node.op == 'Relu').op = 'MyRelu'
  (tmp_path / 'a.pb').write_bytes(graph.SerializeToString())
  refused(tmp_path / 'a.pb', ".*Op type not registered 'MyRelu'")


def spoiled(content: bytes) -> list[bytes]:
  """Cut off, and with a bit or some bytes flipped, seven times."""
  rng = np.random.RandomState(0)
  found = [content[: len(content) // 2], content[:9]]
  for flips in (1, 1, 1, 16, 16):
    flipped = np.frombuffer(content, np.uint8).copy()
    flipped[rng.randint(0, len(content), flips)] ^= 1 << rng.randint(8)
    found.append(flipped.tobytes())
  return found


def test_damaged_files(root, tmp_path):
  for lib in (tf_keras, keras):
    for suffix in keras_files.SUFFIXES:
      sample_models.network(lib).save(tmp_path / f'{lib.__name__}{suffix}')
  refusals = 0
  for source in [*tmp_path.iterdir(), root / 'frozen.pb']:
    for number, content in enumerate(spoiled(source.read_bytes())):
      path = tmp_path / f'{number}{source.name}'
      path.write_bytes(content)
      try:
        opened(path)
      except ValueError as error:
        refusals += 1
        assert str(error).startswith(f'{path}: ')
        assert '\n' not in str(error)
  assert refusals > 15  # Some flips change nothing but a weight.
