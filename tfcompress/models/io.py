"""Artifacts: a folder with a model and its manifest."""

import gzip
import os
import pathlib

import numpy as np
import tf_keras

from tfcompress.core import keras_files, records, types
from tfcompress.models import resnet


def load(artifact: str) -> tuple[tf_keras.Model, types.Manifest]:
  """Returns the model, in float32, and the manifest of an artifact folder.

  Raises:
    ValueError: no finished artifact, or a model that does not fit its manifest.
  """
  manifest = records.read_manifest(artifact)
  model = resnet.build(manifest.model)
  read_weights(artifact, model)
  return model, manifest


def read_weights(artifact: str, model: tf_keras.Model) -> None:
  """Copies an artifact's weights into `model`, layer by layer."""
  saved = keras_files.load(str(pathlib.Path(artifact) / records.MODEL))
  copy_weights(saved, model)


def copy_weights(source: tf_keras.Model, target: tf_keras.Model) -> None:
  """Sets every layer's weights of `target` to those of the same name.

  Raises:
    ValueError: a layer is missing or has other shapes.
  """
  for layer in target.layers:
    if not layer.weights:
      continue
    values = source.get_layer(layer.name).get_weights()
    shapes = [value.shape for value in values]
    expected = [tuple(weight.shape) for weight in layer.weights]
    if shapes != expected:
      raise ValueError(
        f'layer {layer.name}: weights of shapes {shapes}, expected {expected}'
      )
    layer.set_weights(values)


def save(folder: str, model: tf_keras.Model, manifest: types.Manifest) -> None:
  """Writes an artifact: the model first, the manifest that ends it last."""
  target = pathlib.Path(folder)
  temporary = target / f'.{os.getpid()}.{records.MODEL}'
  model.save(temporary)
  os.replace(temporary, target / records.MODEL)
  records.write_json(target / records.MANIFEST, manifest)


def sparsity(model: tf_keras.Model) -> types.SparsityRecord:
  """Counts the zeros of every kernel and weighs all weights on disk."""
  kernels = {
    layer.name: layer.kernel.numpy()
    for layer in model.layers
    if hasattr(layer, 'kernel')
  }
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
