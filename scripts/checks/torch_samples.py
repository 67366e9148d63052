"""The classifier in PyTorch's formats."""

import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import samples
import torch

SIZE = 224  # A module's file does not tell its size.
LOADER = f"""
import torch

def network(*last):
  layers = torch.nn
  return layers.Sequential(
    layers.Conv2d(
      3, {samples.FILTERS}, {samples.KERNEL_SIZE}, {samples.STRIDE}, bias=False
    ),
    layers.ReLU(),
    layers.AdaptiveAvgPool2d(1),
    layers.Flatten(),
    layers.Linear({samples.FILTERS}, {samples.CLASSES}, bias=False),
    *last,
  ).eval()

def load_model(path):
  module = network()
  module.load_state_dict(torch.load(path))
  return module
"""


def torches(root: pathlib.Path) -> Iterator[samples.Sample]:
  """PyTorch's formats; those with weights alone, or pickled, give logits."""
  loader = root / 'loader.py'
  loader.write_text(LOADER)
  plain, softmax = _network(), _network(torch.nn.Softmax(1))
  image = torch.zeros((2, 3, samples.SIZE, samples.SIZE))
  program = torch.export.export(
    softmax, (image,), dynamic_shapes=({0: torch.export.Dim('batch')},)
  )
  torch.jit.script(softmax).save(root / 'script.pt')
  torch.export.save(program, root / 'export.pt2')
  torch.save(plain.state_dict(), root / 'state.pth')
  torch.save(plain, root / 'module.pt')
  reference, large = _reference(plain), SIZE
  yield samples.sample('TorchScript', root / 'script.pt', reference, large)
  yield samples.sample(
    'torch.export .pt2', root / 'export.pt2', reference, allow_pickle=True
  )
  yield samples.sample(
    'state dict, loader',
    root / 'state.pth',
    reference,
    large,
    loader=str(loader),
  )
  yield samples.sample(
    'pickled module', root / 'module.pt', reference, large, allow_pickle=True
  )


def _network(*last) -> torch.nn.Module:
  names = {}
  exec(LOADER, names)
  module = names['network'](*last)
  with torch.no_grad():
    kernel = samples.KERNEL.transpose(3, 2, 0, 1) / 255
    module[0].weight.copy_(torch.from_numpy(kernel))
    module[4].weight.copy_(torch.from_numpy(samples.DENSE.T))
  return module


def _reference(module: torch.nn.Module) -> Callable:
  """An eager module that gives logits."""

  def reference(images: np.ndarray) -> np.ndarray:
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    with torch.no_grad():
      return torch.softmax(module(planes), 1).numpy()

  return reference
