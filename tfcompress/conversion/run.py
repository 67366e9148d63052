"""Exports an artifact: converts, checks, and only then writes."""

import pathlib
import tempfile

from tfcompress.conversion import metadata, parity, tflite, variants
from tfcompress.core import records, types
from tfcompress.data import pipelines, sources
from tfcompress.models import io

MODEL = 'model.tflite'
METADATA = 'metadata.json'
ARCHITECTURE = 'architecture.json'


def run(config: types.ExportConfig) -> parity.Parity:
  """Writes model.tflite, metadata.json and architecture.json.

  Returns:
    How the file compares with its parent.

  Raises:
    ValueError: no such artifact, other classes, or a file that fails a check;
      nothing is written then.
  """
  io_dtype = variants.io_dtype(config.variant, config.io_dtype)
  manifest = records.read_manifest(config.artifact)
  metadata.require_challenge(config, manifest.model)
  records.require_writable(config.output_dir)
  data = config.data or manifest.data
  source = sources.load(data)
  sources.require_classes(source, manifest.class_names)
  model, _ = io.load(config.artifact)
  size = manifest.model.input_size
  content = tflite.convert(
    model,
    config.variant,
    io_dtype,
    _drawn(source, types.Split.TRAIN, config.calibration_examples, data, size)[
      0
    ]
    if variants.RECIPES[config.variant].calibrated
    else None,
  )
  held_out = _drawn(
    source, types.Split.VALIDATION, config.parity_examples, data, size
  )
  with tempfile.TemporaryDirectory() as scratch:
    path = str(pathlib.Path(scratch) / MODEL)
    records.write_bytes(path, content)
    parity.require_interface(path, manifest.model)
    result = parity.measure(model, path, *held_out)
    parity.require(result, config)
    model_sha256 = records.sha256(path)
  parent_file = pathlib.Path(config.artifact) / records.MODEL
  parent = types.ParentRecord(
    'parent', config.artifact, records.sha256(parent_file)
  )
  folder = pathlib.Path(config.output_dir)
  records.write_json(
    folder / ARCHITECTURE,
    metadata.architecture(model, manifest, config.variant),
  )
  records.write_bytes(folder / MODEL, content)
  # Last, since its SHA-256 says which model it speaks of.
  records.write_json(
    folder / METADATA,
    metadata.metadata(config, manifest, io_dtype, result, model_sha256, parent),
  )
  return result


def _drawn(
  source: sources.Source,
  split: types.Split,
  count: int,
  data: types.DataSpec,
  size: int,
):
  """Images, evenly over the classes, through the evaluation transform."""
  with pipelines.naming_corrupt_images(source):
    return pipelines.evenly_drawn(
      source,
      split,
      data.transform,
      count=count,
      input_size=size,
    )
