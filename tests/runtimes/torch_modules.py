"""Modules of PyTorch, which only tests that have it import."""

import torch


class LastChannel(torch.nn.Module):
  """Takes images as TensorFlow has them, one at a time."""

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return (x * torch.arange(3)).sum((1, 2)).reshape(1, 3)


class Flat(torch.nn.Module):
  """Takes images of 224 pixels alone."""

  def __init__(self):
    super().__init__()
    self.dense = torch.nn.Linear(3 * 56 * 56, 2)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return self.dense(torch.nn.functional.avg_pool2d(x, 4).flatten(1))


class Pair(torch.nn.Module):
  def forward(self, x: torch.Tensor):
    return x.mean((2, 3)), x


class Map(torch.nn.Module):
  def forward(self, x: torch.Tensor):
    return x


class OfEight(torch.nn.Linear):
  def __init__(self):
    super().__init__(8, 2)
