"""Whether TensorFlow computes with oneDNN, which it reads once, as it loads.

By itself it does on CPUs that multiply int8 or bfloat16 in one instruction. On
every other one with AVX a ResNet-18 trains two to four times as fast with it; on
those with SSE alone it does not. `scripts/benchmark onednn` measures this CPU, and it
as one with AVX2.
"""

import logging
import os
import sys
from collections.abc import MutableMapping

from tfcompress.core import environment

SWITCH = 'TF_ENABLE_ONEDNN_OPTS'
_BY_ITSELF = {
  'avx512_vnni', 'avx512_bf16', 'avx_vnni', 'amx_tile', 'amx_int8', 'amx_bf16',
}  # fmt: skip
_ADVICE = (
  f'TensorFlow was imported before tfcompress, and without {SWITCH}=1: on this '
  'CPU it trains two to four times as slowly. Import tfcompress first'
)


def turn_on(variables: MutableMapping[str, str] | None = None) -> None:
  """Turns oneDNN on where it pays, unless the user has set the switch.

  Logs a warning where TensorFlow is loaded already, when the switch no longer
  changes anything.

  Args:
    variables: of the process, `os.environ` if None.
  """
  variables = os.environ if variables is None else variables
  if SWITCH in variables or not pays(environment.cpu_flags()):
    return
  if 'tensorflow' in sys.modules:
    logging.getLogger('tfcompress').warning(_ADVICE)
  else:
    variables[SWITCH] = '1'


def pays(flags: frozenset[str]) -> bool:
  """Whether a CPU is faster with it, and TensorFlow leaves it off.

  Args:
    flags: of the CPU, as Linux names them.
  """
  return 'avx' in flags and not flags & _BY_ITSELF
