import dataclasses

from tests.reports import sample_records
from tfcompress.competition import scoring
from tfcompress.core import measurements
from tfcompress.reports import tables

RECORD = measurements.Measurement(
  model=measurements.ModelRecord('m.tflite', '0' * 64, 'tflite', (), ()),
  dataset=measurements.DatasetRecord(
    'set', 'validation', 10, 'challenge', 'raw'
  ),
  runtime=measurements.RuntimeRecord('litert_cpu', '1', 'cpu', 1, None),
  size=measurements.SizeRecord(2 * 2**20, 2.0, 2**20, 12345, 12000),
  latency_ms=measurements.LatencyRecord(
    2.0, 2.0, None, None, 1.0, 0.816, 3, 1, 1, (1.0, 2.0, 3.0)
  ),
  throughput_per_s=500.0,
  memory_mib=measurements.MemoryRecord(50.0, 10.0),
  accuracy=measurements.AccuracyRecord(70.0, 100.0, (39.68, 89.22), 10),
  score=None,
  environment={},
)


def cells(text: str) -> dict[str, list[str]]:
  rows = {}
  for line in filter(None, text.splitlines()):
    name, *rest = [cell for cell in line.split('  ') if cell.strip()]
    rows[name.strip()] = [cell.strip() for cell in rest]
  return rows


def test_columns_are_aligned():
  text = tables.table(('name', 'x'), [('a', '1'), ('long name', '22')])
  assert text == 'name        x\n---------  --\na           1\nlong name  22'
  text = tables.table(('a', 'word', 'x'), [('1', 'b', '10')], named=2)
  assert text.splitlines()[2] == '1  b     10'


def test_a_name_of_a_file_breaks_no_line_and_commands_no_terminal():
  text = tables.table(('', 'x'), [('a\x1b[31m\nb', '1')])
  assert '\x1b' not in text and len(text.splitlines()) == 3
  page = tables.markdown(('', 'x'), [('a|b\n<script>', '1')], 1)
  assert page.splitlines()[2] == '| a\\|b\ufffd&lt;script> | 1 |'


def test_a_measurement_without_a_score():
  rows = cells(tables.measurement(RECORD))
  assert rows['size, MiB'] == ['2.000']
  assert rows['parameters'] == ['12,345']
  assert rows['latency, ms, mean'] == ['2.000']
  assert rows['p90'] == rows['p99'] == ['too few runs']
  assert rows['top-1, %'] == ['70.00', '39.68 to 89.22']
  assert rows['images'] == ['10']
  assert rows['timed'] == ['3 runs in 1 process, after 1 to warm up']
  assert rows['data'] == ['10 images of set, validation, transform challenge']
  assert 'WARNING' not in tables.measurement(RECORD)


def test_a_scored_measurement_stands_beside_its_baseline():
  baseline = measurements.BaselineRecord(20.0, 8.0, 60.0, 'by hand')
  score = scoring.score(
    size_mib=2.0, latency_ms=2.0, top1_percent=70.0, baseline=baseline
  )
  text = tables.measurement(dataclasses.replace(RECORD, score=score))
  rows = cells(text)
  assert rows['size, MiB'] == ['2.000', '20.000', '10.0 x smaller']
  assert rows['latency, ms, mean'] == ['2.000', '8.000', '4.0 x faster']
  assert rows['top-1, %'][2:] == ['60.00', '+10.00 points']
  (line,) = rows['score']
  assert line.startswith('4.667 = 0.3 x size 10.00 + 0.3 x latency 4.00 + ')
  assert rows['baseline'] == ['by hand']


def test_everything_that_was_measured_has_its_line():
  latency = dataclasses.replace(
    sample_records.latency(0.5, 0), mean=0.485, mean_ci95=(0.482, 0.488)
  )
  record = dataclasses.replace(
    sample_records.record('a.tflite', 2.77, 0.5, 77.6, 0),
    latency_ms=latency,
    ratio=measurements.RatioRecord('b.tflite', 2.1, (2.05, 2.15)),
    throughput=(measurements.ThroughputRecord(64, 12345.6),),
  )
  rows = cells(tables.measurement(record))
  assert rows['latency, ms, mean'][:2] == ['0.485', '0.482 to 0.488']
  assert rows['loading the file'] == ['11.250']
  assert rows['first inference'] == ['3.500']
  assert rows['in batches of 64'] == ['12,346']
  assert rows['same top-1 as reference, %'] == ['93.50']
  assert rows['calibration error'] == ['0.0321']
  assert rows['ratio'] == ['2.10 x faster than b.tflite, 2.05 to 2.15']
  assert rows['model'] == ['tflite, ?x224x224x3 uint8 to 1x100 uint8']
  assert rows['runtime'] == [
    'litert_cpu 2.3.0, Intel Xeon, 1 thread, XNNPACK runs 98.5 % of operators'
  ]
  assert rows['data'][0].endswith('transform challenge, batches of 8')
  assert rows['pixels'] == [
    'imagenet, the best of all that were tried, by top-1: '
    'imagenet 79.0 %, unit 52.0 %, symmetric 50.5 %, raw 11.5 %'
  ]
  assert rows['isolation'] == ['bubblewrap; open: processes']
  assert rows['machine'] == [
    'pinned to core 0, clock governor performance, load 0.4 to 1.1, '
    'other processes kept 0.1 cores busy'
  ]


def test_a_ratio_with_one_in_its_interval_shows_no_difference():
  slow = measurements.RatioRecord('b', 0.98, (0.95, 1.01))
  rows = cells(tables.measurement(dataclasses.replace(RECORD, ratio=slow)))
  assert rows['ratio'] == [
    '0.98 x as fast as b, 0.95 to 1.01: no difference shown'
  ]


def test_doubtful_figures_are_loud_and_a_failure_has_the_last_word():
  text = tables.measurement(
    dataclasses.replace(
      RECORD,
      machine=measurements.MachineRecord((), None, 2.0, 3.0, 1.2, True),
      latency_ms=dataclasses.replace(RECORD.latency_ms, steady=False),
      runtime=dataclasses.replace(RECORD.runtime, fully_delegated=False),
      dataset=dataclasses.replace(RECORD.dataset, skipped_examples=3),
      warnings=('it gives the same output for 8 images',),
      failure='m.tflite: it ran out of memory',
    )
  )
  lines = text.splitlines()
  assert [line for line in lines if line.startswith('WARNING: ')] == [
    'WARNING: it gives the same output for 8 images',
    'WARNING: other processes kept 1.2 cores busy: do not trust these times',
    'WARNING: the times were still falling at the end of the warm-up: they '
    'are too high; warm up for longer',
    'WARNING: the GPU does not run every operator: the CPU runs the others',
    'WARNING: 3 images did not decode and are not counted',
  ]
  assert lines[-1] == 'FAILED: it ran out of memory'


def test_parts_not_measured_have_no_row():
  record = dataclasses.replace(RECORD, latency_ms=None, accuracy=None)
  rows = cells(tables.measurement(record))
  assert not any('latency' in name or 'top-1' in name for name in rows)
  nothing = sample_records.four()[3]
  assert tables.measurement(nothing).splitlines() == [
    'exported/broken.onnx',
    '',
    'FAILED: the file ends in the middle of a tensor',
  ]
