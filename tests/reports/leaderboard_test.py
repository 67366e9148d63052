import dataclasses
import datetime
import re

import pytest

from tests.reports import sample_entries, sample_records
from tfcompress.core import challenges, measurements, types
from tfcompress.reports import leaderboard

CHALLENGE = sample_entries.CHALLENGE
SEVEN = sample_entries.seven()
STANDINGS = sample_entries.standings(SEVEN)
FIRST, FAILED, BOB, ALICE, CAROL, VOID, HOSTILE = SEVEN


def cells(text):
  """The rows of the tables in a text of Markdown."""
  lines = [line for line in text.splitlines() if line.startswith('|')]
  rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines]
  return [row for row in rows if not set(''.join(row)) <= set('-:')]


def numbers(text):
  return list(map(float, re.findall(r'-?\d+\.\d+', text)))


def test_the_table_has_the_figures_of_the_records():
  text = leaderboard.markdown(CHALLENGE, STANDINGS, SEVEN)
  header, *rows = cells(text)
  assert header == [
    'rank', 'participant', 'team', 'format', 'size, MiB (x smaller)',
    'latency, ms (x faster)', 'top-1, %', 'score', 'submitted',
  ]  # fmt: skip
  assert [row[:2] for row in rows] == [
    ['1 ≈', 'alice'], ['2', 'carol'], ['3', 'bob']
  ]  # fmt: skip
  for row, standing in zip(rows, STANDINGS, strict=True):
    record = standing.entry.record
    near = lambda *values, digits: pytest.approx(values, abs=0.51 * 10**-digits)
    assert numbers(row[4]) == near(
      record.size.mib, 44.7 / record.size.mib, digits=2
    )
    assert numbers(row[5]) == near(
      record.latency_ms.mean, record.ratio.latency,
      *record.ratio.latency_ci95, digits=2,
    )  # fmt: skip
    assert numbers(row[6]) == near(
      record.accuracy.top1_percent,
      *record.accuracy.top1_ci95_percent,
      digits=2,
    )
    assert numbers(row[7]) == near(
      record.score.final, *record.score.final_ci95, digits=3
    )
  assert rows[0][8] == '2026-05-13 09:30 UTC'


def test_it_says_when_against_what_and_where():
  text = leaderboard.markdown(CHALLENGE, STANDINGS, SEVEN, ['line 8 is *cut*'])
  assert text.startswith('# ResNet-18 Model Compression Challenge: leaderboard')
  assert (
    'Submissions count from 2026-05-01 00:00 UTC+02:00 (Europe/Berlin) until '
    '2026-07-31 23:59:59 UTC+02:00 (Europe/Berlin), both included.\n'
  ) in text
  assert (
    'Baseline: a plain ResNet-18 in float32: 44.700 MiB, 6.200 ms, '
    '69.76 % top-1; it is timed anew beside every submission.\n'
  ) in text
  assert '- Measured on: Intel Xeon.\n' in text
  assert '≈: the difference to the next one may be chance' in text
  assert '**Note:** line 8 is \\*cut\\*\n' in text


def test_a_baseline_timed_beside_each_has_a_range():
  other = dataclasses.replace(
    BOB.record.score,
    baseline=measurements.BaselineRecord(44.7, 6.5, 69.76, 'a'),
  )
  bob = dataclasses.replace(
    BOB, record=dataclasses.replace(BOB.record, score=other)
  )
  entries = [bob, ALICE]
  text = leaderboard.markdown(
    CHALLENGE, sample_entries.standings(entries), entries
  )
  assert '44.700 MiB, 6.200 to 6.500 ms, 69.76 % top-1' in text


def test_what_is_not_ranked_has_its_reason_the_newest_first():
  text = leaderboard.markdown(CHALLENGE, STANDINGS, SEVEN)
  lines = text[text.index('## Not ranked') :].splitlines()[2:]
  assert [line.split(', ')[1] for line in lines] == [
    '**eve**', '**bob**', '**mallory**'
  ]  # fmt: skip
  assert lines[1] == (
    '- 2026-08-29 09:30 UTC, **bob**, void: handed in after the window closed'
  )
  assert 'failed: model\\_loader.py: load\\_model raised' in lines[2]
  many = [sample_entries.unranked('x', day, 'no') for day in range(105)]
  text = leaderboard.markdown(CHALLENGE, (), many)
  assert 'No result is ranked yet.' in text
  assert text.count('**x**') == 100
  assert '- 5 older ones are in history.jsonl' in text


def test_an_empty_challenge_has_a_leaderboard():
  text = leaderboard.markdown(CHALLENGE, (), ())
  assert 'No result is ranked yet.' in text
  assert 'Baseline: a plain ResNet-18 in float32: 69.76 % top-1.' in text
  assert 'Not ranked' not in text
  assert leaderboard.text(()) == 'no result is ranked yet'


@pytest.mark.parametrize(
  'window, said',
  [
    ((None, None), 'Submissions count at any time.'),
    ((1, None), 'Submissions count from 2026-01-01 12:00 UTC on.'),
    ((None, 2), 'Submissions count until 2026-01-02 12:00 UTC.'),
  ],
)
def test_a_window_may_be_open_at_an_end(window, said):
  ends = [
    day and datetime.datetime(2026, 1, day, 12, tzinfo=datetime.UTC)
    for day in window
  ]
  challenge = dataclasses.replace(CHALLENGE, window=challenges.Window(*ends))
  assert said in leaderboard.markdown(challenge, (), ())
  assert said in leaderboard.readme(challenge)


def test_the_terminal_gets_a_table():
  standings = sample_entries.standings(sample_entries.many())
  lines = leaderboard.text(standings).splitlines()
  assert len(lines) == 2 + 60 + 2
  assert lines[0].split()[:4] == ['rank', 'participant', 'team', 'format']
  assert all(line.isprintable() for line in lines)
  assert max(map(len, lines)) < 170
  final = standings[0].entry.record.score.final
  assert f'{final:.3f} (' in lines[2]


def test_a_ranked_result_is_told_its_scores_and_its_rank():
  text = leaderboard.comment(CHALLENGE, ALICE, STANDINGS)
  score, ratio = ALICE.record.score, ALICE.record.ratio
  low, high = ratio.latency_ci95
  assert text.startswith(f'### alice: score {score.final:.3f}\n')
  assert 'Rank 1 of 3. The difference to carol may be chance.' in text
  _, size, latency, accuracy, total = cells(text)
  assert size == ['size', '2.770 MiB', '44.700 MiB', '16.137', '0.3', '4.841']
  assert latency[3:] == [
    f'{ratio.latency:.3f} ({low:.3f} to {high:.3f})', '0.3',
    f'{0.3 * ratio.latency:.3f}',
  ]  # fmt: skip
  parts = [float(row[5]) for row in (size, latency, accuracy)]
  assert sum(parts) == pytest.approx(score.final, abs=0.002)
  assert numbers(total[5]) == pytest.approx(
    [score.final, *score.final_ci95], abs=0.00051
  )
  assert ALICE.sha256 in text


def test_the_one_after_is_told_that_it_is_level_too():
  text = leaderboard.comment(CHALLENGE, CAROL, STANDINGS)
  assert 'Rank 2 of 3. The difference to alice may be chance.' in text


def test_a_result_that_is_not_the_best_is_told_which_is():
  text = leaderboard.comment(CHALLENGE, FIRST, STANDINGS)
  best = ALICE.record.score.final
  assert (
    'Your result of 2026-05-13 09:30 UTC stays your best: rank 1 of 3, '
    f'score {best:.3f}.'
  ) in text


def test_a_failure_is_told_with_what_to_do():
  text = leaderboard.comment(CHALLENGE, FAILED, STANDINGS)
  assert text.startswith('### mallory: failed, not ranked\n')
  assert 'model\\_loader.py: load\\_model raised OSError: no\n' in text
  assert '`python -m tfcompress.submit --check submissions/mallory`' in text
  assert '|' not in text
  evil = dataclasses.replace(FAILED, username='$(rm -rf ~)`')
  text = leaderboard.comment(CHALLENGE, evil, STANDINGS)
  assert '--check submissions/USERNAME`' in text


def test_a_void_result_is_told_the_window():
  text = leaderboard.comment(CHALLENGE, VOID, STANDINGS)
  assert text.startswith('### bob: void, not ranked\n')
  assert 'handed in after the window closed' in text
  assert '2026-07-31 23:59:59 UTC+02:00 (Europe/Berlin)' in text
  assert '--check' not in text


def test_warnings_and_other_devices_are_told():
  record = dataclasses.replace(ALICE.record, warnings=('the *machine* slept',))
  entry = dataclasses.replace(ALICE, record=record, others=(BOB.record,))
  text = leaderboard.comment(CHALLENGE, entry, STANDINGS)
  assert '- **Warning:** the \\*machine\\* slept\n' in text
  mean, score = BOB.record.latency_ms.mean, BOB.record.score.final
  assert re.search(f'- Not ranked: .*: {mean:.3f} .* ms, .*score {score:.3f}',
                   text)  # fmt: skip


def test_what_strangers_write_is_no_markup():
  evil = dataclasses.replace(
    ALICE, username='@everyone', teamname=sample_entries.HOSTILE
  )
  standings = sample_entries.standings([evil])
  texts = [
    leaderboard.markdown(CHALLENGE, standings, [evil, HOSTILE]),
    leaderboard.comment(CHALLENGE, evil, standings),
    leaderboard.comment(CHALLENGE, HOSTILE, standings),
  ]
  for text in texts:
    assert '<script' not in text and '\x1b' not in text
    assert not re.search(r'[^\\]\]\(http', text) and '://' not in text
    assert not re.search(r'@\w', text)
  assert len(cells(texts[0])[1]) == 9


def test_the_baselines_page_has_its_figures_and_how_to_make_it_again():
  record = sample_records.four()[0]
  text = leaderboard.baseline(CHALLENGE, record)
  figures = {row[0]: row[1:] for row in cells(text)}
  low, high = record.latency_ms.mean_ci95
  assert figures['latency, ms, mean'] == [
    f'{record.latency_ms.mean:.3f}', f'{low:.3f} to {high:.3f}'
  ]  # fmt: skip
  assert figures['size, MiB'][0] == '42.850'
  assert 'Its top-1 accuracy is 69.76 %, as `challenge.toml` says.' in text
  assert 'cpu: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz' in text
  assert 'packages: tensorflow 2.21.0, ai-edge-litert 2.3.0' in text
  assert 'python -m tfcompress.leaderboard baseline' in text
  plain = dataclasses.replace(record, accuracy=None)
  assert '; it was not measured' in leaderboard.baseline(CHALLENGE, plain)
  own = challenges.Baseline('models/own.tflite', None)
  text = leaderboard.baseline(
    dataclasses.replace(CHALLENGE, baseline=own), record
  )
  assert '`models/own.tflite` of this repository' in text
  assert 'as `challenge.toml` says' not in text


def test_the_readme_says_the_rules_of_its_challenge():
  challenge = challenges.Challenge(
    title='Ten classes',
    num_classes=10,
    image_size=96,
    formats=(challenges.ModelFormat.PYTORCH,),
    packages=('torch', 'timm'),
    weights=challenges.Weights(0.5, 0.2, 0.3),
    baseline=challenges.Baseline('models/own.tflite', None),
    limits=challenges.Limits(25.5, 30.0, 1024, 8, 90.0, 512.0),
    evaluation=challenges.Evaluation(
      devices=(measurements.Device.CPU, measurements.Device.GPU),
      ranking_device=measurements.Device.GPU,
      num_threads=4,
      runs=250,
      seconds=1.5,
      processes=3,
    ),
    data=challenges.Data(
      'folder:data', 'cifar10', types.EvaluationTransform.IMAGENET,
      'kaggle:host/images',
    ),
  )  # fmt: skip
  text = leaderboard.readme(challenge)
  for said in (
    '# Ten classes\n', 'of 10 classes', '1x96x96x3 or 1x3x96x96', '`model.pt`',
    'timm, torch.', 'score = 0.5 x baseline size',
    '+ 0.2 x baseline latency', '+ 0.3 x top-1', '`models/own.tflite`',
    '| 25.5 MiB |', '| 30 s |', '| 1,024 MiB |', '| 8 |', '| 90 s |', '| 512 MiB |',
    'on the GPU with 4 threads, at least 250 runs and 1.5 s in 3 fresh processes',
    'It is measured on CPU and GPU', '(`cifar10`)', "The baseline's is measured.",
    'from Kaggle (`kaggle:host/images`)', '`KAGGLE_USERNAME` and `KAGGLE_KEY`',
    'its short side is 110, and the center is cropped', 'evaluate.yml', 'publish.yml',
  ):  # fmt: skip
    assert said in text, said
  assert not re.search(r'\b(224|100|69\.76|1000)\b', text)
  assert 'model.tflite' not in text and 'model.h5' not in text


def test_the_readme_of_a_challenge_without_loaders_names_none():
  only = dataclasses.replace(
    CHALLENGE, formats=(challenges.ModelFormat.TFLITE,)
  )
  text = leaderboard.readme(only)
  assert challenges.LOADER not in text and 'einops' not in text
  every = dataclasses.replace(CHALLENGE, packages=('*',))
  assert 'may name any package that is there as a wheel' in leaderboard.readme(
    every
  )


def test_the_readme_has_the_commands_and_the_files():
  text = leaderboard.readme(CHALLENGE)
  commands = re.findall(r'^python -m tfcompress\.(\w+ .*)$', text, re.MULTILINE)
  assert [command.split('#')[0].strip() for command in commands] == [
    "submit --export=exported/kd --username=YOU --teamname='YOUR TEAM'",
    'submit --check submissions/YOU',
    'leaderboard fetch',
    'leaderboard baseline',
    'leaderboard evaluate --submission=submissions/NAME',
    'leaderboard evaluate --all',
    'leaderboard render',
    'leaderboard verify',
  ]
  for name in (
    challenges.CHALLENGE, challenges.HISTORY, challenges.RECORDS,
    challenges.SUBMISSIONS, challenges.METADATA, challenges.LOADER,
    challenges.REQUIREMENTS,
  ):  # fmt: skip
    assert name in text
  for kind in challenges.ModelFormat:
    assert f'| `{kind.value}` |' in text
