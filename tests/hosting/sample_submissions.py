"""Submissions of every kind, for a challenge of the colors of `folder`.

Those of TensorFlow and PyTorch know the colors from the start; .h5, .pb and
TorchScript would be opened like them, in many seconds (scripts/check challenge
has them). All give three scores, of blue, green and red, and take raw pixels.
"""

import pathlib

import numpy as np

from tests import needs
from tfcompress.core import challenges, records

BROKEN = 'heidi'
_FORMATS = {
  'ada': ('tflite', 'model.tflite'),
  'carol': ('tensorflow', 'model.saved_model'),
  BROKEN: ('tflite', 'model.tflite'),
}
OF_TORCH = 'grace'
if needs.HAS_TORCH:
  _FORMATS[OF_TORCH] = ('pytorch', 'model.pth')
NAMES = tuple(_FORMATS)
_SIZE, _STRIDE = 48, 4
# A score is how much of a color there is: of blue, green and red.
_BLUR = np.full((7, 7, 1), 1 / 49, np.float32)
_COLORS = np.eye(3, dtype=np.float32)[::-1] / 20
_NETWORK = """
import torch

class Colors(torch.nn.Module):
  def __init__(self):
    super().__init__()
    self.conv = torch.nn.Conv2d(3, 3, 7, 4, bias=False)

  def forward(self, x):
    return self.conv(x).mean((2, 3))
"""
LOADER = f"""{_NETWORK.lstrip()}
def load_model(path):
  network = Colors()
  network.load_state_dict(torch.load(path, weights_only=True))
  return network
"""


def write(repository: pathlib.Path, exported: str) -> None:
  """Writes a submission of every kind.

  They are a .tflite, a SavedModel, a .tflite that is cut and, where there is
  PyTorch, a state dict with a loader.

  Args:
    repository: of a challenge; they come into its `submissions`.
    exported: the folder of an export.
  """
  folders = {}
  for name, (model_format, _) in _FORMATS.items():
    folders[name] = repository / challenges.SUBMISSIONS / name
    folders[name].mkdir(parents=True)
    metadata = {
      'username': name,
      'teamname': f'Team {name.capitalize()}',
      'model_format': model_format,
    }
    records.write_json(folders[name] / challenges.METADATA, metadata)
  models = {
    name: folders[name] / model for name, (_, model) in _FORMATS.items()
  }
  _write_tflite(models, exported)
  _write_tensorflow(models)
  if OF_TORCH in models:
    _write_torch(models[OF_TORCH])
    (folders[OF_TORCH] / challenges.LOADER).write_text(LOADER)


def _write_tflite(models, exported: str) -> None:
  content = pathlib.Path(exported, 'model.tflite').read_bytes()
  models['ada'].write_bytes(content)
  models[BROKEN].write_bytes(content[: len(content) // 2])


def _write_tensorflow(models) -> None:
  import tensorflow as tf

  module = tf.Module()
  module.kernel = tf.Variable(_BLUR[..., None] * _COLORS)
  image = tf.TensorSpec((None, _SIZE, _SIZE, 3), tf.float32, 'image')
  scores = tf.function(
    lambda image: tf.reduce_mean(
      tf.nn.conv2d(image, module.kernel, _STRIDE, 'VALID'), (1, 2)
    ),
    [image],
  )
  tf.saved_model.save(module, str(models['carol']), scores)


def _write_torch(path: pathlib.Path) -> None:
  import torch

  names = {}
  exec(_NETWORK, names)
  network = names['Colors']().eval()
  kernel = (_BLUR[..., None] * _COLORS).transpose(3, 2, 0, 1)
  network.load_state_dict({'conv.weight': torch.from_numpy(kernel.copy())})
  torch.save(network.state_dict(), path)
