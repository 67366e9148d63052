import pytest
from ai_edge_litert import interpreter as litert

from tests import cases
from tfcompress.core import measurements, types
from tfcompress.measurement import int8, profile
from tfcompress.reports import tables


@pytest.mark.parametrize(
  'variant',
  [
    types.Variant.INT8,
    types.Variant.FLOAT32,
    types.Variant.FLOAT16,
    types.Variant.DYNAMIC,
    types.Variant.WEIGHT_ONLY_WI8_AFP32,
  ],
)
def test_every_operator_is_timed_alone(variant, exported):
  record = profile.profile(exported[variant], 48, seconds=0.01)
  content = litert.Interpreter(f'{exported[variant]}/model.tflite')
  # LiteRT's own list ends with the delegate that took some of them over.
  expected = [
    detail['op_name']
    for detail in content._get_ops_details()
    # Of a float16 constant, what makes it float32 runs once.
    if detail['op_name'] != 'DELEGATE'
    and not (
      variant.value[:7] in ('float16', 'weight_')
      and detail['op_name'] == 'DEQUANTIZE'
    )
  ]
  assert [o.operator for o in record.operators] == expected
  assert all(operator.ms > 0 for operator in record.operators)
  assert record.operators[-1].shape == (1, 3)
  assert int8.is_int8(record) == (variant is types.Variant.INT8)
  assert int8.is_float(record) != int8.is_int8(record)
  # Alone or together, it is the same work.
  total = sum(operator.ms for operator in record.operators)
  assert 0.2 < total / record.whole_ms < 5


@pytest.mark.parametrize('name', ['freehw.tflite', 'dynbatch_reshape1.tflite'])
def test_a_file_of_free_size_is_timed_at_that_of_its_images(name):
  path = cases.path(name)
  record = profile.profile(path, 40, seconds=0.001)
  interpreter = litert.Interpreter(path)
  [given] = interpreter.get_input_details()
  interpreter.resize_tensor_input(given['index'], (1, 40, 40, 3))
  interpreter.allocate_tensors()
  shapes = {
    tensor['name']: tuple(tensor['shape'].tolist())
    for tensor in interpreter.get_tensor_details()
  }
  assert [o.shape for o in record.operators] == [
    shapes[o.name] for o in record.operators
  ]
  assert max(record.operators[0].shape) > 3


def test_a_profile_as_a_table():
  record = measurements.ProfileRecord(
    (
      measurements.OperatorRecord('CONV_2D', 'stem', (1, 8, 8, 4), 'int8', 3.0),
      measurements.OperatorRecord('SOFTMAX', 'out', (1, 5), 'int8', 1.0),
    ),
    3.5,
  )
  lines = tables.profile(record).splitlines()
  assert lines[2].split() == [
    'CONV_2D', 'stem', '1x8x8x4', 'int8', '3.000', '75.0', '%',
  ]  # fmt: skip
  assert lines[-1] == (
    '2 operators, each alone 4.000 ms, the file 3.500 ms, one thread'
  )
