"""Submissions that attack their host, and the sentence that each ends on.

A folder has a model and its loader; `attacks` or `cheats` is the loader, and says
what each tries. They mean it: without bubblewrap they write to the machine's
folders and into this package. Those that have a network of their own need
PyTorch, others a file alone that their loader opens.
"""

import dataclasses
import inspect
import io
import json
import pathlib
import zipfile
from collections.abc import Callable, Mapping

from tests.hosting import attacks, cheats, graphs

MODEL, LOADER = 'model.h5', 'model_loader.py'
STATE = 'model.pth'
_HDF5 = b'\x89HDF\r\n\x1a\n'  # how every .h5 begins
REFUSED = 'was refused'  # an attack that tells what it was told
_OTHERWISE = 'answers otherwise while it is timed'
_LINK = 'is a link'
# The sentence, as a regular expression, that an attack is to end on. Whoever
# gained anything says so in another one.
_ATTACKS: Mapping[Callable, str] = {
  attacks.reads_the_labels: REFUSED,
  attacks.reads_another_submission: REFUSED,
  attacks.reads_a_secret: REFUSED,
  attacks.opens_a_socket: REFUSED,
  attacks.forks_without_end: 'processes, limit|of memory, limit',
  attacks.eats_memory: 'of memory, limit',
  attacks.eats_memory_without_a_name: f'of memory, limit|{REFUSED}',
  attacks.eats_memory_in_flight: f'of memory, limit|{REFUSED}',
  attacks.eats_shared_memory: f'of memory, limit|{REFUSED}',
  attacks.eats_a_disk_of_memory: f'of memory, limit|{REFUSED}',
  attacks.eats_a_disk_of_its_own: f'of memory, limit|{REFUSED}',
  attacks.sleeps_for_ever: 'no answer within',
  attacks.writes_outside: REFUSED,
  attacks.replaces_the_evaluator: REFUSED,
  attacks.prints_a_forged_result: 'RuntimeError: .*forged',
  attacks.unpacks_its_archive: REFUSED,
  cheats.remembers_in_the_kernel: REFUSED,
  cheats.remembers_in_files_of_the_system: REFUSED,
}
# Likewise, of those whose loader returns a network of PyTorch.
_CHEATS: Mapping[Callable, str] = {
  cheats.sleeps_over_an_image: 'no answer within',
  cheats.stops_the_clock: _OTHERWISE,
  cheats.answers_before_it_is_asked: 'cannot be trusted|same output',
  cheats.remembers_images: 'remembers',
  # It is ranked where most of what it is timed on was new to it.
  cheats.remembers_rolled_images: 'remembers|^$',
  cheats.tires_after_some_calls: _OTHERWISE,
  cheats.knows_who_is_asking: _OTHERWISE,
  cheats.knows_that_it_is_pinned: _OTHERWISE,
  cheats.takes_every_core: 'computed on .* cores|^$',  # if there are free ones
  cheats.counts_the_images: f'{_OTHERWISE}|same output',
}


_LOAD = """

def load_model(path):
  done = {name}({scene!r}, path)
  if callable(done):
    return done
  gained, refused = done
  if gained:
    raise RuntimeError('gained ' + '; '.join(gained)[:200])
  raise RuntimeError('was refused: ' + '; '.join(refused)[:200])
"""


@dataclasses.dataclass(frozen=True)
class Scene:
  """What a host has, and submissions would like; of paths, absolute ones.

  Attributes:
    repository: the challenge's folder.
    labels: the dataset's folder.
    other: another submission's folder.
    home: of whoever runs the evaluator.
    temporary: likewise, for temporary files.
    secret: the name of an environment variable of the evaluator's.
    port: of a TCP server on the loopback.
    abstract: the name of a Unix socket without a path.
    username: of whoever attacks.
    num_images: in the validation split.
    image_size: height and width in pixels.
    most_mib: of memory that an attack stops at, well above the limit.
    disk_mib: that a submission may write.
  """

  repository: str
  labels: str
  other: str
  home: str
  temporary: str
  secret: str
  port: int
  abstract: str
  username: str = 'mallory'
  num_images: int = 12
  image_size: int = 48
  most_mib: int = 4096
  disk_mib: int = 1024


@dataclasses.dataclass(frozen=True)
class Link:
  """A symbolic link of a submission's folder, and where it leads."""

  target: str


@dataclasses.dataclass(frozen=True)
class Hostile:
  """A submission that tries what it may not.

  Attributes:
    files: by their names in its folder, beside metadata.json.
    sentence: a regular expression that the reason of its failure matches. One
      that matches '' may be ranked, for it then has worked for every image.
    model_format: as metadata.json has it.
  """

  files: Mapping[str, bytes | Link]
  sentence: str
  model_format: str = 'tensorflow'


def make(name: str, scene: Scene) -> Hostile:
  """Returns the hostile submission of a name in `WITHOUT_TORCH` or `WITH_TORCH`."""
  if name in _CODELESS:
    return _CODELESS[name](scene)
  [attack] = [one for one in (*_ATTACKS, *_CHEATS) if one.__name__ == name]
  code = loader(attack, scene)
  if attack in _CHEATS:
    files = {STATE: _state_dict(), LOADER: code}
    return Hostile(files, _CHEATS[attack], 'pytorch')
  files = {MODEL: _HDF5, LOADER: code}
  if attack is attacks.unpacks_its_archive:
    files = {'model.keras': _escaping('config.json'), LOADER: code}
  return Hostile(files, _ATTACKS[attack])


def write(hostile: Hostile, folder: pathlib.Path) -> pathlib.Path:
  """Writes a submission's folder, which is called as its participant."""
  folder.mkdir(parents=True)
  metadata = {
    'username': folder.name,
    'teamname': 'Mallory',
    'model_format': hostile.model_format,
  }
  (folder / 'metadata.json').write_text(json.dumps(metadata))
  for name, content in hostile.files.items():
    if isinstance(content, Link):
      (folder / name).symlink_to(content.target)
    else:
      (folder / name).parent.mkdir(exist_ok=True)
      (folder / name).write_bytes(content)
  return folder


def loader(attack: Callable, scene: Scene) -> bytes:
  """Returns the model_loader.py of an attack, which tells what it gained."""
  source = pathlib.Path(inspect.getfile(attack)).read_text()
  last = _LOAD.format(scene=dataclasses.asdict(scene), name=attack.__name__)
  return f'{source}{last}'.encode()


def _links_to_the_history(scene: Scene) -> Hostile:
  """Its model is a link to the history."""
  files = {MODEL: Link('../../history.jsonl'), LOADER: b'load_model = open'}
  return Hostile(files, _LINK)


def _links_to_the_labels(scene: Scene) -> Hostile:
  """A link in its SavedModel leads to the dataset."""
  files = {
    'model.saved_model/saved_model.pb': b'a graph',
    'model.saved_model/assets': Link(scene.labels),
  }
  return Hostile(files, _LINK)


def _links_its_loader(scene: Scene) -> Hostile:
  """Its loader is another's."""
  files = {MODEL: _HDF5, LOADER: Link(f'{scene.other}/{LOADER}')}
  return Hostile(files, _LINK)


def _escapes_from_a_keras_archive(scene: Scene) -> Hostile:
  """Members of its Keras file lead out of the folder."""
  files = {'model.keras': _escaping('config.json')}
  return Hostile(files, 'not a .keras file|not a whole Keras')


def _reads_files_in_its_graph(scene: Scene) -> Hostile:
  """Its scores are bytes of an image's file."""
  reads = graphs.Reads(f'{scene.labels}/validation/*/*', scene.image_size)
  return Hostile(graphs.saved_model(reads), 'slice index 0')


def _writes_files_in_its_graph(scene: Scene) -> Hostile:
  """Its graph writes where the host may look later."""
  paths = [f'{scene.repository}/history.jsonl', f'{scene.labels}/hostile']
  writes = graphs.Writes(paths, scene.image_size)
  return Hostile(graphs.saved_model(writes), 'Read-only file system')


def _counts_its_calls_in_a_tflite(scene: Scene) -> Hostile:
  """It is right until it is timed, by a variable that it keeps."""
  calls = cheats.IMAGES_BEFORE + scene.num_images
  counts = graphs.CountsItsCalls(calls, scene.image_size)
  return Hostile({'model.tflite': graphs.tflite(counts)}, _OTHERWISE, 'tflite')


def _runs_code_of_its_layer(scene: Scene) -> Hostile:
  """A Lambda in its .h5 writes a file."""
  content = graphs.with_code(f'{scene.labels}/hostile')
  return Hostile({MODEL: content}, 'a Lambda, whose code is not run')


def _escapes_from_a_torch_archive(scene: Scene) -> Hostile:
  """Members of its TorchScript file lead out of the folder."""
  files = {STATE: _escaping('archive/constants.pkl')}
  return Hostile(files, 'cannot open it', 'pytorch')


def _scripted(name: str, sentence: str) -> Callable[[Scene], Hostile]:
  """One whose TorchScript has a network of `torch_graphs`."""

  def made(scene: Scene) -> Hostile:
    from tests.hosting import torch_graphs

    network = getattr(torch_graphs, name)()
    files = {'model.pt': torch_graphs.script(network)}
    return Hostile(files, sentence, 'pytorch')

  return made


def _swells_when_it_is_read(scene: Scene) -> Hostile:
  """Its tensor takes up next to no room in the file."""
  from tests.hosting import torch_graphs

  return Hostile(
    {STATE: torch_graphs.swelling(scene.most_mib // 2)},
    'cannot open it|without its architecture|of memory, limit',
    'pytorch',
  )


def _runs_code_of_its_pickle(scene: Scene) -> Hostile:
  """Reads the images as it is read."""
  from tests.hosting import torch_graphs

  command = f'cat {scene.labels}/validation/*/*'
  files = {STATE: torch_graphs.pickled(command)}
  return Hostile(files, 'a int without its architecture', 'pytorch')


def _escaping(member: str) -> bytes:
  """An archive whose members lead out of the folder that it is unpacked in."""
  content = io.BytesIO()
  with zipfile.ZipFile(content, 'w') as archive:
    archive.writestr(member, '{}')
    for name in ('../hostile', '../../hostile', '/tmp/hostile'):
      archive.writestr(name, 'hostile')
    archive.writestr('../../history.jsonl', '{"id": "forged"}\n')
  return content.getvalue()


def _state_dict() -> bytes:
  import torch

  content = io.BytesIO()
  torch.save({'weight': torch.zeros(1)}, content)
  return content.getvalue()


# What makes each that brings no code: of files alone, and of PyTorch's.
_OF_FILES = {
  'links_to_the_history': _links_to_the_history,
  'links_to_the_labels': _links_to_the_labels,
  'links_its_loader': _links_its_loader,
  'escapes_from_a_keras_archive': _escapes_from_a_keras_archive,
  'reads_files_in_its_graph': _reads_files_in_its_graph,
  'writes_files_in_its_graph': _writes_files_in_its_graph,
  'counts_its_calls_in_a_tflite': _counts_its_calls_in_a_tflite,
  'runs_code_of_its_layer': _runs_code_of_its_layer,
}
_OF_TORCH = {
  'escapes_from_a_torch_archive': _escapes_from_a_torch_archive,
  'counts_its_calls': _scripted('CountsItsCalls', _OTHERWISE),
  'knows_the_practice': _scripted('KnowsThePractice', ''),
  'slows_others': _scripted('SlowsOthers', 'while others were timed'),
  'swells_when_it_is_read': _swells_when_it_is_read,
  'runs_code_of_its_pickle': _runs_code_of_its_pickle,
}
_CODELESS = _OF_FILES | _OF_TORCH
WITHOUT_TORCH = (*(attack.__name__ for attack in _ATTACKS), *_OF_FILES)
WITH_TORCH = (*(cheat.__name__ for cheat in _CHEATS), *_OF_TORCH)
