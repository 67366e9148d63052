"""Exports an artifact: converts, checks, and only then writes."""

import collections
import dataclasses
import pathlib
import sys
import tempfile

import numpy as np
import tf_keras

from tfcompress.conversion import (
  flatbuffer,
  layer_names,
  metadata,
  parity,
  precision,
  preserved,
  ready,
  representative,
  tflite,
  variants,
)
from tfcompress.core import custom, records, types
from tfcompress.data import pipelines, remarks, sources
from tfcompress.models import graph, io, rewrites
from tfcompress.runtimes import tflite_file

_ARCHITECTURE = 'architecture.json'


def run(
  config: types.ExportConfig, report: precision.Report = lambda layers: None
) -> parity.Parity:
  """Writes model.tflite, metadata.json and architecture.json.

  Args:
    config: what to export, and as what.
    report: is given the sensitivity of the layers, where that is measured.

  Returns:
    How the file compares with its parent.

  Raises:
    ValueError: no such artifact, other classes, options that contradict each
      other, images that cannot stand for those of the training, or a file that
      fails a check. No model is written then, but the one of the smallest drop
      under another name where max_drop cannot be met.
  """
  manifest = records.read_manifest(config.artifact)
  ready.require(config, manifest)
  data = config.data or manifest.data
  source = sources.load(data, ready.needs_training_images(config, manifest))
  remarks.show(source.remarks)
  sources.require_classes(source, manifest.class_names)
  custom.register(config.custom_objects)
  model, _ = io.load(config.artifact)
  images = None
  if tflite.needs_images(model, config.variant):
    images = _representative(config, manifest, model, source, data)
  known = parity.held_out(
    model,
    *_drawn(
      source, types.Split.VALIDATION, config.parity_examples, data, model
    ),
  )
  network, done = _rewritten(config, model)
  content = _converted(config, network, images, known, report)
  names = layer_names.of_model(network)
  file = flatbuffer.rewritten(content, names, config.rewrites)
  examples = config.calibration_examples if images is None else len(images)
  config = dataclasses.replace(
    config, rewrites=(*done, *file.done), calibration_examples=examples
  )
  result, kept = _check(config, manifest, network, file, known)
  _write(config, manifest, network, file.content, result, kept)
  return result


def _representative(
  config: types.ExportConfig,
  manifest: types.Manifest,
  model: tf_keras.Model,
  source: sources.Source,
  data: types.DataSpec,
) -> np.ndarray:
  """Training images that ranges are calibrated on."""
  count = config.calibration_examples
  images, labels = _drawn(source, types.Split.TRAIN, count, data, model)
  representative.require_pixels(images)  # before anything compares them
  representative.require_classes(labels, manifest.class_names)
  if data != manifest.data:
    representative.require_training_scale(model, images)
  return images


def _rewritten(
  config: types.ExportConfig, model: tf_keras.Model
) -> tuple[tf_keras.Model, tuple[types.Rewrite, ...]]:
  """The network to convert, and what was done to it.

  A folded normalization must know how the kernel that it is in will be rounded.
  """
  bits = variants.RECIPES[config.variant].stem_bits
  if config.keep_float or config.max_drop is not None:
    bits = None
  leave_out = [] if bits else [types.Rewrite.NORMALIZATION]
  return rewrites.rewritten(
    model, config.rewrites, leave_out, bits or variants.FLOAT_BITS
  )


def _converted(
  config: types.ExportConfig,
  model: tf_keras.Model,
  images: np.ndarray | None,
  known: parity.HeldOut,
  report: precision.Report,
) -> bytes:
  """The file; raises ValueError where max_drop cannot be met."""
  if variants.RECIPES[config.variant].configure is not None:
    return tflite.convert(model, config.variant, config.io_dtype, images)
  file = tflite.float_file(
    model, config.variant, images, config.calibration, config.kernel_ranges
  )
  chosen = precision.choose(file, config, known, report)
  if chosen.is_within:
    return chosen.content
  drop = chosen.parity.top1_drop
  aside = pathlib.Path(config.output_dir) / f'model.drop-{drop:.2f}.tflite'
  records.write_bytes(aside, chosen.content)
  raise ValueError(
    f'--max_drop={precision.limit(config):g} cannot be met: the smallest drop '
    f'found is {drop:.2f} points of top-1 on {chosen.parity.examples} held-out '
    f'images, kept aside as {aside}; raise --max_drop, or '
    f'{variants.remedies(config.variant, chosen=True)}'
  )


def _drawn(
  source: sources.Source,
  split: types.Split,
  count: int,
  data: types.DataSpec,
  model: tf_keras.Model,
) -> tuple[np.ndarray, np.ndarray]:
  """Images, evenly over the classes, through the evaluation transform."""
  with pipelines.naming_corrupt_images(source):
    return pipelines.evenly_drawn(
      source,
      split,
      data.transform,
      count=count,
      input_size=model.input_shape[1],
    )


def _check(
  config: types.ExportConfig,
  manifest: types.Manifest,
  model: tf_keras.Model,
  file: flatbuffer.Rewritten,
  known: parity.HeldOut,
) -> tuple[parity.Parity, tuple[preserved.PreservedLayer, ...]]:
  """Raises ValueError unless the file is what it should be."""
  with tempfile.TemporaryDirectory() as scratch:
    path = str(pathlib.Path(scratch) / records.EXPORTED)
    records.write_bytes(path, file.content)
    parity.require_interface(path, manifest.model)
    kernels = {n: k.numpy() for n, k in graph.kernels(model).items()}
    moved = {n: plan.kernel(kernels[n]) for n, plan in file.blocks.items()}
    kept = preserved.check(kernels | moved, path)
    result = parity.measure(path, known)
    numbers = collections.Counter(
      (weight.operator, weight.dtype) for weight in tflite_file.weights(path)
    )
  parity.require(result, config, trained=manifest.quantized)
  if why := variants.slowness(config.variant, numbers):
    print(f'warning: {why}', file=sys.stderr)
  return result, kept


def _write(
  config: types.ExportConfig,
  manifest: types.Manifest,
  model: tf_keras.Model,
  content: bytes,
  result: parity.Parity,
  kept: tuple[preserved.PreservedLayer, ...],
) -> None:
  """Writes the three files, each in one step."""
  folder = pathlib.Path(config.output_dir)
  parent_file = pathlib.Path(config.artifact) / records.MODEL
  parent = types.ParentRecord(
    'parent', config.artifact, records.sha256(parent_file)
  )
  records.write_json(
    folder / _ARCHITECTURE,
    metadata.architecture(model, manifest, config.variant, kept),
  )
  records.write_bytes(folder / records.EXPORTED, content)
  # Last, since its SHA-256 says which model it speaks of.
  records.write_json(
    folder / records.METADATA,
    metadata.metadata(
      config,
      manifest,
      result,
      kept,
      parent,
      records.sha256(folder / records.EXPORTED),
    ),
  )
