import dataclasses
import itertools

import pytest

from tfcompress.competition import board
from tfcompress.core import challenges, measurements

RANKED = challenges.Status.RANKED
NUMBERS = itertools.count()


def entry(
  username: str,
  final: float | None,
  top1_percent: float = 70.0,
  submitted: str = '2025-05-01T12:00:00+00:00',
  half: float | None = None,
  **changes,
) -> challenges.Entry:
  """A ranked result of 1 MiB, whose score's interval is `final` +- `half`."""
  baseline = measurements.BaselineRecord(44.7, 23.5, 69.76, 'challenge')
  score = measurements.ScoreRecord(None, None, None, final, baseline)
  if half is not None:
    interval = (final - half, final + half)
    score = dataclasses.replace(score, final_ci95=interval)
  record = measurements.Measurement(
    model=measurements.ModelRecord('m.tflite', 'ab', 'tflite', (), ()),
    dataset=None,
    runtime=None,
    size=None,
    latency_ms=None,
    throughput_per_s=None,
    memory_mib=None,
    accuracy=measurements.AccuracyRecord(top1_percent, 90.0, (0.0, 1.0), 1000),
    score=score,
    environment={},
  )
  one = challenges.Entry(
    f'id-{next(NUMBERS)}', username, 'team', 'tflite', submitted, submitted,
    RANKED, sha256='ab', record=record,
  )  # fmt: skip
  return dataclasses.replace(one, **changes)


def at(day: int) -> str:
  return f'2025-05-{day:02}T12:00:00+00:00'


def names(entries) -> list[str]:
  return [one.entry.username for one in board.standings(entries)]


def test_nobody_stands_in_an_empty_challenge():
  assert board.standings([]) == ()
  assert board.best_so_far([]) == ()


def test_each_with_their_best_result_the_best_first():
  entries = [
    entry('ada', 2.0, submitted=at(1)),
    entry('bob', 3.5, submitted=at(2)),
    entry('Ada', 4.0, submitted=at(3)),
    entry('cyd', 1.5, submitted=at(4)),
    entry('ADA', 3.9, submitted=at(5)),
  ]
  assert board.standings(entries) == (
    challenges.Standing(1, entries[2]),
    challenges.Standing(2, entries[1]),
    challenges.Standing(3, entries[3]),
  )


def test_what_is_not_ranked_does_not_count():
  unmeasured = dataclasses.replace(entry('dan', 9.0), record=None)
  entries = [
    entry('ada', 9.0, status=challenges.Status.FAILED),
    entry('bob', 9.0, status=challenges.Status.VOID),
    entry('cyd', None),
    unmeasured,
    entry('eve', 1.0),
  ]
  assert names(entries) == ['eve']
  assert [step.username for step in board.best_so_far(entries)] == ['eve']


def test_scores_are_compared_as_shown():
  """1.2344 and 1.2336 are both shown as 1.234; 1.2346 is 1.235."""
  entries = [
    entry('ada', 1.2344, top1_percent=69.0),
    entry('bob', 1.2336, top1_percent=69.5),
    entry('cyd', 1.2346, top1_percent=10.0),
  ]
  assert names(entries) == ['cyd', 'bob', 'ada']


def test_ties_by_accuracy_then_time_then_order():
  entries = [
    entry('ada', 2.0, 70.0, at(2)),
    entry('bob', 2.0, 70.0, at(2)),
    entry('cyd', 2.0, 70.0, at(1)),
    entry('dan', 2.0, 70.1, at(3)),
  ]
  assert names(entries) == ['dan', 'cyd', 'ada', 'bob']


def test_a_participants_own_ties_go_to_the_earlier_result():
  first, second = entry('ada', 2.0), entry('ada', 2.0)
  assert board.standings([first, second])[0].entry is first
  later = dataclasses.replace(first, submitted=at(9))
  assert board.standings([later, second])[0].entry is second


def test_times_are_moments_however_they_are_written():
  """Noon in UTC is before 13:30 at +01:00, and after 13:30 at +02:00."""
  entries = [
    entry('ada', 2.0, submitted='2025-05-01T13:30:00+01:00'),
    entry('bob', 2.0, submitted='2025-05-01T12:00:00Z'),
    entry('cyd', 2.0, submitted='2025-05-01T11:59:59.5'),
    entry('dan', 2.0, submitted='2025-05-01T13:30:00+02:00'),
  ]
  assert names(entries) == ['dan', 'cyd', 'bob', 'ada']


def test_a_time_that_is_none():
  with pytest.raises(ValueError, match="entry x: submitted 'noon', expected"):
    board.standings([entry('ada', 2.0, submitted='noon', id='x')])


@pytest.mark.parametrize(
  ('finals', 'halves', 'level'),
  [
    # sqrt(0.25^2 + 0) = 0.25; sqrt(0.75^2 + 1^2) = 1.25; all are exact.
    ((2.25, 2.0), (0.25, 0.0), True),
    ((2.26, 2.0), (0.25, 0.0), False),
    ((3.25, 2.0), (0.75, 1.0), True),
    ((3.26, 2.0), (0.75, 1.0), False),
    ((2.5, 2.0), (0.3, 0.3), False),  # They overlap: 0.5 > 0.424.
    ((2.0, 2.0), (0.0, 0.0), True),
    ((2.0, 2.0), (None, 1.0), False),
    ((2.0, 2.0), (1.0, None), False),
  ],
)
def test_level_within_the_interval_of_the_difference(finals, halves, level):
  entries = [
    entry('ada', finals[0], half=halves[0]),
    entry('bob', finals[1], half=halves[1]),
  ]
  first, second = board.standings(entries)
  assert first.level_with == ('bob' if level else '')
  assert second.level_with == ''


def test_level_with_the_next_one_alone():
  """Finals 3, 2.9 and 2.8, halves 0.1: 0.1 < 0.141 < 0.2."""
  entries = [
    entry('ada', 2.9, half=0.1),
    entry('bob', 2.8, half=0.1),
    entry('Cyd', 3.0, half=0.1),
    entry('ada', 2.85, half=0.1),
  ]
  found = [(one.rank, one.level_with) for one in board.standings(entries)]
  assert found == [(1, 'ada'), (2, 'bob'), (3, '')]


def test_level_where_rounding_has_the_less_one_first():
  """The difference is 0.0008, of which the more accurate one has less."""
  entries = [
    entry('ada', 1.2344, top1_percent=69.0, half=0.0005),
    entry('bob', 1.2336, top1_percent=69.5, half=0.0005),
  ]
  first, _ = board.standings(entries)
  assert (first.entry.username, first.level_with) == ('bob', '')


def test_the_best_of_each_moment():
  entries = [
    entry('bob', 2.5, submitted=at(3)),
    entry('ada', 2.0, submitted=at(1)),
    entry('cyd', 1.9, submitted=at(2)),
    entry('ada', 2.5, top1_percent=69.9, submitted=at(4)),
    entry('dan', 2.5, top1_percent=70.1, submitted=at(5)),
    entry('eve', 9.0, submitted=at(6), status=challenges.Status.VOID),
    entry('cyd', 2.5004, top1_percent=70.1, submitted=at(7)),
  ]
  steps = board.best_so_far(entries)
  assert [(one.submitted, one.username) for one in steps] == [
    (at(1), 'ada'),
    (at(3), 'bob'),
    (at(5), 'dan'),
  ]
  assert board.standings(entries)[0].entry == steps[-1]


def test_what_was_measured_by_other_rules():
  entries = [
    entry('ada', 2.0, challenge_sha256='old'),
    entry('bob', 2.0, challenge_sha256='new'),
    entry('cyd', 2.0, challenge_sha256='old', status=challenges.Status.FAILED),
    entry('dan', 2.0),
  ]
  assert board.by_other_rules(entries, 'new') == (entries[0], entries[3])
  assert names(entries) == ['ada', 'bob', 'dan']
