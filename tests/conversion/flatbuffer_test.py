"""Changes to a file leave every output as it was, to the last bit."""

import numpy as np
import pytest
import tf_keras
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from tfcompress.conversion import flatbuffer, layer_names, tflite
from tfcompress.core import types
from tfcompress.models import resnet


def operators(content):
  model = schema.ModelT.InitFromPackedBuf(content, 0)
  codes = {v: k for k, v in vars(schema.BuiltinOperator).items()}
  return [
    codes[max(code.deprecatedBuiltinCode, code.builtinCode)]
    for operator in model.subgraphs[0].operators
    for code in [model.operatorCodes[operator.opcodeIndex]]
  ]


def outputs(content, images):
  interpreter = litert.Interpreter(model_content=content)
  interpreter.allocate_tensors()
  results = []
  for image in images:
    index = interpreter.get_input_details()[0]['index']
    interpreter.set_tensor(index, image[None])
    interpreter.invoke()
    results.append(
      interpreter.get_tensor(interpreter.get_output_details()[0]['index'])
    )
  return np.concatenate(results)


@pytest.fixture(scope='module')
def images():
  rng = np.random.RandomState(0)
  noise = rng.randint(0, 256, (20, 96, 96, 3))
  smooth = np.kron(rng.randint(0, 256, (20, 6, 6, 3)), np.ones((1, 16, 16, 1)))
  return np.concatenate([noise, smooth]).astype(np.uint8)


@pytest.fixture(scope='module')
def network():
  spec = types.ModelSpec(
    width_multiplier=0.125, input_size=96, internal_size=40, blocks=(1, 1)
  )
  tf_keras.utils.set_random_seed(1)
  model = resnet.build(spec)
  rng = np.random.RandomState(0)
  # The last normalization of a block begins at zero.
  model.set_weights([w + 0.1 * rng.rand(*w.shape) for w in model.get_weights()])
  return model


@pytest.fixture(scope='module')
def content(network, images):
  return tflite.convert(network, types.Variant.INT8, None, images)


def test_pixels_are_resized_before_they_are_converted(content, images):
  assert operators(content)[:2] == ['QUANTIZE', 'RESIZE_BILINEAR']
  file = flatbuffer.rewritten(content, wanted=[types.Rewrite.RESIZE])
  assert file.done == (types.Rewrite.RESIZE,)
  assert operators(file.content)[:2] == ['RESIZE_BILINEAR', 'QUANTIZE']
  assert operators(file.content)[2:] == operators(content)[2:]
  expected = outputs(content, images)
  assert len(np.unique(expected, axis=0)) > 10
  np.testing.assert_array_equal(outputs(file.content, images), expected)


def test_a_file_that_resizes_nothing_is_left_alone(network, images):
  other = tflite.convert(network, types.Variant.FLOAT32)
  int8 = tflite.convert(network, types.Variant.INT8, types.IoDtype.INT8, images)
  for file in (other, int8):  # The second has nothing to be converted.
    assert types.Rewrite.RESIZE not in flatbuffer.rewritten(file).done
    with pytest.raises(
      ValueError, match='=resize does not fit the file: it ha'
    ):
      flatbuffer.rewritten(file, wanted=[types.Rewrite.RESIZE])


def test_a_compact_file_says_the_same_in_fewer_bytes(content, network, images):
  layers = layer_names.of_model(network)
  compact = flatbuffer.rewritten(content, layers, ()).content
  np.testing.assert_array_equal(
    outputs(compact, images), outputs(content, images)
  )
  read = lambda file: schema.ModelT.InitFromPackedBuf(file, 0).subgraphs[0]
  before, after = read(content), read(compact)
  kernel = lambda graph: {
    t.name.decode() for t in graph.tensors if t.name.endswith(b'conv2')
  }
  assert 'stage1_block1_conv2' in kernel(after)
  assert not kernel(before)
  # What the file's user sees keeps its name.
  for end in ('inputs', 'outputs'):
    names = [
      [graph.tensors[i].name for i in getattr(graph, end)]
      for graph in (before, after)
    ]
    assert names[0] == names[1]
  # 8 bytes a channel for each tensor's zero points, now once for each count.
  zeros = [
    t.quantization.zeroPoint.nbytes
    for t in before.tensors
    if t.quantization is not None and t.quantization.zeroPoint is not None
  ]
  spared = sum(zeros) - sum(set(zeros))
  assert len(content) - len(compact) >= spared > 0
