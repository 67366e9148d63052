"""What is shown while training is what ships: one figure, whoever measures."""

import csv
import dataclasses
import functools
import pathlib

import numpy as np
import pytest

from tests import conftest, needs
from tfcompress.conversion import run as conversion_run
from tfcompress.core import configs, measurements, types
from tfcompress.measurement import accuracy
from tfcompress.models import resnet
from tfcompress.training import run

SOURCE = 96
PERIODS = {'fine': 3.0, 'medium': 3.6, 'rough': 4.4}


def striped_folder(root: pathlib.Path) -> pathlib.Path:
  """Three classes by the period of stripes, which a second resize blurs."""
  from PIL import Image

  rng = np.random.RandomState(0)
  x, y = np.meshgrid(np.arange(SOURCE), np.arange(SOURCE))
  for split, count in (('train', 16), ('validation', 20)):
    for name, period in PERIODS.items():
      folder = root / split / name
      folder.mkdir(parents=True)
      for index in range(count):
        angle, phase = rng.rand(2) * (np.pi, 2 * np.pi)
        along = np.cos(angle) * x + np.sin(angle) * y
        wave = 60 * np.sin(2 * np.pi * along / period + phase)
        image = 128 + wave[..., None] + 25 * rng.randn(SOURCE, SOURCE, 3)
        image = Image.fromarray(image.clip(0, 255).astype(np.uint8))
        image.save(folder / f'{index:02}.png')
  return root


def resized(images: np.ndarray, size: int) -> np.ndarray:
  """Bilinear, averaging where images shrink, by hand, as uint8."""
  scale = images.shape[1] / size
  centers = (np.arange(size) + 0.5) * scale - 0.5
  distance = np.abs(np.arange(images.shape[1])[None] - centers[:, None])
  weights = (1 - distance / max(1, scale)).clip(0)
  weights /= weights.sum(1, keepdims=True)
  rows = np.einsum('ih,nhwc->niwc', weights, images, optimize=True)
  exact = np.einsum('jw,niwc->nijc', weights, rows, optimize=True)
  return np.floor(exact + 0.5).astype(np.uint8)


def validation_images(root: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  from PIL import Image

  paths = sorted((root / 'validation').glob('*/*.png'))
  labels = [sorted(PERIODS).index(path.parent.name) for path in paths]
  return np.stack([np.array(Image.open(p)) for p in paths]), np.array(labels)


def bare_top1(file: str, images: np.ndarray, labels: np.ndarray) -> float:
  """Top-1 in percent of a `.tflite` in LiteRT's own interpreter."""
  from ai_edge_litert import interpreter

  model = interpreter.Interpreter(file)
  model.allocate_tensors()
  (taken,), (given,) = model.get_input_details(), model.get_output_details()
  right = 0
  for image, label in zip(images, labels):
    model.set_tensor(taken['index'], image[None].astype(taken['dtype']))
    model.invoke()
    right += model.get_tensor(given['index'])[0].argmax() == label
  return 100 * right / len(labels)


def measured_top1(path: str, data: types.DataSpec) -> float:
  found, _ = accuracy.measure(
    measurements.MeasureConfig(
      measurements.OpenConfig(path),
      data=data,
      input_scaling=types.Normalization.RAW.preprocessing,
    )
  )
  return 100 * (found.top1 == found.labels).mean()


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> pathlib.Path:
  return striped_folder(tmp_path_factory.mktemp('data') / 'images')


@pytest.fixture
def student(baseline_config, root, tmp_path) -> configs.TrainConfig:
  """64x64 pixels under a teacher of 96x96, which need not be a good one."""
  spec = dataclasses.replace(
    conftest.TINY_SPEC, blocks=(1, 1), input_size=64, internal_size=None
  )
  teacher = str(tmp_path / 'teacher.keras')
  resnet.build(
    dataclasses.replace(spec, input_size=SOURCE, num_classes=len(PERIODS))
  ).save(teacher)
  return dataclasses.replace(
    baseline_config,
    stage=types.Stage.KD,
    output_dir=str(tmp_path / 'student'),
    model=spec,
    data=types.DataSpec(f'folder:{root}'),
    batch_size=12,
    epochs=3,
    distill=configs.DistillConfig(teacher=(teacher,), alpha=0.1),
    label_smoothing=0.1,
    deterministic=False,
  )


def require_shown(config: configs.TrainConfig, metrics) -> None:
  """The last figures of training are those of the artifact."""
  folder = pathlib.Path(config.output_dir)
  with (folder / 'logs/history.csv').open() as file:
    *_, last = csv.DictReader(file)
  for name, value in (
    ('val_top1', metrics['top1_percent'] / 100),
    ('val_loss', metrics['cross_entropy']),
  ):
    assert float(last[name]) == pytest.approx(value, abs=1e-4)


def test_a_student_of_a_larger_teacher_has_one_figure(student, root, tmp_path):
  metrics = run.run(student, '').metrics
  require_shown(student, metrics)
  expected = metrics['top1_percent']
  export = str(tmp_path / 'exported')
  conversion_run.run(
    types.ExportConfig(student.output_dir, export, types.Variant.FLOAT32)
  )
  for path in (student.output_dir, export):
    assert measured_top1(path, student.data) == pytest.approx(expected)
  images, labels = validation_images(root)
  of_size = lambda *sizes: bare_top1(
    f'{export}/model.tflite', functools.reduce(resized, sizes, images), labels
  )
  assert of_size(64) == pytest.approx(expected, abs=1e-3)
  # What would be wrong are other pixels, so they have another figure.
  once, twice = (
    functools.reduce(resized, sizes, images).astype(int)
    for sizes in ((64,), (64, SOURCE, 64))
  )
  assert np.abs(once - twice).mean() > 10


@pytest.mark.parametrize(
  ('size', 'inside', 'precision'),
  [
    pytest.param(64, None, 'bfloat16', marks=needs.bfloat16),
    pytest.param(80, 48, 'none', marks=pytest.mark.long),
  ],
)
def test_what_is_shown_while_training_is_what_ships(
  size, inside, precision, student
):
  spec = dataclasses.replace(
    student.model, input_size=size, internal_size=inside
  )
  student = dataclasses.replace(
    student,
    model=spec,
    mixed_precision=configs.MixedPrecision(precision),
    epochs=1,
  )
  require_shown(student, run.run(student, '').metrics)
