"""What GPUs there are, and what a process needs to reach them."""

import ctypes
import dataclasses
import enum
import glob
import json
import os
import pathlib
import re

LIBRARY = 'libvulkan.so.1'
_VULKAN_1_1 = 1 << 22 | 1 << 12  # VK_API_VERSION_1_1
_FEATURES, _FLOAT16, _STORAGE16 = 1000059000, 1000082000, 1000083000  # sType

# Each replaces the folders where drivers are looked for; the first one wins.
_DRIVER_VARIABLES = ('VK_DRIVER_FILES', 'VK_ICD_FILENAMES')
_DRIVER_FOLDERS = (
  '/etc/vulkan/icd.d',
  '/usr/local/share/vulkan/icd.d',
  '/usr/share/vulkan/icd.d',
)
_VARIABLES = (
  *_DRIVER_VARIABLES,
  'VK_ADD_DRIVER_FILES',
  'VK_LOADER_DRIVERS_SELECT',
  'VK_LOADER_DRIVERS_DISABLE',
  'MESA_VK_DEVICE_SELECT',
  'DRI_PRIME',
  'CUDA_VISIBLE_DEVICES',
  'LD_LIBRARY_PATH',
)
# Mesa's drivers, NVIDIA's, Windows's Linux, Arm's and Qualcomm's.
_NODES = ('/dev/dri', '/dev/nvidia*', '/dev/dxg', '/dev/mali*', '/dev/kgsl*')
# Where a driver reads which device a node is.
_SYSTEM = ('/sys/bus', '/sys/class', '/sys/dev', '/sys/devices')
_NVIDIA_VERSION = '/proc/driver/nvidia/version'


class Kind(enum.IntEnum):
  """Vulkan's VkPhysicalDeviceType."""

  OTHER = 0
  INTEGRATED = 1
  DISCRETE = 2
  VIRTUAL = 3
  CPU = 4  # computes in software


_BEST_FIRST = (
  Kind.DISCRETE,
  Kind.INTEGRATED,
  Kind.VIRTUAL,
  Kind.OTHER,
  Kind.CPU,
)


@dataclasses.dataclass(frozen=True)
class Gpu:
  """A Vulkan device.

  Attributes:
    name: as its driver tells, such as 'SwiftShader Device (Subzero)'.
    kind: of device.
    has_fp16: whether it computes with 16-bit floats and stores them.
  """

  name: str
  kind: Kind
  has_fp16: bool

  @property
  def label(self) -> str:
    """The name, and that it is software where it is."""
    return f'{self.name} (software)' if self.kind is Kind.CPU else self.name


def vulkan_devices() -> list[Gpu]:
  """Returns what Vulkan's drivers offer, the fastest kind first.

  Not for a process with TensorFlow: its LLVM and that of Mesa's drivers crash
  each other.
  """
  vulkan = _library()
  if vulkan is None:
    return []
  application = _Application(apiVersion=_VULKAN_1_1)
  wanted = _InstanceCreateInfo(1, application=ctypes.pointer(application))
  instance = ctypes.c_void_p()
  if vulkan.vkCreateInstance(
    ctypes.byref(wanted), None, ctypes.byref(instance)
  ):
    return []  # No driver.
  try:
    found = [_gpu(vulkan, device) for device in _handles(vulkan, instance)]
  finally:
    vulkan.vkDestroyInstance(instance, None)
  return sorted(found, key=lambda gpu: _BEST_FIRST.index(gpu.kind))


def nvidia_driver() -> str | None:
  """Returns the version of NVIDIA's kernel driver; None where there is none."""
  file = pathlib.Path(_NVIDIA_VERSION)
  if not file.exists():
    return None
  found = re.search(r'\d+\.\d[\d.]*', file.read_text())
  return found and found[0]


def driver_files() -> list[pathlib.Path]:
  """Returns the files there are that each name a Vulkan driver."""
  named = next((v for v in _DRIVER_VARIABLES if os.environ.get(v)), None)
  if named:
    paths = map(pathlib.Path, os.environ[named].split(os.pathsep))
    return [path for path in paths if path.is_file()]
  found = []
  for folder in _DRIVER_FOLDERS:
    found += sorted(pathlib.Path(folder).glob('*.json'))
  return found


def inventory() -> str:
  """Returns what there is of GPUs and drivers, for an error's sentence."""
  named = [f'{v}={os.environ[v]}' for v in _DRIVER_VARIABLES if v in os.environ]
  drivers = ', '.join(file.name for file in driver_files())
  version = nvidia_driver()
  parts = (
    LIBRARY if _library() else f'no {LIBRARY}',
    *named,
    f'Vulkan drivers {drivers}' if drivers else 'no Vulkan driver',
    ', '.join(device_paths()) or 'no /dev/dri or /dev/nvidia*',
    f'NVIDIA driver {version}' if version else 'no NVIDIA driver',
  )
  return ', '.join(parts)


def device_paths() -> tuple[str, ...]:
  """Returns the devices there are, to be let through as such."""
  return tuple(path for node in _NODES for path in sorted(glob.glob(node)))


def driver_paths() -> tuple[str, ...]:
  """Returns files and folders outside /usr that drivers read.

  To be let through read-only: what there is of /sys for a device, the files
  that name drivers, and the folders of libraries that they name by path.
  """
  found = list(_SYSTEM) if device_paths() else []
  for file in driver_files():
    found.append(str(file.absolute()))
    if library := _library_of(file):
      found.append(str(library.parent))
  return tuple(
    path
    for path in dict.fromkeys(found)
    if os.path.exists(path) and not path.startswith('/usr/')
  )


def variables() -> dict[str, str]:
  """Returns the environment variables by which drivers are found."""
  return {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def _library_of(file: pathlib.Path) -> pathlib.Path | None:
  """The library that a driver's file names; None if it is on the usual path."""
  try:
    name = json.loads(file.read_text())['ICD']['library_path']
  except (OSError, ValueError, KeyError, TypeError):
    return None  # Not for Vulkan to read either.
  return (file.parent / name).resolve() if '/' in name else None


class _Application(ctypes.Structure):
  _fields_ = (
    ('sType', ctypes.c_uint32),
    ('pNext', ctypes.c_void_p),
    ('name', ctypes.c_char_p),
    ('version', ctypes.c_uint32),
    ('engine', ctypes.c_char_p),
    ('engineVersion', ctypes.c_uint32),
    ('apiVersion', ctypes.c_uint32),
  )


class _InstanceCreateInfo(ctypes.Structure):
  _fields_ = (
    ('sType', ctypes.c_uint32),
    ('pNext', ctypes.c_void_p),
    ('flags', ctypes.c_uint32),
    ('application', ctypes.POINTER(_Application)),
    ('layerCount', ctypes.c_uint32),
    ('layers', ctypes.c_void_p),
    ('extensionCount', ctypes.c_uint32),
    ('extensions', ctypes.c_void_p),
  )


class _Properties(ctypes.Structure):
  _fields_ = (
    ('versionsAndIds', ctypes.c_uint32 * 4),
    ('deviceType', ctypes.c_uint32),
    ('deviceName', ctypes.c_char * 256),
    ('rest', ctypes.c_uint64 * 128),  # The limits, which nobody reads here.
  )


class _Features(ctypes.Structure):
  _fields_ = (
    ('sType', ctypes.c_uint32),
    ('pNext', ctypes.c_void_p),
    ('flags', ctypes.c_uint32 * 64),  # As many as any of the three has.
  )


def _library() -> ctypes.CDLL | None:
  try:
    return ctypes.CDLL(LIBRARY)
  except OSError:
    return None


def _handles(vulkan, instance) -> list[ctypes.c_void_p]:
  count = ctypes.c_uint32()
  enumerate_devices = vulkan.vkEnumeratePhysicalDevices
  enumerate_devices(instance, ctypes.byref(count), None)
  handles = (ctypes.c_void_p * count.value)()
  enumerate_devices(instance, ctypes.byref(count), handles)
  return [ctypes.c_void_p(handle) for handle in handles[: count.value]]


def _gpu(vulkan, device: ctypes.c_void_p) -> Gpu:
  properties = _Properties()
  vulkan.vkGetPhysicalDeviceProperties(device, ctypes.byref(properties))
  storage = _Features(_STORAGE16)
  float16 = _Features(_FLOAT16, ctypes.addressof(storage))
  features = _Features(_FEATURES, ctypes.addressof(float16))
  vulkan.vkGetPhysicalDeviceFeatures2(device, ctypes.byref(features))
  return Gpu(
    name=properties.deviceName.decode(errors='replace'),
    kind=Kind(properties.deviceType),
    # shaderFloat16, and 16 bits in storage and in uniform buffers.
    has_fp16=all((float16.flags[0], storage.flags[0], storage.flags[1])),
  )
