"""Speed of what is exported, and of exporting."""

import itertools
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from timing import show

from tfcompress.core import configs, types


def slim() -> None:
  """Int8 latency at half the MACs, chosen for latency, over the original."""
  from tfcompress.conversion import latency, tflite
  from tfcompress.core import records
  from tfcompress.models import channels as channels_lib
  from tfcompress.models import graph, resnet, surgery
  from tfcompress.training import budget, importance
  from tfcompress.training import slim as stage

  model = resnet.build(types.ModelSpec())
  channels = channels_lib.of(model)
  scores = importance.scores(model, channels, configs.Importance.L1, ())
  measure = lambda kept: latency.int8_latency_ms(
    surgery.keep(model, channels, kept)
  )
  scores = stage.per_millisecond(
    scores, channels.groups, channels.count, measure
  )
  choice = budget.Choice(channels.groups, scores, channels.count, 8, False)
  macs = graph.macs(model)
  kept = budget.within(
    choice,
    lambda kept: surgery.counted(model, channels, kept)[0],
    macs / 2,
    'multiply-accumulates',
    tolerance=1e-4,
  )
  smaller = surgery.keep(model, channels, kept)
  images = some_images()
  with tempfile.TemporaryDirectory() as folder:
    paths = [f'{folder}/{name}.tflite' for name in ('smaller', 'whole')]
    for path, one in zip(paths, (smaller, model)):
      content = tflite.convert(one, types.Variant.INT8, None, images)
      records.write_bytes(path, content)
    ours, whole = best_medians(paths, images)
  show(
    'int8 latency, slimmed to half the MACs / whole',
    ours / whole,
    'at most 0.60',
    f'{ours:.2f} / {whole:.2f} ms, ResNet-18 at 224, LiteRT, one thread, '
    f'{100 * graph.macs(smaller) / macs:.1f} % of the MACs, '
    '--allocation=latency --round_to=8',
  )


def rewrites() -> None:
  """A full int8 ResNet-18 with the exact rewrites over one without."""
  from tfcompress.conversion import flatbuffer, tflite
  from tfcompress.core import records
  from tfcompress.models import resnet
  from tfcompress.models import rewrites as rewrites_lib

  model = resnet.build(types.ModelSpec())
  images = some_images()
  with tempfile.TemporaryDirectory() as folder:
    paths = [f'{folder}/{name}.tflite' for name in ('with', 'without')]
    for path, wanted in zip(paths, (None, ())):
      network, _ = rewrites_lib.rewritten(model, wanted)
      content = tflite.convert(network, types.Variant.INT8, None, images)
      file = flatbuffer.rewritten(content, wanted=wanted)
      records.write_bytes(path, file.content)
    ours, plain = best_medians(paths, images)
  show(
    'int8 latency with / without exact rewrites',
    ours / plain,
    'at most 0.70',
    f'{ours:.2f} / {plain:.2f} ms, ResNet-18 at 224, LiteRT, one thread',
  )


def some_images() -> np.ndarray:
  rng = np.random.RandomState(0)
  return rng.randint(0, 256, (2, 224, 224, 3)).astype(np.uint8)


def best_medians(paths: list[str], images: np.ndarray) -> list[float]:
  """Of each file, the least of five median times in ms; they take turns."""
  from tfcompress.conversion import latency

  rounds = [
    [latency.median_ms(path, images[:1]) for path in paths] for _ in range(5)
  ]
  return [min(times) for times in zip(*rounds)]


def quantizer() -> None:
  """Static int8 by litert-quantizer over the converter's, the same images."""
  from tfcompress.conversion import (
    float_files,
    layer_names,
    rounding,
    tflite,
  )
  from tfcompress.models import resnet

  model = resnet.build(types.ModelSpec())
  count = types.ExportConfig('', '').calibration_examples
  rng = np.random.RandomState(0)
  images = rng.randint(0, 256, (count, 224, 224, 3)).astype(np.uint8)
  content = tflite.convert(model, types.Variant.FLOAT32)
  names = layer_names.of_model(model)
  static = types.Variant.STATIC_WI8_AI8

  def ours() -> None:
    file = float_files.prepare(content, static, names, images)
    bits = file.lowest_bits()
    rounding.quantized(file, bits, types.IoDtype.UINT8)

  def converter() -> None:
    tflite.convert(model, types.Variant.INT8, None, images)

  seconds = []
  for one in (ours, converter):
    start = time.perf_counter()
    one()
    seconds.append(time.perf_counter() - start)
  show(
    'static int8, litert-quantizer / converter',
    seconds[0] / seconds[1],
    'at most 0.3',
    f'{seconds[0]:.1f} / {seconds[1]:.1f} s, ResNet-18 at 224, {count} images; '
    'from a float .tflite, and from Keras, for a .tflite it cannot take',
  )


def compress() -> None:
  """A pipeline of which everything is there over the first run of it."""
  from PIL import Image

  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    rng = np.random.RandomState(0)
    for split, name, index in itertools.product(
      ('train', 'validation'), 'ab', range(8)
    ):
      path = root / 'images' / split / name / f'{index}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      pixels = rng.randint(0, 256, (32, 32, 3), np.uint8)
      Image.fromarray(pixels).save(path)
    flagfile = root / 'baseline.cfg'
    flagfile.write_text(
      '--stage=baseline\n--width_multiplier=0.125\n--input_size=32\n'
      '--batch_size=8\n--epochs=1\n--warmup_epochs=0\n'
    )
    command = [
      sys.executable, '-m', 'tfcompress.compress',
      f'--stages=baseline:{flagfile}', '--variants=int8',
      f'--dataset=folder:{root}/images', f'--output_dir={root}/run',
      '--min_agreement_percent=0', '--min_snr_db=0', '--runs=10',
      '--calibration_examples=4', '--parity_examples=4',
    ]  # fmt: skip
    seconds = []
    for _ in range(2):
      start = time.perf_counter()
      subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
      seconds.append(time.perf_counter() - start)
  show(
    'compress, everything there / first run',
    seconds[1] / seconds[0],
    'under 10 s',
    f'{seconds[1]:.1f} / {seconds[0]:.1f} s, one stage, two files',
  )
