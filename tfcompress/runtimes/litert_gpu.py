"""LiteRT's GPU delegate, WebGPU over Vulkan: the TFLite runtime of a GPU."""

import contextlib
import importlib.metadata
import os
import re
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
from ai_edge_litert import compiled_model, hardware_accelerator
from ai_edge_litert import interpreter as litert
from ai_edge_litert import options as litert_options

from tfcompress.core import errors, gpus, measurements
from tfcompress.runtimes import tensors, tflite_file

_BUFFERS = ('float32', 'float16', 'int32', 'int8', 'uint8')  # dtypes they take
_STDOUT, _STDERR = 1, 2
# What LiteRT prints while it compiles.
_SHARE = re.compile(r'(\d+) operations will run on the GPU.* remaining (\d+)')
_REFUSED = re.compile(r'not supported by GPU delegate:\s*(.+)')
_NO_ADAPTER = 'Failed to initialize WebGPU'
# What it goes on to compute is wrong: a strided 1x1 convolution of integer weights
# gets the shape of one without a stride.
_MISTAKEN = re.compile(r'(Shape mismatch in GpuModel.*|TopK requires.*)')
_PARTLY = 'not accelerated'  # in its error
_REMEDY = 'where the file has another signature, --signature takes it'

_Infos = tuple[measurements.TensorInfo, ...]


class LiteRtGpu:
  """A `.tflite` compiled for a GPU."""

  def __init__(self, path: str, config: measurements.OpenConfig):
    """Opens a file.

    Raises:
      ValueError: no GPU, or one without the wanted precision; a file that
        LiteRT cannot run, or of which it leaves something to the CPU unasked.
    """
    signature, self.inputs, self.outputs = _described(path, config.signature)
    self._config = config
    self._model, self._printed = _compiled(path, config)
    if self._is_fp16 and not (gpu := _gpu(self._printed)).has_fp16:
      # LiteRT would compute in float32 and not say so.
      raise ValueError(
        f'{path}: precision fp16, but {gpu.label} has no 16-bit floats; use '
        '--precision=fp32'
      )
    self._index = self._model.get_signature_index(signature) if signature else 0
    self._sources = self._model.create_input_buffers(self._index)
    self._targets = self._model.create_output_buffers(self._index)

  def predict(self, batch: np.ndarray) -> np.ndarray:
    shape = self.inputs[0].shape
    if batch.shape[1:] != shape[1:] or len(batch) % shape[0]:
      raise ValueError(
        f'images {batch.shape}, expected {shape}; a GPU runs a .tflite only in '
        'the shape of its input'
      )
    # An input that is resized takes the whole model to the CPU, unsaid.
    starts = range(0, len(batch), shape[0])
    return np.concatenate(
      [self._run(batch[at : at + shape[0]]) for at in starts]
    )

  def info(self) -> measurements.RuntimeRecord:
    return measurements.RuntimeRecord(
      name=measurements.Runtime.LITERT_GPU.value,
      version=importlib.metadata.version('ai-edge-litert'),
      device=_gpu(self._printed).label,
      num_threads=self._config.num_threads or 1,
      fully_delegated=self._model.is_fully_accelerated(),
      delegated_percent=_delegated_percent(self._model, self._printed),
      precision=self._config.precision.value if self._is_fp16 else None,
    )

  def close(self) -> None:
    for buffer in (*self._sources, *self._targets):
      buffer.destroy()
    self._model.close()

  @property
  def _is_fp16(self) -> bool:
    return self._config.precision is measurements.Precision.FP16

  def _run(self, images: np.ndarray) -> np.ndarray:
    output = self.outputs[0]
    try:
      self._sources[0].write(images)
      self._model.run_by_index(self._index, self._sources, self._targets)
      # Running may only queue the work; reading waits for it.
      values = self._targets[0].read(
        int(np.prod(output.shape)), np.dtype(output.dtype)
      )
    except RuntimeError as error:
      raise ValueError(
        f'LiteRT cannot run the file ({errors.first_line(error)})'
      ) from error
    return values.reshape(output.shape)


def _described(path: str, wanted: str) -> tuple[str | None, _Infos, _Infos]:
  """The name of the signature to run, if any, its inputs and its outputs."""
  with open(path, 'rb') as file:
    if file.read(8)[4:] != tflite_file.IDENTIFIER:
      raise ValueError(
        f'{path}: not a .tflite file (no {tflite_file.IDENTIFIER} mark)'
      )
  try:
    reader = litert.Interpreter(
      model_path=path,
      experimental_op_resolver_type=(
        litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
      ),
    )
    signature = _signature(list(reader.get_signature_list()), wanted)
    inputs, outputs = _infos(reader, signature)
    tensors.require_one_of_each(inputs, outputs, _REMEDY)
  except (ValueError, RuntimeError) as error:
    reason = ' '.join(str(error).split())
    raise ValueError(
      f'{path}: LiteRT cannot open it for a GPU ({reason})'
    ) from error
  return signature, inputs, outputs


def _signature(known: list[str], wanted: str) -> str | None:
  if wanted and wanted not in known:
    raise ValueError(
      f'no signature {wanted!r}; it has '
      f'{", ".join(known) or "none: leave --signature out"}'
    )
  if not wanted and len(known) > 1:
    raise ValueError(
      f'signatures {", ".join(known)}, expected one; choose by --signature'
    )
  return wanted or next(iter(known), None)


def _infos(
  reader: litert.Interpreter, signature: str | None
) -> tuple[_Infos, _Infos]:
  if signature is None:
    inputs, outputs = reader.get_input_details(), reader.get_output_details()
  else:
    runner = reader.get_signature_runner(signature)
    inputs = runner.get_input_details().values()
    outputs = runner.get_output_details().values()
  return tuple(map(_info, inputs)), tuple(map(_info, outputs))


def _info(detail: dict) -> measurements.TensorInfo:
  """A tensor in the one shape that is compiled, of one image if it is free."""
  name, dtype = detail['name'], np.dtype(detail['dtype']).name
  if dtype not in _BUFFERS:
    raise ValueError(
      f'{name} is of dtype {dtype}, expected {", ".join(_BUFFERS)}'
    )
  if min(detail['shape_signature'][1:], default=1) < 0:
    raise ValueError(
      f'{name} is of free size, expected a fixed one such as (1, 224, 224, 3)'
    )
  scale, zero_point = detail['quantization']
  return measurements.TensorInfo(
    name=name,
    shape=tuple(int(size) for size in detail['shape']),
    dtype=dtype,
    scale=float(scale) if scale else None,
    zero_point=int(zero_point) if scale else None,
  )


def _gpu(printed: str) -> gpus.Gpu:
  """The GPU that LiteRT says it has taken."""
  devices = gpus.vulkan_devices()
  return next((one for one in devices if one.name in printed), devices[0])


def _labels(devices: list[gpus.Gpu]) -> str:
  return ', '.join(gpu.label for gpu in devices)


def _compiled(
  path: str, config: measurements.OpenConfig
) -> tuple[compiled_model.CompiledModel, str]:
  """The model on the GPU, and what LiteRT printed about it.

  It tells nowhere else which GPU it takes, and which operators.
  """
  printed = []
  try:
    with _collected(printed):
      model = compiled_model.CompiledModel.from_file(
        path, options=_options(config)
      )
  except RuntimeError as error:
    raise ValueError(f'{path}: {_refusal(error, printed[0])}') from error
  mistaken = _MISTAKEN.search(printed[0])
  if mistaken:
    raise ValueError(
      f'{path}: LiteRT miscompiles it for the GPU ({mistaken[1]}); use '
      '--runtime=litert_cpu, or, where strided 1x1 convolutions are to blame, '
      'export it with strides added to the rewrites in its metadata.json, such '
      'as --rewrites=normalization,space_to_depth,strides'
    )
  return model, printed[0]


def _options(config: measurements.OpenConfig) -> litert_options.Options:
  hardware = hardware_accelerator.HardwareAccelerator
  return litert_options.Options(
    hardware.GPU | hardware.CPU if config.allow_cpu else hardware.GPU,
    cpu_options=litert_options.CpuOptions(num_threads=config.num_threads or 1),
    gpu_options=litert_options.GpuOptions(
      enforce_f32=config.precision is measurements.Precision.FP32
    ),
  )


def _refusal(error: RuntimeError, printed: str) -> str:
  """Why LiteRT does not compile a model for the GPU there is."""
  if _NO_ADAPTER in printed:
    return _no_gpu()
  if _PARTLY not in str(error):
    reason = ' '.join(str(error).split())
    return f'LiteRT cannot compile it for the GPU ({reason})'
  share, refused = _SHARE.search(printed), _REFUSED.search(printed)
  took = f'{share[1]} of {int(share[1]) + int(share[2])}' if share else 'some'
  reason = f' ({refused[1].strip()})' if refused else ''
  return (
    f'the GPU runs {took} of its operators, expected all{reason}; use '
    '--allow_cpu to leave the others to the CPU'
  )


def _no_gpu() -> str:
  devices = gpus.vulkan_devices()
  unfit = f'LiteRT takes none of {_labels(devices)}' if devices else 'no GPU'
  return (
    f'{unfit}; found {gpus.inventory()}; install libvulkan1 and the Vulkan '
    'driver of the GPU; to run on the CPU in software: SwiftShader, '
    'VK_DRIVER_FILES=.../vk_swiftshader_icd.json'
  )


def _delegated_percent(model, printed: str) -> float | None:
  """The share of operators that the GPU runs; None if LiteRT did not say."""
  if model.is_fully_accelerated():
    return 100.0
  share = _SHARE.search(printed)
  if not share:
    return None
  on_gpu, on_cpu = int(share[1]), int(share[2])
  return 100 * on_gpu / (on_gpu + on_cpu)


@contextlib.contextmanager
def _collected(printed: list[str]) -> Iterator[None]:
  """Appends what native code prints; then all of it goes to its stderr.

  LiteRT prints to stdout, too, which belongs to the program.
  """
  sys.stdout.flush()
  kept = {descriptor: os.dup(descriptor) for descriptor in (_STDOUT, _STDERR)}
  with tempfile.TemporaryFile() as file:
    for descriptor in kept:
      os.dup2(file.fileno(), descriptor)
    try:
      yield
    finally:
      for descriptor, original in kept.items():
        os.dup2(original, descriptor)
        os.close(original)
      file.seek(0)
      content = file.read()
      os.write(_STDERR, content)
      printed.append(content.decode(errors='replace'))
