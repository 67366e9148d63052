import dataclasses

from tests.reports import sample_records, tables_test
from tfcompress.core import measurements
from tfcompress.reports import names, ranking, runtimes

FOUR = sample_records.four()


def named(path, **changes):
  record = dataclasses.replace(tables_test.RECORD, **changes)
  return dataclasses.replace(
    record, model=dataclasses.replace(record.model, path=path)
  )


def latency(mean, interval=None):
  return dataclasses.replace(
    tables_test.RECORD.latency_ms, mean=mean, mean_ci95=interval
  )


def test_models_are_ranked_by_score_and_those_that_failed_come_last():
  table = tables_test.cells(ranking.text(FOUR))
  assert table['1'][:2] == ['*', 'slim_kd_int8/model.tflite']
  assert table['2'][:2] == ['*', 'dynamic/model.tflite']
  assert table['3'][:2] == ['-', 'baseline/model.tflite']
  assert table['-'] == ['-', 'broken.onnx', 'onnx', *'-------']
  assert 'ranked by score' in table
  assert 'broken.onnx failed: the file ends in the middle of a tensor' in table


def test_a_row_has_every_figure_with_its_interval():
  first = named('a', size=measurements.SizeRecord(1, 5.0, 1, None, None))
  second = named(
    'b',
    latency_ms=latency(0.5, (0.49, 0.51)),
    ratio=measurements.RatioRecord('a', 4.0, (3.9, 4.1)),
    accuracy=dataclasses.replace(
      tables_test.RECORD.accuracy, agreement_percent=97.25
    ),
  )
  text = ranking.text([first, second])
  table = tables_test.cells(text)
  assert table['1'] == [
    '*', 'b', 'tflite', 'litert_cpu', '2.000', '2.50', '0.500 ± 0.010',
    '4.00 (3.90 to 4.10)', '70.00 (39.7 to 89.2)', '+0.00', '97.2',
  ]  # fmt: skip
  assert table['2'] == [
    '-', 'a', 'tflite', 'litert_cpu', '5.000', '1.00', '2.000',
    'reference', '70.00 (39.7 to 89.2)', '+0.00', '-',
  ]  # fmt: skip
  assert 'score' not in text.splitlines()[0]
  assert 'ranked by latency' in text
  assert 'x faster: than a, by medians, timed in turns with it' in text
  assert 'x smaller, points of top-1: against a' in text
  assert '~' not in text


def test_models_that_cannot_be_told_apart_in_latency_are_marked():
  ratio = measurements.RatioRecord('a', 1.01, (0.98, 1.04))
  text = ranking.text([named('a'), named('b', ratio=ratio)])
  assert '~1.01 (0.98 to 1.04)' in text
  assert '~: no difference shown, as the range has 1 in it' in text


def test_a_reference_that_is_not_among_them_is_named():
  right = dataclasses.replace(
    tables_test.RECORD.accuracy, agreement_percent=98.0
  )
  ratio = measurements.RatioRecord('a plain ResNet-18', 2.0, (1.9, 2.1))
  model = named('a', ratio=ratio, accuracy=right)
  lines = ranking.text([model, named('b', ratio=ratio, accuracy=right)])
  assert 'x faster: than a plain ResNet-18, by medians' in lines
  assert 'same top-1: images with the same answer as a plain ResNet-18' in lines
  assert 'reference' not in lines


def test_without_latency_and_accuracy_the_smallest_is_first():
  size = lambda mib: measurements.SizeRecord(1, mib, 1, None, None)
  bare = lambda path, size: named(
    path, latency_ms=None, accuracy=None, size=size
  )
  models = [
    bare('a', size(2.0)),
    bare('b', None),
    bare('c', size(1.0)),
  ]
  found = ranking.rank(models)
  assert found.order == (2, 0, 1)
  names_of = lambda found: [row[:2] for row in found.rows]
  assert names_of(found) == [('1', 'c'), ('2', 'a'), ('-', 'b')]
  assert found.captions[0] == 'ranked by size'


def test_without_latency_the_most_accurate_is_first_and_the_front_is_marked():
  """By hand: c is as large as a and better; b is worse, but the smallest."""
  accuracy = lambda top1: dataclasses.replace(
    tables_test.RECORD.accuracy, top1_percent=top1
  )
  size = lambda mib: measurements.SizeRecord(int(mib), mib, 1, None, None)
  models = [
    named('a', latency_ms=None, size=size(4.0), accuracy=accuracy(70.0)),
    named('b', latency_ms=None, size=size(1.0), accuracy=accuracy(60.0)),
    named('c', latency_ms=None, size=size(4.0), accuracy=accuracy(71.5)),
  ]
  found = ranking.rank(models)
  assert found.captions[:2] == (
    'ranked by top-1',
    '*: on the Pareto front: no other is at least as good in size and top-1, '
    'and better in one of them',
  )
  assert [row[1:3] for row in found.rows] == [
    ('*', 'c'), ('-', 'a'), ('*', 'b')
  ]  # fmt: skip
  column = found.header.index('points')
  assert [row[column] for row in found.rows] == ['+1.50', '+0.00', '-10.00']
  column = found.header.index('x smaller')
  assert [row[column] for row in found.rows] == ['1.00', '1.00', '4.00']


def test_balanced_accuracy_has_a_column_where_it_is_another_figure():
  balanced = lambda percent: dataclasses.replace(
    tables_test.RECORD.accuracy, balanced_percent=percent
  )
  same = [named('a', accuracy=balanced(70.0)), named('b')]
  assert 'balanced' not in ranking.text(same)
  found = ranking.rank([named('a', accuracy=balanced(51.25)), named('b')])
  column = found.header.index('balanced %')
  assert [row[column] for row in found.rows] == ['51.25', '-']
  assert "balanced: the mean of the classes' own top-1" in found.captions


def test_with_a_baseline_of_the_score_no_model_is_the_first():
  assert 'x smaller' not in ranking.text(FOUR)
  plain = [dataclasses.replace(record, score=None) for record in FOUR]
  assert 'x smaller' in ranking.text(plain)
  assert 'score' not in ranking.text(plain)


def test_warnings_name_their_model():
  assert (
    'WARNING: slim_kd_int8/model.tflite: other processes kept 1.2 cores busy: '
    'do not trust these times'
  ) in ranking.text(FOUR).splitlines()


def test_the_page_has_the_same_rows():
  page = ranking.markdown(FOUR)
  rows = [line for line in page.splitlines() if line.startswith('|')]
  assert len(rows) == 2 + 4
  assert len({row.count('|') for row in rows}) == 1
  assert rows[2].startswith(
    '| 1 | * | slim_kd_int8/model.tflite | tflite | litert'
  )
  assert '- **Warning:** slim_kd_int8/model.tflite: other' in page
  assert ranking.markdown([named('a|b'), named('<i>')]).count('a\\|b') >= 1


def test_names_leave_out_what_all_paths_share():
  short = lambda *paths: names.short([named(path) for path in paths])
  assert short('x/a/model.tflite', 'x/b/model.tflite') == ['a', 'b']
  assert short('x/a/model.tflite', 'x/b.onnx') == ['a/model.tflite', 'b.onnx']
  assert short('x/model.tflite') == ['model.tflite']
  assert short('/a', 'b') == ['/a', 'b']
  assert short('/x/a', '/y/a2') == ['/x/a', '/y/a2']  # no paths from here
  assert short('x/a', 'x/a') == ['a (litert_cpu)', 'a (litert_cpu) #2']


def test_long_names_stay_apart():
  long = [f'{"same" * 9}_{i}_{"end" * 9}' for i in range(2)]
  assert names.shortened('abcdefghij', 5) == 'ab…ij'
  first, second = names.fitting(long, 20)
  assert first.startswith('…0_end') and second.startswith('…1_end')
  assert len(first) == 20


def test_one_file_in_every_runtime():
  first = named('m', latency_ms=latency(2.0, (1.9, 2.1)))
  second = named(
    'm',
    runtime=measurements.RuntimeRecord(
      'litert_gpu', '2.3', 'a GPU', 1, True, None, 'fp16'
    ),
    accuracy=dataclasses.replace(
      tables_test.RECORD.accuracy, agreement_percent=99.5
    ),
    latency_ms=None,
  )
  failed = named(
    'm',
    runtime=dataclasses.replace(first.runtime, name='openvino'),
    latency_ms=None,
    accuracy=None,
    failure='m: no such operator',
  )
  text = runtimes.text(
    [first, second, failed], {'torch': 'it does not open tflite files'}
  )
  table = tables_test.cells(text)
  assert table['runtime'] == [
    'version', 'device', 'ms', 'top-1 %', 'same top-1 %'
  ]  # fmt: skip
  assert table['litert_cpu'] == ['1', 'cpu', '2.000 ± 0.100', '70.00', '-']
  assert table['litert_gpu'] == ['2.3', 'a GPU fp16', '-', '70.00', '99.50']
  assert text.splitlines()[-2:] == [
    'openvino failed: no such operator',
    'torch not measured: it does not open tflite files',
  ]
