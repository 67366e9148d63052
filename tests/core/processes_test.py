import signal
import subprocess
import sys

import pytest

from tfcompress.core import processes

_WATCHED = """
import os, signal, sys, time
from tfcompress import cli_flags
from tfcompress.core import processes

def main():
  processes.go_on_watched('take another')
  print(os.getpid(), flush=True)
  {work}

cli_flags.run(main, '')
"""


def watched(work: str) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-c', _WATCHED.format(work=work)],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    # Who runs the tests in the background has it ignored.
    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
  )


@pytest.mark.parametrize(
  ('work', 'code', 'error'),
  [
    ('pass', 0, ''),
    ('raise ValueError("no such file")', 1, 'error: no such file\n'),
    (
      'os.abort()',
      1,
      'error: SIGABRT: a library crashed on this network; take another\n',
    ),
    (
      'os.kill(os.getpid(), signal.SIGKILL)',
      1,
      'error: [Errno 12] killed, as a system does without memory\n',
    ),
    ('sys.exit(3)', 3, ''),
  ],
)
def test_a_watched_process_ends_in_a_sentence(work, code, error):
  process = watched(work)
  assert process.communicate(timeout=30)[1] == error
  assert process.returncode == code


@pytest.mark.parametrize(
  'number', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
)
def test_a_watched_process_does_not_outlive_its_watcher(number):
  process = watched('time.sleep(60)')
  assert process.stdout.readline()
  process.send_signal(number)
  # It ends once both have closed their end of the pipes.
  assert process.communicate(timeout=30)[1] in ('', 'error: interrupted\n')


def test_one_process_works_in_a_folder(tmp_path):
  folder = tmp_path / 'pipeline'
  alone = lambda: processes.alone(folder, 'runs this pipeline')
  other = pytest.raises(ValueError, match='another process runs this pipeline')
  with alone(), other, alone():
    pass
  assert not folder.exists()
  with alone():
    (folder / 'begun').touch()
  assert folder.exists()
