"""Every variant: an artifact in, a checked export out."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert

from tfcompress.conversion import parity, run
from tfcompress.core import records, types
from tfcompress.data import pipelines, sources
from tfcompress.models import io
from tfcompress.runtimes import load, tflite_file


def config(artifact, output_dir, **kwargs) -> types.ExportConfig:
  defaults = {'calibration_examples': 6, 'min_agreement_percent': 50}
  return types.ExportConfig(
    artifact=artifact, output_dir=str(output_dir), **(defaults | kwargs)
  )


def weight_dtypes(path: str) -> set[str]:
  """The dtypes of all convolution weights in a file, by their 4-D shape."""
  interpreter = litert.Interpreter(
    path,
    experimental_op_resolver_type=(
      litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    ),
  )
  return {
    np.dtype(detail['dtype']).name
    for detail in interpreter.get_tensor_details()
    if len(detail['shape']) == 4
    and detail['shape'][1] in (3, 7)
    and detail['shape'][1] == detail['shape'][2]
  }


@pytest.mark.parametrize(
  ('variant', 'weights', 'io_dtype'),
  [
    (types.Variant.FLOAT32, 'float32', 'float32'),
    pytest.param(
      types.Variant.FLOAT16, 'float16', 'float32', marks=pytest.mark.long
    ),
    pytest.param(
      types.Variant.DYNAMIC, 'int8', 'float32', marks=pytest.mark.long
    ),
    (types.Variant.INT8, 'int8', 'uint8'),
    pytest.param(
      types.Variant.STATIC_WI8_AI8, 'int8', 'uint8', marks=pytest.mark.long
    ),
    (types.Variant.DYNAMIC_WI8_AFP32, 'int8', 'float32'),
    pytest.param(
      types.Variant.WEIGHT_ONLY_WI8_AFP32,
      'int8',
      'float32',
      marks=pytest.mark.long,
    ),
  ],
)
def test_a_variant_has_the_numbers_its_name_says(
  variant, weights, io_dtype, exported
):
  path = f'{exported[variant]}/model.tflite'
  interpreter = litert.Interpreter(path)
  for detail in (
    *interpreter.get_input_details(),
    *interpreter.get_output_details(),
  ):
    assert np.dtype(detail['dtype']).name == io_dtype
  assert interpreter.get_input_details()[0]['shape'].tolist() == [1, 48, 48, 3]
  assert interpreter.get_output_details()[0]['shape'].tolist() == [1, 3]
  assert weights in weight_dtypes(path)


@pytest.mark.parametrize(
  'variant', [types.Variant.INT8, types.Variant.STATIC_WI8_AI8]
)
def test_full_int8_holds_no_float(variant, exported):
  path = f'{exported[variant]}/model.tflite'
  interpreter = litert.Interpreter(
    path,
    experimental_op_resolver_type=(
      litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    ),
  )
  kinds = {
    np.dtype(detail['dtype']).name
    for detail in interpreter.get_tensor_details()
  }
  assert kinds <= {'int8', 'uint8', 'int32'}


@pytest.mark.parametrize('io_dtype', types.IoDtype)
def test_int8_input_and_output_dtypes(io_dtype, own, tmp_path):
  run.run(config(own, tmp_path, io_dtype=io_dtype))
  interpreter = litert.Interpreter(str(tmp_path / 'model.tflite'))
  (inputs,), (outputs,) = (
    interpreter.get_input_details(),
    interpreter.get_output_details(),
  )
  assert np.dtype(inputs['dtype']).name == io_dtype.value
  assert np.dtype(outputs['dtype']).name == io_dtype.value
  metadata = json.loads((tmp_path / 'metadata.json').read_text())
  assert metadata['tfcompress']['io_dtype'] == io_dtype.value


@pytest.mark.parametrize(
  'variant',
  [
    types.Variant.INT8,
    types.Variant.STATIC_WI8_AI8,
    types.Variant.MIXED_WI4_WI8_AI8,
  ],
)
def test_the_uint8_input_takes_pixels_as_they_are(variant, exported):
  path = f'{exported[variant]}/model.tflite'
  (inputs,) = litert.Interpreter(path).get_input_details()
  scale, zero_point = inputs['quantization']
  assert (scale, zero_point) == (1, 0)


def test_metadata_and_architecture_by_hand(baseline, exported):
  spec = records.read_manifest(baseline).model
  folder = pathlib.Path(exported[types.Variant.FLOAT32])
  metadata = json.loads((folder / 'metadata.json').read_text())
  assert set(metadata) == {'username', 'teamname', 'model_format', 'tfcompress'}
  assert metadata['model_format'] == 'tflite'
  ours = metadata['tfcompress']
  assert ours['class_names'] == ['blue', 'green', 'red']
  assert ours['input_scaling'] == 'raw'
  assert ours['sha256'] == records.sha256(folder / 'model.tflite')
  assert ours['parent']['path'] == baseline
  assert ours['parity']['agreement_percent'] == 100
  assert ours['parity']['snr_db'] > 60
  # The stem, 16 convolutions in 8 blocks, 3 shortcuts and the head.
  assert ours['weights'] == {'float32': 21}
  architecture = json.loads((folder / 'architecture.json').read_text())
  assert architecture['model_type'] == 'ResNet-18'
  assert architecture['input_shape'] == [1, 48, 48, 3]
  assert architecture['output_shape'] == [1, 3]
  assert architecture['compression_steps'] == ['baseline', 'float32']
  layers = {layer['name']: layer for layer in architecture['layers']}
  assert len(layers) == 21
  assert architecture['pruning_rate'] == 0
  # 7x7/2 over three colors and white; in the file 4x4/1 over blocks of 2x2
  # pixels: of 8x8 places the 7x7 kernel leaves 15 empty.
  assert ours['rewrites'] == ['normalization', 'space_to_depth']
  assert layers['stem_conv'] == {
    'name': 'stem_conv',
    'type': 'Conv2D',
    'in_channels': 4,
    'out_channels': spec.channels['stem_conv'],
    'kernel_size': [7, 7],
    'strides': [2, 2],
    'dtype': 'float32',
    'zeros': 15 / 64,
    'clusters': None,
  }


def test_a_file_without_rewrites_has_the_layers_as_they_were(
  baseline, tmp_path
):
  folder = tmp_path / 'out'
  parity = run.run(
    config(baseline, folder, variant=types.Variant.FLOAT32, rewrites=())
  )
  assert parity.agreement_percent == 100
  architecture = json.loads((folder / 'architecture.json').read_text())
  (stem,) = [
    layer for layer in architecture['layers'] if layer['name'] == 'stem_conv'
  ]
  assert (stem['in_channels'], stem['kernel_size']) == (3, [7, 7])
  metadata = json.loads((folder / 'metadata.json').read_text())
  assert metadata['tfcompress']['rewrites'] == []


def test_rewritten_int8_files_predict_the_same(
  baseline, exported, folder, tmp_path
):
  """Of a trained network, on all images: to the last bit, but normalized ones."""
  exact = (types.Rewrite.SPACE_TO_DEPTH, types.Rewrite.RESIZE)
  source = sources.load(types.DataSpec(f'folder:{folder}'))
  batches = pipelines.evaluation(
    source,
    types.Split.TRAIN,
    types.EvaluationTransform.CHALLENGE,
    batch_size=64,
    input_size=48,
  )
  images = np.concatenate([images for images, _ in batches])
  paths = [str(tmp_path / 'as_it_was'), str(tmp_path / 'rewritten')]
  for path, rewrites in zip(paths, ((), exact)):
    run.run(config(baseline, path, rewrites=rewrites, calibration_examples=12))
  outputs = []
  for path in (*paths, exported[types.Variant.INT8]):
    backend = load.open_model(path)
    files = [backend.predict(image[None])[0] for image in images]
    outputs.append(np.array(files, int))
  as_it_was, rewritten, without_normalization = outputs
  assert len({row.argmax() for row in as_it_was}) == 3
  np.testing.assert_array_equal(rewritten, as_it_was)
  same = without_normalization.argmax(1) == as_it_was.argmax(1)
  assert same.mean() > 0.9


@pytest.mark.parametrize(
  ('rewrite', 'message'),
  [
    ('no_ops', 'no_ops does not fit .*: every layer does something'),
    ('resize', 'resize does not fit the file: it has no uint8 pixels that'),
  ],
)
def test_a_rewrite_that_does_not_fit_is_refused(
  rewrite, message, own, tmp_path
):
  wanted = (types.Rewrite(rewrite),)
  folder = tmp_path / 'out'
  with pytest.raises(ValueError, match=message):
    run.run(config(own, folder, variant=types.Variant.FLOAT32, rewrites=wanted))
  assert not folder.exists()


def test_a_dense_layer_in_the_architecture(exported):
  folder = pathlib.Path(exported[types.Variant.FLOAT32])
  architecture = json.loads((folder / 'architecture.json').read_text())
  layers = {layer['name']: layer for layer in architecture['layers']}
  assert layers['logits']['in_channels'] == 64
  assert layers['logits']['kernel_size'] == []


def test_a_file_too_far_from_its_parent_is_not_written(own, tmp_path):
  folder = tmp_path / 'out'
  with pytest.raises(
    ValueError, match='expected at least 300 dB; no model was'
  ):
    run.run(config(own, folder, min_snr_db=300))
  assert not folder.exists()


def test_a_float_variant_with_an_integer_input_is_refused(own, tmp_path):
  wrong = config(
    own,
    tmp_path / 'out',
    variant=types.Variant.DYNAMIC,
    io_dtype=types.IoDtype.INT8,
  )
  with pytest.raises(ValueError, match='contradicts --variant=dynamic'):
    run.run(wrong)
  assert not (tmp_path / 'out').exists()


def test_a_submission_must_keep_the_challenges_interface(baseline, tmp_path):
  wrong = config(baseline, tmp_path / 'out', username='ada')
  with pytest.raises(ValueError, match='48x48 images and 3 classes'):
    run.run(wrong)


def test_parity_by_hand():
  parent = np.array([[0.8, 0.2], [0.4, 0.6]], np.float32)
  file = np.array([[0.7, 0.3], [0.6, 0.4]], np.float32)
  result = parity.compare(parent, file, np.array([0, 1]))
  assert result.agreement_percent == 50
  signal, noise = 0.64 + 0.04 + 0.16 + 0.36, 4 * 0.01 + 0.06
  noise = 0.01 + 0.01 + 0.04 + 0.04
  assert result.snr_db == pytest.approx(10 * np.log10(signal / noise), abs=1e-4)
  assert result.parent_top1_percent == 100
  assert result.file_top1_percent == 50


def test_outputs_that_are_not_finite_are_refused():
  parent = np.array([[0.8, 0.2], [0.4, 0.6]], np.float32)
  file = np.array([[0.8, 0.2], [np.nan, 0.6]], np.float32)
  with pytest.raises(ValueError, match='outputs that are not finite'):
    parity.compare(parent, file, np.array([0, 1]))


def test_a_tie_of_the_true_class_is_no_top1():
  parent = np.array([[0.5, 0.5], [0.25, 0.75]], np.float32)
  file = np.array([[0.75, 0.25], [0.5, 0.5]], np.float32)
  result = parity.compare(parent, file, np.array([0, 1]))
  assert (result.parent_top1_percent, result.file_top1_percent) == (50, 50)


def test_disagreement_is_refused():
  result = parity.compare(
    np.array([[0.8, 0.2]]), np.array([[0.2, 0.8]]), np.array([0])
  )
  with pytest.raises(ValueError, match="parent's top-1 on 0.0 % of 1 held-out"):
    parity.require(
      result, types.ExportConfig(artifact='a', output_dir='b'), trained=False
    )


@pytest.mark.parametrize('least', ['min_agreement_percent', 'min_snr_db'])
@pytest.mark.parametrize(
  ('variant', 'helps', 'no_help'),
  [
    (
      'int8',
      'raise --calibration_examples, keep layers in float32 by --keep_float '
      'or --max_drop (with --variant=static_wi8_ai8), train the artifact on '
      'with --stage=qat, choose another --variant, or lower --{}',
      'no other',
    ),
    (
      'static_wi4_ai8',
      'by --keep_float or --max_drop, train',
      'with --variant',
    ),
    ('dynamic_wi4_afp32', 'written; keep layers in float32 by', 'qat'),
    ('float16', 'written; choose another --variant, or lower --{}', 'keep'),
    (
      'int8 of qat',
      'written; train its parent longer with --stage=qat, or export that '
      'parent, or lower --{}',
      'calibration',
    ),
  ],
)
def test_a_refusal_names_what_would_help(variant, helps, no_help, least):
  result = parity.compare(
    np.array([[0.8, 0.2]]), np.array([[0.2, 0.8]]), np.array([0])
  )
  limits = {'min_agreement_percent': 0.0, 'min_snr_db': -300.0}
  limits[least] = 100.0
  config = types.ExportConfig(
    artifact='a',
    output_dir='b',
    variant=types.Variant(variant.partition(' ')[0]),
    **limits,
  )
  with pytest.raises(ValueError) as error:
    parity.require(result, config, trained='qat' in variant)
  assert helps.format(least) in str(error.value)
  assert no_help not in str(error.value)


def test_zeros_of_a_pruned_parent_reach_the_file(own, tmp_path):
  """Magnitude zeros stay zeros in symmetric int8 weights."""
  model, manifest = io.load(own)
  for layer in model.layers:
    if hasattr(layer, 'kernel'):
      kernel = layer.kernel.numpy()
      kernel[..., ::2] = 0
      layer.kernel.assign(kernel)
  pruned = tmp_path / 'pruned'
  pruned.mkdir()
  sparsity = io.sparsity(model)
  io.save(str(pruned), model, dataclasses.replace(manifest, sparsity=sparsity))
  run.run(
    config(str(pruned), tmp_path / 'out', min_agreement_percent=0, min_snr_db=0)
  )
  total, nonzero = tflite_file.constants(str(tmp_path / 'out'))
  assert 0.45 < nonzero / total < 0.56
  architecture = pathlib.Path(tmp_path / 'out' / 'architecture.json')
  rate = json.loads(architecture.read_text())['pruning_rate']
  assert rate == pytest.approx(0.5, abs=0.01)


def test_layers_in_float_and_their_sensitivity(own, tmp_path):
  seen = []
  options = config(
    own,
    tmp_path,
    variant=types.Variant.STATIC_WI8_AI8,
    calibration=types.Calibration.MSE,
    kernel_ranges=types.KernelRange.OCTAV,
    keep_float=2,
  )
  run.run(options, seen.append)
  (layers,) = seen
  architecture = json.loads((tmp_path / 'architecture.json').read_text())
  dtypes = {layer['name']: layer['dtype'] for layer in architecture['layers']}
  assert sorted(dtypes) == sorted(layer.layer for layer in layers)
  in_float = {name for name, dtype in dtypes.items() if dtype == 'float32'}
  assert in_float == {layer.layer for layer in layers[:2]}
  metadata = json.loads((tmp_path / 'metadata.json').read_text())['tfcompress']
  assert metadata['variant'] == 'static_wi8_ai8'
  assert metadata['calibration'] == {'method': 'mse', 'examples': 6}
  assert metadata['kernel_ranges'] == 'octav'
  assert metadata['io_dtype'] == 'uint8'


def test_a_drop_that_cannot_be_met_keeps_the_best_file_aside(own, tmp_path):
  wrong = config(
    own,
    tmp_path,
    variant=types.Variant.MIXED_WI4_WI8_AI8,
    max_drop=-200.0,
    parity_examples=6,
  )
  with pytest.raises(
    ValueError, match='--max_drop=-200 cannot be met'
  ) as error:
    run.run(wrong)
  (aside,) = tmp_path.iterdir()
  drop = re.fullmatch(r'model\.drop-(-?\d+\.\d\d)\.tflite', aside.name)[1]
  text = str(error.value)
  assert f'smallest drop found is {drop} points of top-1 on 6 held-out' in text
  assert f'kept aside as {aside}; raise --max_drop, or raise --calib' in text
  assert '--stage=qat' in text and '--keep_float' not in text
  litert.Interpreter(str(aside)).allocate_tensors()


def test_calibration_images_of_one_class_are_refused(own, tmp_path):
  message = "the 1 calibration images are all of class 'blue', expected"
  with pytest.raises(ValueError, match=message):
    run.run(config(own, tmp_path / 'out', calibration_examples=1))
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
  ('scale', 'message'),
  [
    (1 / 255, 'values from 0 to 1, expected raw pixels 0..255'),
    (1 / 40, 'on another scale than the model was trained on: before layer'),
  ],
)
def test_images_on_another_scale_are_refused(
  scale, message, own, folder, tmp_path
):
  """Whole numbers still, as image files hold them, but nearly black ones."""
  import tensorflow as tf

  for path in folder.rglob('*.*'):
    image = tf.io.decode_image(path.read_bytes()).numpy()
    dark = np.round(image * scale).astype(np.uint8)
    target = tmp_path / 'dark' / path.relative_to(folder).with_suffix('.png')
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(tf.io.encode_png(dark).numpy())
  data = types.DataSpec(dataset=f'folder:{tmp_path}/dark')
  for variant in (types.Variant.INT8, types.Variant.STATIC_WI8_AI8):
    wrong = config(own, tmp_path / 'out', variant=variant, data=data)
    with pytest.raises(ValueError, match=message):
      run.run(wrong)
  assert not (tmp_path / 'out').exists()


def test_a_slow_variant_warns(own, tmp_path, capsys):
  slow = config(
    own,
    tmp_path,
    variant=types.Variant.STATIC_WI4_AI8,
    min_agreement_percent=0,
    min_snr_db=0,
  )
  run.run(slow)
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('warning: --variant=static_wi4_ai8: 5 conv_2d of int4')
  assert line.endswith('for speed take --variant=static_wi8_ai8')
