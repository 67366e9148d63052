"""Submissions that attack their host, and the sentence that each ends on.

A folder has the state dict and the loader of PyTorch; `attacks` or `cheats` is
the loader, and says what each tries. They mean it: without bubblewrap they write
to the machine's folders and into this package.
"""

import dataclasses
import inspect
import io
import json
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Mapping

from tests.hosting import attacks, cheats, codeless

MODEL, LOADER = 'model.pth', 'model_loader.py'
REFUSED = 'was refused'  # an attack that tells what it was told
_OTHERWISE = 'answers otherwise while it is timed'
_LINK = 'is a link'
# The sentence, as a regular expression, that an attack is to end on. Whoever
# gained anything says so in another one.
_SENTENCES: Mapping[Callable, str] = {
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
  cheats.sleeps_over_an_image: 'no answer within',
  attacks.writes_outside: REFUSED,
  attacks.replaces_the_evaluator: REFUSED,
  cheats.stops_the_clock: _OTHERWISE,
  attacks.prints_a_forged_result: 'RuntimeError: .*forged',
  cheats.answers_before_it_is_asked: 'cannot be trusted|same output',
  attacks.unpacks_its_archive: REFUSED,
  cheats.remembers_images: 'remembers',
  cheats.remembers_rolled_images: 'remembers',
  cheats.tires_after_some_calls: _OTHERWISE,
  cheats.knows_who_is_asking: _OTHERWISE,
  cheats.knows_that_it_is_pinned: _OTHERWISE,
  cheats.takes_every_core: 'computed on .* cores|^$',  # if there are free ones
  cheats.counts_the_images: f'{_OTHERWISE}|same output',
  cheats.remembers_in_the_kernel: REFUSED,
  cheats.remembers_in_files_of_the_system: REFUSED,
}
# Likewise, of those without code.
_CODELESS = (
  'links_to_the_history',
  'links_to_the_labels',
  'links_its_loader',
  'escapes_from_a_torch_archive',
  'escapes_from_a_keras_archive',
  'counts_its_calls',
  'knows_the_practice',
  'slows_others',
  'reads_files_in_its_graph',
  'swells_when_it_is_read',
  'runs_code_of_its_pickle',
)
NAMES = (*(attack.__name__ for attack in _SENTENCES), *_CODELESS)


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
    tries: what it does.
    model_format: as metadata.json has it.
  """

  files: Mapping[str, bytes | Link]
  sentence: str
  tries: str
  model_format: str = 'pytorch'


def table(scene: Scene) -> dict[str, Hostile]:
  """Returns every hostile submission by its name."""
  state = _state_dict()
  found = {
    attack.__name__: Hostile(
      {MODEL: state, LOADER: loader(attack, scene)}, sentence, attack.__doc__
    )
    for attack, sentence in _SENTENCES.items()
  }
  unpacking = found[attacks.unpacks_its_archive.__name__]
  found[attacks.unpacks_its_archive.__name__] = dataclasses.replace(
    unpacking, files={**unpacking.files, MODEL: _escaping('archive/version')}
  )
  return found | dict(_without_code(scene, state)) | dict(_graphs(scene))


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


def _without_code(scene: Scene, state: bytes) -> Iterator[tuple[str, Hostile]]:
  """Those that need no code of their own: links and archives that lead out."""
  yield 'links_to_the_history', Hostile(
    {MODEL: Link('../../history.jsonl'), LOADER: b'load_model = open'},
    _LINK, 'Its model is a link to the history.',
  )  # fmt: skip
  yield 'links_to_the_labels', Hostile(
    {
      'model.saved_model/saved_model.pb': b'a graph',
      'model.saved_model/assets': Link(scene.labels),
    },
    _LINK, 'A link in its SavedModel leads to the dataset.', 'tensorflow',
  )  # fmt: skip
  yield 'links_its_loader', Hostile(
    {MODEL: state, LOADER: Link(f'{scene.other}/{LOADER}')},
    _LINK, "Its loader is another's.",
  )  # fmt: skip
  yield 'escapes_from_a_torch_archive', Hostile(
    {MODEL: _escaping('archive/constants.pkl')}, 'cannot open it',
    'Members of its TorchScript file lead out of the folder.',
  )  # fmt: skip
  yield 'escapes_from_a_keras_archive', Hostile(
    {'model.keras': _escaping('config.json')}, 'not a .keras file|not a whole Keras',
    'Members of its Keras file lead out of the folder.', 'tensorflow',
  )  # fmt: skip


def _graphs(scene: Scene) -> Iterator[tuple[str, Hostile]]:
  """Those whose graphs try what others need code for."""
  for name, network, sentence in (
    ('counts_its_calls', codeless.CountsItsCalls(), _OTHERWISE),
    ('knows_the_practice', codeless.KnowsThePractice(), ''),
    ('slows_others', codeless.SlowsOthers(), 'while others were timed'),
  ):
    files = {'model.pt': codeless.script(network)}
    yield name, Hostile(files, sentence, network.__doc__)
  reads = codeless.Reads(f'{scene.labels}/validation/*/*', scene.image_size)
  yield (
    'reads_files_in_its_graph',
    Hostile(
      codeless.saved_model(reads), 'slice index 0', reads.__doc__, 'tensorflow'
    ),
  )
  yield 'swells_when_it_is_read', Hostile(
    {'model.pth': codeless.swelling(scene.most_mib // 2)},
    'cannot open it|without its architecture|of memory, limit',
    codeless.swelling.__doc__,
  )  # fmt: skip
  yield 'runs_code_of_its_pickle', Hostile(
    {'model.pth': codeless.pickled(f'cat {scene.labels}/validation/*/*')},
    'a int without its architecture', codeless.pickled.__doc__,
  )  # fmt: skip


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
