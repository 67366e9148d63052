import csv
import dataclasses
import json

import pytest

from tests.reports import sample_records
from tfcompress.core import measurements, records
from tfcompress.reports import files

FOUR = sample_records.four()


def test_one_measurement_is_a_record_by_itself(tmp_path):
  files.write(tmp_path / 'x.json', FOUR[:1])
  content = records.read_json(tmp_path / 'x.json')
  assert records.from_json(measurements.Measurement, content) == FOUR[0]


def test_several_measurements_are_a_list(tmp_path):
  files.write(tmp_path / 'x.json', FOUR)
  content = json.loads((tmp_path / 'x.json').read_text())
  assert content['schema_version'] == 1
  assert [
    records.from_json(measurements.Measurement, one)
    for one in content['measurements']
  ] == FOUR


def test_the_csv_has_a_row_a_model_with_figures_in_full(tmp_path):
  files.write(tmp_path / 'x.csv', FOUR)
  with open(tmp_path / 'x.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [row['model'] for row in rows] == [one.model.path for one in FOUR]
  third, record = rows[2], FOUR[2]
  assert float(third['latency_mean_ms']) == record.latency_ms.mean
  low, high = record.latency_ms.mean_ci95
  assert float(third['latency_mean_low_ms']) == low
  assert float(third['latency_mean_high_ms']) == high
  assert third['latency_p99_ms'] == ''
  assert float(third['latency_ratio_high']) == record.ratio.latency_ci95[1]
  assert int(third['size_bytes']) == record.size.bytes
  assert float(third['score']) == record.score.final
  assert third['busy'] == 'True'
  assert third['best_batch_size'] == '64'
  failed = rows[3]
  assert failed['failure'].endswith('in the middle of a tensor')
  assert {value for name, value in failed.items() if 'ms' in name} == {''}


def test_without_a_score_its_columns_are_left_out(tmp_path):
  plain = [dataclasses.replace(record, score=None) for record in FOUR]
  for name, records_of in (('x.csv', FOUR), ('y.csv', plain)):
    files.write(tmp_path / name, records_of)
  with_score, without = (
    (tmp_path / name).read_text().splitlines()[0].split(',')
    for name in ('x.csv', 'y.csv')
  )
  assert set(with_score) - set(without) == {
    'score_size', 'score_latency', 'score_accuracy', 'score', 'baseline'
  }  # fmt: skip
  assert [name for name in with_score if name in without] == without
  files.write(tmp_path / 'y.md', plain)
  assert 'score' not in (tmp_path / 'y.md').read_text()


def test_a_table_for_reading(tmp_path):
  files.write(tmp_path / 'x.md', FOUR)
  text = (tmp_path / 'x.md').read_text()
  assert '| 1 | * | slim_kd_int8/model.tflite | tflite |' in text


@pytest.mark.parametrize('name', ['x', 'x.txt', 'x.json.gz'])
def test_a_name_without_a_known_suffix_is_told_early(name, tmp_path):
  message = r'files end in \.json, \.csv, \.md, \.html; name it such as x'
  with pytest.raises(ValueError, match=message):
    files.check(tmp_path / name)
  with pytest.raises(ValueError, match=message):
    files.write(tmp_path / name, FOUR)
  assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told_early(tmp_path):
  files.check(tmp_path / 'new' / 'x.HTML')
  assert not list(tmp_path.iterdir())
  (tmp_path / 'x.md').mkdir()
  with pytest.raises(ValueError, match='a folder; expected the name of a file'):
    files.check(tmp_path / 'x.md')
