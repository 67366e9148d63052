"""Speed and memory of measuring, and of the commands' help."""

import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from timing import STEM, show

from tfcompress.core import types

COMMANDS = ('train', 'export', 'evaluate', 'compress')


def int8_resnet(folder: str) -> str:
  """An int8 ResNet-18 at 224 with random weights, to be timed."""
  import tf_keras

  from tfcompress.conversion import tflite
  from tfcompress.models import resnet

  model = resnet.build(types.ModelSpec())
  for layer in model.layers:
    # Blocks start as identity; give every convolution weights to multiply.
    if isinstance(layer, tf_keras.layers.BatchNormalization):
      layer.gamma.assign(np.ones(layer.gamma.shape, np.float32))
  images = np.random.RandomState(0).randint(0, 256, (4, 224, 224, 3), np.uint8)
  path = f'{folder}/model.tflite'
  content = tflite.convert(model, types.Variant.INT8, None, images)
  pathlib.Path(path).write_bytes(content)
  return path


def accuracy() -> None:
  """Accuracy evaluation over the loop everyone writes, on two threads."""
  import tensorflow as tf
  from ai_edge_litert import interpreter as litert

  from tfcompress.data import pipelines, sources
  from tfcompress.measurement import accuracy as ours
  from tfcompress.runtimes import load

  source = sources.load(types.DataSpec())
  count = 480

  def loop_everyone_writes(path: str, num_threads: int | None) -> float:
    interpreter = litert.Interpreter(path, num_threads=num_threads)
    interpreter.allocate_tensors()
    (inputs,), (outputs,) = (
      interpreter.get_input_details(),
      interpreter.get_output_details(),
    )
    examples = source.handles(types.Split.VALIDATION).take(count)
    correct = 0
    start = time.perf_counter()
    for encoded, label in examples:
      image = tf.io.decode_image(encoded, channels=3)
      image = tf.image.resize(image, (224, 224))
      batch = tf.cast(image[None], tf.uint8).numpy()
      interpreter.set_tensor(inputs['index'], batch)
      interpreter.invoke()
      scores = interpreter.get_tensor(outputs['index'])
      correct += int(scores.argmax() == label.numpy())
    return count / (time.perf_counter() - start)

  def ours_on_two_threads(path: str) -> float:
    backends = [load.open_model(path, num_threads=1) for _ in range(2)]
    batches = pipelines.evaluation(
      source,
      types.Split.VALIDATION,
      types.EvaluationTransform.CHALLENGE,
      batch_size=ours.BATCH,
      input_size=224,
    )
    batches = batches.take(count // ours.BATCH)
    start = time.perf_counter()
    ranks = ours.ranks(
      backends, batches.as_numpy_iterator(), types.Normalization.RAW
    )
    return len(ranks) / (time.perf_counter() - start)

  with tempfile.TemporaryDirectory() as folder:
    path = int8_resnet(folder)
    rounds = [
      (
        ours_on_two_threads(path),
        loop_everyone_writes(path, None),
        loop_everyone_writes(path, 2),
      )
      for _ in range(3)
    ]
    rate, plain, threaded = (max(rates) for rates in zip(*rounds))
  show(
    'accuracy evaluation / the usual loop',
    rate / plain,
    'at least 2',
    f'{rate:.0f} / {plain:.0f} images/s; over the loop with num_threads=2, '
    f'{threaded:.0f} images/s: {rate / threaded:.2f}',
  )


def peak_mib(path: str, images: int, folder: str) -> float:
  """Peak memory of a process that evaluates so many images."""
  code = (
    'import sys, resource\n'
    'from tfcompress.core import measurements, types\n'
    'from tfcompress.measurement import accuracy\n'
    'config = measurements.MeasureConfig(sys.argv[1], '
    'data=types.DataSpec("folder:" + sys.argv[2]))\n'
    'record, _ = accuracy.measure(config)\n'
    'assert record.num_examples == int(sys.argv[3]), record\n'
    'print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n'
  )
  result = subprocess.run(
    [sys.executable, '-c', code, path, folder, str(images)],
    capture_output=True,
    text=True,
    check=True,
  )
  return float(result.stdout.split()[-1])


def memory() -> None:
  """Peak memory of evaluating 10,000 images over 1,000."""
  import tensorflow as tf

  from tfcompress.conversion import tflite
  from tfcompress.models import resnet

  rng = np.random.RandomState(0)
  with tempfile.TemporaryDirectory() as folder:
    model = resnet.build(types.ModelSpec(internal_size=STEM))
    images = rng.randint(0, 256, (4, 224, 224, 3), np.uint8)
    path = f'{folder}/model.tflite'
    content = tflite.convert(model, types.Variant.INT8, None, images)
    pathlib.Path(path).write_bytes(content)
    peaks = {}
    for count in (1_000, 10_000):
      root = pathlib.Path(folder, str(count))
      for label in range(100):
        for split, share in (('train', 1), ('validation', count // 100)):
          where = root / split / f'{label:03}'
          where.mkdir(parents=True)
          for index in range(share):
            image = rng.randint(0, 256, (64, 64, 3), np.uint8)
            jpeg = tf.io.encode_jpeg(image).numpy()
            (where / f'{index}.jpg').write_bytes(jpeg)
      peaks[count] = peak_mib(path, count, str(root))
  show(
    'peak memory, 10,000 / 1,000 images',
    peaks[10_000] / peaks[1_000],
    'at most 1.1',
    f'{peaks[10_000]:.0f} / {peaks[1_000]:.0f} MiB',
  )


def help_seconds() -> None:
  """The slowest --help over an interpreter that does nothing."""

  def seconds(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run(
      [sys.executable, *command], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - start

  empty = min(seconds('-c', '') for _ in range(5))
  slowest = {
    name: min(seconds('-m', f'tfcompress.{name}', '--help') for _ in range(5))
    for name in COMMANDS
  }
  name = max(slowest, key=slowest.get)
  show(
    'slowest --help / an empty python',
    slowest[name] / empty,
    'under 1 s',
    f'{name}: {slowest[name]:.2f} / {empty:.2f} s',
  )
