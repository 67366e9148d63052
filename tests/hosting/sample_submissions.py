"""Submissions in every format, for a challenge of the colors of `folder`.

Those of TensorFlow are one small trained network of 48 pixels; those of PyTorch
take images of any size and know the colors from the start. All give three
scores, of blue, green and red, and take raw pixels.
"""

import pathlib
from collections.abc import Mapping

import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from tfcompress.core import challenges, records, types
from tfcompress.models import io

# Small, and on the list of what requirements may name.
REQUIREMENTS = 'einops==0.8.1\n'
BROKEN = 'heidi'
_FORMATS = {
  'ada': ('tflite', 'model.tflite'),
  'bob': ('tflite', 'model.tflite'),
  'carol': ('tensorflow', 'model.saved_model'),
  'dave': ('tensorflow', 'model.h5'),
  'erin': ('tensorflow', 'model.pb'),
  'frank': ('pytorch', 'model.pt'),
  'grace': ('pytorch', 'model.pth'),
  BROKEN: ('tflite', 'model.tflite'),
}
NAMES = tuple(_FORMATS)
_NETWORK = """
import torch

class Colors(torch.nn.Module):
  def __init__(self):
    super().__init__()
    self.conv = torch.nn.Conv2d(3, 3, 7, 4, bias=False)
    self.pool = torch.nn.AdaptiveAvgPool2d(1)
    self.dense = torch.nn.Linear(3, 3)

  def forward(self, x):
    return self.dense(self.pool(self.conv(x)).flatten(1))
"""
LOADER = f"""{_NETWORK.lstrip()}
def load_model(path):
  network = Colors()
  network.load_state_dict(torch.load(path, weights_only=True))
  return network
"""


def write(
  repository: pathlib.Path,
  baseline: str,
  exported: Mapping[types.Variant, str],
  requirements: str = REQUIREMENTS,
) -> dict[str, pathlib.Path]:
  """Writes a submission of every format.

  Args:
    repository: of a challenge; they come into its `submissions`.
    baseline: an artifact's folder.
    exported: export folders of it, by variant.
    requirements: of the one with a loader.

  Returns:
    Their folders, by participant: a plain int8 .tflite and a slim one, a
    SavedModel, an .h5, a .pb, a TorchScript file, a state dict with a loader,
    and a .tflite that is cut.
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
  _write_tensorflow(models, baseline)
  _write_torch(models)
  (folders['grace'] / challenges.LOADER).write_text(LOADER)
  (folders['grace'] / challenges.REQUIREMENTS).write_text(requirements)
  return folders


def _write_tflite(models, exported) -> None:
  plain, slim = (
    pathlib.Path(exported[variant], 'model.tflite').read_bytes()
    for variant in (types.Variant.INT8, types.Variant.STATIC_WI4_AI8)
  )
  models['ada'].write_bytes(plain)
  models['bob'].write_bytes(slim)
  models[BROKEN].write_bytes(plain[: len(plain) // 2])


def _write_tensorflow(models, baseline: str) -> None:
  network, _ = io.load(baseline)
  network.export(str(models['carol']))
  network.save(models['dave'])
  function = tf.function(lambda image: network(image, training=False))
  spec = tf.TensorSpec(network.inputs[0].shape, tf.float32, 'image')
  frozen = convert_to_constants.convert_variables_to_constants_v2(
    function.get_concrete_function(spec)
  )
  models['erin'].write_bytes(frozen.graph.as_graph_def().SerializeToString())


def _write_torch(models) -> None:
  import torch

  names = {}
  exec(_NETWORK, names)
  network = names['Colors']().eval()
  # A class is a channel's excess: of blue, green and red.
  blur = torch.eye(3)[..., None, None].expand(3, 3, 7, 7) / 49
  kernel = 0.05 * torch.eye(3).flip(1)
  network.load_state_dict(
    {
      'conv.weight': blur.clone(),
      'dense.weight': kernel,
      'dense.bias': torch.zeros(3),
    }
  )
  image = torch.zeros(1, 3, 48, 48)
  torch.jit.save(torch.jit.trace(network, image), models['frank'])
  torch.save(network.state_dict(), models['grace'])
