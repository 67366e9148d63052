"""One network in the formats of a challenge, for scripts/check challenge."""

import pathlib

import numpy as np
import tensorflow as tf
import torch
import torch_resnet
from tensorflow.python.framework import convert_to_constants

from tfcompress.models import io

_EQUAL = 1e-3  # of probabilities in TensorFlow and PyTorch
_IMAGES = 8


def write(artifact: str, root: pathlib.Path) -> dict[str, pathlib.Path]:
  """Writes the network of an artifact in every format of a whole network.

  Args:
    artifact: of a ResNet of ours with basic blocks.
    root: a folder.

  Returns:
    The files, by suffix; 'saved_model' is a folder, '.pth' is a state dict for
    torch_resnet.load_model.

  Raises:
    ValueError: that cannot be done in PyTorch, or not so that both say the
      same of an image.
  """
  network, manifest = io.load(artifact)
  files = {
    suffix: root / f'network{suffix}'
    for suffix in ('.h5', '.pb', '.pt', '.pth')
  }
  files['saved_model'] = root / 'network'
  tf.saved_model.save(network, str(files['saved_model']))
  network.save(files['.h5'])
  files['.pb'].write_bytes(_frozen(network))
  weights = _weights(network, manifest.model)
  torch.save(weights, files['.pth'])
  module = torch_resnet.ResNet(_in_torch(weights)).eval()
  size = manifest.model.input_size
  _require_equal(network, module, size)
  image = torch.zeros(1, 3, size, size)
  torch.jit.save(torch.jit.trace(module, image), files['.pt'])
  return files


def _frozen(network) -> bytes:
  function = tf.function(lambda image: network(image, training=False))
  spec = tf.TensorSpec(network.inputs[0].shape, tf.float32, 'image')
  frozen = convert_to_constants.convert_variables_to_constants_v2(
    function.get_concrete_function(spec)
  )
  return frozen.graph.as_graph_def().SerializeToString()


def _weights(network, spec) -> dict[str, torch.Tensor]:
  """The state dict of torch_resnet."""
  weights = {
    'size': np.array(spec.stem_size),
    'stride': np.array(network.get_layer('stem_conv').strides[0]),
    'scale': np.array(spec.normalization.scale, np.float32),
    'offset': np.array(spec.normalization.offset, np.float32),
  }
  for layer in network.layers:
    if layer.name == 'logits':
      kernel, bias = layer.get_weights()
    elif type(layer).__name__ == 'Conv2D':
      kernel, bias = _folded(layer, network.get_layer(f'{layer.name}_bn'))
    else:
      continue
    weights |= {f'{layer.name}.kernel': kernel, f'{layer.name}.bias': bias}
  return {name: torch.from_numpy(array) for name, array in weights.items()}


def _folded(layer, normalization) -> tuple[np.ndarray, np.ndarray]:
  """Kernel and bias of a convolution and its batch normalization."""
  [kernel] = layer.get_weights()
  gamma, beta, mean, variance = normalization.get_weights()
  factor = gamma / np.sqrt(variance + normalization.epsilon)
  return kernel * factor, beta - mean * factor


def _in_torch(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
  """Kernels in PyTorch's layout, by other means than the loader's."""
  orders = {4: (3, 2, 0, 1), 2: (1, 0)}
  return {
    name: weight.permute(orders[weight.ndim]).contiguous()
    if name.endswith('.kernel')
    else weight
    for name, weight in weights.items()
  }


def _require_equal(network, module, size: int) -> None:
  """Raises ValueError where two networks differ on an image."""
  shape = (_IMAGES, 8, 8, 3)
  coarse = np.random.RandomState(0).uniform(0, 255, shape)
  images = tf.image.resize(coarse, (size, size)).numpy()
  expected = network.predict(images, verbose=0)
  with torch.inference_mode():
    planes = torch.from_numpy(images).permute(0, 3, 1, 2)
    found = torch.softmax(module(planes), 1).numpy()
  difference = np.abs(found - expected).max()
  if not difference < _EQUAL:
    raise ValueError(
      f'PyTorch differs from TensorFlow by {difference:.2g}, expected at most '
      f'{_EQUAL:g}'
    )
  print(f'PyTorch and TensorFlow differ by {difference:.1g}')
