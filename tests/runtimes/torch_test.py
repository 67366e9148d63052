"""PyTorch's files: what they are, what they give, what is refused."""

import os
import pathlib
import random

import numpy as np
import pytest

from tests import needs
from tfcompress.core import environment, measurements
from tfcompress.runtimes import formats, load

pytestmark = needs.pytorch

IMAGES = np.random.RandomState(0).rand(3, 3, 224, 224).astype(np.float32)
NETWORK = """
import torch

class Network(torch.nn.Module):
  def __init__(self):
    super().__init__()
    self.conv = torch.nn.Conv2d(3, 4, 7, 16)
    self.norm = torch.nn.BatchNorm2d(4)
    self.dense = torch.nn.Linear(4, 10)

  def forward(self, x):
    return self.dense(self.norm(self.conv(x)).relu().mean((2, 3)))
"""
LOADER = f"""{NETWORK}
def load_model(path):
  network = Network()
  network.load_state_dict(torch.load(path))
  return network
"""
TRUSTED = {'export.pt2', 'dynamic.pt2', 'module.pt', 'old_module.pt'}
FORMATS = {
  'scripted.pt': formats.Format.TORCHSCRIPT,
  'traced.pt': formats.Format.TORCHSCRIPT,
  'frozen.pth': formats.Format.TORCHSCRIPT,
  'export.pt2': formats.Format.TORCH_EXPORT,
  'dynamic.pt2': formats.Format.TORCH_EXPORT,
  'module.pt': formats.Format.TORCH_PICKLE,
  'old_module.pt': formats.Format.TORCH_PICKLE,
  'state.pth': formats.Format.TORCH_PICKLE,
  'old_state.pth': formats.Format.TORCH_PICKLE,
}


@pytest.fixture(scope='module')
def torch():
  return needs.torch()


@pytest.fixture(scope='module')
def network(torch):
  """A convolution, and what differs in evaluation: a batch norm."""
  names = {}
  exec(NETWORK, names)
  torch.manual_seed(0)
  network = names['Network']()
  network(torch.from_numpy(IMAGES))  # Statistics that are not 0 and 1.
  return network.eval()


@pytest.fixture(scope='module')
def expected(torch, network) -> np.ndarray:
  with torch.no_grad():
    return network(torch.from_numpy(IMAGES)).numpy()


@pytest.fixture(scope='module')
def root(torch, network, tmp_path_factory) -> pathlib.Path:
  """The network in every format."""
  root = tmp_path_factory.mktemp('torch')
  image = torch.from_numpy(IMAGES[:1])
  traced = torch.jit.trace(network, image)
  # Of layers that every process has; a pickle holds no classes.
  sequence = torch.nn.Sequential(
    network.conv,
    network.norm,
    torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(1),
    torch.nn.Flatten(),
    network.dense,
  ).eval()
  torch.jit.script(sequence).save(root / 'scripted.pt')
  traced.save(root / 'traced.pt')
  torch.jit.save(torch.jit.freeze(traced), root / 'frozen.pth')
  export, free = torch.export.export, {0: torch.export.Dim('batch')}
  torch.export.save(export(network, (image,)), root / 'export.pt2')
  two = (torch.from_numpy(IMAGES[:2]),)
  torch.export.save(
    export(network, two, dynamic_shapes=(free,)), root / 'dynamic.pt2'
  )
  for content, name in (
    (sequence, 'module.pt'),
    (network.state_dict(), 'state.pth'),
  ):
    torch.save(content, root / name)
    torch.save(
      content, root / f'old_{name}', _use_new_zipfile_serialization=False
    )
  (root / 'loader.py').write_text(LOADER)
  return root


def opened(path, **options):
  return load.open_file(measurements.OpenConfig(str(path), **options))


def saved(module, path) -> str:
  import torch

  torch.jit.script(module).save(path)
  return str(path)


@pytest.mark.parametrize('name', FORMATS)
def test_the_format_is_told_by_the_content(name, root):
  assert formats.format_of(str(root / name)) is FORMATS[name]


@pytest.mark.parametrize('name', FORMATS)
def test_every_format_gives_the_networks_scores(name, root, expected):
  backend = opened(
    root / name,
    allow_pickle=name in TRUSTED,
    loader=str(root / 'loader.py') if 'state' in name else '',
  )
  free = 1 if name == 'export.pt2' else -1
  # Archives of torch.export alone tell the size.
  sides = (224, 224) if name.endswith('.pt2') else (-1, -1)
  assert backend.inputs == (
    measurements.TensorInfo('image', (free, 3, *sides), 'float32'),
  )
  assert backend.outputs[0].shape == (free, 10)
  batches = np.split(IMAGES, 3) if free == 1 else [IMAGES]
  got = np.concatenate([backend.predict(batch) for batch in batches])
  backend.close()
  assert got.dtype == np.float32
  np.testing.assert_allclose(got, expected, atol=1e-4)


def test_info_says_what_runs(torch, root):
  backend = opened(root / 'traced.pt', num_threads=1)
  assert backend.info() == measurements.RuntimeRecord(
    name='torch',
    version=torch.__version__,
    device=environment.cpu_name(),
    num_threads=1,
    fully_delegated=None,
  )
  assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
  ('dtype', 'input_dtype', 'precision'),
  [('float16', 'float16', 'fp16'), ('bfloat16', 'float32', 'bf16')],
)
def test_weights_of_fewer_bits(dtype, input_dtype, precision, torch, tmp_path):
  dtype = getattr(torch, dtype)
  module = torch.nn.Sequential(
    torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
  )
  module.append(torch.nn.Linear(3, 5)).to(dtype)
  backend = opened(saved(module, tmp_path / 'half.pt'))
  assert backend.inputs[0].dtype == backend.outputs[0].dtype == input_dtype
  assert backend.info().precision == precision
  with torch.no_grad():
    expected = module(torch.from_numpy(IMAGES).to(dtype)).float().numpy()
  got = backend.predict(IMAGES.astype(input_dtype)).astype(np.float32)
  np.testing.assert_allclose(got, expected, atol=1e-2)


def test_a_module_of_one_image_with_channels_last(tmp_path):
  from tests.runtimes import torch_modules

  backend = opened(saved(torch_modules.LastChannel(), tmp_path / 'last.pt'))
  assert backend.inputs[0].shape == (1, -1, -1, 3)
  got = backend.predict(np.ones((1, 224, 224, 3), np.float32))
  np.testing.assert_allclose(got, [[0, 224 * 224, 2 * 224 * 224]])


def test_a_module_of_one_size_is_found_by_running_it(tmp_path):
  from tests.runtimes import torch_modules

  path = saved(torch_modules.Flat(), tmp_path / 'flat.pt')
  assert opened(path).inputs[0].shape == (-1, 3, 224, 224)
  with pytest.raises(ValueError, match='another size, --input_size says it'):
    opened(path, image_size=32)


@pytest.mark.parametrize(
  ('module', 'message'),
  [
    ('Pair', r'returns a tuple, expected one tensor \(B, C\)'),
    ('Map', r'returns a tensor \(1, 3, 224, 224\) for 1 images, expected'),
    (
      'OfEight',
      r'does not take images \(1, 3, 224, 224\) nor \(1, 224, 224, 3\); '
      r'PyTorch cannot run it \(RuntimeError: mat1 and mat2 shapes',
    ),
  ],
)
def test_modules_that_classify_no_image(module, message, tmp_path):
  from tests.runtimes import torch_modules

  module = getattr(torch_modules, module)()
  with pytest.raises(ValueError, match=message) as error:
    opened(saved(module, tmp_path / 'model.pt'))
  assert '\n' not in str(error.value)


class Touch:
  """A pickle that runs code as it is read."""

  def __init__(self, path):
    self._path = str(path)

  def __reduce__(self):
    return os.mkdir, (self._path,)


def test_no_code_of_a_file_runs_unless_it_may(torch, tmp_path, root):
  trap, path = tmp_path / 'trap', tmp_path / 'model.pt'
  torch.save(Touch(trap), path)
  with pytest.raises(ValueError, match='would run code .* give --allow_pickle'):
    opened(path)
  assert not trap.exists()
  with pytest.raises(ValueError, match='a NoneType without its architecture'):
    opened(path, allow_pickle=True)
  assert trap.exists()
  with pytest.raises(ValueError, match='can run code .* give --allow_pickle'):
    opened(root / 'export.pt2')


def test_a_state_dict_needs_its_architecture(root):
  for name in ('state.pth', 'old_state.pth'):
    with pytest.raises(
      ValueError, match='without its architecture; give --loader=FILE.py with'
    ):
      opened(root / name)


def test_a_loader_that_knows_its_file(root, expected):
  loader = root / 'knowing.py'
  loader.write_text(
    'import torch\nimport loader\n'
    'def load_model():\n  return loader.load_model("state.pth")\n'
  )
  backend = opened(root / 'state.pth', loader=str(loader))
  np.testing.assert_allclose(backend.predict(IMAGES), expected, atol=1e-4)


@pytest.mark.parametrize(
  ('code', 'message'),
  [
    (None, 'no such .py file; expected --loader=FILE.py with a function load'),
    ('x = 1', 'no load_model; expected --loader=FILE.py with a function load'),
    ('import nothing_of_this', "ModuleNotFoundError: No module named 'nothing"),
    ('def load_model(path): return 1 / 0', 'load_model: ZeroDivisionError: '),
    ('import sys\ndef load_model(p): sys.exit("no\\n!")', 'SystemExit: no$'),
    (
      'def load_model(path): return {}',
      r'returned dict, expected a torch\.nn',
    ),
  ],
)
def test_loaders_that_do_not_load(code, message, root, tmp_path):
  loader = tmp_path / 'loader.py'
  if code is not None:
    loader.write_text(code)
  with pytest.raises(ValueError, match=message) as error:
    opened(root / 'state.pth', loader=str(loader))
  assert str(error.value).startswith(f'--loader={loader}: ')


def spoiled(content: bytes, rng: random.Random):
  """The content cut, with bits flipped, and noise."""
  yield content[: rng.randrange(9, len(content))]
  flipped = bytearray(content)
  for _ in range(12):
    flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
  yield bytes(flipped)
  yield rng.randbytes(400)


@pytest.mark.parametrize(
  'name',
  ['traced.pt', 'export.pt2', 'state.pth', 'old_state.pth', 'old_module.pt'],
)
def test_damaged_files(name, root, tmp_path):
  rng = random.Random(name)
  path = tmp_path / name
  said = []
  for _ in range(4):
    for content in spoiled((root / name).read_bytes(), rng):
      path.write_bytes(content)
      try:
        opened(path).close()  # Flipped bits may be of no account.
      except ValueError as error:
        said.append(str(error))
  assert len(said) >= 8  # Files cut short, and those of random bytes.
  for sentence in said:
    assert sentence.startswith(f'{path}: ') and '\n' not in sentence


def test_what_fails_while_it_runs(root):
  backend = opened(root / 'traced.pt')
  with pytest.raises(ValueError, match='PyTorch cannot run it .*4 channels'):
    backend.predict(np.zeros((1, 4, 224, 224), np.float32))


def test_a_gpu_that_is_not_there(torch, root):
  if torch.cuda.is_available():
    pytest.skip('there is a GPU')
  with pytest.raises(ValueError, match='finds none; install a CUDA build of'):
    opened(root / 'traced.pt', device=measurements.Device.GPU)
