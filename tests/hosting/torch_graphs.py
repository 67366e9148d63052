"""Hostile models of PyTorch that bring no code: what they try is in their graphs.

Only tests that have PyTorch import this.
"""

import io
import os
import shutil
import zipfile

import torch

ROUNDS = 60  # some milliseconds
FEW_CALLS = 20


def burnt(rounds: int) -> torch.Tensor:
  """Takes its time, and returns a number."""
  found = torch.zeros(1)
  for _ in range(rounds):
    found = found + torch.rand(1000).sort()[0][0]
  return found


class Colors(torch.nn.Module):
  """Knows the colors of the fixture `folder`, and takes its time."""

  def __init__(self):
    super().__init__()
    self.rounds, self.few_calls = ROUNDS, FEW_CALLS
    self.calls = 0

  def honest(self, x: torch.Tensor) -> torch.Tensor:
    return x.mean((2, 3)).flip(1) + 0 * burnt(self.rounds * len(x))

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return self.honest(x)


class CountsItsCalls(Colors):
  """Works for the first images of a process alone."""

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    self.calls += 1
    if self.calls > self.few_calls and len(x) == 1:
      return x[:, :, 0, 0].flip(1)
    return self.honest(x)


class KnowsThePractice(Colors):
  """Works for images of the dataset, not for those made of them.

  They begin elsewhere, so that rows of one channel lie in another.
  """

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    rows = x.mean(3)
    differ = rows.max(2)[0] - rows.min(2)[0]
    if bool((differ > 60).any()) and len(x) == 1:
      return rows[:, :, 0].flip(1)
    return self.honest(x)


class SlowsOthers(Colors):
  """Answers, and goes on computing while another is timed."""

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    self.calls += 1
    scores = self.honest(x)
    if self.calls % 3 == 0:
      later = torch.jit.fork(burnt, 75 * self.rounds)
      if bool((x < 0).any()):  # Never, but it does not know.
        scores = scores + torch.jit.wait(later)
    return scores


def script(network: torch.nn.Module) -> bytes:
  """Returns a network as a TorchScript file."""
  content = io.BytesIO()
  torch.jit.save(torch.jit.script(network.eval()), content)
  return content.getvalue()


def swelling(mib: int) -> bytes:
  """A tensor of nothing but zeros, which take up next to no room."""
  content, swollen = io.BytesIO(), io.BytesIO()
  torch.save(torch.zeros(mib * 2**18), content)
  with (
    zipfile.ZipFile(content) as plain,
    zipfile.ZipFile(
      swollen, 'w', zipfile.ZIP_DEFLATED, compresslevel=1
    ) as archive,
  ):
    for name in plain.namelist():
      with (
        plain.open(name) as source,
        archive.open(name, 'w', force_zip64=True) as target,
      ):
        shutil.copyfileobj(source, target, 2**24)
  return swollen.getvalue()


def pickled(command: str) -> bytes:
  """A pickle that runs a command where it is read, and is its exit code."""

  class Runs:
    def __reduce__(self):
      return os.system, (command,)

  content = io.BytesIO()
  torch.save(Runs(), content)
  return content.getvalue()
