"""From a tf_keras model to the bytes of a `.tflite`."""

import itertools
import warnings

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.lite.python import convert as convert_lib
from tensorflow.python.framework import convert_to_constants

from tfcompress.conversion import (
  float_files,
  layer_names,
  rounding,
  variants,
)
from tfcompress.conversion import representative as representative_lib
from tfcompress.core import types
from tfcompress.models import fake_quant

_MOST_CONSTANTS_BYTES = 8 * 2**20  # as constants, more are copied too often


def convert(
  model: tf_keras.Model,
  variant: types.Variant,
  io_dtype: types.IoDtype | None = None,
  representative: np.ndarray | None = None,
  calibration: types.Calibration = types.Calibration.MIN_MAX,
) -> bytes:
  """Converts a classifier with a batch of exactly one.

  Args:
    model: from float32 images (B, S, S, 3), 0..255, to probabilities (B, C);
      one that was trained for int8 brings its ranges with it.
    variant: what the numbers of the file are; of a variant with several kernels
      have the lowest, see `precision` for others.
    io_dtype: of input and output; None takes the variant's own.
    representative: images (N, S, S, 3), 0..255, where `needs_images`.
    calibration: how ranges are chosen, of a variant of litert-quantizer.

  Returns:
    The file.

  Raises:
    ValueError: an io_dtype that the variant cannot have, no images or no pixels
      for a variant that is calibrated, or a variant that is not what the model
      was trained for.
  """
  dtype = variants.io_dtype(variant, io_dtype)
  if variants.RECIPES[variant].configure is None:
    file = float_file(model, variant, representative, calibration)
    return rounding.quantized(file, file.lowest_bits(), dtype)
  images = _pixels(model, variant, representative)
  return _by_converter(model, variant, dtype, images)


def float_file(
  model: tf_keras.Model,
  variant: types.Variant,
  representative: np.ndarray | None = None,
  calibration: types.Calibration = types.Calibration.MIN_MAX,
  kernel_ranges: types.KernelRange = types.KernelRange.MIN_MAX,
) -> float_files.FloatFile:
  """Converts a classifier to float32, ready to become a variant.

  Args:
    model: as in `convert`.
    variant: one of litert-quantizer.
    representative: as in `convert`.
    calibration: how ranges are chosen.
    kernel_ranges: how those of kernels are.

  Raises:
    ValueError: as in `convert`.
  """
  images = _pixels(model, variant, representative)
  content = _by_converter(model, types.Variant.FLOAT32, types.IoDtype.FLOAT32)
  names = layer_names.of_model(model)
  return float_files.prepare(
    content, variant, names, images, calibration, kernel_ranges
  )


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


def _pixels(
  model: tf_keras.Model, variant: types.Variant, images: np.ndarray | None
) -> np.ndarray | None:
  """The images of a variant that needs them."""
  if not needs_images(model, variant):
    return None
  if images is None or not len(images):
    raise ValueError(f'variant {variant.value} needs representative images')
  representative_lib.require_pixels(images)
  return images


def _by_converter(
  model: tf_keras.Model,
  variant: types.Variant,
  io_dtype: types.IoDtype,
  images: np.ndarray | None = None,
) -> bytes:
  """One of the converter's own variants."""
  converter = _converter(model)
  if fake_quant.is_quantized(model):
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
  else:
    variants.RECIPES[variant].configure(converter)
  if images is not None:
    shown = _with_full_range(images)
    converter.representative_dataset = lambda: (
      [image[None].astype(np.float32)] for image in shown
    )
  if variants.RECIPES[variant].calibrated:
    converter.inference_input_type = tf.as_dtype(io_dtype.value)
    converter.inference_output_type = tf.as_dtype(io_dtype.value)
  with warnings.catch_warnings():
    # The converter asks for the ranges that calibration is about to find.
    warnings.filterwarnings('ignore', 'Statistics for quantized inputs')
    try:
      return converter.convert()
    except (convert_lib.ConverterError, RuntimeError) as error:
      first = next(iter(str(error).splitlines()), type(error).__name__)
      raise ValueError(
        f'the converter cannot make a {variant.value} file of this network '
        f'({first}); choose another --variant'
      ) from error


def _converter(model: tf_keras.Model) -> tf.lite.TFLiteConverter:
  """Of one image; from_keras_model would trace every layer by itself first."""
  (name,) = model.output_names
  image = tf.TensorSpec(
    (1, *model.input_shape[1:]), tf.float32, model.input_names[0]
  )
  holder = tf.Module()
  holder.weights = model.variables
  holder.call = tf.function(
    lambda image: {name: model(image, training=False)}, input_signature=[image]
  )
  with fake_quant.rounded_by_operators(model):
    function = holder.call.get_concrete_function()
  size_bytes = sum(w.shape.num_elements() * w.dtype.size for w in model.weights)
  if size_bytes < _MOST_CONSTANTS_BYTES:
    function, holder = _with_constants(function, name), tf.Module()
  return tf.lite.TFLiteConverter.from_concrete_functions([function], holder)


def _with_constants(function, name: str):
  """The function without variables and gradients; its output is `name`.

  The converter saves and loads what it is given, and takes longer for a hundred
  variables, and for the gradient of every rounding, than for all the rest.
  """
  frozen = convert_to_constants.convert_variables_to_constants_v2(
    function, lower_control_flow=False
  )
  graph_def = frozen.graph.as_graph_def()
  inner = (f.node_def for f in graph_def.library.function)
  for node in itertools.chain(graph_def.node, *inner):
    node.attr.pop('_gradient_op_type', None)
  whole = tf.compat.v1.wrap_function(
    lambda: tf.graph_util.import_graph_def(graph_def, name=''), []
  )
  of = whole.graph.as_graph_element
  (image,), (output,) = frozen.inputs, frozen.outputs
  return whole.prune([of(image.name)], {name: of(output.name)})


def _with_full_range(images: np.ndarray) -> np.ndarray:
  """Makes one pixel of the first image black and one white.

  The input's range is then 0..255, its scale one and its zero point zero: pixels
  pass into a uint8 input as they are.
  """
  images = images.copy()
  images[0, 0, 0] = 0
  images[0, -1, -1] = 255
  return images
