"""One suite over every backend, and the numbers on both sides of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert import interpreter as litert

from tests.runtimes import sample_models
from tfcompress.core import measurements, types
from tfcompress.models import io
from tfcompress.runtimes import interface, litert_cpu, load

IMAGES = np.random.RandomState(0).randint(0, 256, (3, 48, 48, 3), np.uint8)


@pytest.fixture(scope='session')
def paths(baseline, exported, tmp_path_factory) -> dict[str, str]:
  """One model in every format."""
  root = tmp_path_factory.mktemp('formats')
  model, _ = io.load(baseline)
  model.save(root / 'model.h5')
  model.save(root / 'model.keras')
  tf.saved_model.save(model, str(root / 'saved'))
  return {
    'artifact': baseline,
    'keras': str(root / 'model.keras'),
    'h5': str(root / 'model.h5'),
    'saved_model': str(root / 'saved'),
    'export': exported[types.Variant.FLOAT32],
    'tflite': exported[types.Variant.FLOAT32] + '/model.tflite',
    'int8': exported[types.Variant.INT8],
  }


def by_keras(lib):
  return lambda path, image: lib.models.load_model(path, compile=False).predict(
    image, verbose=0
  )


def by_signature(path: str, image: np.ndarray) -> np.ndarray:
  signature = tf.saved_model.load(path).signatures['serving_default']
  (name,) = signature.structured_input_signature[1]
  (scores,) = signature(**{name: tf.constant(image)}).values()
  return scores.numpy()


def by_session(load_graph):
  """TensorFlow 1: what `load_graph` puts into a graph, in a session."""

  def scores(path: str, image: np.ndarray) -> np.ndarray:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
      load_graph(session, path)
      return session.run('scores:0', {'image:0': image})

  return scores


def load_tags(session, path: str) -> None:
  tf.compat.v1.saved_model.load(session, ['serve'], path)


def import_graph(session, path: str) -> None:
  with open(path, 'rb') as file:
    graph = tf.compat.v1.GraphDef.FromString(file.read())
  tf.import_graph_def(graph, name='')


def by_interpreter(path: str, image: np.ndarray) -> np.ndarray:
  interpreter = litert.Interpreter(path)
  (given,) = interpreter.get_input_details()
  interpreter.resize_tensor_input(given['index'], image.shape)
  interpreter.allocate_tensors()
  interpreter.set_tensor(given['index'], image)
  interpreter.invoke()
  return interpreter.get_tensor(interpreter.get_output_details()[0]['index'])


# Every format, dtype in and out, whether a batch is free, and a few lines of
# the format's own library.
SAMPLES = {
  'tf_keras.keras': ('float32', True, by_keras(tf_keras)),
  'tf_keras.h5': ('float32', True, by_keras(tf_keras)),
  'keras_3.keras': ('float32', True, by_keras(keras)),
  'keras_3.h5': ('float32', True, by_keras(keras)),
  'keras_3 export': ('float32', True, by_signature),
  'saved_model': ('float32', True, by_signature),
  'tf1': ('float32', True, by_session(load_tags)),
  'pb': ('float32', True, by_session(import_graph)),
  'float32': ('float32', True, by_interpreter),
  'uint8': ('uint8', True, by_interpreter),
  'int8': ('int8', True, by_interpreter),
  'int16': ('int16', True, by_interpreter),
  'float16': ('float16', False, by_interpreter),
}
COMPILED = ['tf_keras.h5', 'keras_3.keras', 'saved_model', 'tf1', 'pb']


@pytest.fixture(scope='session')
def samples(tmp_path_factory) -> dict[str, str]:
  root = tmp_path_factory.mktemp('samples')
  return (
    sample_models.save_keras(root)
    | sample_models.save_tf1(root)
    | sample_models.save_tflite(root)
  )


def encoded_for(backend, count: int) -> np.ndarray:
  size = sample_models.SIZE
  images = np.random.RandomState(1).randint(0, 256, (count, size, size, 3))
  scaling = types.Preprocessing()
  return interface.encode(images.astype(np.uint8), backend.inputs[0], scaling)


@pytest.mark.parametrize('name', SAMPLES)
def test_every_format_gives_what_its_own_library_gives(name, samples):
  dtype, is_free, reference = SAMPLES[name]
  backend = load.open_model(samples[name])
  (image,), (scores,) = backend.inputs, backend.outputs
  size, batch = sample_models.SIZE, -1 if is_free else 1
  assert (image.shape, image.dtype) == ((batch, size, size, 3), dtype)
  assert (scores.shape[0], scores.dtype) == (batch, dtype)
  given = encoded_for(backend, 3 if is_free else 1)
  got = backend.predict(given)
  assert got.dtype == dtype
  expected = reference(samples[name], given)
  np.testing.assert_allclose(
    interface.decode(got, scores), interface.decode(expected, scores), atol=1e-4
  )
  got[...] = 0  # It is the caller's own.
  np.testing.assert_array_equal(backend.predict(given), expected)
  backend.close()


@pytest.mark.parametrize('name', COMPILED)
def test_xla_gives_what_its_own_library_gives(name, samples):
  config = measurements.OpenConfig(samples[name], xla=True)
  backend = load.open_file(config)
  for count in (1, 3):
    given = encoded_for(backend, count)
    np.testing.assert_allclose(
      backend.predict(given), SAMPLES[name][-1](samples[name], given), atol=1e-4
    )


FORMATS = ['artifact', 'keras', 'h5', 'saved_model', 'export', 'tflite', 'int8']


@pytest.mark.parametrize('name', FORMATS)
def test_every_format_gives_the_parents_probabilities(name, paths, baseline):
  backend = load.open_model(paths[name])
  assert interface.image_size(backend, measurements.OpenConfig(name)) == 48
  encoded = interface.encode(IMAGES, backend.inputs[0], types.Preprocessing())
  raw = np.concatenate([backend.predict(one[None]) for one in encoded])
  got = interface.decode(raw, backend.outputs[0])
  backend.close()
  expected = io.load(baseline)[0].predict(IMAGES.astype(np.float32), verbose=0)
  assert got.dtype == np.float32
  np.testing.assert_allclose(
    got, expected, atol=0.1 if name == 'int8' else 1e-4
  )


@pytest.mark.parametrize('name', ['tflite', 'keras', 'int8'])
def test_a_batch_gives_what_single_images_give(name, paths):
  backend = load.open_model(paths[name])
  encoded = interface.encode(IMAGES, backend.inputs[0], types.Preprocessing())
  together = backend.predict(encoded)
  alone = np.concatenate([backend.predict(one[None]) for one in encoded])
  np.testing.assert_allclose(
    together.astype(np.float64), alone.astype(np.float64), atol=1e-5
  )


def test_info_says_what_runs(paths):
  backend = load.open_model(paths['tflite'], num_threads=2)
  info = backend.info()
  assert (info.name, info.num_threads) == ('litert_cpu', 2)
  assert backend.inputs[0].shape == (1, 48, 48, 3)
  with pytest.raises(ValueError, match='in a fresh process to run it on 7'):
    load.open_model(paths['keras'], num_threads=7)
  null = load.open_model(paths['tflite'], measurements.Runtime.NULL)
  assert null.predict(IMAGES).shape == (3, 100)


def test_encoding_by_hand():
  pixels = np.array([0, 100, 255], np.uint8).reshape(1, 1, 1, 3)
  info = lambda dtype, scale=None, zero=None: measurements.TensorInfo(
    'x', (1, 1, 1, 3), dtype, scale, zero
  )
  encode = lambda *args: interface.encode(pixels, *args).ravel().tolist()
  raw, unit = types.Preprocessing(), types.Normalization.UNIT.preprocessing
  assert encode(info('uint8', 1.0, 0), raw) == [0, 100, 255]
  assert encode(info('int8', 1.0, -128), raw) == [-128, -28, 127]
  assert encode(info('uint8', 1 / 255, 0), unit) == [0, 100, 255]
  np.testing.assert_allclose(
    encode(info('float32'), types.Normalization.IMAGENET.preprocessing),
    [-0.485 / 0.229, (100 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225],
    rtol=1e-6,
  )


def test_decoding_by_hand():
  info = measurements.TensorInfo('y', (1, 2), 'uint8', 1 / 256, 0)
  raw = np.array([[0, 128]], np.uint8)
  np.testing.assert_allclose(interface.decode(raw, info), [[0, 0.5]])


def spoil(tmp_path, name: str, content: bytes) -> str:
  path = tmp_path / name
  path.write_bytes(content)
  return str(path)


@pytest.mark.parametrize(
  ('name', 'content', 'message'),
  [
    ('a.tflite', b'', 'the file is empty'),
    ('a.tflite', b'some text, no model', 'not a .tflite file'),
    ('a.keras', b'some text', 'not a .keras file'),
    ('a.h5', b'some text', 'not a whole Keras model'),
    ('a.txt', b'some text', 'unknown format; expected .tflite'),
  ],
)
def test_files_that_are_no_models(name, content, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    load.open_model(spoil(tmp_path, name, content))


def test_folders_that_are_no_models(tmp_path):
  with pytest.raises(ValueError, match='so no model'):
    load.open_model(str(tmp_path))
  with pytest.raises(ValueError, match='no such model file or folder'):
    load.open_model(str(tmp_path / 'nowhere'))


def test_a_runtime_that_does_not_open_the_format(paths):
  with pytest.raises(ValueError, match='use --runtime=litert_cpu'):
    load.open_model(paths['tflite'], measurements.Runtime.TENSORFLOW)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch, paths):
  monkeypatch.setattr(load.importlib.util, 'find_spec', lambda name: None)
  path = paths['onnx'] if 'onnx' in paths else next(iter(paths.values()))
  with pytest.raises(ValueError, match='which is not installed; run python -m'):
    load.runtime_of(path, None)
  assert load.fitting_runtime(path, None) in load.runtimes_of(path)


def test_a_model_that_takes_no_image(tmp_path):
  vector = tf_keras.Input((8,))
  model = tf_keras.Model(vector, tf_keras.layers.Dense(3)(vector))
  model.save(tmp_path / 'vector.keras')
  backend = load.open_model(str(tmp_path / 'vector.keras'))
  with pytest.raises(ValueError, match='expected one square RGB image'):
    interface.image_size(backend, measurements.OpenConfig('vector.keras'))


def test_a_file_that_fails_while_it_runs(tmp_path):
  image = tf.TensorSpec((1, 2, 2, 3), tf.int32)
  divide = tf.function(
    lambda x: tf.reshape(x // tf.reduce_sum(x), (1, 12)),
    input_signature=[image],
  )
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
    [divide.get_concrete_function()]
  )
  path = tmp_path / 'model.tflite'
  path.write_bytes(converter.convert())
  config = measurements.OpenConfig(str(path), num_threads=1)
  backend = litert_cpu.LiteRtCpu(str(path), config)
  assert not backend.predict(np.ones((1, 2, 2, 3), np.int32)).any()
  with pytest.raises(ValueError, match='LiteRT cannot run the file .*by 0'):
    backend.predict(np.zeros((1, 2, 2, 3), np.int32))


def test_an_artifact_knows_its_data(baseline, data):
  metadata = load.metadata_of(baseline)
  assert metadata['input_scaling'] == 'raw'
  assert metadata['data']['dataset'] == data.dataset


def test_metadata_is_believed_only_for_its_own_model(exported, tmp_path):
  import shutil

  folder = tmp_path / 'copy'
  shutil.copytree(exported[types.Variant.INT8], folder)
  assert load.metadata_of(str(folder))['input_scaling'] == 'raw'
  with (folder / 'model.tflite').open('ab') as file:
    file.write(b'\0')
  assert load.metadata_of(str(folder)) == {}
