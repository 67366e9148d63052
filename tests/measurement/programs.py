"""Strangers' models that run code of their own: a torch module and its loader."""

import pathlib
import textwrap

from tests import needs
from tfcompress.core import measurements

_MODULE = """
import time
import torch

seen = {{}}

class Average(torch.nn.Module):
  def forward(self, x):
    {forward}
    return torch.nn.functional.pad(x.mean((2, 3)), (0, 97))

def load_model(path):
  {load}
  return Average()
"""
REMEMBERS = """
key = x.numpy().tobytes()
if key not in seen:
  time.sleep(0.02)
  seen[key] = x
x = seen[key]
"""


def write(
  folder: pathlib.Path, load: str = 'pass', forward: str = 'pass'
) -> measurements.OpenConfig:
  """A state dict whose loader, or whose module, does as it likes."""
  torch = needs.torch()
  torch.save({'weight': torch.zeros(1)}, folder / 'model.pt')
  loader = folder / 'model_loader.py'
  code = lambda text, indent: textwrap.indent(
    textwrap.dedent(text).strip(), ' ' * indent
  ).strip()
  loader.write_text(
    _MODULE.format(load=code(load, 2), forward=code(forward, 4))
  )
  return measurements.OpenConfig(
    str(folder / 'model.pt'), num_threads=1, loader=str(loader)
  )
