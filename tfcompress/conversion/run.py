"""Exports an artifact: converts, checks, and only then writes."""

import pathlib
import tempfile

import numpy as np
import tf_keras

from tfcompress.conversion import metadata, parity, preserved, tflite, variants
from tfcompress.core import records, types
from tfcompress.data import pipelines, sources
from tfcompress.models import custom, graph, io
from tfcompress.runtimes import interface

_ARCHITECTURE = 'architecture.json'


def run(config: types.ExportConfig) -> parity.Parity:
  """Writes model.tflite, metadata.json and architecture.json.

  Returns:
    How the file compares with its parent.

  Raises:
    ValueError: no such artifact, other classes, or a file that fails a check;
      nothing is written then.
  """
  variants.io_dtype(config.variant, config.io_dtype)
  manifest = records.read_manifest(config.artifact)
  metadata.require_challenge(config, manifest.model)
  records.require_writable(config.output_dir)
  data = config.data or manifest.data
  source = sources.load(data)
  sources.require_classes(source, manifest.class_names)
  custom.register(config.custom_objects)
  model, _ = io.load(config.artifact)
  draw = lambda split, count: _drawn(source, split, count, data, model)
  representative = None
  if tflite.needs_images(model, config.variant):
    representative, _ = draw(types.Split.TRAIN, config.calibration_examples)
  content = tflite.convert(
    model, config.variant, config.io_dtype, representative
  )
  held_out = draw(types.Split.VALIDATION, config.parity_examples)
  result, kept = _check(config, manifest, model, content, held_out)
  _write(config, manifest, model, content, result, kept)
  return result


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
  content: bytes,
  held_out: tuple[np.ndarray, np.ndarray],
) -> tuple[parity.Parity, preserved.Preserved]:
  """Raises ValueError unless the file is what it should be."""
  with tempfile.TemporaryDirectory() as scratch:
    path = str(pathlib.Path(scratch) / interface.MODEL_FILE)
    records.write_bytes(path, content)
    parity.require_interface(path, manifest.model)
    kernels = graph.kernels(model)
    kept = preserved.check({n: k.numpy() for n, k in kernels.items()}, path)
    result = parity.measure(model, path, *held_out)
  parity.require(result, config)
  return result, kept


def _write(
  config: types.ExportConfig,
  manifest: types.Manifest,
  model: tf_keras.Model,
  content: bytes,
  result: parity.Parity,
  kept: preserved.Preserved,
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
  records.write_bytes(folder / interface.MODEL_FILE, content)
  # Last, since its SHA-256 says which model it speaks of.
  records.write_json(
    folder / interface.METADATA_FILE,
    metadata.metadata(
      config,
      manifest,
      result,
      parent,
      records.sha256(folder / interface.MODEL_FILE),
    ),
  )
