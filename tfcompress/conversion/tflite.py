"""From a tf_keras model to the bytes of a `.tflite`."""

import warnings

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.conversion import variants
from tfcompress.core import types
from tfcompress.models import fake_quant


def convert(
  model: tf_keras.Model,
  variant: types.Variant,
  io_dtype: types.IoDtype | None = None,
  representative: np.ndarray | None = None,
) -> bytes:
  """Converts a classifier with a batch of exactly one.

  Args:
    model: from float32 images (B, S, S, 3), 0..255, to probabilities (B, C);
      one that was trained for int8 brings its ranges with it.
    variant: what the numbers of the file are.
    io_dtype: of input and output; None takes the variant's own.
    representative: uint8 images (N, S, S, 3), where `needs_images`.

  Returns:
    The file.

  Raises:
    ValueError: an io_dtype that the variant cannot have, no images for a
      variant that is calibrated, or a variant that is not what the model was
      trained for.
  """
  dtype = variants.io_dtype(variant, io_dtype)
  calibrated = needs_images(model, variant)
  converter = tf.lite.TFLiteConverter.from_keras_model(_with_batch_one(model))
  if fake_quant.is_quantized(model):
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
  else:
    variants.RECIPES[variant].configure(converter)
  if calibrated:
    if representative is None or not len(representative):
      raise ValueError(f'variant {variant.value} needs representative images')
    images = _with_full_range(representative)
    converter.representative_dataset = lambda: (
      [image[None].astype(np.float32)] for image in images
    )
  if variants.RECIPES[variant].calibrated:
    converter.inference_input_type = tf.as_dtype(dtype.value)
    converter.inference_output_type = tf.as_dtype(dtype.value)
  with warnings.catch_warnings():
    # The converter asks for the ranges that calibration is about to find.
    warnings.filterwarnings('ignore', 'Statistics for quantized inputs')
    return converter.convert()


def needs_images(model: tf_keras.Model, variant: types.Variant) -> bool:
  """Whether ranges must be calibrated: where int8 was not trained for.

  Raises:
    ValueError: the model was trained for int8, and the variant is another.
  """
  if not fake_quant.is_quantized(model):
    return variants.RECIPES[variant].calibrated
  if variant is not types.Variant.INT8:
    raise ValueError(
      f'--variant={variant.value}: the model was trained for int8 (qat); '
      "use --variant=int8, or export qat's parent"
    )
  return False


def _with_batch_one(model: tf_keras.Model) -> tf_keras.Model:
  image = tf_keras.Input(
    batch_shape=(1, *model.input_shape[1:]), name=model.input_names[0]
  )
  return tf_keras.Model(image, model(image, training=False))


def _with_full_range(images: np.ndarray) -> np.ndarray:
  """Makes one pixel of the first image black and one white.

  The input's range is then 0..255, its scale one and its zero point zero: pixels
  pass into a uint8 input as they are.
  """
  images = images.copy()
  images[0, 0, 0] = 0
  images[0, -1, -1] = 255
  return images
