import csv
import dataclasses
import io

import pytest

from tests.reports import tables_test
from tfcompress.competition import scoring
from tfcompress.core import measurements
from tfcompress.reports import comparison

REFERENCE = measurements.BaselineRecord(40.0, 4.0, 80.0, 'by hand')


def row(name, stages, mib, latency_ms, top1, is_baseline=False):
  """A row whose figures are known."""
  record = dataclasses.replace(
    tables_test.RECORD,
    size=measurements.SizeRecord(
      int(mib * 2**20), mib, int(mib * 2**19), 10, 10
    ),
    latency_ms=dataclasses.replace(
      tables_test.RECORD.latency_ms, mean=latency_ms
    ),
    accuracy=measurements.AccuracyRecord(top1, 99.0, (top1 - 2, top1 + 2), 10),
    score=scoring.score(
      size_mib=mib,
      latency_ms=latency_ms,
      top1_percent=top1,
      baseline=REFERENCE,
    ),
  )
  variant = name.rpartition(' ')[2]
  return comparison.Row(
    name,
    stages,
    variant,
    record,
    '',
    is_baseline,
    97.54,
    {'int4': 20, 'int8': 1},
  )


ROWS = (
  row('1_baseline float32', ('baseline',), 40.0, 4.0, 80.0, True),
  row('2_slim int8', ('baseline', 'slim'), 5.0, 1.0, 78.0),
  comparison.Row('2_slim wi4', ('baseline', 'slim'), 'wi4', None, 'too, low'),
)


def test_the_table_puts_every_file_beside_the_baseline():
  cells = tables_test.cells(comparison.text(ROWS))
  # 0.3 * 8 + 0.3 * 4 + 0.4 * 78 / 80
  assert cells['2_slim int8'] == [
    '5.000', '2.500', '8.0', '1.000', '4.00', '50.0', '78.00', '2.00',
    '97.5', '3.990',
  ]  # fmt: skip
  assert cells['1_baseline float32'] == [
    '40.000', '20.000', '1.0', '4.000', '1.00', '50.0', '80.00', '0.00',
    '97.5', '1.000',
  ]  # fmt: skip
  assert cells['2_slim wi4'] == ['failed']
  assert '2_slim wi4 failed: too, low' in comparison.text(ROWS)
  assert 'baseline: 1_baseline float32; latency: mean of 3 runs' in (
    comparison.text(ROWS)
  )


def test_the_page_has_the_same_figures_and_the_picture():
  page = comparison.markdown(ROWS, 'a title', 'x.png')
  assert page.startswith(
    '# a title\n\n| file | stages | variant | weights | MiB |'
  )
  assert (
    '| 2_slim int8 | baseline, slim | int8 | int4 20, int8 1 | 5.000 | 2.500 | 8.0 | 1.000 | '
    '4.00 | 50.0 | 78.00 | 2.00 | 97.5 | 3.990 |'
  ) in page
  assert '- 2_slim wi4 failed: too, low' in page
  assert page.endswith('](x.png)\n')
  table = [line for line in page.splitlines() if line.startswith('|')]
  assert len({line.count('|') for line in table}) == 1


def test_the_csv_has_every_figure_in_full():
  lines = list(csv.DictReader(io.StringIO(comparison.as_csv(ROWS))))
  assert [line['name'] for line in lines] == [row.name for row in ROWS]
  slim = lines[1]
  assert slim['stages'] == 'baseline+slim'
  assert slim['weights'] == 'int4 20, int8 1'
  assert float(slim['agreement_percent']) == 97.54
  assert int(slim['size_bytes']) == 5 * 2**20
  assert float(slim['score']) == ROWS[1].record.score.final
  assert float(slim['top1_low_percent']) == 76.0
  assert float(slim['points_lost']) == pytest.approx(2.0)
  assert lines[2]['failure'] == 'too, low'
  assert lines[2]['size_bytes'] == lines[2]['score'] == ''


def test_what_was_not_measured_is_left_out():
  bare = dataclasses.replace(
    tables_test.RECORD, latency_ms=None, accuracy=None, memory_mib=None
  )
  (line,) = csv.DictReader(
    io.StringIO(
      comparison.as_csv([comparison.Row('a', ('baseline',), 'int8', bare)])
    )
  )
  assert line['size_mib'] == '2.0'
  assert {line[name] for name in ('latency_ms', 'score', 'top1_percent')} == {
    ''
  }
