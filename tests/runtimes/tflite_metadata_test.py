"""Metadata that TFLite Support wrote."""

import pathlib

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests import cases
from tfcompress.core import types
from tfcompress.runtimes import load, tflite_file, tflite_metadata

CAFFE = cases.path('caffe_metadata.tflite')
NAME = b'TFLITE_METADATA'


def changed(tmp_path, change) -> pathlib.Path:
  """A file with metadata whose flatbuffer was changed."""
  model = tflite_file.model_of(pathlib.Path(CAFFE).read_bytes())
  change(model)
  path = tmp_path / 'model.tflite'
  path.write_bytes(tflite_file.packed(model))
  return path


def buffer_of(model) -> schema.BufferT:
  [entry] = [one for one in model.metadata if one.name == NAME]
  return model.buffers[entry.buffer]


def test_a_number_for_each_channel_and_one_for_all():
  found = load.told_preprocessing(CAFFE)
  np.testing.assert_allclose(found.mean, [103.939, 116.779, 123.68], rtol=1e-6)
  assert found.std == (1.0, 1.0, 1.0)
  one = load.told_preprocessing(cases.path('f32_metadata.tflite'))
  assert one == types.Normalization.SYMMETRIC.preprocessing


def test_files_that_do_not_tell(tmp_path):
  for name in ('f32.tflite', 'nchw_dyn_fixed.onnx'):
    assert load.told_preprocessing(cases.path(name)) is None
  empty = changed(tmp_path, lambda model: model.metadata.clear())
  assert tflite_metadata.preprocessing(empty) is None


def test_bytes_are_never_normalized(tmp_path):
  def make_bytes(model):
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].type = schema.TensorType.UINT8

  found = tflite_metadata.preprocessing(changed(tmp_path, make_bytes))
  assert found == types.Preprocessing()


@pytest.mark.parametrize('cut', [0, 3, 8, 40, 120, 200, 300])
def test_damaged_metadata_tells_nothing_or_the_same(cut, tmp_path):
  def shorten(model):
    buffer_of(model).data = np.array(buffer_of(model).data)[:cut]

  found = tflite_metadata.preprocessing(changed(tmp_path, shorten))
  assert found in (None, load.told_preprocessing(CAFFE))


def test_any_damage_tells_nothing_that_cannot_be(tmp_path):
  rng = np.random.RandomState(0)

  def scatter(model):
    data = np.array(buffer_of(model).data)
    places = rng.randint(0, len(data), 6)
    data[places] = rng.randint(0, 256, 6)
    buffer_of(model).data = data

  for _ in range(60):
    found = tflite_metadata.preprocessing(changed(tmp_path, scatter))
    if found is not None:
      assert len(found.mean) == len(found.std) == 3
      assert np.isfinite(found.mean + found.std).all() and all(found.std)
