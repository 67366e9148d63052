"""The checks of scripts/check, each a table."""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
os.environ['PYTHONPATH'] = str(ROOT)

from tfcompress.core import native_logs  # noqa: E402

native_logs.silence()

CHECKS = ('formats', 'fuzz', 'challenge', 'applications')
CHALLENGE = ('BASELINE', 'PLAIN', 'SLIM', 'ARTIFACT')


def main() -> None:
  name, *arguments = sys.argv[1:] or ['']
  if name not in CHECKS:
    sys.exit(f'error: {name!r} is none of {", ".join(CHECKS)}')
  if name == 'challenge':
    _check_challenge(arguments)
  if name == 'applications':
    import applications

    sys.exit(applications.check(*arguments))
  if name == 'formats':
    import agreement

    sys.exit(agreement.check(*arguments[:1]))
  if not all(one.isdecimal() for one in arguments) or len(arguments) > 2:
    sys.exit(f'error: {" ".join(arguments)!r}, expected [COUNT] [SEED]')
  import fuzz

  sys.exit(fuzz.check(*map(int, arguments)))


def _check_challenge(folders: list[str]) -> None:
  if len(folders) != len(CHALLENGE):
    sys.exit(f'error: {len(folders)} folders, expected {" ".join(CHALLENGE)}')
  import challenge

  try:
    sys.exit(challenge.check(*folders))
  except ValueError as error:
    sys.exit(f'error: {error}')


if __name__ == '__main__':
  main()
