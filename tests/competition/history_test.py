import dataclasses
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

from tfcompress.competition import history
from tfcompress.core import challenges, measurements

# What every child begins with. It must start fast: there are many of them.
CHILD = """
import fcntl, os, pathlib, random, resource, signal, sys, time
from tfcompress.competition import history
from tfcompress.core import challenges

path = pathlib.Path(sys.argv[1])

def entry(id, length=0):
  status = challenges.Status.FAILED
  return challenges.Entry(id, 'ada', 'A', '', '', '', status, 'x' * length)
"""


def child(path: pathlib.Path, program: str, *arguments: str):
  """Starts a process that runs a program after `CHILD`."""
  code = CHILD + textwrap.dedent(program)
  return subprocess.Popen(
    [sys.executable, '-c', code, path, *arguments],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )


def output(path: pathlib.Path, program: str) -> list[str]:
  with child(path, program) as process:
    text, _ = process.communicate()
  assert process.returncode == 0
  return text.split()


def entry(id: str = 'one', **changes) -> challenges.Entry:
  plain = challenges.Entry(
    id,
    'ada',
    'Ädas\u2028Team\n',
    'tflite',
    '2025-05-01T12:00:00+00:00',
    '2025-05-01T12:10:00+00:00',
    challenges.Status.FAILED,
    'no model in it',
  )
  return dataclasses.replace(plain, **changes)


def measured() -> measurements.Measurement:
  return measurements.Measurement(
    model=measurements.ModelRecord('m.tflite', 'ab', 'tflite', (), ()),
    dataset=None,
    runtime=None,
    size=measurements.SizeRecord(1024, 1 / 1024, 900, None, None),
    latency_ms=None,
    throughput_per_s=None,
    memory_mib=None,
    accuracy=measurements.AccuracyRecord(70.0, 90.0, (68.0, 72.0), 1000),
    score=measurements.ScoreRecord(
      4.0, 3.0, 1.1, 0.1 + 0.2, measurements.BaselineRecord(1, 2, 3, 'x')
    ),
    environment={'python': '3.12'},
  )


def filled(path: pathlib.Path, *ids: str) -> bytes:
  for id in ids:
    assert history.append(path, entry(id))
  return path.read_bytes()


def ids(path: pathlib.Path) -> list[str]:
  found = history.read(path)
  assert not found.damage
  return [one.id for one in found.entries]


def require_chain(path: pathlib.Path) -> None:
  """Follows the chain as the docstring has it, without the module."""
  previous = ''
  for line in path.read_bytes().removesuffix(b'\n').split(b'\n'):
    begin = re.match(rb'\{"sha256": "([0-9a-f]{64})", ', line)
    value = json.loads(line)
    assert list(value) == ['sha256', 'previous', 'entry']
    assert hashlib.sha256(line[begin.end() :]).hexdigest() == value['sha256']
    assert value['previous'] == previous
    previous = value['sha256']


def aside(path: pathlib.Path) -> list[bytes]:
  """What was put aside, in order."""
  found = path.parent.glob(f'{path.name}.damaged-*')
  by_number = lambda one: int(one.name.rpartition('-')[2])
  return [one.read_bytes() for one in sorted(found, key=by_number)]


@pytest.fixture
def path(tmp_path) -> pathlib.Path:
  return tmp_path / 'history.jsonl'


def test_what_is_appended_is_read(path):
  whole = entry('2', record=measured(), others=(measured(),), pull_request=7)
  whole = dataclasses.replace(
    whole, status=challenges.Status.RANKED, reason='', sha256='ab'
  )
  assert history.read(path) == history.History()
  assert history.append(path, entry('1'))
  assert history.append(path, whole)
  assert history.read(path) == history.History((entry('1'), whole), '')
  content = path.read_bytes()
  assert content.isascii() and content.count(b'\n') == 2
  assert b'\r' not in content and content.endswith(b'}\n')
  require_chain(path)


def test_one_of_the_same_id_is_not_appended(path):
  content = filled(path, 'a', 'b')
  assert not history.append(path, entry('a', reason='another'))
  assert not history.append(path, entry('b'))
  assert path.read_bytes() == content


@pytest.mark.parametrize('id', ['', '../a', 'a b', 'a\n', 'ä'])
def test_an_id_that_is_none(path, id):
  with pytest.raises(ValueError, match='expected letters, digits and dashes'):
    history.append(path, entry(id))
  assert not path.exists()


def test_a_number_that_is_none_leaves_the_file_as_it_was(path):
  content = filled(path, 'a')
  bad = dataclasses.replace(measured(), throughput_per_s=float('nan'))
  with pytest.raises(ValueError, match='not JSON compliant'):
    history.append(path, entry('b', record=bad))
  assert path.read_bytes() == content


def test_every_point_at_which_the_last_line_may_be_cut(path):
  before = filled(path, 'a', 'b')
  after = filled(path, 'c')
  for length in range(len(before) + 1, len(after) - 1):
    path.write_bytes(after[:length])
    found = history.read(path)
    assert [one.id for one in found.entries] == ['a', 'b']
    count = length - len(before)
    assert f'{path}: {count} bytes after entry b are no' in found.damage
  path.write_bytes(after[: len(before) + 99])
  assert history.append(path, entry('c'))
  assert path.read_bytes() == after
  assert aside(path) == [after[len(before) : len(before) + 99]]


def test_a_line_without_its_end_is_whole(path):
  filled(path, 'a', 'b')
  after = filled(path, 'c')
  for id, is_new in (('b', False), ('c', True)):
    path.write_bytes(after[: after.index(b'\n', len(after) // 2)])
    assert ids(path) == ['a', 'b']
    assert history.append(path, entry(id)) is is_new
    require_chain(path)
  assert path.read_bytes() == after
  assert not aside(path)


TAILS = {
  'a brace': b'{',
  'zeros': b'\0' * 4096,
  'a line': b'no JSON\n',
  'lines': b'\xff\n\n7\n',
  'brackets': b'[' * 10**5,
}


@pytest.mark.parametrize('name', TAILS)
def test_damage_at_the_end_is_put_aside(path, name):
  content, tail = filled(path, 'a'), TAILS[name]
  path.write_bytes(content + tail)
  assert f'{len(tail)} bytes after entry a' in history.read(path).damage
  assert not history.append(path, entry('a'))
  assert path.read_bytes() == content
  path.write_bytes(content + tail)  # Killed before it was cut off.
  filled(path, 'b')
  assert aside(path) == [tail]
  with path.open('ab') as file:
    file.write(b'another')
  filled(path, 'c')
  assert aside(path) == [tail, b'another']
  assert ids(path) == ['a', 'b', 'c']
  require_chain(path)


def test_a_file_that_is_nothing_but_damage(path):
  path.write_bytes(b'{"sha')
  assert '5 bytes at its beginning' in history.read(path).damage
  filled(path, 'a')
  assert ids(path) == ['a'] and aside(path) == [b'{"sha']


def without(lines: list[bytes], number: int) -> list[bytes]:
  return lines[: number - 1] + lines[number:]


CHANGES = {
  'unreadable': (
    lambda lines: [lines[0], lines[1][:50] + b'\n', *lines[2:]],
    'line 2: no JSON, though others follow it',
  ),
  'changed': (
    lambda lines: [lines[0], lines[1].replace(b'ada', b'eve'), *lines[2:]],
    "line 2: it was changed: its sha256 is '[0-9a-f]{12}', expected",
  ),
  'the last one changed': (
    lambda lines: [*lines[:2], lines[2].replace(b'ada', b'eve')],
    'line 3: it was changed',
  ),
  'its own checksum changed': (
    lambda lines: [lines[0].replace(b'": "', b'": "0', 1), *lines[1:]],
    'line 1: it was changed',
  ),
  'a space more': (
    lambda lines: [b' ' + lines[0], *lines[1:]],
    'line 1: it was changed',
  ),
  'ends of lines changed': (
    lambda lines: [line.replace(b'\n', b'\r\n') for line in lines],
    'line 1: it was changed',
  ),
  'removed': (
    lambda lines: without(lines, 2),
    "line 2: it follows '[0-9a-f]{12}', expected '[0-9a-f]{12}': a line was",
  ),
  'the first one removed': (
    lambda lines: without(lines, 1),
    "line 1: it follows '[0-9a-f]{12}', expected ''",
  ),
  'doubled': (lambda lines: [*lines, lines[2]], 'line 4: it follows'),
  'swapped': (lambda lines: lines[::-1], 'line 1: it follows'),
  'merged by git': (
    lambda lines: [lines[0], b'<<<<<<< HEAD\n', lines[1], b'=======\n'],
    'line 2: no JSON',
  ),
}


@pytest.mark.parametrize('name', CHANGES)
def test_damage_in_the_middle_is_refused(path, name):
  change, message = CHANGES[name]
  lines = filled(path, 'a', 'b', 'c').splitlines(keepends=True)
  content = b''.join(change(lines))
  path.write_bytes(content)
  for use in (history.read, lambda path: history.append(path, entry('d'))):
    with pytest.raises(ValueError, match=message) as raised:
      use(path)
    assert str(raised.value).startswith(str(path))
    assert 'git log -- history.jsonl' in str(raised.value)
    assert '\n' not in str(raised.value)
  assert path.read_bytes() == content and not aside(path)


def test_a_line_of_a_newer_version_says_so(path):
  history.append(path, entry('a'))
  history.append(path, entry('b', schema_version=2))
  message = (
    r'line 2: not an entry of schema version 1 \(schema version 2, expected 1\)'
  )
  with pytest.raises(ValueError, match=message):
    history.read(path)
  history.append(path, entry('c'))
  require_chain(path)


def test_nothing_heavy_is_imported(path):
  heavy = {'tensorflow', 'numpy', 'jinja2', 'absl', 'tf_keras'}
  assert not heavy.intersection(output(path, 'print(*sys.modules)'))


def test_eight_at_the_same_moment(path):
  program = """
    print(flush=True)
    sys.stdin.readline()
    name = sys.argv[2]
    for round in range(5):
      history.append(path, entry(f'{name}-{round}', 20_000))
      print(int(history.append(path, entry(f'shared-{round}'))))
    """
  children = [child(path, program, str(number)) for number in range(8)]
  for process in children:
    process.stdout.readline()
  for process in children:
    process.stdin.write('\n')
    process.stdin.flush()
  appended = [process.communicate()[0].split() for process in children]
  assert [sum(map(int, one)) for one in zip(*appended)] == [1] * 5
  expected = {f'{number}-{round}' for number in range(8) for round in range(5)}
  expected |= {f'shared-{round}' for round in range(5)}
  assert sorted(ids(path)) == sorted(expected)
  require_chain(path)
  assert not aside(path)


@pytest.mark.long
def test_a_hundred_kills_lose_nothing_and_double_nothing(path):
  """Fifty results: each writer is killed, and the one that tries again too."""
  program = """
    def started(id):
      if child := os.fork():
        return child
      history.append(path, entry(id, 60_000))
      os._exit(0)

    def kill(child, wait):
      if random.random() < 0.5:
        time.sleep(wait)
      else:  # As soon as it writes.
        before = path.stat().st_size
        ended = os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
        while path.stat().st_size == before and not os.waitid(*ended):
          pass
      os.kill(child, signal.SIGKILL)
      os.waitpid(child, 0)
      history.read(path)

    random.seed(0)
    for number in range(50):
      id = f'killed-{number}'
      if not number % 10:
        start = time.perf_counter()
        os.waitpid(started(f'whole-{number}'), 0)
        took = time.perf_counter() - start
      kill(started(id), random.uniform(0, took))
      kill(started(id), random.uniform(0, took))
      assert os.waitpid(started(id), 0)[1] == 0
    """
  output(path, program)
  found = ids(path)
  assert [id for id in found if id.startswith('killed')] == [
    f'killed-{number}' for number in range(50)
  ]
  assert len(found) == 55
  require_chain(path)


def test_killed_by_the_system_in_the_middle_of_a_line(path):
  program = """
    size = path.stat().st_size
    for length in (1, 80, 300, 4096, 10_000, 30_000):
      if not (child := os.fork()):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        limit = size + length
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        history.append(path, entry('b', 40_000))
        os._exit(0)
      print(os.WTERMSIG(os.waitpid(child, 0)[1]), path.stat().st_size - size)
    """
  content = filled(path, 'a')
  lengths = ['1', '80', '300', '4096', '10000', '30000']
  assert output(path, program) == [
    word for length in lengths for word in ('25', length)
  ]
  assert '30000 bytes after entry a' in history.read(path).damage
  assert list(map(len, aside(path))) == [1, 80, 300, 4096, 10_000]
  assert history.append(path, entry('b'))
  assert ids(path) == ['a', 'b']
  assert path.read_bytes().startswith(content)
  require_chain(path)


def test_a_full_disk_is_an_error_and_what_was_written_no_result(path):
  program = """
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
      history.append(path, entry('b', 40_000))
    except OSError as error:
      print(error.errno)
    """
  filled(path, 'a')
  assert output(path, program) == ['27']  # EFBIG, as with ENOSPC.
  assert history.append(path, entry('b'))
  assert ids(path) == ['a', 'b'] and len(aside(path)) == 1


def test_a_file_that_git_replaces_while_a_writer_waits(path):
  program = """
    with path.open('rb') as locked:
      fcntl.flock(locked, fcntl.LOCK_EX)
      if not (child := os.fork()):
        locked.close()
        history.append(path, entry('b'))
        os._exit(0)
      time.sleep(0.1)
      new = path.with_name('new')
      new.write_bytes(path.read_bytes())
      new.replace(path)
      fcntl.flock(locked, fcntl.LOCK_UN)
    print(os.waitpid(child, 0)[1])
    """
  filled(path, 'a')
  assert output(path, program) == ['0']
  assert ids(path) == ['a', 'b']


def test_readers_wait_for_the_writer(path):
  """A line that is being written is no damage."""
  program = """
    with path.open('ab', buffering=0) as file:
      fcntl.flock(file, fcntl.LOCK_EX)
      file.write(b'half a line')
      print(flush=True)
      time.sleep(0.2)
      file.truncate(path.stat().st_size - 11)
    """
  filled(path, 'a')
  with child(path, program) as process:
    process.stdout.readline()
    assert ids(path) == ['a']


def test_a_folder_that_is_not_there(path):
  with pytest.raises(FileNotFoundError):
    history.append(path / 'history.jsonl', entry())
