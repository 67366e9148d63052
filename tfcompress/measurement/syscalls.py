"""System calls that a stranger's process may not use, for bubblewrap.

They hold memory that belongs to no process, leave something for a later one, or
look into others; runtimes need none of them. What a later one would find may be
no more than which pages of files that all can read are in memory: a bit each.
"""

import errno
import os
import platform
import struct
from collections.abc import Sequence

# Of the audit architecture's number, of those of its calls, and of madvise.
_TABLES = {
  'x86_64': (
    0xC000003E,
    {
      'shmget': 29, 'semget': 64, 'msgget': 68, 'ptrace': 101,
      'add_key': 248, 'request_key': 249, 'keyctl': 250,
      'perf_event_open': 298, 'process_vm_readv': 310,
      'process_vm_writev': 311, 'memfd_create': 319, 'bpf': 321,
      'userfaultfd': 323, 'io_uring_setup': 425, 'memfd_secret': 447,
      'mincore': 27, 'readahead': 187, 'fadvise64': 221, 'preadv2': 327,
      'process_madvise': 440, 'cachestat': 451,
    },
    28,
  ),
  'aarch64': (
    0xC00000B7,
    {
      'shmget': 194, 'semget': 190, 'msgget': 186, 'ptrace': 117,
      'add_key': 217, 'request_key': 218, 'keyctl': 219,
      'perf_event_open': 241, 'process_vm_readv': 270,
      'process_vm_writev': 271, 'memfd_create': 279, 'bpf': 280,
      'userfaultfd': 282, 'io_uring_setup': 425, 'memfd_secret': 447,
      'mincore': 232, 'readahead': 213, 'fadvise64': 223, 'preadv2': 286,
      'process_madvise': 440, 'cachestat': 451,
    },
    233,
  ),
}  # fmt: skip
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # of BPF
_NUMBER, _ARCHITECTURE, _ADVICE = 0, 4, 32  # offsets in struct seccomp_data
_COLD, _PAGE_OUT = 20, 21  # advice that takes a file's pages out of memory
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_X32 = 0x40000000  # the other calls of x86-64


def is_filter() -> bool:
  """Whether `program` refuses anything on this machine."""
  return platform.machine() in _TABLES


def program(on_gpu: bool = False) -> bytes:
  """Returns the filter as BPF; of a machine that we do not know, one of nothing.

  Args:
    on_gpu: whether it is for a GPU's driver, which may make files in memory.
  """
  if not is_filter():
    return _packed([(_RETURN, 0, 0, _ALLOW)])
  architecture, numbers, madvise = _TABLES[platform.machine()]
  if on_gpu:
    numbers = {k: v for k, v in numbers.items() if k != 'memfd_create'}
  last = [
    (_EQUAL, 0, 3, madvise),
    (_LOAD, 0, 0, _ADVICE),
    (_EQUAL, 2, 0, _COLD),
    (_EQUAL, 1, 0, _PAGE_OUT),
    (_RETURN, 0, 0, _ALLOW),
  ]
  # Instructions behind the first comparison.
  refuse = len(numbers) + len(last)
  steps = [
    (_LOAD, 0, 0, _ARCHITECTURE),
    (_EQUAL, 0, refuse + 2, architecture),
    (_LOAD, 0, 0, _NUMBER),
    (_AT_LEAST, refuse, 0, _X32),
  ]
  left = refuse - 1
  for number in numbers.values():
    steps.append((_EQUAL, left, 0, number))
    left -= 1
  return _packed([*steps, *last, (_RETURN, 0, 0, _REFUSE)])


def _packed(steps: Sequence[tuple[int, int, int, int]]) -> bytes:
  return b''.join(struct.pack('=HBBI', *step) for step in steps)


def file(on_gpu: bool = False) -> int:
  """Returns a file of it for bwrap's --seccomp, to be closed."""
  descriptor = os.memfd_create('filter')
  os.write(descriptor, program(on_gpu))
  os.lseek(descriptor, 0, os.SEEK_SET)
  return descriptor
