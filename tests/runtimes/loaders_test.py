"""Models that a user's own `load_model` opens, in TensorFlow and PyTorch."""

import pathlib
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import needs
from tests.runtimes import sample_models
from tfcompress.core import measurements
from tfcompress.measurement import opened as processes
from tfcompress.runtimes import load

SIZE = sample_models.SIZE
LARGE = np.random.RandomState(0).rand(2, 224, 224, 3).astype(np.float32)
SMALL = LARGE[:, :SIZE, :SIZE]
MEANS = LARGE.mean((1, 2))
AVERAGE = 'lambda x: tf.reduce_mean(x, (1, 2))'
Runtime = measurements.Runtime


def loader(folder: pathlib.Path, code: str) -> str:
  """A loader of this code; of an expression, load_model returns it."""
  if 'load_model' not in code:
    code = f'def load_model(path):\n  return {code}'
  file = folder / f'{folder.name}_loader.py'
  file.write_text(f'import tensorflow as tf\n{textwrap.dedent(code)}')
  return str(file)


def opened(folder: pathlib.Path, code: str, name: str = 'model.h5'):
  """A model of a submission's folder."""
  path = folder / name
  if not path.exists():
    path.write_bytes(b'whatever the loader reads')
  return load.open_file(
    measurements.OpenConfig(str(path), loader=loader(folder, code))
  )


@pytest.mark.parametrize('lib', [tf_keras, keras])
def test_weights_and_the_code_of_a_keras_model(lib, tmp_path):
  network = sample_models.network(lib)
  network.save_weights(tmp_path / 'model.weights.h5')
  code = """
  from tests.runtimes import sample_models
  import {lib}
  def load_model(path):
    network = sample_models.network({lib})
    network.load_weights(path)
    return network
  """
  backend = opened(tmp_path, code.format(lib=lib.__name__), 'model.weights.h5')
  assert backend.inputs[0].shape == (-1, SIZE, SIZE, 3)
  assert backend.outputs[0].shape == (-1, sample_models.CLASSES)
  np.testing.assert_allclose(backend.predict(SMALL), network(SMALL), atol=1e-6)


def test_a_keras_model_runs_for_inference(tmp_path):
  code = """
  import tf_keras
  class Doubts(tf_keras.Model):  # Of a subclass, nothing tells its input.
    def call(self, x, training=None):
      return tf.reduce_mean(x, (1, 2)) * (0.0 if training else 1.0)
  def load_model():
    return Doubts()
  """
  backend = opened(tmp_path, code)
  assert backend.inputs[0].shape == (-1, -1, -1, 3)
  np.testing.assert_allclose(backend.predict(LARGE), MEANS, rtol=1e-5)


def test_saved_models(tmp_path):
  network = sample_models.network(tf_keras)
  tf.saved_model.save(network, str(tmp_path / 'model.saved_model'))
  for code in (
    'tf.saved_model.load(path)',
    'tf.saved_model.load(path).signatures["serving_default"]',
  ):
    backend = opened(tmp_path, code, 'model.saved_model')
    assert backend.inputs[0].shape == (-1, SIZE, SIZE, 3)
    np.testing.assert_allclose(
      backend.predict(SMALL), network(SMALL), atol=1e-6
    )


@pytest.mark.parametrize(
  ('code', 'shape'),
  [
    (AVERAGE, (-1, -1, -1, 3)),
    ('lambda x: {"scores": tf.reduce_mean(x, (1, 2))}', (-1, -1, -1, 3)),
    ('lambda x: x.numpy().mean((1, 2))', (-1, -1, -1, 3)),
    ('lambda x: tf.reduce_mean(x, (1, 2))[:1]', (1, -1, -1, 3)),
    ('tf.function(lambda x: tf.reduce_mean(x, (1, 2)))', (-1, -1, -1, 3)),
    (
      'lambda x: tf.reduce_mean(tf.ensure_shape(x, (None, 3, 224, 224)), (2, 3))',
      (-1, 3, 224, 224),
    ),
  ],
)
def test_functions_of_a_tensor(code, shape, tmp_path):
  backend = opened(tmp_path, code)
  assert (backend.inputs[0].shape, backend.inputs[0].dtype) == (
    shape,
    'float32',
  )
  assert backend.outputs[0].shape == (shape[0], 3)
  images = LARGE if shape[0] < 0 else LARGE[:1]
  if shape[1] == 3:
    images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
  scores = backend.predict(images)
  np.testing.assert_allclose(scores, MEANS[: len(images)], rtol=1e-5)


def test_what_a_module_declares_to_take(tmp_path):
  code = """
  class Average(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((1, 3, 32, 32), tf.uint8)])
    def __call__(self, x):
      return tf.reduce_mean(tf.cast(x, tf.float32), (2, 3))
  def load_model():
    return Average(){}
  """
  for rest in ('', '.__call__.get_concrete_function()'):
    backend = opened(tmp_path, code.format(rest))
    (given,) = backend.inputs
    assert (given.shape, given.dtype) == ((1, 3, 32, 32), 'uint8')
    scores = backend.predict(np.full(given.shape, 7, np.uint8))
    np.testing.assert_array_equal(scores, [[7, 7, 7]])


@pytest.mark.parametrize(
  ('body', 'side'),
  [
    ('tf.reduce_mean(x, (1, 2))', -1),
    # Half of what is tried first is no multiple of 32, twice that is.
    ('tf.reduce_mean(x, (1, 2)) if x.shape[1] % 32 == 0 else 1 / 0', -1),
    ('tf.reshape(x, (len(x), -1))', 224),  # Other sizes have other scores.
  ],
)
def test_whether_a_function_takes_any_size(body, side, tmp_path):
  backend = opened(tmp_path, f'def load_model():\n    return lambda x: {body}')
  assert backend.inputs[0].shape == (-1, side, side, 3)


def test_a_torch_function(tmp_path):
  torch = needs.torch()
  torch.save({'weight': torch.eye(3)}, tmp_path / 'model.pth')
  code = """
  import torch
  def load_model(path):
    weight = torch.load(path)['weight']
    return lambda x: x.mean((2, 3)) @ weight
  """
  backend = opened(tmp_path, code, 'model.pth')
  assert backend.inputs[0].shape == (-1, 3, -1, -1)
  images = np.ascontiguousarray(LARGE.transpose(0, 3, 1, 2))
  np.testing.assert_allclose(backend.predict(images), MEANS, rtol=1e-5)


@pytest.mark.parametrize(
  ('code', 'message'),
  [
    ('load = 1 # no load_model', 'no load_model; expected --loader=FILE.py'),
    ('load_model = 1', 'no load_model; expected --loader=FILE.py'),
    ('1 / 0', 'load_model: ZeroDivisionError: division by zero'),
    ('exit("no\\n!")', 'load_model: SystemExit: no$'),
    ('None', 'load_model returned NoneType, expected a Keras model'),
    ('tf.Module()', r'returned Module, expected .* with __call__, or a fun'),
    (
      'tf.config.threading.set_intra_op_parallelism_threads(7)',
      'load_model: RuntimeError: Intra op parallelism cannot be modified',
    ),
  ],
)
def test_loaders_that_do_not_load(code, message, tmp_path):
  tf.zeros(0)  # A process sets its threads once, before it computes.
  with pytest.raises(ValueError, match=message) as error:
    opened(tmp_path, code)
  name = f'--loader={tmp_path / tmp_path.name}_loader.py: '
  assert str(error.value).startswith(name) and '\n' not in str(error.value)


@pytest.mark.parametrize(
  ('code', 'message'),
  [
    ('lambda x: [x, x]', 'returns EagerTensor, EagerTensor, expected one te'),
    ('lambda x: None', 'returns NoneType, expected one tensor'),
    ('lambda x: x', r'returns a tensor \(1, 224, 224, 3\) for 1 images, expec'),
    (
      'lambda x: int("seven\\n")',
      r'does not take images \(1, 224, 224, 3\) nor \(1, 3, 224, 224\); invalid',
    ),
  ],
)
def test_models_that_classify_no_image(code, message, tmp_path):
  path = tmp_path / 'model.h5'
  with pytest.raises(ValueError, match=f'^{path}: {message}') as error:
    opened(tmp_path, code)
  assert '\n' not in str(error.value)


def test_what_fails_while_it_runs(tmp_path):
  backend = opened(
    tmp_path, f'lambda x: ({AVERAGE})(x) if x[0, 0, 0, 0] < 1 else {{}}["a"]'
  )
  with pytest.raises(ValueError, match=r"cannot run the model \('a'\)$"):
    backend.predict(LARGE + 1)


def test_in_a_process_of_its_own_with_its_threads(tmp_path):
  code = f"""
  import contextlib
  def load_model(path):
    with contextlib.suppress(RuntimeError):
      tf.config.threading.set_intra_op_parallelism_threads(7)
    return {AVERAGE}
  """
  path = tmp_path / 'model.h5'
  path.write_bytes(b'no matter')
  file = measurements.OpenConfig(
    str(path), num_threads=1, loader=loader(tmp_path, code)
  )
  with processes.Opened(file, measurements.Limits(time_limit=60)) as model:
    assert model.about.runtime.num_threads == 1
    assert (model.about.image_size, model.about.num_outputs) == (224, 3)
