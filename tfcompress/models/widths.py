"""Channels of every convolution of a residual network, by name.

A network is a table: which blocks a stage has, which convolutions a block has.
Names are `stem_conv`, `stage2_block1_conv1` and `stage2_block1_shortcut`.
"""

import collections
import dataclasses
from collections.abc import Iterator

from tfcompress.core import types

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_BASE_WIDTHS = (64, 128, 256, 512)
STEM = 'stem_conv'


@dataclasses.dataclass(frozen=True)
class Block:
  """One residual block: the convolutions of its branch and its shortcut.

  Attributes:
    name: `stage2_block1`.
    stage: 1 to 4.
    kernel_sizes: of the branch's convolutions, in order.
    strides: likewise; a bottleneck's stride is on its 3x3.
    projects: whether the shortcut is a 1x1 convolution.
  """

  name: str
  stage: int
  kernel_sizes: tuple[int, ...]
  strides: tuple[int, ...]
  projects: bool

  @property
  def stride(self) -> int:
    return max(self.strides)

  @property
  def conv_names(self) -> list[str]:
    """The branch's convolutions, in order."""
    return [f'{self.name}_conv{i + 1}' for i in range(len(self.kernel_sizes))]

  @property
  def shortcut_name(self) -> str:
    return f'{self.name}_shortcut'


def blocks(spec: types.ModelSpec) -> Iterator[Block]:
  """Yields the blocks of a ResNet (He 2016, table 1) in order.

  Raises:
    ValueError: the depth has no table, or a stage no block.
  """
  if spec.depth not in BLOCKS:
    raise ValueError(f'depth {spec.depth}: expected one of {sorted(BLOCKS)}')
  counts = blocks_of(spec)
  if len(counts) > len(_BASE_WIDTHS) or min(counts) < 1:
    raise ValueError(
      f'blocks {", ".join(map(str, counts))}: expected 1 to '
      f'{len(_BASE_WIDTHS)} stages of a block or more'
    )
  bottleneck = spec.depth >= 50
  for stage, count in enumerate(counts, start=1):
    for index in range(1, count + 1):
      stride = 2 if stage > 1 and index == 1 else 1
      yield Block(
        name=f'stage{stage}_block{index}',
        stage=stage,
        kernel_sizes=(1, 3, 1) if bottleneck else (3, 3),
        strides=(1, stride, 1) if bottleneck else (stride, 1),
        projects=index == 1 and (stage > 1 or bottleneck),
      )


def blocks_of(spec: types.ModelSpec) -> tuple[int, ...]:
  """Returns how many blocks each stage has."""
  return spec.blocks or BLOCKS.get(spec.depth, ())


def stage_widths_of(spec: types.ModelSpec) -> tuple[int, ...]:
  """Returns the channels of each stage before scaling."""
  return spec.stage_widths or _BASE_WIDTHS[: len(blocks_of(spec))]


def channels_of(spec: types.ModelSpec) -> dict[str, int]:
  """Returns the out channels of every convolution of `spec`, by name.

  Raises:
    ValueError: a width below one channel, a name missing or unknown in
      `spec.channels`, or counts that a residual addition cannot join.
  """
  if spec.channels is not None:
    _check_channels(spec)
    return dict(spec.channels)
  return _scaled_channels(spec)


def _scaled_channels(spec: types.ModelSpec) -> dict[str, int]:
  """The widths of the stages times `width_multiplier`, rounded."""
  table = list(blocks(spec))
  stages = table[-1].stage
  base = stage_widths_of(spec)
  if len(base) != stages or min(base) < 1:
    raise ValueError(
      f'stage widths {", ".join(map(str, base))}: expected one of at least 1 '
      f'for each of the {stages} stages'
    )
  widths = [round(width * spec.width_multiplier) for width in base]
  if min(widths) < 1:
    raise ValueError(
      f'width multiplier {spec.width_multiplier:g} leaves a layer without '
      f'channels: expected at least {1 / min(base):g}'
    )
  channels = {STEM: widths[0]}
  for block in table:
    width = widths[block.stage - 1]
    out = width * 4 if len(block.kernel_sizes) == 3 else width
    for name in block.conv_names:
      channels[name] = width
    channels[block.conv_names[-1]] = out
    if block.projects:
      channels[block.shortcut_name] = out
  return channels


def _check_channels(spec: types.ModelSpec) -> None:
  """Raises ValueError unless `channels` names and joins every layer."""
  channels = spec.channels
  expected = set(_scaled_channels(spec))
  if wrong := sorted(expected.symmetric_difference(channels)):
    raise ValueError(
      f'channels of a {spec.name} must name exactly its convolutions; '
      f'missing or unknown: {", ".join(wrong)}'
    )
  if empty := [name for name, count in channels.items() if count < 1]:
    raise ValueError(f'layers without channels: {", ".join(empty)}')
  for stage, counts in _joined_counts(spec).items():
    if len(set(counts.values())) > 1:
      raise ValueError(
        f'the additions of stage {stage} join layers of different channels: '
        + ', '.join(f'{name} {count}' for name, count in counts.items())
      )


def _joined_counts(spec: types.ModelSpec) -> dict[int, dict[str, int]]:
  """By stage, the counts that its residual additions join."""
  joined, channels = collections.defaultdict(dict), spec.channels
  for block in blocks(spec):
    joined[block.stage][block.conv_names[-1]] = channels[block.conv_names[-1]]
    if block.projects:
      joined[block.stage][block.shortcut_name] = channels[block.shortcut_name]
    elif block.name == 'stage1_block1':
      joined[block.stage][STEM] = channels[STEM]
  return joined
