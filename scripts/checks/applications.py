"""Networks of keras.applications, of both Keras: every variant, every layer."""

import contextlib
import importlib
import os
import pathlib
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfcompress.conversion import run as export
from tfcompress.conversion import variants
from tfcompress.core import configs, types
from tfcompress.models import graph, io
from tfcompress.runtimes import tflite_file
from tfcompress.training import run as training

_NETWORKS = (
  'tf_keras.EfficientNetB0',
  'tf_keras.MobileNetV3Small',
  'keras.EfficientNetB0',
  'keras.MobileNetV3Small',
)
_SIZE, _CLASSES = 64, 4
_LOGITS = 3.0  # their standard deviation
_WIDTHS = (26, 24, 10, 8, 8, 8)
_HEADER = ('network', 'variant', 'KiB', 'SNR, dB', 'same, %', 's')
# Sensitivity makes a file for every layer, so that one variant must do.
_SENSITIVE = types.Variant.STATIC_WI8_AI8


def check(*names: str) -> int:
  """Imports and exports; prints a table.

  Args:
    *names: of networks, such as keras.EfficientNetB0; four if there is none.

  Returns:
    The exit code, 1 if anything is refused or a layer has another's name.
  """
  failures = 0
  print(_line(_HEADER))
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    _write_images(root / 'images')
    for name in names or _NETWORKS:
      failures += _check(root, name)
  print(f'{failures} wrong')
  return int(failures > 0)


def _check(root: pathlib.Path, label: str) -> int:
  """Prints the lines of one network; returns how many are wrong."""
  start = time.monotonic()
  artifact = str(root / label)
  file = _saved(root, label)
  data = types.DataSpec(f'folder:{root / "images"}')
  training.run(
    configs.TrainConfig(
      types.Stage.BASELINE,
      artifact,
      init=configs.InitConfig(file),
      model=None,
      data=data,
      batch_size=8,
      epochs=0,
      optimizer=configs.OptimizerConfig(warmup_epochs=0),
    ),
    '',
  )
  print(_line((label, 'imported', '', '', '', _seconds(start))), flush=True)
  failures = 0
  for variant in types.Variant:
    start = time.monotonic()
    config = types.ExportConfig(
      artifact,
      f'{artifact}_{variant.value}',
      variant,
      calibration_examples=16,
      parity_examples=16,
      min_agreement_percent=0.0,
      min_snr_db=-100.0,
      max_drop=100.0 if variants.RECIPES[variant].max_drop else None,
      sensitivity=variant is _SENSITIVE,
    )
    failures += _export(label, config, start)
  return failures


def _export(label: str, config: types.ExportConfig, start: float) -> int:
  """Prints the line of one variant; returns 1 if it is wrong."""
  seen = []
  with open(os.devnull, 'w', encoding='utf-8') as quiet:
    try:
      with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        parity = export.run(config, seen.extend)
    except ValueError as error:
      print(_line((label, config.variant.value, f'REFUSED: {error}')))
      return 1
  network, _ = io.load(config.artifact)
  wrong = [*_misnamed(config, network), *_unlike(seen, network)]
  size = pathlib.Path(config.output_dir, 'model.tflite').stat().st_size
  cells = (
    f'{size / 1024:,.0f}',
    f'{parity.snr_db:.1f}',
    f'{parity.agreement_percent:.0f}',
    _seconds(start),
  )
  note = f'  sensitivity of {len(seen)} layers' if seen else ''
  note += f'  WRONG: {", ".join(wrong)}' if wrong else ''
  cells = (label, config.variant.value, *cells)
  print(f'{_line(cells)}{note}', flush=True)
  return int(bool(wrong))


def _misnamed(config: types.ExportConfig, network) -> Iterator[str]:
  """Layers of which the file has no weights of their name and shape."""
  found = {
    w.name: w.values.shape for w in tflite_file.weights(config.output_dir)
  }
  for name, kernel in graph.kernels(network).items():
    # The first may be over blocks of pixels, with channels of its own.
    if name not in found or (
      found[name] != kernel.shape and kernel.shape[2:3] != (3,)
    ):
      yield f'{name} is {found.get(name)}'


def _unlike(seen, network) -> Iterator[str]:
  """Layers whose sensitivity is not that of a kernel of their size."""
  sizes = {n: int(np.prod(k.shape)) for n, k in graph.kernels(network).items()}
  if seen:
    for name in sizes.keys() ^ {layer.layer for layer in seen}:
      yield f'{name} is in one list only'
  for layer in seen:
    size = sizes.get(layer.layer, 0)
    # The first has a channel for a normalization that it took in.
    if layer.parameters not in (size, size // 3 * 4):
      yield f'{layer.layer} has {layer.parameters} weights'


def _saved(root: pathlib.Path, label: str) -> str:
  """A network of random weights, but whose outputs differ, as a file."""
  keras, name = label.split('.')
  module = importlib.import_module(keras)
  module.utils.set_random_seed(1)
  model = getattr(module.applications, name)(
    weights=None,
    input_shape=(_SIZE, _SIZE, 3),
    classes=_CLASSES,
  )
  images = np.stack([_image(index) for index in range(64)]).astype(np.float32)
  norms = [x for x in model.layers if type(x).__name__ == 'BatchNormalization']
  for norm in norms:
    norm.momentum = 0.0  # What it remembers is of the images below.
  model(images, training=True)
  last = [layer for layer in model.layers if layer.weights][-1]
  # A probability may have become 0.
  logits = np.log(np.maximum(1e-12, model(images, training=False)))
  spread = _LOGITS / logits.std(axis=0).mean()
  kernel, bias = last.get_weights()
  moved = spread * (bias - logits.mean(axis=0))
  last.set_weights([spread * kernel, moved])
  path = root / f'{label}.keras'
  model.save(path)
  return str(path)


def _write_images(root: pathlib.Path) -> None:
  for split in ('train', 'validation'):
    for label in range(_CLASSES):
      folder = root / split / str(label)
      folder.mkdir(parents=True)
      for index in range(8):
        image = tf.io.encode_png(_image(8 * label + index)).numpy()
        (folder / f'{index}.png').write_bytes(image)


def _image(seed: int) -> np.ndarray:
  """Fields of 16 colors, uint8 (S, S, 3)."""
  fields = np.random.RandomState(seed).randint(0, 256, (4, 4, 3))
  repeated = np.ones((_SIZE // 4, _SIZE // 4, 1))
  return np.kron(fields, repeated).astype(np.uint8)


def _line(cells) -> str:
  return ''.join(f'{c:<{w}}' for c, w in zip(cells, _WIDTHS)).rstrip()


def _seconds(start: float) -> str:
  return f'{time.monotonic() - start:.1f}'
