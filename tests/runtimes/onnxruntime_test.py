"""ONNX Runtime against ONNX's own reference, and what is refused."""

import pathlib
import random

import numpy as np
import pytest

from tests import needs
from tfcompress.core import environment, measurements
from tfcompress.runtimes import load

onnxruntime = needs.module('onnxruntime')
onnx = needs.module('onnx')
reference = needs.module('onnx.reference')

FLOAT, UINT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8
IMAGES = np.random.RandomState(0).randint(0, 256, (3, 3, 32, 32), np.uint8)


def write(path, kind=FLOAT, shape=('batch', 3, 32, 32), inputs=1, outputs=1):
  """A convolution and a dense layer, and more inputs and outputs if asked."""
  rng = np.random.RandomState(1)
  weights = [
    onnx.numpy_helper.from_array(rng.randn(*size).astype(np.float32), name)
    for name, size in (('kernel', (4, 3, 3, 3)), ('dense', (4, 10)))
  ]
  node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
  nodes = [
    node('Cast', ['image0'], ['pixels'], to=FLOAT),
    node('Conv', ['pixels', 'kernel'], ['maps'], strides=[2, 2]),
    node('Relu', ['maps'], ['positive']),
    node('ReduceMean', ['positive'], ['means'], axes=[2, 3], keepdims=0),
    node('MatMul', ['means', 'dense'], ['scores0']),
    *(node('Relu', ['scores0'], [f'scores{i}']) for i in range(1, outputs)),
  ]
  graph = onnx.helper.make_graph(
    nodes,
    'graph',
    [value(f'image{i}', kind, shape) for i in range(inputs)],
    [value(f'scores{i}', FLOAT, (shape[0], 10)) for i in range(outputs)],
    weights,
  )
  opset = [onnx.helper.make_opsetid('', 13)]
  model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
  onnx.save(model, str(path))
  return str(path)


def opened(path: str, **options):
  return load.open_file(measurements.OpenConfig(path, **options))


@pytest.mark.parametrize(
  ('kind', 'dtype'), [(FLOAT, 'float32'), (UINT8, 'uint8')]
)
def test_scores_are_those_of_the_reference(kind, dtype, tmp_path):
  path = write(tmp_path / 'model.onnx', kind)
  backend = opened(path)
  assert backend.inputs == (
    measurements.TensorInfo('image0', (-1, 3, 32, 32), dtype),
  )
  assert backend.outputs == (
    measurements.TensorInfo('scores0', (-1, 10), 'float32'),
  )
  images = IMAGES.astype(dtype)
  (expected,) = reference.ReferenceEvaluator(path).run(None, {'image0': images})
  np.testing.assert_allclose(backend.predict(images), expected, rtol=1e-4)
  np.testing.assert_allclose(
    backend.predict(images[1:2]), expected[1:2], rtol=1e-4
  )


def test_info_says_what_runs(tmp_path):
  path = write(tmp_path / 'model.onnx', shape=(2, 3, 32, 32))
  backend = opened(path, num_threads=1)
  assert backend.inputs[0].shape == (2, 3, 32, 32)
  assert backend.info() == measurements.RuntimeRecord(
    name='onnxruntime',
    version=onnxruntime.__version__,
    device=environment.cpu_name(),
    num_threads=1,
    fully_delegated=None,
  )
  with pytest.raises(ValueError, match='ONNX Runtime cannot run the file'):
    backend.predict(IMAGES.astype(np.float32))
  backend.close()


def test_more_than_one_input_or_output(tmp_path):
  for inputs, outputs in ((2, 1), (1, 2)):
    path = write(tmp_path / 'model.onnx', inputs=inputs, outputs=outputs)
    with pytest.raises(
      ValueError,
      match=f'{inputs} inputs .* and {outputs} outputs .*expected one',
    ):
      opened(path)


def test_damaged_files(tmp_path):
  path = tmp_path / 'model.onnx'
  content = pathlib.Path(write(path)).read_bytes()
  rng = random.Random(0)
  for cut in (9, 100, 400, len(content) - 40):
    for spoiled in (content[:cut], rng.randbytes(cut)):
      path.write_bytes(spoiled)
      with pytest.raises(ValueError, match='ONNX Runtime cannot open') as error:
        opened(str(path))
      assert '\n' not in str(error.value)


@pytest.mark.skipif(
  'CUDAExecutionProvider' in onnxruntime.get_available_providers(),
  reason='ONNX Runtime has CUDA',
)
def test_a_gpu_that_is_not_there(tmp_path):
  path = write(tmp_path / 'model.onnx')
  with pytest.raises(
    ValueError, match='CPUExecutionProvider alone; install onnxruntime-gpu'
  ):
    opened(path, device=measurements.Device.GPU)
