import pathlib

import pytest

from tfcompress.compression import journal, steps

THERE, FAILED, TO_DO = (
  journal.State.THERE,
  journal.State.FAILED,
  journal.State.TO_DO,
)


def step(name, command='train', inputs=(), **flags):
  folder = pathlib.Path('out') / name
  result = folder / 'model'
  return steps.Step(
    name, f'the step {name}', command, (), flags,
    tuple(f'out/{other}/model' for other in inputs), str(result), str(folder),
  )  # fmt: skip


def made(memory, one, content=''):
  path = pathlib.Path(one.result)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(content or f'{one.name} {one.flags}')
  memory.note_done(one)


@pytest.fixture
def chain(tmp_path, monkeypatch):
  """Two trainings and an export, all done."""
  monkeypatch.chdir(tmp_path)
  all_steps = [
    step('a', epochs='2'),
    step('b', inputs=['a']),
    step('c', 'export', inputs=['b']),
  ]
  memory = journal.Journal('out')
  for one in all_steps:
    made(memory, one)
  return all_steps


def states(chain):
  return list(journal.Journal('out').states(chain).values())


def refusal(chain):
  with pytest.raises(ValueError) as error:
    states(chain)
  return str(error.value)


def test_what_is_there_is_there(chain):
  assert states(chain) == [THERE, THERE, THERE]
  more = [*chain, step('d', 'evaluate', inputs=['c'])]
  assert states(more) == [THERE, THERE, THERE, TO_DO]


def test_other_flags_name_the_difference_and_all_that_came_of_it(chain):
  other = [step('a', epochs='3', seed='1'), *chain[1:]]
  assert refusal(other) == (
    'out: the step a was made with other flags (--epochs=2 there, --epochs=3 '
    'now; no --seed there, --seed=1 now), and 1 more; use the same flags, or '
    'another --output_dir, or remove out/a out/b to make anew what is in it'
  )


def test_a_begun_training_is_not_begun_otherwise(chain):
  begun = step('d', epochs='2')
  pathlib.Path(begun.folder).mkdir()
  journal.Journal('out').note_begun(begun)
  assert states([*chain, begun])[-1] is TO_DO
  assert 'made with other flags (--epochs=2' in refusal(
    [*chain, step('d', epochs='9')]
  )


def test_a_parent_that_changed_is_refused(chain):
  pathlib.Path('out/a/model').write_text('something else')
  assert refusal(chain).startswith(
    'out: the step a has changed since it was made (out/a/model), and 1 more'
  )
  made(journal.Journal('out'), chain[0], 'trained again')
  assert refusal(chain) == (
    'out: the step b was made of another out/a/model than there is now; use '
    'the same flags, or another --output_dir, or remove out/b to make anew '
    'what is in it'
  )


def test_a_parent_that_is_gone_is_refused(chain):
  pathlib.Path('out/a/model').unlink()
  pathlib.Path('out/a').rmdir()
  assert 'step b was made of out/a/model, which is to be made anew' in refusal(
    chain
  )


def test_an_export_of_a_new_artifact_is_made_anew(chain):
  made(journal.Journal('out'), chain[1], 'trained again')
  assert states(chain) == [THERE, THERE, TO_DO]
  assert states([step('b', inputs=['a']), chain[2]]) == [THERE, TO_DO]


def test_a_lost_export_is_made_anew(chain):
  pathlib.Path(chain[2].result).unlink()
  assert states(chain) == [THERE, THERE, TO_DO]


def test_all_exports_with_other_flags_are_one_folder(chain):
  other = [*chain[:2], step('c', 'export', inputs=['b'], variant='int8')]
  assert 'or remove out to make' in refusal(other)


def test_a_refusal_is_not_tried_again_but_a_crash_is(chain):
  memory = journal.Journal('out')
  bad, crash = step('d', 'export', ['b']), step('e', 'export', ['b'])
  memory.note_failed(bad, 'too low', final=True)
  memory.note_failed(crash, 'SIGSEGV', final=False)
  assert memory.failure(bad) == 'too low'
  assert states([*chain, bad, crash])[3:] == [FAILED, TO_DO]
  changed = step('d', 'export', ['b'], min_snr_db='1')
  assert states([*chain, changed])[3] is TO_DO
  made(memory, chain[1], 'trained again')
  assert states([*chain, bad])[3] is TO_DO


def test_a_file_of_something_else_is_refused(tmp_path):
  (tmp_path / 'pipeline.json').write_text('{"steps": 3}')
  with pytest.raises(ValueError, match='pipeline.json: not what compress wrot'):
    journal.Journal(str(tmp_path))
