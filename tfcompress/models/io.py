"""Artifacts: a folder with a model and its manifest."""

import gzip
import os
import pathlib

import numpy as np
import tf_keras

from tfcompress.core import custom, keras_files, records, types
from tfcompress.models import graph


def load(artifact: str) -> tuple[tf_keras.Model, types.Manifest]:
  """Returns the model, in float32, and the manifest of an artifact folder.

  Raises:
    ValueError: no finished artifact, or a model that does not fit its manifest.
  """
  manifest = records.read_manifest(artifact)
  path = pathlib.Path(artifact) / records.MODEL
  model = _open(str(path))
  size, classes = manifest.model.input_size, manifest.model.num_classes
  expected = ((None, size, size, 3), (None, classes))
  channels = graph.channels(model)
  if (model.input_shape, model.output_shape) != expected or (
    channels != manifest.model.channels
  ):
    raise ValueError(
      f'{path}: {model.input_shape} to {model.output_shape} with channels '
      f'{channels}; its {records.MANIFEST} says {expected[0]} to '
      f'{expected[1]} with {manifest.model.channels}'
    )
  return model, manifest


def _open(path: str) -> tf_keras.Model:
  """The model in an artifact, or the name of a custom object it lacks."""
  try:
    return keras_files.load(path)
  except ValueError as error:
    description = keras_files.architecture(path)
    known = tf_keras.utils.get_custom_objects()
    raise custom.explained(error, description, known) from error


def save(folder: str, model: tf_keras.Model, manifest: types.Manifest) -> None:
  """Writes an artifact: the model first, the manifest that ends it last."""
  target = pathlib.Path(folder)
  temporary = target / f'.{os.getpid()}.{records.MODEL}'
  model.save(temporary)
  os.replace(temporary, target / records.MODEL)
  records.write_json(target / records.MANIFEST, manifest)


def sparsity(model: tf_keras.Model) -> types.SparsityRecord:
  """Counts the zeros of every kernel and weighs all weights on disk."""
  kernels = {n: k.numpy() for n, k in graph.kernels(model).items()}
  zeros = {name: int((k == 0).sum()) for name, k in kernels.items()}
  weights = [w.astype(np.float32) for w in model.get_weights()]
  raw = b''.join(w.tobytes() for w in weights)
  return types.SparsityRecord(
    total=sum(zeros.values()) / sum(k.size for k in kernels.values()),
    per_layer={name: zeros[name] / k.size for name, k in kernels.items()},
    raw_bytes=len(raw),
    gzip_bytes=len(gzip.compress(raw, compresslevel=6, mtime=0)),
    nonzero_bytes=4 * sum(int(np.count_nonzero(w)) for w in weights),
  )
