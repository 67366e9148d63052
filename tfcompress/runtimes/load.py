"""Opens a model file in a runtime; each runtime is imported when needed."""

from tfcompress.core import keras_files, measurements, records
from tfcompress.runtimes import interface


def format_of(path: str) -> str:
  """Returns 'tflite', 'keras', 'h5' or 'saved_model'.

  Raises:
    ValueError: no model there, or one of a format that is not known.
  """
  file = interface.file_of(path)
  if file.is_dir():
    return 'saved_model'
  if file.suffix == '.tflite' or file.suffix in keras_files.SUFFIXES:
    return file.suffix[1:]
  raise ValueError(
    f'{path}: unknown format; expected .tflite, .keras, .h5, or a folder with '
    'an artifact, an export or a SavedModel'
  )


def runtime_of(
  path: str, wanted: measurements.Runtime | None
) -> measurements.Runtime:
  """Returns the runtime to open `path` in.

  Raises:
    ValueError: the wanted runtime does not open this format.
  """
  model_format = format_of(path)
  if wanted is measurements.Runtime.NULL:
    return wanted
  fitting = (
    measurements.Runtime.LITERT_CPU
    if model_format == 'tflite'
    else measurements.Runtime.TENSORFLOW
  )
  if wanted not in (None, fitting):
    raise ValueError(
      f'{path}: runtime {wanted.value} does not open {model_format} files; '
      f'use --runtime={fitting.value} or none'
    )
  return fitting


def open_model(
  path: str,
  runtime: measurements.Runtime | None = None,
  num_threads: int | None = None,
) -> interface.Backend:
  """Opens a model file or folder.

  Args:
    path: a file, an artifact or export folder, or a SavedModel folder.
    runtime: None takes the one made for the format.
    num_threads: of one inference; None takes the runtime's default.

  Raises:
    ValueError: no model there, or one that the runtime cannot run.
  """
  runtime = runtime_of(path, runtime)
  file = str(interface.file_of(path))
  if runtime is measurements.Runtime.NULL:
    from tfcompress.runtimes.null import Null as backend
  elif runtime is measurements.Runtime.LITERT_CPU:
    from tfcompress.runtimes.litert_cpu import LiteRtCpu as backend
  else:
    from tfcompress.runtimes.tensorflow import TensorFlow as backend
  return backend(file, num_threads)


def metadata_of(path: str) -> dict:
  """Returns what is known of a model file beyond itself, or {}.

  That is the manifest of an artifact, or what an export's metadata.json says,
  if it says it of this very file. Both have `input_scaling`, `data` and
  `class_names`.
  """
  file = interface.file_of(path)
  if (file.parent / records.MANIFEST).is_file() and file.name == records.MODEL:
    return records.to_json(records.read_manifest(file.parent))
  metadata = file.parent / records.METADATA
  if file.suffix != '.tflite' or not metadata.is_file():
    return {}
  ours = records.read_json(metadata).get('tfcompress')
  if not isinstance(ours, dict) or ours.get('sha256') != records.sha256(file):
    return {}
  return ours
