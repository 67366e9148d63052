"""A challenge with results that nobody handed in, but such as there are."""

import dataclasses
import datetime
import zoneinfo

from tests.reports import sample_records
from tfcompress.competition import board, scoring
from tfcompress.core import challenges, measurements

standings = board.standings
BERLIN = zoneinfo.ZoneInfo('Europe/Berlin')
CHALLENGE = challenges.Challenge(
  window=challenges.Window(
    datetime.datetime(2026, 5, 1, tzinfo=BERLIN),
    datetime.datetime(2026, 7, 31, 23, 59, 59, tzinfo=BERLIN),
  )
)
BASELINE = sample_records.REFERENCE
HOSTILE = '<script>alert(1)</script> | [x](http://x.y) @all `$a$` "\'\n\x1b[31m'
RIGHT_TO_LEFT = 'فريق الضغط'
EMOJI = '🚀 team 🏆'
LONG = 'the-team-with-a-name-that-is-longer-than-anyone-would-want-to-read-' * 3


def measured(
  username: str, mib: float, mean_ms: float, top1: float, seed: int = 1
) -> measurements.Measurement:
  """A measurement timed in turns with a baseline, and scored."""
  path = f'submissions/{username}/model.tflite'
  record = sample_records.record(path, mib, mean_ms, top1, seed)
  baseline = measurements.BaselineRecord(44.7, 6.2, 69.76, BASELINE)
  return scoring.scored(
    dataclasses.replace(record, profile=None, throughput=()), baseline
  )


def whole(entry: challenges.Entry) -> measurements.Measurement:
  """The record with its samples, of an entry of `ranked`."""
  seed = int(entry.record.model.sha256, 16)
  timed = sample_records.latency(6.2 / entry.record.ratio.latency, seed)
  return dataclasses.replace(entry.record, latency_ms=timed)


def ranked(
  username: str,
  teamname: str,
  figures: tuple[float, float, float],
  day: int,
  model_format: str = 'tflite',
) -> challenges.Entry:
  """A result of a size in MiB, a latency in ms and a top-1 in percent."""
  record = measured(username, *figures, seed=day)
  timed = dataclasses.replace(record.latency_ms, samples=())
  return challenges.Entry(
    record=dataclasses.replace(record, latency_ms=timed),
    sha256=record.model.sha256,
    submission_sha256='5' * 64,
    challenge_sha256='c' * 64,
    record_sha256='e' * 64,
    pull_request=day,
    **_handed_in(username, teamname, day, model_format),
    status=challenges.Status.RANKED,
  )


def unranked(
  username: str,
  day: int,
  reason: str,
  status: challenges.Status = challenges.Status.FAILED,
) -> challenges.Entry:
  """A result with no measurement."""
  return challenges.Entry(
    **_handed_in(username, 'a team', day, ''), status=status, reason=reason
  )


def _handed_in(username, teamname, day, model_format) -> dict[str, str]:
  time = datetime.datetime(2026, 5, 1, 9, 30, tzinfo=datetime.UTC)
  time += datetime.timedelta(days=day)
  return {
    'id': f'2026-{day:03d}-{sum(username.encode()):06d}',
    'username': username,
    'teamname': teamname,
    'model_format': model_format,
    'submitted': time.isoformat(),
    'evaluated': (time + datetime.timedelta(minutes=4)).isoformat(),
  }


def seven() -> tuple[challenges.Entry, ...]:
  """A history: three participants, one twice, two alike, and what failed."""
  return (
    ranked('alice', 'Team Rocket', (10.9, 3.1, 69.0), 3),
    unranked('mallory', 5, 'model_loader.py: load_model raised OSError: no'),
    ranked('bob', EMOJI, (42.8, 5.9, 71.5), 8, 'pytorch'),
    ranked('alice', 'Team Rocket', (2.77, 0.51, 67.6), 12),
    ranked('carol', RIGHT_TO_LEFT, (2.76, 0.512, 67.8), 20, 'tensorflow'),
    unranked(
      'bob', 120, 'handed in after the window closed', challenges.Status.VOID
    ),
    unranked('eve', 121, HOSTILE),
  )


def many(count: int = 60) -> tuple[challenges.Entry, ...]:
  """As many participants, with names of all kinds, the later the better."""
  named = {0: LONG, 1: HOSTILE, 2: EMOJI, 3: RIGHT_TO_LEFT}
  formats = [one.value for one in challenges.ModelFormat]
  return tuple(
    ranked(
      f'participant-{i:02d}',
      named.get(i, f'team {i}'),
      (2.5 * 1.045**i, 0.45 * 1.04 ** (i * 7 % 60), 70 - i * 11 % 60 * 0.15),
      count - i,
      formats[i % 3],
    )
    for i in range(count)
  )
