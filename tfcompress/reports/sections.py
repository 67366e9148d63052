"""What a page says of each model."""

import dataclasses
from collections.abc import Mapping, Sequence

from tfcompress.core import measurements
from tfcompress.reports import (
  distributions,
  figures,
  names,
  notes,
  pictures,
  plots,
)

_OPERATORS = 15
_CONFUSIONS = 10
_NAME_CHARACTERS = 48


@dataclasses.dataclass(frozen=True)
class Bar:
  """A bar with its figure.

  Attributes:
    name: what it is of.
    detail: more of that.
    figure: its number.
    percent: its length, of the longest that is possible.
  """

  name: str
  detail: str
  figure: str
  percent: float


@dataclasses.dataclass(frozen=True)
class Section:
  """What the page says of one model; the pictures are `<svg>` elements."""

  name: str
  anchor: str
  color: int
  record: measurements.Measurement
  rows: Sequence[figures.Row]
  has_baseline: bool
  notes: Mapping[str, str]
  warnings: Sequence[str]
  failure: str
  latency: str
  operators: Sequence[Bar]
  profile_caption: str
  confusion: str
  confusions: Sequence[tuple[str, str, str, str]]
  classes: Sequence[Bar]
  environment: Mapping[str, str]


def of(records: Sequence[measurements.Measurement]) -> list[Section]:
  """Returns a section a model, in the order given."""
  called = names.short(records)
  return [_section(i, called[i], one) for i, one in enumerate(records)]


def _section(
  index: int, name: str, record: measurements.Measurement
) -> Section:
  latency, accuracy = record.latency_ms, record.accuracy
  return Section(
    name=name,
    anchor=f'model{index}',
    color=index % len(plots.COLORS),
    record=record,
    rows=figures.of(record),
    has_baseline=record.score is not None,
    notes=notes.of(record),
    warnings=notes.warnings(record),
    failure=notes.failure(record),
    latency=(
      distributions.alone(latency, index, f'latency{index}') if latency else ''
    ),
    operators=_operators(record.profile),
    profile_caption=_profile_caption(record.profile),
    confusion=(
      pictures.confusion(accuracy, f'confusion{index}') if accuracy else ''
    ),
    confusions=_confusions(accuracy),
    classes=_classes(accuracy),
    environment=environment(record),
  )


def _operators(profile: measurements.ProfileRecord | None) -> list[Bar]:
  """The slowest operators, the slowest first."""
  if profile is None or not profile.operators:
    return []
  slowest = sorted(profile.operators, key=lambda one: -one.ms)[:_OPERATORS]
  total = sum(one.ms for one in profile.operators) or 1.0
  longest = slowest[0].ms or 1.0
  return [
    Bar(
      one.operator,
      _written(one),
      f'{one.ms:.3f} ms, {100 * one.ms / total:.1f} %',
      100 * one.ms / longest,
    )
    for one in slowest
  ]


def _written(operator: measurements.OperatorRecord) -> str:
  """What it writes; of layers fused into one, the first gives the name."""
  shape = 'x'.join(map(str, operator.shape))
  name = names.shortened(operator.name.partition(';')[0], _NAME_CHARACTERS)
  return f'{shape} {operator.dtype} {name}'


def _profile_caption(profile: measurements.ProfileRecord | None) -> str:
  if profile is None:
    return ''
  count = len(profile.operators)
  total = sum(one.ms for one in profile.operators)
  shown = 'All' if count <= _OPERATORS else f'The slowest {_OPERATORS} of'
  return (
    f'{shown} {count} operators, each timed alone on one thread: together '
    f'{total:.3f} ms; the whole file takes {profile.whole_ms:.3f} ms.'
  )


def _confusions(
  accuracy: measurements.AccuracyRecord | None,
) -> list[tuple[str, str, str, str]]:
  """Class, what it was taken for, images and their share: the most frequent."""
  if accuracy is None or not accuracy.confusion:
    return []
  count = len(accuracy.confusion)
  classes = list(accuracy.per_class_percent or map(str, range(count)))
  wrong = [
    (images, actual, found)
    for actual, row in enumerate(accuracy.confusion)
    for found, images in enumerate(row)
    if images and actual != found
  ]
  most = sorted(wrong, key=lambda one: -one[0])[:_CONFUSIONS]
  return [
    (
      classes[actual],
      classes[found],
      f'{images:,}',
      f'{100 * images / sum(accuracy.confusion[actual]):.1f} %',
    )
    for images, actual, found in most
  ]


def _classes(accuracy: measurements.AccuracyRecord | None) -> list[Bar]:
  """Every class, the worst first."""
  if accuracy is None or not accuracy.per_class_percent:
    return []
  worst_first = sorted(accuracy.per_class_percent.items(), key=lambda p: p[1])
  return [Bar(name, '', f'{top1:.1f}', top1) for name, top1 in worst_first]


def environment(record: measurements.Measurement) -> dict[str, str]:
  """Returns what a record says of its machine, a line a thing."""
  return {key: _line(value) for key, value in record.environment.items()}


def _line(value: object) -> str:
  if isinstance(value, Mapping):
    return ', '.join(f'{name} {version}' for name, version in value.items())
  if isinstance(value, list | tuple):
    return ', '.join(map(str, value))
  return '-' if value is None else str(value)
