"""How a command ends, as a terminal sees it."""

import os
import pathlib
import pty
import signal
import subprocess
import sys
import termios

import pytest

ROOT = pathlib.Path(__file__).parents[1]
COMMAND = """
import sys, time
from tfcompress import cli_flags
import tqdm

def main():
  bar = tqdm.tqdm(total=10, desc='accuracy', mininterval=0)
  within = tqdm.tqdm(total=4, desc='within', mininterval=0, position=1)
  bar.update(3)
  {ends}

cli_flags.run(main, 'A command.')
"""


def seen(ends: str) -> tuple[str, int]:
  """What stands on the terminal after a command, and its exit code."""
  ours, theirs = pty.openpty()
  termios.tcsetwinsize(theirs, (24, 100))
  process = subprocess.Popen(
    [sys.executable, '-c', COMMAND.format(ends=ends)],
    stdout=subprocess.DEVNULL,
    stderr=theirs,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    # Who runs the tests in the background has it ignored.
    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
  )
  os.close(theirs)
  text, interrupts = b'', ends == WAITS
  while True:
    try:
      more = os.read(ours, 65536)
    except OSError:  # Linux says so of a terminal that nobody writes to.
      break
    if not more:
      break
    text += more
    if interrupts and b'interrupt me' in text:
      process.send_signal(signal.SIGINT)
      interrupts = False
  os.close(ours)
  return text.decode(), process.wait()


WAITS = "bar.set_description('interrupt me'); time.sleep(60)"


@pytest.mark.parametrize(
  ('ends', 'message'),
  [
    ("raise ValueError('no such file')", 'error: no such file'),
    ("raise OSError('disk full')", 'error: disk full'),
    (WAITS, 'error: interrupted'),
  ],
)
def test_an_error_has_a_line_of_its_own_below_progress_bars(ends, message):
  text, code = seen(ends)
  assert code == 1
  assert '3/10' in text
  lines = text.replace('\r\n', '\n').split('\n')
  last = [line for line in lines if line.strip()][-1]
  # What follows the last carriage return is what one sees.
  assert last.split('\r')[-1].strip() == message
  assert 'Traceback' not in text
