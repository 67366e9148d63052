"""Small images and small trained models that tests share."""

import dataclasses
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')

import pathlib
import re
import sys

import numpy as np
import pytest

from tests import needs
from tfcompress.core import configs, types

# Modules whose own fixtures cost more than running beside others saves.
TOGETHER = {
  'fake_quant_test',
  'hostile_test',
  'own_model_test',
  'preserved_test',
  'sensitivity_test',
  'techniques_test',
  'tflite_file_test',
  'variants_test',
  'workflows_test',
}
CLASSES = ('blue', 'green', 'red')
CHANNELS = {'stem': 16, 'inner': 16, 'outer': 16, 'wide': 32, 'shortcut': 32}
TINY_SPEC = types.ModelSpec(
  depth=18, width_multiplier=0.125, input_size=48, internal_size=32
)


def pytest_addoption(parser):
  parser.addoption('--all', action='store_true', help='the long tests, too')


def pytest_configure(config):
  """Hides the compiler of PyTorch's CUDA builds, which crashes by TensorFlow."""
  del config
  sys.modules.setdefault('triton', None)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(config, items):
  """Keeps what shares a costly fixture in one process, and skips long tests."""
  for item in items:
    if item.get_closest_marker('long') and not config.getoption('--all'):
      item.add_marker(pytest.mark.skip(reason=f'{needs.NEEDS}{needs.ALL}'))
    group = item.module.__name__.rpartition('.')[2]
    if 'baseline' in item.fixturenames:  # 'exported' needs it too.
      group = 'baseline'
    elif group not in TOGETHER:
      continue
    item.add_marker(pytest.mark.xdist_group(group))


def pytest_terminal_summary(terminalreporter):
  """Says what was not tested, and what changes it."""
  reasons = [
    report.longrepr[2] for report in terminalreporter.stats.get('skipped', ())
  ]
  pattern = re.compile(rf'(?:Skipped: )?{needs.NEEDS}(.*)')
  for line in needs.summary([m[1] for m in map(pattern.match, reasons) if m]):
    terminalreporter.write_line(line)


def write_folder(root: pathlib.Path, train: int = 12, validation: int = 4):
  """Writes an image folder; a class is a color, so it is learned at once."""
  import tensorflow as tf

  rng = np.random.RandomState(0)
  for split, count in (('train', train), ('validation', validation)):
    for label, name in enumerate(CLASSES):
      folder = root / split / name
      folder.mkdir(parents=True)
      for index in range(count):
        image = rng.randint(0, 120, (40, 36, 3)).astype(np.uint8)
        image[..., 2 - label] += 120
        encode = tf.io.encode_png if index % 2 else tf.io.encode_jpeg
        suffix = 'png' if index % 2 else 'JPEG'
        path = folder / f'{index}.{suffix}'
        path.write_bytes(encode(image).numpy())
  return root


@pytest.fixture
def rng() -> np.random.RandomState:
  """Random numbers that are the same whichever tests ran before."""
  return np.random.RandomState(0)


@pytest.fixture(scope='session')
def folder(tmp_path_factory) -> pathlib.Path:
  """An image folder of 3 classes, 12 training, 4 validation images each."""
  return write_folder(tmp_path_factory.mktemp('data') / 'images')


@pytest.fixture(scope='session')
def data(folder) -> types.DataSpec:
  return types.DataSpec(dataset=f'folder:{folder}')


@pytest.fixture(scope='session')
def baseline_config(data, tmp_path_factory) -> configs.TrainConfig:
  """A training of a few seconds."""
  return configs.TrainConfig(
    stage=types.Stage.BASELINE,
    output_dir=str(tmp_path_factory.mktemp('runs') / 'baseline'),
    model=TINY_SPEC,
    data=data,
    batch_size=6,
    epochs=4,
    optimizer=configs.OptimizerConfig(learning_rate=0.05),
    augment=configs.AugmentConfig(crop=configs.TrainTransform.PAD_AND_CROP),
    mixed_precision=configs.MixedPrecision.NONE,
    deterministic=True,
  )


@pytest.fixture(scope='session')
def baseline(baseline_config) -> str:
  """The folder of a trained artifact."""
  from tfcompress.training import run

  run.run(baseline_config, '')
  return baseline_config.output_dir


def own_network():
  """Two residual blocks, as a user of tf_keras would write them."""
  import tf_keras

  layers = tf_keras.layers
  norm = lambda x, name: layers.BatchNormalization(name=f'{name}_bn')(x)
  conv = lambda x, name, stride=1, size=3: norm(
    layers.Conv2D(
      CHANNELS[name], size, stride, 'same', use_bias=False, name=name
    )(x),
    name,
  )
  image = layers.Input((32, 32, 3))
  x = layers.Rescaling(1 / 127.5, -1, name='scale')(image)
  x = layers.ReLU(name='stem_relu')(conv(x, 'stem', 2))
  y = layers.Activation('relu', name='inner_relu')(conv(x, 'inner'))
  x = layers.Add(name='add')([x, conv(y, 'outer')])
  x = layers.ReLU(name='joined')(x)
  y = conv(x, 'wide', 2)
  x = layers.Add(name='add_2')([y, conv(x, 'shortcut', 2, 1)])
  x = layers.ReLU(name='joined_2')(x)
  x = layers.GlobalAveragePooling2D(name='pool')(x)
  return tf_keras.Model(image, layers.Dense(3, name='logits')(x))


@pytest.fixture(scope='session')
def own_file(tmp_path_factory) -> str:
  """A user's own network, not trained."""
  import tf_keras

  tf_keras.utils.set_random_seed(1)
  path = str(tmp_path_factory.mktemp('own') / 'own.keras')
  own_network().save(path)
  return path


@pytest.fixture(scope='session')
def own(own_file, baseline_config, tmp_path_factory) -> str:
  """An artifact of it, trained until it knows its colors."""
  from tfcompress.training import run

  config = dataclasses.replace(
    baseline_config,
    output_dir=str(tmp_path_factory.mktemp('runs') / 'own'),
    init=configs.InitConfig(init_from=own_file),
    model=None,
    epochs=10,
  )
  assert run.run(config, '').metrics['top1_percent'] > 80
  return config.output_dir


class Exports(dict):
  """Export folders of an artifact, by variant, each made when first asked."""

  def __init__(self, artifact: str, root: pathlib.Path):
    super().__init__()
    self._artifact, self._root = artifact, root

  def __missing__(self, variant: types.Variant) -> str:
    from tfcompress.conversion import run

    self[variant] = str(self._root / variant.value)
    config = types.ExportConfig(
      artifact=self._artifact,
      output_dir=self[variant],
      variant=variant,
      calibration_examples=12,
      min_agreement_percent=60,
    )
    run.run(config)
    return self[variant]


@pytest.fixture(scope='session')
def exported(baseline, tmp_path_factory) -> dict[types.Variant, str]:
  """Export folders of the baseline, by variant."""
  return Exports(baseline, tmp_path_factory.mktemp('exported'))
