"""Models that a process of their own must contain."""

import dataclasses
import pathlib
import platform
import socket
import struct
import time

import numpy as np
import pytest

from tests import needs
from tests.measurement import programs
from tfcompress.core import measurements, types
from tfcompress.measurement import opened, sandbox, syscalls

Isolation = measurements.Isolation
LIMITS = measurements.Limits(time_limit=20, memory_limit=1500)
RAW = types.Preprocessing()


LEVELS = [
  pytest.param(Isolation.BUBBLEWRAP, marks=needs.bubblewrap),
  Isolation.PROCESS,
]


def refusal(file: measurements.OpenConfig, level: Isolation, **limits) -> str:
  """The sentence that opening and running a file ends on."""
  limits = dataclasses.replace(LIMITS, isolation=level, **limits)
  with pytest.raises(opened.ModelError) as error:
    run(file, limits)
  sentence = str(error.value)
  assert file.model in sentence and '\n' not in sentence
  return sentence


def run(file: measurements.OpenConfig, limits: measurements.Limits):
  with opened.Opened(file, limits) as model:
    slots = model.share(2)
    slots[0] = np.arange(slots[0].size).reshape(slots[0].shape) % 256
    model.begin_predict(0, 2, RAW)
    return model.scores(0, 2)[0], slots[0].copy()


@pytest.mark.parametrize('level', [*LEVELS, Isolation.NONE])
def test_scores_come_back_as_the_model_gives_them(level, tmp_path):
  scores, images = run(
    programs.write(tmp_path), dataclasses.replace(LIMITS, isolation=level)
  )
  assert (scores.shape, scores.dtype) == ((2, 100), np.float32)
  np.testing.assert_allclose(
    scores[:, :3], images.mean((1, 2), np.float64), rtol=1e-5
  )
  assert not scores[:, 3:].any()


def test_the_next_images_may_come_before_the_last_scores(exported):
  """A model that has answered by then has not answered before it was asked."""
  path = exported[types.Variant.FLOAT32]
  limits = dataclasses.replace(LIMITS, isolation=Isolation.PROCESS)
  with opened.Opened(measurements.OpenConfig(path), limits) as model:
    slots = model.share(1)
    slots[0], slots[1] = 0, 255
    model.begin_predict(0, 1, RAW)
    time.sleep(0.5)  # It has answered long since.
    model.begin_predict(1, 1, RAW)
    dark, bright = (model.scores(slot, 1)[0] for slot in (0, 1))
    assert np.abs(dark - bright).max() > 1e-3


@pytest.mark.parametrize('level', LEVELS)
def test_a_model_that_sleeps_for_ever(level, tmp_path):
  file = programs.write(tmp_path, 'import time; time.sleep(1e9)')
  assert 'no answer within 4 s' in refusal(file, level, time_limit=4)


@pytest.mark.parametrize('level', LEVELS)
def test_a_model_that_allocates_without_end(level, tmp_path):
  file = programs.write(
    tmp_path,
    forward="""
    if x.any():
      import time
      found = []
      while True:
        found.append(bytearray(b'1' * 2**24)); time.sleep(0.01)
    """,
  )
  sentence = refusal(file, level, memory_limit=700)
  assert 'the model took' in sentence and 'limit 700' in sentence


@pytest.mark.parametrize('level', LEVELS)
def test_a_model_that_starts_processes_without_end(level, tmp_path):
  file = programs.write(
    tmp_path,
    """
    import subprocess, time
    while True:
      subprocess.Popen(['sleep', '20']); time.sleep(0.01)
    """,
  )
  sentence = refusal(file, level, process_limit=20)
  assert 'processes, limit 20 (--process_limit)' in sentence


@pytest.mark.parametrize('level', LEVELS)
def test_a_model_that_exits_or_crashes(level, tmp_path):
  file = programs.write(tmp_path, 'import os; os._exit(3)')
  assert 'ended by itself, exit code 3' in refusal(file, level)
  file = programs.write(tmp_path, 'import os; os.kill(os.getpid(), 11)')
  assert 'SIGSEGV: the process that opened it crashed' in refusal(file, level)


def connecting(tmp_path, listener) -> measurements.OpenConfig:
  port = listener.getsockname()[1]
  return programs.write(
    tmp_path,
    f"""
    import socket
    socket.create_connection(('127.0.0.1', {port}), timeout=5).close()
    """,
  )


def writing(tmp_path) -> measurements.OpenConfig:
  return programs.write(tmp_path, f"open('{tmp_path}/written', 'w').write('x')")


def looking(tmp_path, labels) -> measurements.OpenConfig:
  return programs.write(
    tmp_path,
    f"""
    import os
    assert 'SECRET' not in os.environ
    os.listdir('{labels}')
    """,
  )


@needs.bubblewrap
def test_bubblewrap_leaves_no_network_no_files_and_no_labels(
  tmp_path, folder, monkeypatch
):
  monkeypatch.setenv('SECRET', 'token')
  level = Isolation.BUBBLEWRAP
  with socket.create_server(('127.0.0.1', 0)) as listener:
    sentence = refusal(connecting(tmp_path, listener), level)
  assert 'ConnectionRefusedError' in sentence or 'unreachable' in sentence
  assert 'Read-only file system' in refusal(writing(tmp_path), level)
  assert not (tmp_path / 'written').exists()
  assert 'FileNotFoundError' in refusal(looking(tmp_path, folder), level)
  assert sandbox.record(level).open == ()


def test_plain_processes_do_and_the_record_says_so(
  tmp_path, folder, monkeypatch
):
  monkeypatch.setenv('SECRET', 'token')
  limits = dataclasses.replace(LIMITS, isolation=Isolation.PROCESS)
  with socket.create_server(('127.0.0.1', 0)) as listener:
    run(connecting(tmp_path, listener), limits)
  run(writing(tmp_path), limits)
  assert (tmp_path / 'written').exists()
  run(looking(tmp_path, folder), limits)
  assert sandbox.record(Isolation.PROCESS).open == (
    'network',
    'files of others',
    'labels',
    'number of processes',
    'system calls',
  )


def test_a_filter_of_nothing_is_not_claimed(monkeypatch):
  level = Isolation.BUBBLEWRAP
  known = sandbox.record(level)
  assert 'system calls' in known.contained and not known.open
  monkeypatch.setattr(platform, 'machine', lambda: 'riscv64')
  assert syscalls.program() == struct.pack('=HBBI', 6, 0, 0, 0x7FFF0000)
  unknown = sandbox.record(level)
  assert unknown.open == ('system calls',)
  assert 'system calls' not in unknown.contained


def test_outputs_that_are_not_finite(tmp_path):
  file = programs.write(tmp_path, forward="x = x + float('nan')")
  assert 'outputs that are not finite' in refusal(file, Isolation.PROCESS)


def test_a_model_that_writes_too_large_a_file(tmp_path):
  file = programs.write(
    tmp_path, f"open('{tmp_path}/large', 'wb').write(b'0' * 2**22)"
  )
  sentence = refusal(file, Isolation.PROCESS, file_limit=1)
  assert 'File too large' in sentence


def test_a_process_that_lies_about_its_times(tmp_path):
  file = programs.write(
    tmp_path,
    """
    import time
    real, start = time.perf_counter_ns, time.perf_counter_ns()
    time.perf_counter_ns = lambda: start + (real() - start) // 100
    """,
    forward='import time; time.sleep(0.01)',
  )
  limits = dataclasses.replace(LIMITS, isolation=Isolation.PROCESS)
  with opened.Opened(file, limits) as model:
    model.share(1)[0] = 0
    model.prepare(1, RAW)
    assert np.mean(model.time(20)) < 1
    with pytest.raises(opened.ModelError, match='cannot be trusted'):
      model.require_honest_times()


def test_a_wanted_isolation_that_is_not_there(monkeypatch):
  sandbox._obstacle.cache_clear()
  monkeypatch.setenv('PATH', '/nowhere')
  assert sandbox.level_of(None) is Isolation.PROCESS
  with pytest.raises(ValueError, match='no program bwrap; install'):
    sandbox.level_of(Isolation.BUBBLEWRAP)
  sandbox._obstacle.cache_clear()


@needs.bubblewrap
def test_root_cannot_mount_its_file_to_be_written(tmp_path):
  file = programs.write(
    tmp_path,
    """
    import ctypes
    remount = 32 | 4096  # of Linux: MS_REMOUNT | MS_BIND
    for folder in (path, '/usr', '/'):
      ctypes.CDLL(None).mount(b'none', folder.encode(), None, remount, None)
    with open(path, 'ab') as model:
      model.write(b'more')
    """,
  )
  before = pathlib.Path(file.model).read_bytes()
  assert 'Read-only file system' in refusal(file, Isolation.BUBBLEWRAP)
  assert pathlib.Path(file.model).read_bytes() == before


@pytest.mark.parametrize(
  ('load', 'sentence'),
  [
    ("os.write(int(sys.argv[1]), b'[' * 100000 + b'\\n')", 'nonsense'),
    ("os.write(int(sys.argv[1]), b'{}\\n')", 'nonsense'),
    ('os._exit(200)', 'ended by itself, exit code 200'),
    (
      'fcntl.fcntl(int(sys.argv[2]), fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)',
      'changing shared memory',
    ),
  ],
)
def test_hostile_answers_are_one_sentence(load, sentence, tmp_path):
  file = programs.write(tmp_path, f'import fcntl, os, sys\n{load}')
  assert sentence in refusal(file, Isolation.PROCESS)


def test_memory_in_files_without_a_name_counts(tmp_path):
  file = programs.write(
    tmp_path,
    """
    import os
    kept = [os.memfd_create('kept') for _ in range(8)]
    for one in kept:
      os.write(one, b'1' * 2**27)
    time.sleep(60)
    """,
  )
  sentence = refusal(file, Isolation.PROCESS, memory_limit=900)
  assert 'of memory, limit 900' in sentence


def test_what_hides_from_its_parent_ends_with_it(tmp_path):
  file = programs.write(
    tmp_path,
    f"""
    import os, time
    if not os.fork():
      os.setsid()
      if not os.fork():
        open('{tmp_path}/hidden', 'w').write(str(os.getpid()))
        time.sleep(600)
      os._exit(0)
    while not os.path.exists('{tmp_path}/hidden'): time.sleep(0.01)
    time.sleep(0.1)
    """,
  )
  run(file, dataclasses.replace(LIMITS, isolation=Isolation.PROCESS))
  hidden = int((tmp_path / 'hidden').read_text())
  command = pathlib.Path(f'/proc/{hidden}/cmdline')
  deadline = time.monotonic() + 10
  # Of one that has ended, and that nobody has asked after, it is empty.
  while command.exists() and command.read_bytes():
    assert time.monotonic() < deadline
    time.sleep(0.01)


def test_a_folder_whose_links_lead_out_of_it(tmp_path):
  folder = tmp_path / 'saved'
  folder.mkdir()
  (folder / 'saved_model.pb').write_bytes(b'a graph')
  (folder / 'inside').symlink_to('saved_model.pb')
  (folder / 'assets').symlink_to('/etc')
  with pytest.raises(ValueError, match='assets is a link out of the folder'):
    opened.Opened(measurements.OpenConfig(str(folder)), LIMITS)


def test_a_rate_without_time_is_nonsense(tmp_path):
  file = programs.write(
    tmp_path,
    """
    import __main__
    rate = __main__.replies.Rate(1, 0.0)
    __main__.Worker.throughput = lambda *_, **__: rate
    """,
  )
  limits = dataclasses.replace(LIMITS, isolation=Isolation.PROCESS)
  nonsense = pytest.raises(opened.ModelError, match='1 images in 0 s')
  with opened.Opened(file, limits) as model, nonsense:
    model.throughput(1, 0.1)


def test_a_graph_has_no_file_of_the_images_that_are_to_come(tmp_path):
  file = programs.write(
    tmp_path,
    forward="""
    import os
    links = [f'/proc/self/fd/{one}' for one in os.listdir('/proc/self/fd')]
    names = [os.readlink(one) for one in links if os.path.lexists(one)]
    x = x * 0 + any('images' in name for name in names)
    """,
  )
  scores, _ = run(
    file, dataclasses.replace(LIMITS, isolation=Isolation.PROCESS)
  )
  assert not scores.any()
