"""Networks as keras.applications builds them, from a file of theirs to ours."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.conversion import (
  flatbuffer,
  layer_names,
  preserved,
  run,
  tflite,
)
from tfcompress.core import configs, types
from tfcompress.models import graph
from tfcompress.runtimes import tflite_file

V = types.Variant
STEM = 'stem_conv'


def mobile(module, between: str):
  """Paddings, squeeze and excitation, hard swish: of tf_keras or Keras 3.

  Args:
    module: the one or the other.
    between: the parts of a name.
  """
  layers = module.layers
  name = lambda *parts: between.join(parts)

  def hard_swish(x, prefix: str):
    gate = layers.ReLU(6.0, name=name(prefix, 'gate'))(
      layers.Rescaling(1.0, 3.0, name=name(prefix, 'shift'))(x)
    )
    gate = layers.Rescaling(1 / 6, name=name(prefix, 'divide'))(gate)
    return layers.Multiply(name=name(prefix, 'swish'))([x, gate])

  def norm(x, prefix: str):
    return layers.BatchNormalization(name=name(prefix, 'bn'))(x)

  image = layers.Input((48, 48, 3))
  x = layers.Rescaling(1 / 255, name='rescaling')(image)
  x = layers.ZeroPadding2D(((0, 1), (0, 1)), name='stem_conv_pad')(x)
  x = layers.Conv2D(8, 3, 2, use_bias=False, name=STEM)(x)
  x = hard_swish(norm(x, 'stem'), 'stem')
  for block in ('block', 'block_1'):
    y = layers.ZeroPadding2D(1, name=name(block, 'depthwise', 'pad'))(x)
    y = layers.DepthwiseConv2D(3, name=name(block, 'depthwise'))(y)
    y = layers.ReLU(name=name(block, 'relu'))(norm(y, name(block, 'depthwise')))
    z = layers.GlobalAveragePooling2D(
      keepdims=True, name=name(block, 'se', 'squeeze')
    )(y)
    z = layers.Conv2D(4, 1, activation='relu', name=name(block, 'se', 'Conv'))(
      z
    )
    z = layers.Conv2D(8, 1, activation='sigmoid', name=name(block, 'se', 'up'))(
      z
    )
    y = layers.Multiply(name=name(block, 'excite'))([y, z])
    y = norm(layers.Conv2D(8, 1, name=name(block, 'Conv'))(y), block)
    x = layers.Add(name=name(block, 'add'))([x, y])
  x = layers.Conv2D(8, 1, activation='relu', name='Conv')(x)
  x = layers.GlobalAveragePooling2D(name='mean')(x)
  x = layers.Dense(3, activation='softmax', name='predictions')(x)
  return module.Model(image, x, name='mobile')


@pytest.fixture(scope='module')
def network() -> tf_keras.Model:
  tf_keras.utils.set_random_seed(1)
  return mobile(tf_keras, '/')


@pytest.mark.parametrize('variant', V)
def test_every_variant_names_every_layer(variant, network, tmp_path):
  names = layer_names.of_model(network)
  images = np.random.RandomState(0).randint(0, 256, (4, 48, 48, 3), np.uint8)
  content = tflite.convert(network, variant, None, images)
  file = flatbuffer.rewritten(content, names)
  path = tmp_path / 'model.tflite'
  path.write_bytes(file.content)
  kernels = {n: k.numpy() for n, k in graph.kernels(network).items()}
  moved = {n: plan.kernel(kernels[n]) for n, plan in file.blocks.items()}
  assert set(moved) <= {STEM}
  preserved.check(kernels | moved, str(path))
  found = {w.name: w.values.shape for w in tflite_file.weights(str(path))}
  assert found == {n: k.shape for n, k in (kernels | moved).items()}


@pytest.mark.parametrize(('module', 'between'), [(tf_keras, '/'), (keras, '_')])
def test_a_file_of_theirs_is_exported(
  module, between, baseline_config, tmp_path
):
  path = tmp_path / 'theirs.keras'
  mobile(module, between).save(path)
  # Here, since a session's other fixtures train.
  from tfcompress.training import run as training

  config = dataclasses.replace(
    baseline_config,
    output_dir=str(tmp_path / 'run'),
    init=configs.InitConfig(init_from=str(path)),
    model=None,
    epochs=0,
  )
  training.run(config, '')
  seen = []
  options = types.ExportConfig(
    config.output_dir,
    str(tmp_path / 'out'),
    V.STATIC_WI8_AI8,
    sensitivity=True,
    calibration_examples=6,
    parity_examples=6,
    min_agreement_percent=0,
    min_snr_db=-100,
  )
  run.run(options, seen.extend)
  expected = {
    'stem_conv', 'Conv', 'predictions',
    *(
      between.join([block, *parts])
      for block in ('block', 'block_1')
      for parts in (['depthwise'], ['Conv'], ['se', 'Conv'], ['se', 'up'])
    ),
  }  # fmt: skip
  assert {layer.layer for layer in seen} == expected
  architecture = json.loads((tmp_path / 'out/architecture.json').read_text())
  assert {one['name'] for one in architecture['layers']} == expected
