"""Opens a model file in a runtime; each runtime is imported when needed."""

import importlib
import importlib.util

from tfcompress.core import extras, measurements, records, types
from tfcompress.runtimes import formats, interface

Runtime, Format = measurements.Runtime, formats.Format
_MODULE = 'tfcompress.runtimes.{}'

# The first is taken where none is asked for.
RUNTIMES = {
  Format.TFLITE: (Runtime.LITERT_CPU, Runtime.LITERT_GPU, Runtime.OPENVINO),
  Format.KERAS: (Runtime.TENSORFLOW,),
  Format.H5: (Runtime.TENSORFLOW,),
  Format.SAVED_MODEL: (Runtime.TENSORFLOW,),
  Format.FROZEN_GRAPH: (Runtime.TENSORFLOW,),
  Format.TORCHSCRIPT: (Runtime.TORCH,),
  Format.TORCH_EXPORT: (Runtime.TORCH,),
  Format.TORCH_PICKLE: (Runtime.TORCH,),
  Format.ONNX: (Runtime.ONNXRUNTIME, Runtime.OPENVINO),
}
# Module, class, the packages it needs and the extra that brings them.
_BACKENDS = {
  Runtime.LITERT_CPU: ('litert_cpu', 'LiteRtCpu', 'ai_edge_litert', ''),
  Runtime.LITERT_GPU: ('litert_gpu', 'LiteRtGpu', 'ai_edge_litert', ''),
  Runtime.TENSORFLOW: ('tensorflow', 'TensorFlow', 'tensorflow', ''),
  Runtime.OPENVINO: ('openvino', 'OpenVino', 'openvino', 'openvino'),
  Runtime.TORCH: ('torch', 'Torch', 'torch', 'torch'),
  Runtime.ONNXRUNTIME: ('onnxruntime', 'OnnxRuntime', 'onnxruntime', 'onnx'),
  Runtime.NULL: ('null', 'Null', '', ''),
}


# Those that compute on one or the other; the rest has no choice.
DEVICES = {
  Runtime.LITERT_GPU: (measurements.Device.GPU,),
  Runtime.TENSORFLOW: tuple(measurements.Device),
  Runtime.TORCH: tuple(measurements.Device),
  Runtime.ONNXRUNTIME: tuple(measurements.Device),
}


def runtimes_of(path: str) -> tuple[Runtime, ...]:
  """Returns the runtimes that open the format of `path`; the usual one first."""
  return RUNTIMES[formats.format_of(path)]


def runtime_of(path: str, wanted: Runtime | None) -> Runtime:
  """Returns the runtime to open `path` in.

  Raises:
    ValueError: the wanted runtime does not open this format, or its package is
      not installed.
  """
  runtime = fitting_runtime(path, wanted)
  if missing := missing_package(runtime):
    raise ValueError(f'{path}: runtime {runtime.value} {missing}')
  return runtime


def fitting_runtime(path: str, wanted: Runtime | None) -> Runtime:
  """Returns as `runtime_of`, but one that may not be installed.

  Raises:
    ValueError: the wanted runtime does not open this format.
  """
  fitting = runtimes_of(path)
  runtime = wanted or fitting[0]
  if runtime is not Runtime.NULL and runtime not in fitting:
    raise ValueError(
      f'{path}: runtime {runtime.value} does not open '
      f'{formats.format_of(path).value} files; use --runtime='
      f'{" or ".join(one.value for one in fitting)}, or none'
    )
  return runtime


def missing_package(runtime: Runtime) -> str:
  """Returns what a runtime lacks on this machine, or ''."""
  _, _, package, extra = _BACKENDS[runtime]
  if not package or importlib.util.find_spec(package):
    return ''
  return (
    f'needs the package {package}, which is not installed; run '
    f'{extras.install(extra or package)}'
  )


def open_model(
  path: str,
  runtime: Runtime | None = None,
  num_threads: int | None = None,
) -> interface.Backend:
  """Opens a model file or folder with nothing else said; see `open_file`."""
  return open_file(measurements.OpenConfig(path, runtime, num_threads))


def open_file(config: measurements.OpenConfig) -> interface.Backend:
  """Opens a model file or folder.

  Raises:
    ValueError: no model there, or one that the runtime cannot run.
  """
  runtime = import_runtime(config)
  module, name, _, _ = _BACKENDS[runtime]
  backend = getattr(importlib.import_module(_MODULE.format(module)), name)
  return backend(str(interface.file_of(config.model)), config)


def import_runtime(config: measurements.OpenConfig) -> Runtime:
  """Imports what opens a file and returns which runtime that is."""
  runtime = runtime_of(config.model, config.runtime)
  importlib.import_module(_MODULE.format(_BACKENDS[runtime][0]))
  return runtime


def told_preprocessing(path: str) -> types.Preprocessing | None:
  """Returns what a file's own metadata says of its pixels; it parses the file."""
  if formats.format_of(path) is not formats.Format.TFLITE:
    return None
  from tfcompress.runtimes import tflite_metadata

  return tflite_metadata.preprocessing(interface.file_of(path))


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
  try:
    ours = records.read_json(metadata).get('tfcompress')
  except ValueError:  # Other tools call files of theirs so, too.
    return {}
  if not isinstance(ours, dict) or ours.get('sha256') != records.sha256(file):
    return {}
  return ours
