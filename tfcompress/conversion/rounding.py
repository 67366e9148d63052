"""From a float32 file to a variant, by litert-quantizer.

Every layer gets its own number of bits; 32 leaves it in float. A file so made
differs from what litert-quantizer returns in one respect: constants lie inside
the flatbuffer, where every reader of TFLite files looks for them.
"""

import contextlib
import io
import sys
import warnings
from collections.abc import Mapping

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from litert_quantizer import qtyping, quantizer

from tfcompress.conversion import float_files, variants
from tfcompress.core import types
from tfcompress.runtimes import tflite_file

_Operator = float_files.Operator
_ENDS = (_Operator.INPUT, _Operator.OUTPUT)
_ACTIVATION_BITS = 8
_ALL = '.*'
_ALGORITHMS = {
  types.KernelRange.MIN_MAX: quantizer.AlgorithmName.MIN_MAX_UNIFORM_QUANT,
  types.KernelRange.MSE: quantizer.AlgorithmName.MSE,
  types.KernelRange.OCTAV: quantizer.AlgorithmName.OCTAV,
}


def quantized(
  file: float_files.FloatFile, bits: Mapping[str, int], io_dtype: types.IoDtype
) -> bytes:
  """Returns the variant.

  Args:
    file: what to quantize.
    bits: of every layer's weights, by name; 32 leaves it in float.
    io_dtype: of input and output.
  """
  engine = quantizer.Quantizer(file.content)
  _add(engine, file.mode, _ALL, _Operator.ALL_SUPPORTED, 8)
  if file.mode is variants.Mode.STATIC:
    for end in _ENDS:
      _add_end(engine, end, io_dtype)
  for layer in file.layers:
    _add_layer(engine, file, layer, bits[layer.name])
  return _made(engine, file)


def quantized_alone(
  file: float_files.FloatFile, layer: float_files.Layer
) -> bytes:
  """Returns the file with one layer quantized, and all else in float32."""
  engine = quantizer.Quantizer(file.content)
  _add_layer(engine, file, layer, layer.bits[0])
  return _made(engine, file)


def _add_layer(
  engine: quantizer.Quantizer,
  file: float_files.FloatFile,
  layer: float_files.Layer,
  bits: int,
) -> None:
  """Adds a rule for a layer; clipping is for the variant's lowest bits alone."""
  is_lowest = bits == variants.RECIPES[file.variant].bits[0]
  own = layer.kernel_range if is_lowest else types.KernelRange.MIN_MAX
  _add(engine, file.mode, layer.scope, layer.operator, bits, own)


def _add(
  engine: quantizer.Quantizer,
  mode: variants.Mode,
  scope: str,
  operator: _Operator,
  bits: int,
  kernel_range: types.KernelRange = types.KernelRange.MIN_MAX,
) -> None:
  """Adds a rule for the operators that a scope matches."""
  algorithm = _ALGORITHMS[kernel_range]
  if bits == variants.FLOAT_BITS:
    engine.update_quantization_recipe(
      scope, operator, algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE
    )
  elif mode is variants.Mode.STATIC:
    engine.add_static_config(
      scope, operator, _ACTIVATION_BITS, bits, algorithm_key=algorithm
    )
  elif mode is variants.Mode.DYNAMIC:
    engine.add_dynamic_config(scope, operator, bits, algorithm_key=algorithm)
  else:
    engine.add_weight_only_config(
      scope, operator, bits, algorithm_key=algorithm
    )


def _add_end(
  engine: quantizer.Quantizer, end: _Operator, io_dtype: types.IoDtype
) -> None:
  """Adds a rule for the input or the output, which are int8 without one."""
  if io_dtype is types.IoDtype.FLOAT32:
    _add(engine, variants.Mode.STATIC, _ALL, end, variants.FLOAT_BITS)
  elif io_dtype is types.IoDtype.UINT8:
    numbers = qtyping.TensorQuantizationConfig(
      num_bits=_ACTIVATION_BITS,
      symmetric=False,
      dtype=qtyping.TensorDataType.UINT,
    )
    kernels = qtyping.TensorQuantizationConfig(
      num_bits=8, granularity=qtyping.QuantGranularity.CHANNELWISE
    )
    engine.update_quantization_recipe(
      _ALL,
      end,
      qtyping.OpQuantizationConfig(
        activation_tensor_config=numbers,
        weight_tensor_config=kernels,
        compute_precision=qtyping.ComputePrecision.INTEGER,
      ),
    )


def _made(engine: quantizer.Quantizer, file: float_files.FloatFile) -> bytes:
  """Runs litert-quantizer with the ranges that were chosen."""
  chosen = {
    name: {'min': np.float32([low]), 'max': np.float32([high])}
    for name, (low, high) in file.ranges.items()
  }
  for name, most in file.magnitudes.items():
    chosen[name] = {'min': -most, 'max': most}
  # Asked for no progress bar it still draws two, for files of 100 tensors.
  said = io.StringIO()
  try:
    with warnings.catch_warnings(), contextlib.redirect_stderr(said):
      # It opens the float file with a setting that is for debugging.
      warnings.simplefilter('ignore', UserWarning)
      content = engine.quantize(
        chosen or None, enable_progress_bar=False, enable_progress_report=False
      ).quantized_model
  except Exception:
    print(said.getvalue(), file=sys.stderr)
    raise
  return _with_constants_inside(content)


def _with_constants_inside(content: bytes | bytearray) -> bytes:
  """The same file; large constants no longer lie behind the flatbuffer."""
  model = flatbuffer_utils.read_model_from_bytearray(content)
  for buffer in model.buffers:
    if buffer.data is not None:
      buffer.data = np.frombuffer(buffer.data, np.uint8)
  return tflite_file.packed(model)
