"""Files that are damaged in one way or another, by a random generator."""

import io
import random
import zipfile
from collections.abc import Callable, Mapping, Sequence

_MOST_BITS, _LONGEST_RUN = 64, 4096
_LONGEST_HEAD = 2048
_ZIP, _SHARE_INSIDE = b'PK', 0.6
# A mutation's words, and the bytes that come of it.
Mutated = tuple[str, bytes]


def mutate(
  content: bytes, others: Mapping[str, bytes], rng: random.Random
) -> Mutated:
  """Damages a file in one way; an archive, more often, one of its members.

  An archive's checksums would keep most damage from who reads what is in it.

  Args:
    content: of the file.
    others: contents of files of other formats, by name.
    rng: decides how.
  """
  if content.startswith(_ZIP) and rng.random() < _SHARE_INSIDE:
    return _inside(content, others, rng)
  return rng.choice(_KINDS)(content, others, rng)


def _inside(content: bytes, others, rng: random.Random) -> Mutated:
  """Damages one member of an archive, which is whole again afterwards."""
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    members = {info: archive.read(info) for info in archive.infolist()}
  info = rng.choice([one for one in members if len(members[one]) > 4])
  words, members[info] = rng.choice(_KINDS)(members[info], others, rng)
  rewritten = io.BytesIO()
  with zipfile.ZipFile(rewritten, 'w') as archive:
    for member, inside in members.items():
      archive.writestr(member, inside)
  return f'{info.filename}: {words}', rewritten.getvalue()


def _flip(content: bytes, _, rng: random.Random) -> Mutated:
  """Few bits as often as many; in half of the files only near the beginning."""
  count = 2 ** rng.randint(0, _MOST_BITS.bit_length() - 1)
  reach = len(content)
  if rng.random() < 0.5:
    reach = min(reach, _LONGEST_HEAD)
  spoiled, bits = bytearray(content), []
  for _ in range(count):
    bits.append(rng.randrange(8 * reach))
    spoiled[bits[-1] // 8] ^= 1 << bits[-1] % 8
  return f'bits {bits} flipped', bytes(spoiled)


def _truncate(content: bytes, _, rng: random.Random) -> Mutated:
  length = rng.randint(1, len(content) - 1)
  return f'cut to {length} bytes', content[:length]


def _splice(content: bytes, others, rng: random.Random) -> Mutated:
  """Another format's head on this tail, or this head on another's tail."""
  name = rng.choice(sorted(others))
  head, tail, order = others[name], content, f'head of {name}'
  if rng.random() < 0.5:
    head, tail, order = tail, head, f'tail of {name}'
  shorter = min(len(head), len(tail))
  cut = rng.randint(4, max(4, min(_LONGEST_HEAD, shorter - 1)))
  return f'{order}, spliced at {cut}', head[:cut] + tail[cut:]


def _insert(content: bytes, _, rng: random.Random) -> Mutated:
  at, length = rng.randint(0, len(content)), rng.randint(1, _LONGEST_RUN)
  run = rng.randbytes(length)
  return f'{length} bytes inserted at {at}', content[:at] + run + content[at:]


def _delete(content: bytes, _, rng: random.Random) -> Mutated:
  at, length = _run(content, rng)
  return f'{length} bytes deleted at {at}', content[:at] + content[
    at + length :
  ]


def _zero(content: bytes, _, rng: random.Random) -> Mutated:
  at, length = _run(content, rng)
  zeros = bytes(length)
  return f'{length} bytes zeroed at {at}', (
    content[:at] + zeros + content[at + length :]
  )


def _run(content: bytes, rng: random.Random) -> tuple[int, int]:
  """Where a run begins, and how long it is; not the whole file."""
  length = rng.randint(1, min(_LONGEST_RUN, len(content) // 2))
  return rng.randint(0, len(content) - length), length


_KINDS: Sequence[Callable[..., Mutated]] = (
  _flip, _flip, _truncate, _splice, _insert, _delete, _zero
)  # fmt: skip
