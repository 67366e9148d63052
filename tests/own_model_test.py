"""A user's Keras 3 model in, an int8 `.tflite` out."""

import pathlib

import numpy as np
import pytest

from tests import conftest
from tfcompress.conversion import run as conversion_run
from tfcompress.core import configs, measurements, types
from tfcompress.measurement import accuracy
from tfcompress.runtimes import load
from tfcompress.training import run as training_run

pytestmark = pytest.mark.long
ROOT = pathlib.Path(__file__).parents[1]
SIZE = 32


def hard_folder(
  root: pathlib.Path, train: int, validation: int
) -> pathlib.Path:
  """Three classes by a tint that the light of each image all but hides."""
  import tensorflow as tf

  rng = np.random.RandomState(0)
  for split, count in (('train', train), ('validation', validation)):
    for index in range(count):
      label = index % len(conftest.CLASSES)
      folder = root / split / conftest.CLASSES[label]
      folder.mkdir(parents=True, exist_ok=True)
      image = 128 + 25 * rng.randn(SIZE, SIZE, 3) + 22 * rng.randn(3)
      image[..., 2 - label] += 40
      png = tf.io.encode_png(image.clip(0, 255).astype(np.uint8)).numpy()
      (folder / f'{index:03}.png').write_bytes(png)
  return root


def images_of(root: pathlib.Path, split: str):
  """All images of a split, uint8, with their labels."""
  import tensorflow as tf

  paths = sorted((root / split).glob('*/*.png'))
  images = [tf.io.decode_png(p.read_bytes()).numpy() for p in paths]
  labels = [conftest.CLASSES.index(path.parent.name) for path in paths]
  return np.stack(images), np.array(labels)


def keras_3_resnet18():
  """ResNet-18 as Keras 3 has it, of 8 to 64 channels, on pixels 0..1."""
  import keras

  layers = keras.layers

  def conv(x, filters, size, stride=1):
    x = layers.Conv2D(filters, size, stride, 'same', use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.8)(x)

  image = keras.Input((SIZE, SIZE, 3))
  x = layers.ReLU()(conv(image, 8, 7, 2))
  x = layers.MaxPooling2D(3, 2, 'same')(x)
  for stage, filters in enumerate((8, 16, 32, 64)):
    for block in range(2):
      stride = 2 if stage and not block else 1
      y = layers.ReLU()(conv(x, filters, 3, stride))
      y = conv(y, filters, 3)
      shortcut = conv(x, filters, 1, stride) if stride > 1 else x
      x = layers.ReLU()(layers.Add()([y, shortcut]))
  x = layers.GlobalAveragePooling2D()(x)
  return keras.Model(image, layers.Dense(3, activation='softmax')(x))


def top1(path: str, data: pathlib.Path) -> float:
  """Top-1 in percent of a file on the validation images."""
  config = measurements.MeasureConfig(
    measurements.OpenConfig(path),
    data=types.DataSpec(f'folder:{data}'),
    input_scaling=types.Normalization.RAW.preprocessing,
  )
  found, _ = accuracy.measure(config)
  assert len(found.labels) == 200
  return 100 * (found.top1 == found.labels).mean()


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> tuple[pathlib.Path, pathlib.Path, float]:
  """The images, a Keras 3 file, and the top-1 in percent that Keras 3 gives."""
  import keras

  folder = tmp_path_factory.mktemp('keras_3')
  data = hard_folder(folder / 'images', train=240, validation=200)
  keras.utils.set_random_seed(1)
  model = keras_3_resnet18()
  model.compile(keras.optimizers.Adam(3e-3), 'sparse_categorical_crossentropy')
  images, labels = images_of(data, 'train')
  model.fit(images / 255, labels, batch_size=20, epochs=4, verbose=0)
  model.save(folder / 'own.keras')
  images, labels = images_of(data, 'validation')
  found = model.predict(images / 255, verbose=0).argmax(-1)
  return data, folder / 'own.keras', 100 * float((found == labels).mean())


@pytest.mark.parametrize('stage', [types.Stage.BASELINE, types.Stage.QAT])
def test_an_int8_file_has_the_top1_of_keras_3(stage, trained, tmp_path):
  data, model, expected = trained
  assert 60 < expected < 99  # Neither chance nor a game.
  artifact, export = f'{tmp_path}/artifact', f'{tmp_path}/exported'
  training_run.run(
    configs.TrainConfig(
      stage=stage,
      output_dir=artifact,
      init=configs.InitConfig(str(model), types.Normalization.UNIT),
      model=None,
      data=types.DataSpec(f'folder:{data}'),
      batch_size=20,
      epochs=0,
    ),
    '',
  )
  conversion_run.run(types.ExportConfig(artifact, export))
  assert top1(export, data) == pytest.approx(expected, abs=1.0)
  if stage is types.Stage.QAT:
    # In a process that has not made such layers itself.
    assert top1(artifact, data) == pytest.approx(expected, abs=1.0)
  backend = load.open_model(export)
  (image,) = backend.inputs
  assert (image.dtype, image.scale, image.zero_point) == ('uint8', 1.0, 0)
  backend.close()
