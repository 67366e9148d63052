"""ResNet-18, -34 and -50 as functional tf_keras models (He 2016).

The 3x3 of a bottleneck carries its stride (v1.5); the last batch normalization
of a block starts at gamma 0 (Goyal 2017), so that a block starts as identity.
"""

import tf_keras

from tfcompress.core import types
from tfcompress.models import widths

layers = tf_keras.layers

LOGITS = 'logits'  # the layer that distillation and training losses read

# Kernel size and stride. Blocks of 4x4 pixels under a 3x3 kernel are a kernel
# of 12x12 that moves by 4; export computes it as the former.
_STEMS = {
  types.Stem.CONV7_POOL: (7, 2),
  types.Stem.SPACE_TO_DEPTH4_CONV3: (12, 4),
  types.Stem.CONV3_STRIDE2: (3, 2),
  types.Stem.CONV3: (3, 1),
}


def build(
  spec: types.ModelSpec, dtype_policy: str = 'float32'
) -> tf_keras.Model:
  """Builds the network of `spec`.

  Args:
    spec: what to build.
    dtype_policy: 'float32' or 'mixed_bfloat16'; weights are float32 in both.

  Returns:
    A model from raw RGB pixels 0..255, float32 (B, S, S, 3) with S the input
    size, to class probabilities, float32 (B, num_classes).

  Raises:
    ValueError: a spec that no network fits.
  """
  if spec.num_classes < 2:
    raise ValueError(f'{spec.num_classes} classes: expected at least 2')
  channels = widths.channels_of(spec)
  policy = tf_keras.mixed_precision.Policy(dtype_policy)
  conv = lambda x, name, *args, **kwargs: _conv_bn(
    x, channels[name], name, policy, *args, **kwargs
  )

  pixels = layers.Input((spec.input_size, spec.input_size, 3), name='image')
  x = _normalize(_resize(pixels, spec), spec.normalization)
  x = conv(x, widths.STEM, *_STEMS[spec.stem])
  x = layers.ReLU(name='stem_relu', dtype=policy)(x)
  if spec.stem is types.Stem.CONV7_POOL:
    x = layers.MaxPooling2D(3, 2, 'same', name='stem_pool', dtype=policy)(x)
  for block in widths.blocks(spec):
    x = _residual_block(x, block, conv, policy)
  x = layers.GlobalAveragePooling2D(name='pool', dtype=policy)(x)
  x = layers.Dense(spec.num_classes, name=LOGITS, dtype=policy)(x)
  probabilities = layers.Softmax(name='probabilities', dtype='float32')(x)
  return tf_keras.Model(pixels, probabilities, name=f'resnet{spec.depth}')


def _resize(x, spec: types.ModelSpec):
  if spec.stem_size == spec.input_size:
    return x
  size = spec.stem_size
  return layers.Resizing(size, size, name='resize', dtype='float32')(x)


def _normalize(x, normalization: types.Normalization):
  if normalization is types.Normalization.RAW:
    return x
  scale, offset = list(normalization.scale), list(normalization.offset)
  return layers.Rescaling(scale, offset, name='normalize', dtype='float32')(x)


def _conv_bn(x, filters, name, policy, kernel_size, stride, last=False):
  x = layers.Conv2D(
    filters,
    kernel_size,
    stride,
    padding='same',
    use_bias=False,
    kernel_initializer='he_normal',
    name=name,
    dtype=policy,
  )(x)
  return layers.BatchNormalization(
    momentum=0.9,
    epsilon=1e-5,
    gamma_initializer='zeros' if last else 'ones',
    name=f'{name}_bn',
    dtype=policy,
  )(x)


def _residual_block(x, block: widths.Block, conv, policy):
  shortcut = x
  if block.projects:
    shortcut = conv(x, block.shortcut_name, 1, block.stride)
  last = block.conv_names[-1]
  for name, size, stride in zip(
    block.conv_names, block.kernel_sizes, block.strides
  ):
    x = conv(x, name, size, stride, last=name == last)
    if name != last:
      x = layers.ReLU(name=f'{name}_relu', dtype=policy)(x)
  x = layers.Add(name=f'{block.name}_add', dtype=policy)([x, shortcut])
  return layers.ReLU(name=f'{block.name}_relu', dtype=policy)(x)
