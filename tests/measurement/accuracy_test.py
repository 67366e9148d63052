import dataclasses

import numpy as np
import pytest

from tests import conftest
from tests.data import image_files
from tests.measurement import programs
from tfcompress.core import measurements, records, types
from tfcompress.measurement import accuracy, statistics

LIMITS = measurements.Limits(isolation=measurements.Isolation.PROCESS)


def config(path: str, data: types.DataSpec, **fields):
  scaling = fields.pop('input_scaling', types.Preprocessing())
  return measurements.MeasureConfig(
    measurements.OpenConfig(path),
    data=data,
    input_scaling=scaling,
    limits=LIMITS,
    **fields,
  )


def classified(scores, labels) -> accuracy.Classified:
  scores = np.asarray(scores, np.float32)
  found = statistics.probabilities(scores)
  return accuracy.Classified(scores, found, np.array(labels), 1)


@pytest.mark.parametrize('value', [0.0, 0.125, 1e9])
def test_a_network_that_gives_all_classes_the_same_is_never_right(value):
  found = classified(np.full((16, 8), value), np.arange(16) % 8)
  record = accuracy.summarize(found, tuple('abcdefgh'))
  assert record.top1_percent == record.top5_percent == 0
  assert record.balanced_percent == 0
  assert set(record.per_class_percent.values()) == {0}
  assert sum(record.confusion[i][i] for i in range(8)) == 0
  assert sum(map(sum, record.confusion)) == 16


def test_scores_rank_where_probabilities_are_rounded_to_equal_ones():
  """exp(-200) is zero in float32: the fourth of eight is still the fourth."""
  found = classified([np.arange(0, -1600, -200)] * 2, [3, 6])
  assert (found.probabilities[0, 1:] == 0).all()
  record = accuracy.summarize(found)
  assert (record.top1_percent, record.top5_percent) == (0, 50)


def test_what_others_make_of_equal_scores_is_said():
  scores = np.array([[7, 7, 1], [7, 7, 1], [1, 2, 9], [9, 0, 9], [0, 5, 1]])
  labels = np.array([0, 1, 2, 0, 0])
  [sentence] = accuracy._of_ties(scores, labels)
  assert sentence.startswith('2 of 5 images have their class and others at the')
  assert sentence.endswith('where the first of equals counts, top-1 is 60.00 %')
  assert not list(accuracy._of_ties(scores[2:3], labels[2:3]))


@pytest.mark.parametrize(
  ('classes', 'known'), [(4, False), (5, False), (6, True)]
)
def test_top_5_only_of_more_than_five_classes(classes, known):
  record = accuracy.summarize(classified(np.eye(classes), np.arange(classes)))
  assert record.top1_percent == 100
  assert record.top5_percent == (100 if known else None)
  assert (record.top5_ci95_percent is not None) == known


def test_balanced_accuracy_by_hand():
  """Nine of the first class, all right; one of the second, wrong; no third."""
  found = classified(np.eye(3)[[0] * 10], [0] * 9 + [1])
  record = accuracy.summarize(found)
  assert record.top1_percent == 90
  assert record.balanced_percent == 50


def test_accuracy_by_hand():
  # The true class comes first, second, seventh, and first.
  probabilities = np.zeros((4, 8))
  probabilities[0, 3] = probabilities[3, 0] = 1
  probabilities[1, [2, 5]] = 0.6, 0.4
  probabilities[2] = np.arange(8, 0, -1) / 36
  labels = np.array([3, 5, 6, 0])
  found = accuracy.Classified(probabilities, probabilities, labels, 2)
  record = accuracy.summarize(found)
  assert (record.top1_percent, record.top5_percent) == (50, 75)
  assert (record.num_examples, record.batch_size) == (4, 2)
  low, high = record.top5_ci95_percent
  assert low < 75 < high
  assert record.agreement_percent is record.confusion is None
  # Confident 1, 1, 0.6 and 8/36; right twice at 1 and wrong twice.
  assert record.calibration_error == pytest.approx((0.6 + 8 / 36) / 4)

  other = dataclasses.replace(found, scores=np.eye(8)[[3, 2, 0, 1]])
  names = tuple('abcdefgh')
  record = accuracy.summarize(found, names, other)
  assert record.agreement_percent == 75
  assert record.per_class_percent['d'] == record.per_class_percent['a'] == 100
  assert record.per_class_percent['f'] == 0
  assert sum(map(sum, record.confusion)) == 4
  assert record.confusion[5][2] == record.confusion[6][0] == 1


@pytest.mark.parametrize('variant', [types.Variant.INT8, types.Variant.FLOAT32])
def test_accuracy_is_the_parents(variant, exported, baseline, data):
  found, dataset = accuracy.measure(config(exported[variant], data))
  metrics = records.read_manifest(baseline).metrics
  record = accuracy.summarize(found)
  assert record.num_examples == dataset.num_examples == 12
  assert abs(record.top1_percent - metrics['top1_percent']) <= 100 / 12 + 0.01
  assert dataset.transform == 'challenge' and dataset.input_scaling == 'raw'
  assert dataset.scaling_source == 'flag'
  np.testing.assert_array_equal(np.bincount(found.labels), [4, 4, 4])


def test_images_of_several_chunks_stay_in_order(exported, data, monkeypatch):
  """Against the loop that everyone writes."""
  monkeypatch.setattr(accuracy, '_CHUNK', 5)
  monkeypatch.setattr(accuracy, '_SLOW_CHUNK', 5)
  found, _ = accuracy.measure(config(exported[types.Variant.FLOAT32], data))
  assert found.batch_size == 1
  from ai_edge_litert import interpreter as litert

  from tfcompress.data import pipelines, sources

  interpreter = litert.Interpreter(
    exported[types.Variant.FLOAT32] + '/model.tflite'
  )
  interpreter.allocate_tensors()
  source = sources.load(data)
  batches = pipelines.evaluation(
    source,
    types.Split.VALIDATION,
    data.transform,
    batch_size=1,
    input_size=48,
    order=accuracy._ORDER,
  )
  assert sorted(found.labels) == [0] * 4 + [1] * 4 + [2] * 4
  assert len(found.answers.images) == 12
  [inputs], [outputs] = (
    interpreter.get_input_details(),
    interpreter.get_output_details(),
  )
  for index, (image, label) in enumerate(batches.as_numpy_iterator()):
    interpreter.set_tensor(inputs['index'], image.astype(inputs['dtype']))
    interpreter.invoke()
    expected = interpreter.get_tensor(outputs['index'])
    np.testing.assert_allclose(
      found.probabilities[index], expected[0], atol=1e-5
    )
    assert found.labels[index] == label


@pytest.mark.parametrize('variant', [types.Variant.INT8, types.Variant.FLOAT32])
def test_every_image_as_with_pillow_and_a_bare_interpreter(
  variant, exported, tmp_path, monkeypatch
):
  from ai_edge_litert import interpreter as litert

  monkeypatch.setattr(accuracy, '_ORDER', None)  # as the files lie
  options = [{'quality': 30}, {'subsampling': 0}, {'progressive': True}]
  modes = ('RGB', 'RGB', 'RGB', 'L', 'CMYK')
  files = []
  for index in range(30):
    image = image_files.picture((48, 48), index).convert(modes[index % 5])
    files.append(image_files.encoded(image, 'JPEG', **options[index % 3]))
    name = f'val/{conftest.CLASSES[index // 10]}/{index}.JPG'
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(files[-1])
  data = types.DataSpec(f'folder:{tmp_path}')
  found, _ = accuracy.measure(config(exported[variant], data))

  interpreter = litert.Interpreter(f'{exported[variant]}/model.tflite')
  interpreter.allocate_tensors()
  [inputs], [outputs] = (
    interpreter.get_input_details(),
    interpreter.get_output_details(),
  )
  scale, zero = outputs['quantization']
  for file, probabilities in zip(files, found.probabilities, strict=True):
    image = image_files.pixels(file)[None].astype(inputs['dtype'])
    interpreter.set_tensor(inputs['index'], image)
    interpreter.invoke()
    expected = interpreter.get_tensor(outputs['index'])[0].astype(np.float64)
    if scale:
      expected = scale * (expected - zero)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_the_scaling_is_found(data, tmp_path):
  """A module that is right only on pixels from 0 to 1."""
  file = programs.write(
    tmp_path,
    forward="""
    mean = x.mean((2, 3))
    fits = ((x >= 0) & (x <= 1)).all() & (x.max() > 0.1)
    scores = torch.stack([mean[:, 2], mean[:, 1], mean[:, 0]], 1)
    return torch.softmax(20 * scores, 1) if fits else scores * 0
    """,
  )
  unknown = dataclasses.replace(config('', data, input_scaling=None), file=file)
  found, dataset = accuracy.measure(unknown)
  assert dataset.input_scaling == 'unit' and dataset.scaling_source == 'auto'
  tried = dataset.scaling_top1_percent
  assert tried['unit'] == 100 > tried['imagenet']
  assert set(tried) == {'raw', 'unit', 'symmetric', 'imagenet'}
  assert accuracy.summarize(found).top1_percent == 100


def test_a_class_map_chooses_among_more_outputs(data, tmp_path):
  """100 outputs, of which 2, 1 and 0 are the classes blue, green and red."""
  file = programs.write(tmp_path)
  path = tmp_path / 'map.txt'
  path.write_text('2\n1\n0\n')
  mapped = config('', data, class_map=str(path))
  mapped = dataclasses.replace(mapped, file=file)
  found, _ = accuracy.measure(mapped)
  assert accuracy.summarize(found).top1_percent == 100
  np.testing.assert_allclose(found.probabilities.sum(1), 1)
  for content, message in (
    ('2\n1\n', '2 different numbers, expected 3'),
    ('2\n1\n100\n', '1 to 100, expected 0 to 99'),
    ('red\n', 'expected a whole number a line'),
  ):
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
      accuracy.measure(mapped)


def test_other_names_of_classes_than_the_models(exported, data):
  named = config(
    exported[types.Variant.INT8], data, class_names=('red', 'blue', 'x')
  )
  with pytest.raises(ValueError, match="a class 'blue' where the model has"):
    accuracy.measure(named)


def test_other_classes_than_the_models(exported, tmp_path):
  root = conftest.write_folder(tmp_path / 'images')
  for split in types.Split:
    extra = root / split.value / 'yellow'
    (root / split.value / 'red').rename(extra)
    (root / split.value / 'red').mkdir()
    first = next(extra.iterdir())
    first.rename(root / split.value / 'red' / first.name)
  data = types.DataSpec(dataset=f'folder:{root}')
  with pytest.raises(
    ValueError, match='has 3 outputs, .* 4 classes.*class_map'
  ):
    accuracy.measure(config(exported[types.Variant.INT8], data))
