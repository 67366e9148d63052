"""The GPU's runtime, on a Vulkan device in software: SwiftShader."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import interpreter as litert

from tests import needs
from tfcompress.core import gpus, types

pytestmark = needs.vulkan
RNG = np.random.RandomState(0)
# Vulkan reads its variables once a process, and crashes beside TensorFlow.
CHILD = """
import json, sys
import numpy as np
from tfcompress.core import gpus, measurements, records
from tfcompress.runtimes import litert_gpu

def answer(job):
  config = records.from_json(measurements.OpenConfig, job['config'])
  try:
    backend = litert_gpu.LiteRtGpu(config.model, config)
    found = {
      'info': records.to_json(backend.info()),
      'input': records.to_json(backend.inputs[0]),
      'output': records.to_json(backend.outputs[0]),
      'values': backend.predict(np.load(job['images'])).tolist(),
    }
    backend.close()
    return found
  except ValueError as error:
    return {'error': str(error)}

answers = {name: answer(job) for name, job in json.load(sys.stdin).items()}
answers['devices'] = [gpu.label for gpu in gpus.vulkan_devices()]
json.dump(answers, sys.stdout)
"""


def answers(jobs: dict, driver: str) -> dict:
  """What a fresh process, whose Vulkan has this driver alone, found."""
  result = subprocess.run(
    [sys.executable, '-c', CHILD],
    input=json.dumps(jobs),
    env=os.environ | {'VK_DRIVER_FILES': driver},
    capture_output=True,
    text=True,
    check=False,
    timeout=100,
  )
  assert not result.returncode, result.stderr
  return json.loads(result.stdout)


def network(is_int8: bool, refused: bool) -> bytes:
  """A residual block and a head; `refused` adds what no GPU does."""
  import tf_keras

  tf_keras.utils.set_random_seed(1)
  layers = tf_keras.layers
  image = layers.Input((16, 16, 3), batch_size=1)
  x = layers.Conv2D(8, 3, 2, 'same', activation='relu')(image)
  x = layers.Add()([x, layers.Conv2D(8, 3, 1, 'same')(x)])
  x = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
  if refused:
    winner = layers.Lambda(
      lambda x: tf.cast(tf.argmax(x, 1)[:, None], tf.float32)
    )(x)
    x = layers.Concatenate()([x, winner])
  else:
    x = layers.Softmax()(x)
  converter = tf.lite.TFLiteConverter.from_keras_model(tf_keras.Model(image, x))
  if is_int8:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
      [RNG.uniform(0, 1, (1, 16, 16, 3)).astype(np.float32)] for _ in range(8)
    )
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
  return converter.convert()


def expected(path: str, images: np.ndarray) -> np.ndarray:
  """The outputs of the interpreter on the CPU, one image at a time."""
  interpreter = litert.Interpreter(path)
  interpreter.allocate_tensors()
  rows = []
  for image in images:
    index = interpreter.get_input_details()[0]['index']
    interpreter.set_tensor(index, image[None])
    interpreter.invoke()
    index = interpreter.get_output_details()[0]['index']
    rows.append(interpreter.get_tensor(index)[0])
  return np.stack(rows)


@pytest.fixture(scope='module')
def files(exported, tmp_path_factory) -> dict[str, str]:
  root = tmp_path_factory.mktemp('gpu')
  found = {
    'float32': exported[types.Variant.FLOAT32] + '/model.tflite',
    'strided': exported[types.Variant.INT8] + '/model.tflite',
  }
  for name, content in {
    'int8': network(is_int8=True, refused=False),
    'refused': network(is_int8=False, refused=True),
    'text': b'some text, no model',
  }.items():
    found[name] = str(root / f'{name}.tflite')
    pathlib.Path(found[name]).write_bytes(content)
  return found


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> dict[str, str]:
  """Arrays (3, S, S, 3) in files, by the file that takes them."""
  root = tmp_path_factory.mktemp('images')
  arrays = {
    'float32': RNG.randint(0, 256, (3, 48, 48, 3)).astype(np.float32),
    'int8': RNG.randint(0, 256, (3, 16, 16, 3), np.uint8),
    'refused': RNG.uniform(0, 1, (3, 16, 16, 3)).astype(np.float32),
  }
  for name, array in arrays.items():
    np.save(root / name, array)
  return {name: str(root / f'{name}.npy') for name in arrays}


@pytest.fixture(scope='module')
def found(files, images) -> dict[str, dict]:
  """What one process answers to all that is asked of SwiftShader."""
  job = lambda name, taken='', **config: {
    'config': {'model': files[name], **config},
    'images': images.get(taken or name, ''),
  }
  return answers(
    {
      'float32': job('float32'),
      'int8': job('int8'),
      'partly': job('refused'),
      'allowed': job('refused', allow_cpu=True),
      'fp16': job('float32', precision='fp16'),
      'strided': job('strided'),
      'other size': job('refused', 'float32', allow_cpu=True),
      'other dtype': job('int8', 'refused'),
      'other signature': job('float32', signature='train'),
      'text': job('text'),
    },
    needs.SWIFTSHADER,
  )


@pytest.mark.parametrize('name', ['float32', 'int8', 'allowed'])
def test_outputs_are_the_cpus(name, found, files, images):
  name_of_file = 'refused' if name == 'allowed' else name
  wanted = expected(files[name_of_file], np.load(images[name_of_file]))
  scale = found[name]['output']['scale'] or 1
  got = np.array(found[name]['values'])
  assert np.ptp(wanted.astype(float)) * scale > 0.1
  np.testing.assert_allclose(got * scale, wanted * scale, atol=1e-2)


def test_the_whole_model_is_on_the_gpu(found):
  for name in ('float32', 'int8'):
    info = found[name]['info']
    assert (info['fully_delegated'], info['delegated_percent']) == (True, 100)
    assert (info['name'], info['precision']) == ('litert_gpu', None)
    assert info['device'] == found['devices'][0]
    assert 'SwiftShader' in info['device']
    assert info['device'].endswith('(software)')


def test_tensors_are_described_as_in_the_file(found, files):
  interpreter = litert.Interpreter(files['int8'])
  detail = interpreter.get_input_details()[0]
  assert found['int8']['input'] == {
    'name': detail['name'],
    'shape': [1, 16, 16, 3],
    'dtype': 'uint8',
    'scale': pytest.approx(detail['quantization'][0]),
    'zero_point': detail['quantization'][1],
  }


def test_landing_on_the_cpu_is_refused(found):
  assert 'of its operators, expected all (ARG_MAX' in found['partly']['error']
  assert found['partly']['error'].endswith('leave the others to the CPU')
  info = found['allowed']['info']
  assert info['fully_delegated'] is False
  assert 0 < info['delegated_percent'] < 100


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('fp16', 'has no 16-bit floats; use --precision=fp32'),
    # LiteRT computes int8 1x1 convolutions of stride 2 as if it were 1.
    ('strided', 'miscompiles it for the GPU (Shape mismatch'),
    ('other size', 'images (3, 48, 48, 3), expected (1, 16, 16, 3)'),
    ('other dtype', 'LiteRT cannot run the file (WriteTensorBuffer: '),
    ('other signature', "no signature 'train'; it has serving_default"),
    ('text', 'not a .tflite file'),
  ],
)
def test_what_cannot_be_run(name, message, found):
  assert message in found[name]['error']
  assert '\n' not in found[name]['error']


def test_a_machine_without_a_gpu(files):
  error = answers({'float32': {'config': {'model': files['float32']}}}, '/no')
  assert error['devices'] == []
  assert (
    'no GPU; found libvulkan.so.1, VK_DRIVER_FILES=/no, no Vulkan driver'
  ) in error['float32']['error']
  assert 'install libvulkan1 and the Vulkan driver' in error['float32']['error']


def test_what_a_sandbox_lets_through(tmp_path, monkeypatch):
  driver, library = tmp_path / 'icd' / 'a.json', tmp_path / 'lib' / 'a.so'
  for file in (driver, library):
    file.parent.mkdir()
  driver.write_text('{"ICD": {"library_path": "../lib/a.so"}}')
  monkeypatch.setenv('VK_DRIVER_FILES', f'{driver}:{tmp_path}/none.json')
  paths = gpus.driver_paths()
  assert paths[-2:] == (str(driver), str(library.parent))
  assert all(path.startswith('/sys/') for path in paths[:-2])
  assert bool(paths[:-2]) == bool(gpus.device_paths())
  assert gpus.variables()['VK_DRIVER_FILES'].startswith(str(driver))
  assert gpus.driver_files() == [driver]
