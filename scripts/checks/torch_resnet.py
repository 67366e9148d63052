"""A residual network in PyTorch, with the loader that a submission needs.

As a whole it is a submission's model_loader.py, so it imports nothing of ours.
The state dict has a network of tf_keras whose batch normalizations are folded:
LAYER.kernel and LAYER.bias in TensorFlow's layout, `size` that images are
resized to, `stride` of the stem, `scale` and `offset` of the pixels.
"""

import re

import torch
from torch.nn import functional

EINOPS = '0.8.1'
_POOLED = 7  # the kernel size of the stem that a pooling follows


class Convolution(torch.nn.Module):
  """A convolution with TensorFlow's 'same' padding: the odd one at the end."""

  def __init__(self, weights, name: str, stride: int = 1):
    super().__init__()
    self.kernel = torch.nn.Parameter(weights[f'{name}.kernel'])
    self.bias = torch.nn.Parameter(weights[f'{name}.bias'])
    self.stride = stride
    # For sides that the stride divides.
    more = max(self.kernel.shape[-1] - stride, 0)
    self.padding = (more // 2, more - more // 2) * 2

  def forward(self, x):
    padded = functional.pad(x, self.padding)
    return functional.conv2d(padded, self.kernel, self.bias, self.stride)


class Block(torch.nn.Module):
  """A basic residual block."""

  def __init__(self, weights, name: str, stride: int):
    super().__init__()
    self.first = Convolution(weights, f'{name}_conv1', stride)
    self.second = Convolution(weights, f'{name}_conv2')
    self.shortcut = torch.nn.Identity()
    if f'{name}_shortcut.kernel' in weights:
      self.shortcut = Convolution(weights, f'{name}_shortcut', stride)

  def forward(self, x):
    y = self.second(functional.relu(self.first(x)))
    return functional.relu(y + self.shortcut(x))


class ResNet(torch.nn.Module):
  """From raw pixels (B, 3, S, S) to logits (B, C).

  `weights` is the state dict, its kernels in PyTorch's layout.
  """

  def __init__(self, weights):
    super().__init__()
    self.size = int(weights['size'])
    for name in ('scale', 'offset'):
      self.register_buffer(name, weights[name].reshape(1, 3, 1, 1))
    self.stem = Convolution(weights, 'stem_conv', int(weights['stride']))
    self.pools = self.stem.kernel.shape[-1] == _POOLED
    found = (
      re.match(r'(stage(\d)_block(\d))_conv1\.kernel', n) for n in weights
    )
    self.blocks = torch.nn.Sequential(*(
      Block(weights, name, 2 if stage > '1' and block == '1' else 1)
      for name, stage, block in sorted(one.groups() for one in found if one)
    ))  # fmt: skip
    self.kernel = torch.nn.Parameter(weights['logits.kernel'])
    self.bias = torch.nn.Parameter(weights['logits.bias'])

  def forward(self, x):
    x = functional.interpolate(x, (self.size, self.size), mode='bilinear')
    x = functional.relu(self.stem(x * self.scale + self.offset))
    if self.pools:  # None of its maxima is below zero.
      x = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1)), 3, 2)
    x = self.blocks(x).mean((2, 3))
    return functional.linear(x, self.kernel, self.bias)


def load_model(path):
  import einops  # which our own checks can do without

  if einops.__version__ != EINOPS:
    raise ImportError(f'einops {einops.__version__}, expected {EINOPS}')
  layouts = {4: 'h w i o -> o i h w', 2: 'i o -> o i'}
  weights = torch.load(path, weights_only=True)
  return ResNet(
    {
      name: einops.rearrange(weight, layouts[weight.ndim]).contiguous()
      if name.endswith('.kernel')
      else weight
      for name, weight in weights.items()
    }
  )
