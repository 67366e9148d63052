import pytest

from tfcompress.compression import stages
from tfcompress.core import types


def chain(text, said=None, output_dir='out'):
  """The stages of `text`, each with a flagfile that says `said[stage]`."""
  items = [stages.Item(types.Stage(name), f'{name}.cfg') for name in text]
  flags_of = lambda path: (
    {'stage': path.removesuffix('.cfg')}
    | (said or {}).get(path.removesuffix('.cfg'), {})
  )
  return stages.chain(items, flags_of, output_dir)


def links(text, said=None):
  """Folder, parent and teacher of every stage, without the pipeline's own."""
  short = lambda path: path.removeprefix('out/')
  return [
    (short(stage.folder), short(stage.parent), short(stage.teacher))
    for stage in chain(text, said)
  ]


def test_each_stage_is_the_parent_of_the_next():
  assert links(['baseline', 'slim', 'slim', 'cluster', 'qat']) == [
    ('1_baseline', '', ''),
    ('2_slim', '1_baseline', ''),
    ('3_slim', '2_slim', ''),
    ('4_cluster', '3_slim', ''),
    ('5_qat', '4_cluster', ''),
  ]


def test_what_distills_learns_from_the_first_stage():
  said = {'prune': {'temperature': '4'}, 'qat': {'alpha': '0.5'}}
  assert links(['baseline', 'slim', 'kd', 'prune', 'qat'], said) == [
    ('1_baseline', '', ''),
    ('2_slim', '1_baseline', ''),
    ('3_kd', '2_slim', '1_baseline'),
    ('4_prune', '3_kd', '1_baseline'),
    ('5_qat', '4_prune', '1_baseline'),
  ]


def test_a_new_student_learns_from_the_stage_before():
  said = {'baseline': {'depth': '50'}, 'kd': {'depth': '18'}}
  assert links(['baseline', 'prune', 'qat', 'kd'], said) == [
    ('1_baseline', '', ''),
    ('2_prune', '1_baseline', ''),
    ('3_qat', '2_prune', ''),
    ('4_kd', '', '3_qat'),
  ]


def test_flags_that_repeat_the_network_build_none():
  """As where all stages nest one flagfile; kd has them to build a student."""
  network = {'input_size': '32', 'width_multiplier': '0.25'}
  said = {
    'baseline': network,
    'slim': network,
    'prune': network | {'width_multiplier': '.25'},
  }
  names = ['baseline', 'slim', 'prune']
  assert [parent for _, parent, _ in links(names, said)] == [
    '', '1_baseline', '2_slim',
  ]  # fmt: skip
  # What the builder does not say has its default there, too.
  defaults = {'depth': '18', 'stem': 'conv7_pool', 'blocks': ''}
  said['prune'] = network | defaults
  assert links(names, said)[2] == ('3_prune', '2_slim', '')
  said['prune'] = network | {'width_multiplier': '0.5'}
  with pytest.raises(ValueError, match='by --width_multiplier, and drops'):
    chain(names, said)
  said = {'baseline': network, 'kd': network}
  assert links(['baseline', 'kd'], said)[1] == ('2_kd', '', '1_baseline')


def test_a_teacher_in_the_flagfile_stays():
  said = {'slim': {'teacher': 'runs/resnet50', 'alpha': '0.9'}}
  assert links(['baseline', 'slim'], said)[1] == ('2_slim', '1_baseline', '')


def test_a_network_of_ones_own_can_be_first():
  said = {'slim': {'init_from': 'mine.keras'}, 'kd': {'teacher': 'x'}}
  assert links(['slim', 'qat'], said)[0] == ('1_slim', '', '')
  assert links(['kd', 'qat'], said)[0] == ('1_kd', '', '')


@pytest.mark.parametrize(
  ('text', 'said', 'message'),
  [
    (
      ['slim', 'qat'],
      {},
      'stage 1, slim (slim.cfg): has nothing to start from; put a baseline '
      'before it, or give --parent or --init_from in its flagfile',
    ),
    (
      ['kd'],
      {},
      'stage 1, kd (kd.cfg): has no teacher; put a baseline before it, or give '
      '--teacher in its flagfile',
    ),
    (
      ['qat'],
      {'qat': {'init_from': 'mine.keras'}},
      'stage 1, qat (qat.cfg): comes last, and is compared with the network '
      'before it; put a baseline first, with --init_from and --epochs=0 for a '
      'network of your own',
    ),
    (
      ['baseline', 'qat', 'prune'],
      {},
      'stage 2, qat (qat.cfg): nothing is trained on after qat, so 3_prune '
      'cannot follow; put qat last, or before a kd that builds a new network',
    ),
    (
      ['baseline', 'qat', 'kd'],
      {'kd': {'temperature': '4'}},
      'stage 2, qat (qat.cfg): nothing is trained on after qat, so 3_kd '
      'cannot follow; put qat last, or before a kd that builds a new network',
    ),
    (
      ['slim', 'baseline'],
      {'slim': {'parent': 'x'}, 'baseline': {'depth': '18'}},
      'stage 2, baseline (baseline.cfg): builds a new network, by --depth, '
      'and drops 1_slim; put it first, or leave the flag out',
    ),
    (
      ['baseline', 'slim'],
      {'slim': {'stage': 'prune'}},
      'stage 2, slim (slim.cfg): the flagfile is for --stage=prune',
    ),
  ],
)
def test_an_order_that_cannot_work_is_named(text, said, message):
  with pytest.raises(ValueError) as error:
    chain(text, said)
  assert str(error.value) == message


def test_an_item_names_its_flagfile_or_has_one_in_the_folder(tmp_path):
  folder = tmp_path / 'p'
  folder.mkdir()
  (folder / 'slim.cfg').write_text('')
  beside = [str(tmp_path / 'p.cfg')]
  given = stages.parse('slim:a/b.cfg')
  assert stages.flagfile_of(given, beside) == 'a/b.cfg'
  found = stages.flagfile_of(stages.parse('slim'), beside)
  assert found == str(folder / 'slim.cfg')
  with pytest.raises(ValueError, match=f'qat has no {folder}/qat.cfg; give'):
    stages.flagfile_of(stages.parse('qat'), beside)
  with pytest.raises(ValueError, match='slim has no flagfile; give slim:FLAG'):
    stages.flagfile_of(stages.parse('slim'), [])
  with pytest.raises(ValueError, match="'slm' is none of baseline, slim"):
    stages.parse('slm')
