"""Speed and memory of measuring, and of the commands' help."""

import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from timing import STEM, show

from tfcompress.core import measurements, types
from tfcompress.measurement import machine, run

COMMANDS = ('train', 'export', 'evaluate', 'compress')


def int8_resnet(
  folder: str, name: str = 'model', spec: types.ModelSpec | None = None
) -> str:
  """An int8 ResNet-18 with random weights, to be timed; 224x224 at first."""
  import tf_keras

  from tfcompress.conversion import tflite
  from tfcompress.models import resnet

  model = resnet.build(spec or types.ModelSpec())
  for layer in model.layers:
    # Blocks start as identity; give every convolution weights to multiply.
    if isinstance(layer, tf_keras.layers.BatchNormalization):
      layer.gamma.assign(np.ones(layer.gamma.shape, np.float32))
  images = np.random.RandomState(0).randint(0, 256, (4, 224, 224, 3), np.uint8)
  path = f'{folder}/{name}.tflite'
  content = tflite.convert(model, types.Variant.INT8, None, images)
  pathlib.Path(path).write_bytes(content)
  return path


def small(folder: str) -> str:
  """An int8 ResNet-18 of half the width that works at 64."""
  return int8_resnet(
    folder, 'small', types.ModelSpec(width_multiplier=0.5, internal_size=STEM)
  )


def bare_loop(path: str) -> float:
  """Median milliseconds of the loop everyone writes, in a fresh process."""
  code = (
    'import sys, time\n'
    'import numpy as np\n'
    'from ai_edge_litert import interpreter as litert\n'
    'from tfcompress.core import types\n'
    'from tfcompress.data import timed\n'
    'model = litert.Interpreter(sys.argv[1], num_threads=1)\n'
    'model.allocate_tensors()\n'
    'i = model.get_input_details()[0]["index"]\n'
    'o = model.get_output_details()[0]["index"]\n'
    'images = timed.images(types.DataSpec(), 224, 8)\n'
    'images = [np.ascontiguousarray(image[None]) for image in images]\n'
    'times = []\n'
    'for run in range(600):\n'
    '  start = time.perf_counter_ns()\n'
    '  model.set_tensor(i, images[run % 8])\n'
    '  model.invoke()\n'
    '  model.get_tensor(o)\n'
    '  times.append(time.perf_counter_ns() - start)\n'
    'print(np.median(times[100:]) / 1e6)\n'
  )
  core = machine.idlest_cores(1)
  result = subprocess.run(
    ['taskset', '-c', str(core[0]), sys.executable, '-c', code, path]
    if core
    else [sys.executable, '-c', code, path],
    capture_output=True,
    text=True,
    check=True,
  )
  return float(result.stdout)


def latency_config(path: str, **fields) -> measurements.MeasureConfig:
  return measurements.MeasureConfig(
    measurements.OpenConfig(path, num_threads=1),
    parts=(measurements.Part.LATENCY,),
    input_scaling=types.Preprocessing(),
    **fields,
  )


def harness() -> None:
  """Latency that the evaluator reports over a bare loop's."""
  with tempfile.TemporaryDirectory() as folder:
    path = int8_resnet(folder)
    rounds = []
    for _ in range(7):
      [record] = run.measure([latency_config(path, processes=1)])
      rounds.append((record.latency_ms.median, bare_loop(path)))
  ours, bare = (statistics.median(column) for column in zip(*rounds))
  show(
    'latency as reported / a bare invoke loop',
    statistics.median(ours / bare for ours, bare in rounds),
    '0.98 to 1.02',
    f'{ours:.3f} / {bare:.3f} ms, int8 ResNet-18 at 224, medians of 7 rounds',
  )


def accuracy() -> None:
  """Images a second of an isolated evaluation over what two cores can do."""
  from tfcompress.data import pipelines, sources
  from tfcompress.measurement import accuracy as ours
  from tfcompress.measurement import opened

  source, count = sources.load(types.DataSpec()), 960
  limits = measurements.Limits()
  rates, times = [], []
  with tempfile.TemporaryDirectory() as folder:
    path = int8_resnet(folder)
    for _ in range(3):
      [record] = run.measure([latency_config(path, processes=2)])
      times.append(record.latency_ms.median)
      file = measurements.OpenConfig(path, num_threads=1)
      with opened.Opened(file, limits, copies=2) as model:
        chunk = ours.chunk_of(model)
        slots = model.share(chunk)
        batches = pipelines.evaluation(
          source,
          types.Split.VALIDATION,
          types.EvaluationTransform.CHALLENGE,
          batch_size=chunk,
          input_size=224,
        ).take(count // chunk)
        start = time.perf_counter()
        ours.classify(
          model, slots, batches.as_numpy_iterator(), types.Preprocessing()
        )
        rates.append(count / (time.perf_counter() - start))
        level = model.level.value
  rate, most = max(rates), 2000 / min(times)
  show(
    'accuracy evaluation / two cores at work',
    rate / most,
    'at least 0.9',
    f'{rate:.0f} / {most:.0f} images/s, int8 ResNet-18 at 224, decoding '
    f'included, {level}',
  )


def noise() -> None:
  """Ten times the same two models, while a process keeps a core busy."""
  with tempfile.TemporaryDirectory() as folder:
    paths = [int8_resnet(folder), small(folder)]
    busy = subprocess.Popen([sys.executable, '-c', 'while True: pass'])
    try:
      found = [
        run.measure([latency_config(path) for path in paths])[1].ratio
        for _ in range(10)
      ]
    finally:
      busy.kill()
      busy.wait()
  ratios = [ratio.latency for ratio in found]
  flips = sum(ratio < 1 for ratio in ratios)
  show(
    'spread of a latency ratio, a core busy',
    statistics.stdev(ratios) / statistics.mean(ratios),
    'at most 0.03',
    f'10 evaluations, {min(ratios):.2f} to {max(ratios):.2f} times faster, '
    f'{flips} with the other ranking',
  )


def same() -> None:
  """Twenty times the same file as two models."""
  held = []
  with tempfile.TemporaryDirectory() as folder:
    path = small(folder)
    for _ in range(20):
      ratio = run.measure([latency_config(path)] * 2)[1].ratio
      low, high = ratio.latency_ci95
      held.append(low <= 1 <= high)
  show(
    'a file beside itself, intervals with 1',
    sum(held) / len(held),
    'at least 0.9',
    f'{sum(held)} of {len(held)} evaluations',
  )


def start() -> None:
  """From the command to its table."""

  def seconds(parts: str) -> float:
    begin = time.perf_counter()
    subprocess.run(
      [
        *(sys.executable, '-m', 'tfcompress.evaluate', f'--model={path}'),
        f'--parts={parts}',
      ],
      check=True,
      stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - begin

  with tempfile.TemporaryDirectory() as folder:
    path = small(folder)
    size, both = (
      statistics.median(seconds(parts) for _ in range(5))
      for parts in ('size', 'size,latency')
    )
  show(
    'evaluate: size / size and latency',
    size / both,
    'under 1.5 and 5 s',
    f'{size:.2f} / {both:.2f} s, a small .tflite',
  )


def peak_mib(path: str, images: int, folder: str) -> float:
  """Peak memory of a process that evaluates so many images."""
  code = (
    'import sys, resource\n'
    'from tfcompress.core import measurements, types\n'
    'from tfcompress.measurement import accuracy\n'
    'config = measurements.MeasureConfig(\n'
    '  measurements.OpenConfig(sys.argv[1]),\n'
    '  data=types.DataSpec("folder:" + sys.argv[2]),\n'
    '  input_scaling=types.Preprocessing())\n'
    'found, _ = accuracy.measure(config)\n'
    'assert len(found.labels) == int(sys.argv[3]), found\n'
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
