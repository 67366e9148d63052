"""What an export says of its model: metadata.json and architecture.json."""

import collections
from collections.abc import Sequence

import tf_keras

from tfcompress.conversion import parity as parity_lib
from tfcompress.conversion import preserved, variants
from tfcompress.core import records, types
from tfcompress.models import graph


def metadata(
  config: types.ExportConfig,
  manifest: types.Manifest,
  parity: parity_lib.Parity,
  kept: Sequence[preserved.PreservedLayer],
  parent: types.ParentRecord,
  model_sha256: str,
) -> dict[str, object]:
  """Returns metadata.json: the challenge's keys and one of ours.

  Its `weights` say how many layers have weights of a number type in the file.
  """
  return {
    'username': config.username,
    'teamname': config.teamname,
    'model_format': 'tflite',
    'tfcompress': {
      'schema_version': 1,
      'sha256': model_sha256,
      'variant': config.variant.value,
      'io_dtype': variants.io_dtype(config.variant, config.io_dtype).value,
      'calibration': _calibration(config, manifest),
      'kernel_ranges': _kernel_ranges(config),
      'rewrites': records.to_json(config.rewrites),
      'input_scaling': manifest.input_scaling.value,
      'class_names': list(manifest.class_names),
      'data': records.to_json(config.data or manifest.data),
      'parent': records.to_json(parent),
      'ancestors': records.to_json(manifest.parents),
      'parity': records.to_json(parity),
      'weights': collections.Counter(layer.dtype for layer in kept),
    },
  }


def architecture(
  model: tf_keras.Model,
  manifest: types.Manifest,
  variant: types.Variant,
  kept: Sequence[preserved.PreservedLayer],
) -> dict[str, object]:
  """Returns architecture.json: the network, its pruning and its training.

  Of every layer with a kernel it says what is in the file: number type, share of
  zeros, and clusters where the kernel has some.

  Args:
    model: the network that was converted.
    manifest: of the artifact.
    variant: what it was converted to.
    kept: what became of its kernels.
  """
  spec = manifest.model
  return {
    'model_type': spec.name,
    'num_classes': spec.num_classes,
    'input_shape': [1, spec.input_size, spec.input_size, 3],
    'internal_size': spec.stem_size,
    'output_shape': [1, spec.num_classes],
    'parameters': manifest.parameters,
    'macs': manifest.macs,
    'pruning_rate': manifest.sparsity.total,
    'compression_steps': [*manifest.steps, variant.value],
    'training': records.to_json(manifest.training),
    'metrics': records.to_json(manifest.metrics),
    'layers': [
      _layer(model.get_layer(layer.name), layer, manifest.clusters)
      for layer in kept
    ],
  }


def _kernel_ranges(config: types.ExportConfig) -> str | None:
  """How kernels' ranges were chosen; None where the converter chooses."""
  by_converter = variants.RECIPES[config.variant].configure is not None
  return None if by_converter else config.kernel_ranges.value


def _calibration(
  config: types.ExportConfig, manifest: types.Manifest
) -> dict[str, object] | None:
  """How ranges were chosen; None where there are none, or trained ones."""
  if manifest.quantized or not variants.RECIPES[config.variant].calibrated:
    return None
  return {
    'method': config.calibration.value,
    'examples': config.calibration_examples,
  }


def _layer(layer, kept: preserved.PreservedLayer, clusters) -> dict:
  *_, inputs, outputs = graph.kernel_of(layer).shape
  if graph.is_depthwise(layer):
    outputs *= inputs
  return {
    'name': layer.name,
    'type': type(layer).__name__.removeprefix('Quantized'),
    'in_channels': inputs,
    'out_channels': outputs,
    'kernel_size': list(getattr(layer, 'kernel_size', ())),
    'strides': list(getattr(layer, 'strides', ())),
    'dtype': kept.dtype,
    'zeros': kept.zeros,
    'clusters': kept.clusters if layer.name in clusters else None,
  }
