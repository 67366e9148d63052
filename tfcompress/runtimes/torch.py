"""PyTorch, on the CPU or a GPU."""

from collections.abc import Sequence

import numpy as np
import torch

from tfcompress.core import environment, errors, measurements
from tfcompress.runtimes import torch_files

_DEVICES = {measurements.Device.CPU: 'cpu', measurements.Device.GPU: 'cuda'}
_PRECISIONS = {torch.float16: 'fp16', torch.bfloat16: 'bf16'}
# What a module's input may be, which its file does not tell.
_SHAPES = ((-1, 3, -1, -1), (-1, -1, -1, 3))


class Torch:
  """A module in evaluation mode."""

  def __init__(self, path: str, config: measurements.OpenConfig):
    """Opens a file.

    Args:
      path: a `.pt`, `.pth` or `.pt2`.
      config: its threads are those of the process; None leaves them alone.

    Raises:
      ValueError: no model that PyTorch opens, one that runs on no image, or no
        GPU where one is asked for.
    """
    if config.num_threads is not None:
      torch.set_num_threads(config.num_threads)
    self._device = _device(path, config.device)
    program = torch_files.load(path, config, self._device)
    self._run, self._dtype = program.run, program.dtype
    self._size = config.size_of_any
    shapes = [program.shape] if program.shape else _SHAPES
    shape, output = self._probed(path, shapes)
    self.inputs = (_info('image', shape, self._dtype),)
    self.outputs = (
      _info('output', (shape[0], *output.shape[1:]), output.dtype),
    )

  def predict(self, batch: np.ndarray) -> np.ndarray:
    output = self._output(torch.from_numpy(batch))
    if output.dtype is torch.bfloat16:  # NumPy has none.
      output = output.float()
    return output.cpu().numpy()  # Waits for a GPU.

  def info(self) -> measurements.RuntimeRecord:
    on_gpu = self._device == 'cuda'
    name = torch.cuda.get_device_name() if on_gpu else environment.cpu_name()
    return measurements.RuntimeRecord(
      name=measurements.Runtime.TORCH.value,
      version=str(torch.__version__),
      device=name,
      num_threads=torch.get_num_threads(),
      fully_delegated=None,
      precision='tf32'
      if on_gpu and self._in_tf32()
      else _PRECISIONS.get(self._dtype),
    )

  def close(self) -> None:
    del self._run

  def _in_tf32(self) -> bool:
    allowed = (
      torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    )
    return allowed and self._dtype is torch.float32

  def _probed(
    self, path: str, shapes: Sequence[tuple[int, ...]]
  ) -> tuple[tuple[int, ...], torch.Tensor]:
    """The first shape that runs, and what comes of it."""
    failures = []
    for shape in shapes:
      try:
        output = self._output(self._zeros(shape, 1))
      except ValueError as error:
        failures.append(str(error))
        continue
      _check(path, output, abs(shape[0]))
      if -1 in shape[1:] and not self._takes_others(shape, output):
        shape = self._filled(shape)
      if shape[0] < 0 and not self._takes_two(shape, output):
        shape = (1, *shape[1:])
      return shape, output
    tried = ' nor '.join(
      str(tuple(self._zeros(one, 1).shape)) for one in shapes
    )
    raise ValueError(
      f'{path}: does not take images {tried}; {failures[0]}; where it takes '
      'another size, --input_size says it'
    )

  def _takes_two(self, shape: tuple[int, ...], output: torch.Tensor) -> bool:
    """Whether a batch gives a row for every image."""
    try:
      return self._output(self._zeros(shape, 2)).shape == (2, *output.shape[1:])
    except ValueError:
      return False

  def _takes_others(self, shape: tuple[int, ...], output: torch.Tensor) -> bool:
    """Whether images of half or twice the size run, too: any may be meant."""
    for size in (self._size // 2, 2 * self._size):
      sides = [size if side < 0 else side for side in shape[1:]]
      try:
        other = self._output(self._zeros((1, *sides), 1))
      except ValueError:
        continue
      if other.shape[1:] == output.shape[1:]:
        return True
    return False

  def _filled(self, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with the size of an image where that is free."""
    sides = (self._size if side < 0 else side for side in shape[1:])
    return (shape[0], *sides)

  def _zeros(self, shape: tuple[int, ...], batch: int) -> torch.Tensor:
    """Images of this shape, in which -1 is free."""
    first, *sides = self._filled(shape)
    return torch.zeros([batch if first < 0 else first, *sides])

  def _output(self, images: torch.Tensor) -> torch.Tensor:
    try:
      with torch.inference_mode():
        return self._run(images.to(self._device, self._dtype))
    except Exception as error:  # A module's own code may raise anything.
      raise ValueError(f'PyTorch cannot run it ({_reason(error)})') from error


def _device(path: str, wanted: measurements.Device) -> str:
  if wanted is measurements.Device.GPU and not torch.cuda.is_available():
    built = (
      f'CUDA {torch.version.cuda}' if torch.version.cuda else 'the CPU alone'
    )
    raise ValueError(
      f'{path}: a GPU is asked for, but PyTorch {torch.__version__}, built for '
      f'{built}, finds none; install a CUDA build of torch and a driver for it, '
      'or use --device=cpu'
    )
  return _DEVICES[wanted]


def _check(path: str, output, batch: int) -> None:
  """Raises a ValueError where a model's output is not one row an image."""
  if not isinstance(output, torch.Tensor):
    raise ValueError(
      f'{path}: returns a {type(output).__name__}, expected one tensor (B, C); '
      'return the logits or probabilities alone'
    )
  if output.ndim != 2 or len(output) != batch:
    raise ValueError(
      f'{path}: returns a tensor {tuple(output.shape)} for {batch} images, '
      'expected (B, C)'
    )


def _info(name: str, shape, dtype: torch.dtype) -> measurements.TensorInfo:
  if dtype is torch.bfloat16:
    dtype = torch.float32
  return measurements.TensorInfo(
    name, tuple(int(size) for size in shape), str(dtype).removeprefix('torch.')
  )


def _reason(error: Exception) -> str:
  """What went wrong; TorchScript says so behind its traceback."""
  lines = str(error).strip().splitlines()
  scripted = lines and 'TorchScript' in lines[0]
  return lines[-1] if scripted else errors.first_line(error)
