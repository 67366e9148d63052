import dataclasses

import numpy as np

from tfcompress.competition import scoring
from tfcompress.core import measurements
from tfcompress.measurement import accuracy, latency
from tfcompress.reports import tables

RECORD = measurements.Measurement(
  model=measurements.ModelRecord('m.tflite', '0' * 64, 'tflite', (), ()),
  dataset=measurements.DatasetRecord(
    'set', 'validation', 10, 'challenge', 'raw'
  ),
  runtime=measurements.RuntimeRecord('litert_cpu', '1', 'cpu', 1, None),
  size=measurements.SizeRecord(2 * 2**20, 2.0, 2**20, 12345, 12000),
  latency_ms=latency.summarize(np.array([1.0, 2.0, 3.0]), 1),
  throughput_per_s=500.0,
  memory_mib=measurements.MemoryRecord(50.0, 10.0),
  accuracy=accuracy.summarize(np.array([0] * 7 + [1] * 3)),
  score=None,
  environment={},
)


def cells(text: str) -> dict[str, list[str]]:
  rows = {}
  for line in text.splitlines():
    name, *rest = [cell for cell in line.split('  ') if cell.strip()]
    rows[name.strip()] = [cell.strip() for cell in rest]
  return rows


def test_columns_are_aligned():
  text = tables.table(('name', 'x'), [('a', '1'), ('long name', '22')])
  assert text == 'name        x\n---------  --\na           1\nlong name  22'


def test_a_measurement_without_a_score():
  rows = cells(tables.measurement(RECORD))
  assert rows['size, MiB'] == ['2.000']
  assert rows['parameters'] == ['12,345']
  assert rows['latency, ms, mean'] == ['2.000']
  assert rows['top-1, %'] == ['70.00']
  assert rows['images'] == ['10']


def test_a_scored_measurement_stands_beside_its_baseline():
  baseline = measurements.BaselineRecord(20.0, 8.0, 60.0, 'by hand')
  score = scoring.score(
    size_mib=2.0, latency_ms=2.0, top1_percent=70.0, baseline=baseline
  )
  text = tables.measurement(dataclasses.replace(RECORD, score=score))
  rows = cells(text)
  assert rows['size, MiB'] == ['2.000', '20.000', '10.0 x smaller']
  assert rows['latency, ms, mean'] == ['2.000', '8.000', '4.0 x faster']
  assert rows['top-1, %'] == ['70.00', '60.00', '+10.00 points']
  assert 'score 4.667 = 0.3 x size 10.00 + 0.3 x latency 4.00' in text
  assert text.endswith('baseline: by hand')


def test_parts_not_measured_have_no_row():
  record = dataclasses.replace(RECORD, latency_ms=None, accuracy=None)
  rows = cells(tables.measurement(record))
  assert not any('latency' in name or 'top-1' in name for name in rows)
