"""Speed of what is exported, and of exporting."""

import tempfile

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
      content, _ = flatbuffer.rewritten(content, (), wanted)
      records.write_bytes(path, content)
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
