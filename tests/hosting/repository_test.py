"""Results that are added at the same moment, and by processes that are killed."""

import gc
import multiprocessing
import os
import pathlib
import random
import signal
import time

import pytest

from tests.reports import sample_entries
from tfcompress.competition import history, rules
from tfcompress.core import challenges
from tfcompress.hosting import repository

FORK = multiprocessing.get_context('fork')  # for what is imported already
KILLS = 10  # history_test has a hundred


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
  text = rules.text(challenges.Challenge())
  (tmp_path / challenges.CHALLENGE).write_text(text)
  repository.render(tmp_path)
  return tmp_path


@pytest.fixture
def frozen():
  """Children leave TensorFlow's garbage of other tests alone: it would crash."""
  gc.collect()
  gc.freeze()
  yield
  gc.unfreeze()


def entry(name: str, mib: float = 2.0) -> challenges.Entry:
  return sample_entries.ranked(name, 'Team', (mib, 0.5, 60.0), 1)


def add(folder: pathlib.Path, one: challenges.Entry, barrier=None) -> None:
  if barrier:
    barrier.wait()
  repository.add(folder, one, sample_entries.whole(one))
  repository.render(folder)


def shown(folder: pathlib.Path) -> list[str]:
  """The participants of LEADERBOARD.md, in their order."""
  lines = (folder / repository.LEADERBOARD).read_text().splitlines()
  cells = [line.split('|') for line in lines if line.startswith('| ')]
  return [row[2].strip() for row in cells if row[1].strip(' ≈').isdigit()]


@pytest.mark.long
def test_eight_at_the_same_moment(folder, frozen):
  entries = [entry(f'user-{i}', 1.0 + i) for i in range(8)]
  barrier = FORK.Barrier(8)
  running = [
    FORK.Process(target=add, args=(folder, one, barrier)) for one in entries
  ]
  for process in running:
    process.start()
  for process in running:
    process.join()
  assert [process.exitcode for process in running] == [0] * 8
  found = history.read(folder / challenges.HISTORY)
  assert not found.damage
  assert sorted(one.id for one in found.entries) == sorted(
    one.id for one in entries
  )
  assert shown(folder) == [f'user-{i}' for i in range(8)]
  page = (folder / repository.PAGE).read_text()
  for one in found.entries:
    assert one.username in page
    assert (folder / repository.PAGES / f'{one.id}.html').is_file()
    whole = repository.record_of(folder, one)
    assert whole == sample_entries.whole(one)


@pytest.mark.long
def test_killed_while_they_add_and_render(frozen, folder):
  """Each result is tried again until it is in; none is lost or doubled."""
  random.seed(0)
  wanted, killed = [], 0
  started = time.monotonic()
  add(folder, entry('first'))
  most = time.monotonic() - started
  while killed < KILLS:
    one = entry(f'user-{len(wanted)}')
    wanted.append(one)
    for _ in range(5):
      process = FORK.Process(target=add, args=(folder, one))
      process.start()
      process.join(random.uniform(0, most))
      if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        killed += 1
      shown(folder)
      known = [e.id for e in history.read(folder / challenges.HISTORY).entries]
      assert known.count(one.id) <= 1
    add(folder, one)
  found = history.read(folder / challenges.HISTORY)
  assert not found.damage
  ids = [one.id for one in found.entries]
  assert sorted(ids[1:]) == sorted(one.id for one in wanted)
  assert len(shown(folder)) == len(ids)
