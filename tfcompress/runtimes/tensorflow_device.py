"""Where TensorFlow computes: on the CPU and nothing else, or on a GPU."""

import dataclasses

import tensorflow as tf

from tfcompress.core import environment, extras, measurements

_TF32_SINCE = (8, 0)  # compute capability


@dataclasses.dataclass(frozen=True)
class Place:
  """A device.

  Attributes:
    device: as TensorFlow names it.
    name: as a record names it.
    precision: in what it computes what the file has as floats; None of a CPU.
  """

  device: str
  name: str
  precision: str | None = None


def choose(device: measurements.Device) -> Place:
  """Returns the device, and hides the others for the rest of the process.

  Raises:
    ValueError: there is no GPU, or TensorFlow already computes elsewhere.
  """
  gpus = tf.config.list_physical_devices('GPU')
  if device is measurements.Device.CPU:
    _show([])
    return Place('/CPU:0', environment.cpu_name())
  if not gpus:
    raise ValueError(_no_gpu())
  _show(gpus[:1])
  details = tf.config.experimental.get_device_details(gpus[0])
  return Place(
    '/GPU:0', details.get('device_name', gpus[0].name), _precision(details)
  )


def require(computed: tf.Tensor, place: Place) -> None:
  """Raises ValueError where a result comes from another device."""
  if not computed.device.endswith(place.device.removeprefix('/')):
    raise ValueError(
      f'TensorFlow computed on {computed.device}, expected {place.device}; it '
      'has no kernel for the last operator there'
    )


def _show(gpus: list) -> None:
  try:
    tf.config.set_visible_devices(gpus, 'GPU')
    for gpu in gpus:
      # Otherwise the first process takes all memory, and a second one fails.
      tf.config.experimental.set_memory_growth(gpu, True)
  except RuntimeError as error:
    raise ValueError(
      'TensorFlow already computes on another device in this process; open the '
      'model in a fresh process'
    ) from error


def _no_gpu() -> str:
  built = 'with' if tf.test.is_built_with_cuda() else 'without'
  found = [device.name for device in tf.config.list_physical_devices()]
  return (
    f'a GPU was asked for and TensorFlow, built {built} CUDA, sees none (it '
    f'has {", ".join(found)}); install an NVIDIA driver, and its libraries by '
    f'{extras.install("gpu")}'
  )


def _precision(details: dict) -> str:
  is_allowed = tf.config.experimental.tensor_float_32_execution_enabled()
  is_able = tuple(details.get('compute_capability', (0, 0))) >= _TF32_SINCE
  return 'tf32' if is_allowed and is_able else 'fp32'
