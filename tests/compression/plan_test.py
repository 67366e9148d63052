import pytest

from tests.compression import stages_test
from tfcompress.compression import plan as plan_lib
from tfcompress.compression import steps
from tfcompress.core import types

BOTH = (types.Variant.FLOAT32, types.Variant.INT8)


def plan(text, said=None, variants=BOTH, is_given=lambda path: True, **flags):
  config = plan_lib.Config('out', variants, flags)
  return plan_lib.plan(config, stages_test.chain(text, said), is_given)


def test_the_steps_are_commands_to_type():
  flags = {'train': ('--dataset=x',), 'evaluate': ('--runs=9',)}
  result = plan(['baseline', 'slim'], **flags)
  assert [str(step) for step in result.steps] == [
    f'python -m tfcompress.{command}'
    for command in (
      'train --flagfile=baseline.cfg --output_dir=out/1_baseline --dataset=x',
      'train --flagfile=slim.cfg --output_dir=out/2_slim '
      '--parent=out/1_baseline --dataset=x',
      'export --artifact=out/1_baseline --variant=float32 '
      '--output_dir=out/exported/1_baseline_float32',
      'export --artifact=out/1_baseline --variant=int8 '
      '--output_dir=out/exported/1_baseline_int8',
      'export --artifact=out/2_slim --variant=int8 '
      '--output_dir=out/exported/2_slim_int8',
      'export --artifact=out/2_slim --variant=float32 '
      '--output_dir=out/exported/2_slim_float32',
      'evaluate --model=out/exported/1_baseline_float32 '
      '--output_file=out/records/1_baseline_float32.json --runs=9',
      *(
        f'evaluate --model=out/exported/{name} '
        '--baseline=out/records/1_baseline_float32.json '
        f'--output_file=out/records/{name}.json --runs=9'
        for name in ('1_baseline_int8', '2_slim_int8', '2_slim_float32')
      ),
    )
  ]
  assert result.main.name == '2_slim_int8'


def test_a_step_knows_what_it_reads_and_writes():
  result = plan(['baseline', 'slim', 'kd'])
  assert result.trainings[2].inputs == (
    'out/2_slim/model.keras',
    'out/1_baseline/model.keras',
  )
  file = result.files[-1]
  assert file.export.inputs == ('out/3_kd/model.keras',)
  assert file.export.result == 'out/exported/3_kd_float32/model.tflite'
  assert file.measure.inputs == (
    file.export.result,
    'out/records/1_baseline_float32.json',
  )
  assert file.stages == ('baseline', 'slim', 'kd')


def test_other_variants_than_int8_are_made_before_qat():
  result = plan(['baseline', 'slim', 'qat'], variants=tuple(types.Variant)[:4])
  assert [file.name for file in result.files] == [
    '1_baseline_float32',
    '1_baseline_int8',
    '2_slim_int8',
    '3_qat_int8',
    '2_slim_float32',
    '2_slim_float16',
    '2_slim_dynamic',
  ]
  assert result.main.name == '3_qat_int8'
  dynamic = plan(['baseline', 'qat'], variants=(types.Variant.DYNAMIC,))
  assert dynamic.main.name == '1_baseline_dynamic'


def test_a_missing_teacher_is_a_step_of_its_own(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  said = {'slim': {'teacher': 'runs/big', 'alpha': '.5', 'dataset': 'y'}}
  missing = lambda path: False
  with pytest.raises(ValueError) as error:
    plan(['baseline', 'slim'], said, is_given=missing)
  assert str(error.value) == (
    'stage 2, slim (slim.cfg): --teacher=runs/big: no such artifact, nor a '
    'flagfile big.cfg or flags/big.cfg to train it with'
  )
  (tmp_path / 'big.cfg').write_text('--stage=baseline\n')
  first, teacher, slim = plan(
    ['baseline', 'slim'], said, is_given=missing
  ).trainings
  assert teacher.arguments == (
    '--flagfile=big.cfg', '--output_dir=runs/big', '--dataset=y'
  )  # fmt: skip
  assert slim.inputs == ('out/1_baseline/model.keras', 'runs/big/model.keras')
  given = plan(['baseline', 'slim'], said)
  assert given.trainings == (first, slim)


def test_flags_are_read_as_absl_does():
  arguments = ['--a=1', '--b', 'two', '--noflip', '--c=x=y', '-a=3', '--deep']
  assert steps.as_flags(arguments) == {
    'a': '3', 'b': 'two', 'noflip': 'true', 'c': 'x=y', 'deep': 'true'
  }  # fmt: skip


def test_a_network_built_anew_went_through_nothing_before():
  said = {'kd': {'depth': '18'}}
  files = plan(['baseline', 'prune', 'kd', 'slim'], said).files
  stages = {file.name: file.stages for file in files}
  assert stages['2_prune_int8'] == ('baseline', 'prune')
  assert stages['3_kd_int8'] == ('kd',)
  assert stages['4_slim_int8'] == ('kd', 'slim')


@pytest.mark.parametrize(
  'path', ['out/1_baseline', 'out/1_baseline/', 'out/../out/1_baseline/']
)
def test_a_teacher_may_be_an_earlier_stage_however_it_is_written(path):
  said = {'slim': {'teacher': path, 'alpha': '.5'}}
  result = plan(['baseline', 'slim'], said, is_given=lambda path: False)
  assert [step.name for step in result.trainings] == ['1_baseline', '2_slim']


def test_a_teacher_cannot_be_a_later_stage():
  said = {'slim': {'teacher': 'out/3_kd', 'alpha': '.5'}}
  with pytest.raises(
    ValueError,
    match=r'stage 2, slim \(slim.cfg\): --teacher=out/3_kd is stage 3, expected '
    'an earlier one',
  ):
    plan(['baseline', 'slim', 'kd'], said)
