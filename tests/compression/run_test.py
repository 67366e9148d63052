import pathlib

import pytest

from tests.compression import plan_test
from tfcompress.compression import execution, journal, run, steps

REFUSED = execution.Failure('too low', refused=True)
CRASHED = execution.Failure('ended on a bug', refused=False)


@pytest.fixture
def ran(tmp_path, monkeypatch):
  """Steps that write their result, or fail as `failures` says; by name."""
  monkeypatch.chdir(tmp_path)
  names, failures = [], {}

  def do(step):
    names.append(step.name)
    if step.name not in failures:
      pathlib.Path(step.result).parent.mkdir(parents=True, exist_ok=True)
      pathlib.Path(step.result).write_text(step.name)
    return failures.get(step.name)

  monkeypatch.setattr(execution, 'train', do)
  monkeypatch.setattr(execution, 'attempt', do)
  return names, failures


def go(**kwargs):
  plan = plan_test.plan(['baseline', 'slim'])
  run.run(plan, journal.Journal('out'), **kwargs)
  return [step.name for step in plan.steps]


def test_everything_runs_once(ran, capsys):
  names, _ = ran
  every = go()
  assert names == every
  capsys.readouterr()
  assert go() == names
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == '[1/10] 1_baseline: there already, same flags and inputs'
  assert len(lines) == 10


def test_a_failed_export_stops_nothing_but_its_measurement(ran, capsys):
  names, failures = ran
  failures['export 1_baseline_int8'] = REFUSED
  failures['measure 2_slim_int8'] = CRASHED
  every = go()
  assert [name for name in every if name not in names] == [
    'measure 1_baseline_int8'
  ]
  assert 'measure 1_baseline_int8: left out' in capsys.readouterr().out
  names.clear()
  failures.clear()
  go()
  assert names == ['measure 2_slim_int8']
  assert 'export 1_baseline_int8: failed before' in capsys.readouterr().out
  names.clear()
  go(retry_failed=True)
  assert names == ['export 1_baseline_int8', 'measure 1_baseline_int8']


def test_without_a_reference_there_is_nothing_to_compare(ran):
  names, failures = ran
  failures['export 1_baseline_float32'] = REFUSED
  with pytest.raises(ValueError, match='float32, the reference, failed: too'):
    go()
  assert names[-1] == 'export 1_baseline_float32'


def test_a_lost_result_and_what_came_of_it_is_made_again(ran):
  names, _ = ran
  go()
  names.clear()
  pathlib.Path('out/exported/2_slim_int8/model.tflite').unlink()
  go()
  assert names == ['export 2_slim_int8', 'measure 2_slim_int8']


@pytest.mark.parametrize(
  ('model', 'reason', 'refused'),
  [
    ('no/such', 'no/such: no such', True),
    ('x' * 300, '[Errno 36] File name too long', False),
  ],
)
def test_what_the_system_fails_is_tried_again(model, reason, refused):
  step = steps.Step(
    'measure', 'it', 'evaluate', (f'--model={model}',), {}, (), '', ''
  )
  failure = execution.attempt(step)
  assert failure.reason.startswith(reason)
  assert failure.refused == refused
