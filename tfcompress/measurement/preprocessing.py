"""What a model expects of its pixels: who says it, else which fits best."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfcompress.core import chance, measurements, types
from tfcompress.measurement import replies
from tfcompress.runtimes import interface

Preprocessing = types.Preprocessing


def told(
  config: measurements.MeasureConfig, about: replies.Opened
) -> tuple[Preprocessing | None, str]:
  """Returns what a model expects, and who says so; None where nobody does."""
  if config.input_scaling is not None:
    return config.input_scaling, config.scaling_source
  if about.preprocessing is not None and config.scaling_source != 'auto':
    # Its numbers are in the order that it takes, whichever that is.
    found = about.preprocessing
    return dataclasses.replace(found, channels=config.input_channels), 'file'
  return None, 'auto'


def of_timed(
  config: measurements.MeasureConfig, about: replies.Opened
) -> Preprocessing:
  """Returns what is done to images where only the time counts."""
  found, _ = told(config, about)
  return found or Preprocessing(channels=config.input_channels)


def candidates(channels: types.Channels) -> list[Preprocessing]:
  """Returns what is tried where nobody says, raw pixels first."""
  return [one.preprocessing.ordered(channels) for one in types.Normalization]


def best(
  right: Mapping[Preprocessing, np.ndarray], info: measurements.TensorInfo
) -> tuple[Preprocessing, list[str]]:
  """Returns the candidate that classifies best, and what is doubtful of that.

  Args:
    right: which images (N,) each candidate classifies rightly; the first is raw
      pixels, which an input that takes bytes gets unless another is better.
    info: the model's input.
  """
  ordered = sorted(right, key=lambda one: -right[one].sum())
  raw, chosen = next(iter(right)), ordered[0]
  if interface.takes_bytes(info) and not chance.better(
    right[chosen], right[raw]
  ):
    return raw, []
  return chosen, _doubts(right, chosen, chance.rivals(right, chosen))


def _doubts(
  right: Mapping[Preprocessing, np.ndarray],
  chosen: Preprocessing,
  doubtful: Sequence[Preprocessing],
) -> list[str]:
  if not doubtful:
    return []
  percent = lambda one: f'{one.label} {100 * right[one].mean():.1f} %'
  others = ', '.join(percent(one) for one in doubtful)
  return [
    f'no scaling of its pixels is clearly the best of those tried: '
    f'{percent(chosen)}, {others} of {len(right[chosen])} images; '
    '--input_scaling, or --input_mean, --input_std and --input_channels, say '
    'what it was trained on'
  ]


def of_chance(
  correct: int, total: int, num_classes: int, tried: bool
) -> list[str]:
  """Returns what is to be said of a model that is right as often as by chance.

  Args:
    correct: images whose top-1 is right.
    total: images.
    num_classes: of them.
    tried: whether the scaling of the pixels was found by trying.
  """
  if not chance.is_luck(correct, total, num_classes):
    return []
  which = ' with any scaling of its pixels that was tried' if tried else ''
  return [
    f'its top-1 is not clearly above chance ({100 / num_classes:.1f} %){which}: '
    'the order of its outputs may not be that of the class folders '
    '(--class_map), or it was trained on other pixels (--input_mean, '
    '--input_std, --input_channels, --input_scaling)'
  ]
