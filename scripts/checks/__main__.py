"""The checks of scripts/check, each a table."""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
os.environ['PYTHONPATH'] = str(ROOT)

from tfcompress.core import native_logs  # noqa: E402

native_logs.silence()

CHECKS = ('formats', 'fuzz')


def main() -> None:
  name, *numbers = sys.argv[1:] or ['']
  if name not in CHECKS:
    sys.exit(f'error: {name!r} is none of {", ".join(CHECKS)}')
  if not all(number.isdecimal() for number in numbers) or len(numbers) > 2:
    sys.exit(f'error: {" ".join(numbers)!r}, expected [COUNT] [SEED]')
  if name == 'formats':
    import agreement

    sys.exit(agreement.check())
  import fuzz

  sys.exit(fuzz.check(*map(int, numbers)))


if __name__ == '__main__':
  main()
