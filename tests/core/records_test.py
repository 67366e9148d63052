import dataclasses
import errno
import json
import os

import pytest

from tfcompress.core import configs, measurements, records, types


def config() -> configs.TrainConfig:
  return configs.TrainConfig(
    stage=types.Stage.KD,
    output_dir='runs/x',
    model=types.ModelSpec(channels={'stem_conv': 3}),
    distill=configs.DistillConfig(teacher=('runs/t',)),
  )


def test_a_config_survives_json():
  content = json.loads(json.dumps(records.to_json(config())))
  assert content['stage'] == 'kd'
  assert content['model']['channels'] == {'stem_conv': 3}
  assert records.from_json(configs.TrainConfig, content) == config()


def test_a_missing_field_is_named():
  with pytest.raises(ValueError, match='TrainConfig without output_dir'):
    records.from_json(configs.TrainConfig, {'stage': 'kd'})


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('num_classes', None, 'num_classes: expected int, got null'),
    ('num_classes', True, 'num_classes: expected int, got true'),
    ('width_multiplier', 'x', 'width_multiplier: expected float, got "x"'),
    ('stem', 'no', "stem: 'no' is not a valid Stem"),
    ('blocks', [2, 'a'], 'blocks: expected int, got "a"'),
    ('channels', [], r'channels: expected dict, got \[\]'),
    ('channels', {'stem_conv': 1.5}, 'channels: expected int, got 1.5'),
  ],
)
def test_a_value_of_another_type_is_named(field, value, message):
  content = records.to_json(types.ModelSpec()) | {field: value}
  with pytest.raises(ValueError, match=message):
    records.from_json(types.ModelSpec, content)


def test_whole_numbers_and_nothing_where_they_may_be():
  changes = {'width_multiplier': 1, 'internal_size': None}
  content = records.to_json(types.ModelSpec()) | changes
  read = records.from_json(types.ModelSpec, content)
  assert read == types.ModelSpec()
  assert isinstance(read.width_multiplier, float)


def test_a_record_of_another_version_is_refused():
  content = records.to_json(types.ModelSpec()) | {'schema_version': 99}
  records.from_json(types.ModelSpec, content)  # It has no versions.
  with pytest.raises(ValueError, match='schema version 99, expected 1'):
    records.from_json(measurements.Measurement, {'schema_version': 99})


@pytest.mark.parametrize('text', ['{"a": NaN}', '[' * 100_000, '[]', 'no'])
def test_what_is_no_object_in_json(text, tmp_path):
  (tmp_path / 'x.json').write_text(text)
  with pytest.raises(ValueError, match='x.json: '):
    records.read_json(tmp_path / 'x.json')


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
  def full(descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  path = tmp_path / 'record.json'
  records.write_json(path, {'a': 1})
  with pytest.raises(ValueError):
    records.write_json(path, {'a': float('nan')})
  with monkeypatch.context() as patch:
    patch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
      records.write_json(path, {'a': 2})
  assert json.loads(path.read_text()) == {'a': 1}
  assert [child.name for child in tmp_path.iterdir()] == ['record.json']


def test_sha256_of_nothing_is_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match='no_such'):
    records.sha256(tmp_path / 'no_such')


def test_sha256_of_a_file_is_the_standard_one(tmp_path):
  (tmp_path / 'abc').write_bytes(b'abc')
  # FIPS 180-2, appendix B.1.
  assert records.sha256(tmp_path / 'abc') == (
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
  )


def test_sha256_of_a_folder_sees_names_and_contents(tmp_path):
  (tmp_path / 'a').write_bytes(b'1')
  first = records.sha256(tmp_path)
  (tmp_path / 'a').rename(tmp_path / 'b')
  second = records.sha256(tmp_path)
  (tmp_path / 'b').write_bytes(b'2')
  assert len({first, second, records.sha256(tmp_path)}) == 3


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (None, 'no finished artifact'),
    ('{', 'not a JSON file'),
    ('[]', 'expected a JSON object'),
    ('{"stage": "kd"}', 'not a manifest of schema version 1'),
  ],
)
def test_an_unfinished_or_foreign_artifact_is_refused(
  tmp_path, content, message
):
  if content is not None:
    (tmp_path / 'manifest.json').write_text(content)
  with pytest.raises(ValueError, match=message):
    records.read_manifest(tmp_path)


def test_a_missing_artifact_is_named(tmp_path):
  with pytest.raises(ValueError, match='nowhere: no such artifact folder'):
    records.read_manifest(tmp_path / 'nowhere')


def test_specs_are_frozen():
  with pytest.raises(dataclasses.FrozenInstanceError):
    types.ModelSpec().depth = 34


def test_a_manifest_of_before_a_field_was_added_still_reads(baseline, tmp_path):
  content = records.read_json(f'{baseline}/manifest.json')
  for name in ('clusters', 'parameters', 'macs', 'quantized'):
    del content[name]
  records.write_json(tmp_path / 'manifest.json', content)
  manifest = records.read_manifest(tmp_path)
  assert manifest.clusters == {}
  assert manifest.quantized is False
