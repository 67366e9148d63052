"""Every hostile submission is evaluated, and gains and breaks nothing."""

import contextlib
import dataclasses
import datetime
import os
import pathlib
import re
import select
import shutil
import socket
import tempfile
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

import tfcompress
from tests import needs
from tests.hosting import hostile_submissions
from tests.runtimes import sample_models
from tfcompress.core import challenges, measurements, records
from tfcompress.hosting import evaluation, hosts
from tfcompress.measurement import family

pytestmark = needs.bubblewrap
# Each takes seconds, and ends as another one does, for the same reason.
ALIKE = {
  'counts_its_calls',
  'counts_the_images',
  'eats_shared_memory',
  'forks_without_end',
  'prints_a_forged_result',
  'reads_another_submission',
  'remembers_in_files_of_the_system',
  'unpacks_its_archive',
  'eats_a_disk_of_its_own',
  'eats_a_disk_of_memory',
  'eats_memory_in_flight',
  'eats_memory_without_a_name',
  'knows_that_it_is_pinned',
  'knows_the_practice',
  'remembers_rolled_images',
  'sleeps_over_an_image',
  'slows_others',
  'stops_the_clock',
  'swells_when_it_is_read',
  'takes_every_core',
  'tires_after_some_calls',
}
LEAST_MS = 2.0  # of an image's work; what saves it takes a tenth
SECRET, ABSTRACT = 'TFCOMPRESS_TEST_TOKEN', 'tfcompress-hostile-test'
FIGURES = measurements.BaselineRecord(0.01, 1.0, 90.0, 'the baseline')
RULES = challenges.Challenge(
  num_classes=3,
  image_size=48,
  baseline=challenges.Baseline('baseline.tflite', 90.0),
  limits=challenges.Limits(
    model_mib=10, seconds=10, memory_mib=900, processes=12
  ),
  evaluation=challenges.Evaluation(runs=20, seconds=0.0, processes=1),
)


@dataclasses.dataclass(frozen=True)
class Stage:
  """A host, and all that nobody may change.

  Attributes:
    host: of the challenge.
    scene: what submissions find there.
    folders: that are to stay as they are.
    servers: that nobody may call.
  """

  host: hosts.Host
  scene: hostile_submissions.Scene
  folders: tuple[pathlib.Path, ...]
  servers: tuple[socket.socket, ...]

  def listing(self) -> dict[str, str]:
    """The SHA-256 of every file, and what would be new beside them."""
    anyones = pathlib.Path('/tmp'), pathlib.Path(tempfile.gettempdir())
    found = {str(one): '' for root in anyones for one in root.glob('hostile*')}
    for folder in self.folders:
      for path in folder.rglob('*'):
        if '__pycache__' in path.parts:
          continue
        plain = path.is_file() and not path.is_symlink()
        found[str(path)] = records.sha256(path) if plain else ''
    return found

  def called(self) -> bool:
    """Whether someone has connected to a server."""
    return bool(select.select(self.servers, [], [], 0)[0])


@pytest.fixture(scope='module')
def stage(data, folder, tmp_path_factory) -> Iterator[Stage]:
  """A challenge with a submission of another's, secrets and servers."""
  root = tmp_path_factory.mktemp('hostile')
  repository, home, temporary = (
    root / name for name in ('challenge', 'home', 'tmp')
  )
  other = repository / challenges.SUBMISSIONS / 'alice'
  for one in (other, home / '.kaggle', temporary):
    one.mkdir(parents=True)
  write_baseline(repository / RULES.baseline.model)
  for path in (
    repository / challenges.HISTORY,
    other / challenges.METADATA,
    other / challenges.LOADER,
    home / '.netrc',
    home / '.kaggle' / 'kaggle.json',
  ):
    path.write_text('{}\n')
  package = pathlib.Path(tfcompress.__file__).parent
  with pytest.MonkeyPatch.context() as patch, servers() as listening:
    patch.setenv(SECRET, 'hunter2')
    patch.setenv('HOME', str(home))
    patch.setattr(tempfile, 'tempdir', str(temporary))
    scene = hostile_submissions.Scene(
      str(repository), str(folder), str(other), str(home), str(temporary),
      SECRET, listening[0].getsockname()[1], ABSTRACT, most_mib=2048,
    )  # fmt: skip
    yield Stage(
      hosts.Host(
        repository, RULES, data, root / 'environments',
        measurements.Isolation.BUBBLEWRAP,
      ),
      scene,
      (repository, home, folder, package),
      listening,
    )  # fmt: skip


@contextlib.contextmanager
def servers() -> Iterator[tuple[socket.socket, ...]]:
  """Two that listen: on the loopback, and without a path."""
  with (
    socket.create_server(('127.0.0.1', 0)) as loopback,
    socket.socket(socket.AF_UNIX) as abstract,
  ):
    abstract.bind(f'\0{ABSTRACT}')
    abstract.listen()
    yield loopback, abstract


def write_baseline(path: pathlib.Path) -> None:
  """Writes a small network that takes about as long as an image's work."""
  kernel = np.random.RandomState(0).randn(9, 9, 3, 64).astype(np.float32)
  path.write_bytes(
    sample_models.convert(
      lambda image: tf.reduce_mean(
        tf.nn.conv2d(image, kernel, 1, 'SAME'), (1, 2)
      ),
      tf.TensorSpec((1, 48, 48, 3), tf.float32),
    )
  )


def chosen() -> Iterator:
  """The names of submissions, with what each needs."""
  for names, needed in (
    (hostile_submissions.WITHOUT_TORCH, ()),
    (hostile_submissions.WITH_TORCH, (needs.pytorch,)),
  ):
    for name in names:
      long = (pytest.mark.long,) if name in ALIKE else ()
      yield pytest.param(name, marks=(*needed, *long))


@pytest.mark.parametrize('name', chosen())
def test_it_ends_as_it_should_and_changes_nothing(stage, name):
  hostile = hostile_submissions.make(name, stage.scene)
  before, running = stage.listing(), family.descendants(os.getpid())
  folder = stage.host.repository / challenges.SUBMISSIONS / 'mallory'
  hostile_submissions.write(hostile, folder)
  now = datetime.datetime.now(datetime.UTC)
  try:
    result = evaluation.evaluate(
      stage.host, evaluation.HandedIn(folder, now), FIGURES
    )
  finally:
    shutil.rmtree(folder)
  require_clear(result, hostile.sentence)
  assert stage.listing() == before
  assert not stage.called()
  assert family.descendants(os.getpid()) == running


def require_clear(result: evaluation.Result, sentence: str) -> None:
  """Fails unless a result is as it should be."""
  entry = result.entry
  if entry.status is challenges.Status.RANKED:
    assert re.search(sentence, '')
    assert entry.record.latency_ms.median > LEAST_MS
    return
  assert entry.status is challenges.Status.FAILED and result.record is None
  assert sentence and re.search(sentence, entry.reason), entry.reason
  assert entry.reason.isprintable() and len(entry.reason) <= 1000
  assert f'{tempfile.gettempdir()}/tmp' not in entry.reason
