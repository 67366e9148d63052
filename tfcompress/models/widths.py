"""Channels of every convolution of a residual network, by name.

A network is a table: which blocks a stage has, which convolutions a block has.
Names are `stem_conv`, `stage2_block1_conv1` and `stage2_block1_shortcut`.
"""

import collections
import dataclasses
from collections.abc import Iterator, Mapping

from tfcompress.core import types

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_BASE_WIDTHS = (64, 128, 256, 512)
_STEM = 'stem_conv'


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


def blocks(depth: int) -> Iterator[Block]:
  """Yields the blocks of a ResNet (He 2016, table 1) in order.

  Raises:
    ValueError: the depth has no table.
  """
  if depth not in BLOCKS:
    raise ValueError(f'depth {depth}: expected one of {sorted(BLOCKS)}')
  bottleneck = depth >= 50
  for stage, count in enumerate(BLOCKS[depth], start=1):
    for index in range(1, count + 1):
      stride = 2 if stage > 1 and index == 1 else 1
      yield Block(
        name=f'stage{stage}_block{index}',
        stage=stage,
        kernel_sizes=(1, 3, 1) if bottleneck else (3, 3),
        strides=(1, stride, 1) if bottleneck else (stride, 1),
        projects=index == 1 and (stage > 1 or bottleneck),
      )


def channels_of(spec: types.ModelSpec) -> dict[str, int]:
  """Returns the out channels of every convolution of `spec`, by name.

  Raises:
    ValueError: a width below one channel, a name missing or unknown in
      `spec.channels`, or counts that a residual addition cannot join.
  """
  if spec.channels is not None:
    _check_channels(spec.depth, spec.channels)
    return dict(spec.channels)
  return _scaled_channels(spec.depth, spec.width_multiplier)


def _scaled_channels(depth: int, width_multiplier: float) -> dict[str, int]:
  """Every layer's channels times `width_multiplier`, rounded."""
  if round(_BASE_WIDTHS[0] * width_multiplier) < 1:
    raise ValueError(
      f'width multiplier {width_multiplier:g} leaves a layer without '
      f'channels: expected at least {1 / _BASE_WIDTHS[0]:g}'
    )
  channels = {_STEM: round(_BASE_WIDTHS[0] * width_multiplier)}
  for block in blocks(depth):
    width = round(_BASE_WIDTHS[block.stage - 1] * width_multiplier)
    out = width * 4 if len(block.kernel_sizes) == 3 else width
    for name in block.conv_names:
      channels[name] = width
    channels[block.conv_names[-1]] = out
    if block.projects:
      channels[block.shortcut_name] = out
  return channels


def _check_channels(depth: int, channels: Mapping[str, int]) -> None:
  """Raises ValueError unless `channels` names and joins every layer."""
  expected = set(_scaled_channels(depth, 1.0))
  if wrong := sorted(expected.symmetric_difference(channels)):
    raise ValueError(
      f'channels of a ResNet-{depth} must name exactly its convolutions; '
      f'missing or unknown: {", ".join(wrong)}'
    )
  if empty := [name for name, count in channels.items() if count < 1]:
    raise ValueError(f'layers without channels: {", ".join(empty)}')
  for stage, counts in _joined_counts(depth, channels).items():
    if len(set(counts.values())) > 1:
      raise ValueError(
        f'the additions of stage {stage} join layers of different channels: '
        + ', '.join(f'{name} {count}' for name, count in counts.items())
      )


def _joined_counts(
  depth: int, channels: Mapping[str, int]
) -> dict[int, dict[str, int]]:
  """By stage, the counts that its residual additions join."""
  joined = collections.defaultdict(dict)
  for block in blocks(depth):
    joined[block.stage][block.conv_names[-1]] = channels[block.conv_names[-1]]
    if block.projects:
      joined[block.stage][block.shortcut_name] = channels[block.shortcut_name]
    elif block.name == 'stage1_block1':
      joined[block.stage][_STEM] = channels[_STEM]
  return joined
