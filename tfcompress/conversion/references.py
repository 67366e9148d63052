"""The float32 `.tflite` that a compressed model is measured beside."""

import pathlib

import tf_keras

from tfcompress.conversion import tflite
from tfcompress.core import records, types
from tfcompress.models import io, resnet
from tfcompress.runtimes import load

PLAIN = 'a plain ResNet-18'
_RESNET18 = types.ModelSpec()  # at 224, with 100 classes


def write(model: str, path: str) -> str:
  """Writes the float32 teacher of a model, or a plain ResNet-18 if it has none.

  Args:
    model: the file or folder of what was compressed.
    path: of the `.tflite` to be written.

  Returns:
    Whose it is: the teacher's folder, or PLAIN.
  """
  teacher = teacher_of(model)
  if not teacher:
    return write_plain(path)
  _write(io.load(teacher)[0], path)
  return teacher


def write_plain(path: str, spec: types.ModelSpec = _RESNET18) -> str:
  """Writes a network with random weights; see `write`.

  Args:
    path: of the `.tflite` to be written.
    spec: of the network.
  """
  _write(resnet.build(spec), path)
  return PLAIN


def teacher_of(model: str) -> str | None:
  """Returns the artifact that a model's compression began with, if it is there.

  A teacher comes before a parent; the ancestors of one in float do not matter.
  """
  metadata = load.metadata_of(model)
  own = [metadata['parent']] if 'parent' in metadata else []
  ancestors = [
    *metadata.get('parents', []),
    *metadata.get('ancestors', []),
    *own,
  ]
  return _oldest(records.from_json(tuple[types.ParentRecord], ancestors))


def _write(model: tf_keras.Model, path: str) -> None:
  records.write_bytes(path, tflite.convert(model, types.Variant.FLOAT32))


def _oldest(parents: tuple[types.ParentRecord, ...]) -> str | None:
  """Follows unchanged artifacts to a teacher, or to the first parent."""
  for parent in sorted(parents, key=lambda p: p.role != 'teacher'):
    file = pathlib.Path(parent.path) / records.MODEL
    if parent.role == 'init':  # A user's own file, no artifact.
      continue
    if not (pathlib.Path(parent.path) / records.MANIFEST).is_file():
      print(f'{parent.role} {parent.path}: no artifact there')
    elif records.sha256(file) != parent.sha256:
      print(f'{parent.role} {parent.path}: changed since, so not used')
    else:
      manifest = records.read_manifest(parent.path)
      if parent.role == 'teacher' and not manifest.quantized:
        return parent.path
      return _oldest(manifest.parents) or parent.path
  return None
