import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data import image_files
from tfcompress.core import configs, types
from tfcompress.data import transforms

CASES = pathlib.Path(__file__).parents[1] / 'cases'

RAMP = np.arange(4, dtype=np.uint8)[None, :, None] * 40 + np.zeros(
  (4, 1, 3), np.uint8
)
CHALLENGE = types.EvaluationTransform.CHALLENGE
IMAGENET = types.EvaluationTransform.IMAGENET


FILES = image_files.everything()


def decoded(content: bytes) -> np.ndarray:
  """As in a pipeline, which must be what it is outside of one."""
  dataset = tf.data.Dataset.from_tensors(content).map(transforms.decode)
  (streamed,) = dataset.as_numpy_iterator()
  eager = transforms.decode(tf.constant(content))
  np.testing.assert_array_equal(eager, streamed)
  return streamed


@pytest.mark.parametrize('name', ['jpeg_a', 'jpeg_b'])
def test_a_jpeg_is_decoded_as_libjpeg_does(name):
  content = (CASES / f'{name}.jpg').read_bytes()
  expected = np.load(CASES / f'{name}.npy')
  np.testing.assert_array_equal(decoded(content), expected)


@pytest.mark.parametrize('name', FILES)
def test_every_kind_of_file_is_decoded_as_pillow_does(name):
  expected = image_files.pixels(FILES[name])
  np.testing.assert_array_equal(decoded(FILES[name]), expected)


def test_of_16_bits_the_upper_ones_count():
  content, expected = image_files.gray16()
  np.testing.assert_array_equal(decoded(content), expected)
  levels = np.random.RandomState(1).randint(0, 2**16, (9, 7, 3), np.uint16)
  content = tf.io.encode_png(levels).numpy()
  np.testing.assert_array_equal(decoded(content), levels >> 8)


def test_an_interlaced_png():
  content, expected = image_files.interlaced()
  np.testing.assert_array_equal(image_files.pixels(content), expected)
  np.testing.assert_array_equal(decoded(content), expected)


def test_a_png_with_much_text():
  content = image_files.with_long_text()
  expected = np.asarray(image_files.picture())
  np.testing.assert_array_equal(decoded(content), expected)


@pytest.mark.parametrize('kind', ['JPEG', 'BMP'])
def test_no_image_is_too_large(kind, monkeypatch, recwarn):
  """As one of 189 megapixels, beyond the limits of both libraries."""
  content = image_files.encoded(image_files.picture(), kind)
  expected = image_files.pixels(content)
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
  monkeypatch.setattr(transforms, '_MOST_JPEG_BYTES', 300)
  with pytest.raises(Image.DecompressionBombError):
    image_files.pixels(content)
  np.testing.assert_array_equal(decoded(content), expected)
  assert not recwarn.list


DAMAGED = {
  'nothing': b'',
  'a byte': b'a',
  'a text': b'no image at all',
  'JPEG': b'\xff\xd8\xff',
  'PNG': b'\x89PNG\r\n\x1a\n',
  'BMP': b'BM' + bytes(60),
  'GIF': b'GIF89a',
  'WebP': b'RIFF\x24\0\0\0WEBPVP8 ' + bytes(20),
  'TIFF': image_files.encoded(image_files.picture(), 'TIFF'),
} | {f'{name} cut': file[: len(file) * 2 // 5] for name, file in FILES.items()}


@pytest.mark.parametrize('name', DAMAGED)
def test_what_is_no_whole_image_is_refused(name):
  with pytest.raises(tf.errors.InvalidArgumentError):
    decoded(DAMAGED[name])


def bilinear_row(row, size):
  """Bilinear interpolation with half-pixel centers, by hand."""
  position = (np.arange(size) + 0.5) * len(row) / size - 0.5
  return np.interp(position, np.arange(len(row)), row)


def test_challenge_resizes_bilinearly_and_does_nothing_else():
  result = transforms.evaluation(tf.constant(RAMP), 8, CHALLENGE).numpy()
  expected = np.floor(bilinear_row(RAMP[0, :, 0], 8) + 0.5)
  assert result.dtype == np.uint8
  for row in result:
    np.testing.assert_array_equal(row[:, 0], expected)


def test_challenge_averages_where_the_image_shrinks():
  rng = np.random.RandomState(0)
  image = rng.randint(0, 256, (64, 64, 3)).astype(np.uint8)
  result = transforms.evaluation(tf.constant(image), 8, CHALLENGE).numpy()
  # A triangle of 16 pixels a side around each center, normalized.
  centers = (np.arange(8) + 0.5) * 8 - 0.5
  weights = 1 - np.abs(np.arange(64)[None] - centers[:, None]) / 8
  weights = weights.clip(0)
  weights /= weights.sum(1, keepdims=True)
  expected = np.einsum('ih,jw,hwc->ijc', weights, weights, image)
  np.testing.assert_allclose(result, expected, atol=0.51)


def test_imagenet_crops_the_center_of_the_resized_image():
  image = np.zeros((256, 512, 3), np.uint8)
  image[:, 256 - 112 : 256 + 112] = 200
  result = transforms.evaluation(tf.constant(image), 224, IMAGENET).numpy()
  assert result.shape == (224, 224, 3)
  assert (result == 200).all()


@pytest.mark.parametrize('transform', types.EvaluationTransform)
def test_evaluation_is_the_same_in_a_pipeline(transform):
  rng = np.random.RandomState(0)
  image = rng.randint(0, 256, (50, 33, 3)).astype(np.uint8)
  apply = lambda x: transforms.evaluation(x, 24, transform)
  dataset = tf.data.Dataset.from_tensors(image).map(apply)
  (streamed,) = dataset.as_numpy_iterator()
  np.testing.assert_array_equal(apply(tf.constant(image)), streamed)


@pytest.mark.parametrize('crop', configs.TrainTransform)
def test_training_views_depend_on_nothing_but_the_seed(crop):
  config = configs.AugmentConfig(crop=crop)
  rng = np.random.RandomState(0)
  image = tf.constant(rng.randint(0, 256, (50, 33, 3)).astype(np.uint8))
  views = [transforms.View(24)]
  apply = lambda seed: transforms.training(image, views, config, seed)[0][0]
  dataset = tf.data.Dataset.from_tensors([3, 4]).map(apply)
  (streamed,) = dataset.as_numpy_iterator()
  assert streamed.shape == (24, 24, 3) and streamed.dtype == np.float32
  np.testing.assert_array_equal(apply(tf.constant([3, 4])), streamed)
  views = {apply(tf.constant([3, i])).numpy().tobytes() for i in range(8)}
  flips_only = crop is configs.TrainTransform.NONE
  assert len(views) == 2 if flips_only else len(views) > 4


def test_a_view_says_whether_it_is_mirrored():
  image = tf.constant(np.random.RandomState(0).rand(8, 8, 3) * 255, tf.uint8)
  config = configs.AugmentConfig(crop=configs.TrainTransform.NONE)
  seen = set()
  for i in range(12):
    (view,), mirrored = transforms.training(
      image, [transforms.View(8)], config, [3, i]
    )
    expected = image[:, ::-1] if mirrored else image
    np.testing.assert_array_equal(view, tf.cast(expected, tf.float32))
    seen.add(bool(mirrored))
  assert seen == {True, False}


def test_a_padded_crop_is_a_shift():
  config = configs.AugmentConfig(crop=configs.TrainTransform.PAD_AND_CROP)
  config = configs.AugmentConfig(crop=config.crop, flip=False, crop_padding=8)
  ramp = np.arange(64, dtype=np.uint8)[None, :, None] * np.ones(
    (64, 1, 3), np.uint8
  )
  shifts = set()
  for i in range(40):
    (view,), _ = transforms.training(
      tf.constant(ramp), [transforms.View(64)], config, [1, i]
    )
    middle = view.numpy()[0, 16:48, 0]
    np.testing.assert_array_equal(np.diff(middle), 1)
    shifts.add(int(middle[0]) - 16)
  assert min(shifts) < -3 and max(shifts) > 3
  assert min(shifts) >= -8 and max(shifts) <= 8


@pytest.mark.parametrize('name', ['mixup_alpha', 'cutmix_alpha'])
def test_mixing_keeps_each_images_share_in_the_target(name):
  config = configs.AugmentConfig(**{name: 1.0})
  levels = np.arange(4, dtype=np.float32)
  images = levels[:, None, None, None] * np.ones((1, 16, 16, 3), np.float32)
  targets = np.eye(4, dtype=np.float32)
  (mixed,), soft = transforms.mix(
    [tf.constant(images)], targets, config, [5, 6]
  )
  soft = soft.numpy()
  np.testing.assert_allclose(soft.sum(-1), 1, atol=1e-6)
  assert 0 < soft[0, 0] < 1
  # An image is a constant, its own index: the mean is the shares' mean.
  means = mixed.numpy().mean((1, 2, 3))
  np.testing.assert_allclose(means, soft @ levels, atol=1e-5)


@pytest.mark.parametrize('crop', configs.TrainTransform)
def test_each_network_sees_the_same_part_resized_once(crop):
  """An image of one bright square: where it lies is the same share of both."""
  image = np.zeros((128, 128, 3), np.uint8)
  image[40:80, 56:96] = 255
  views = [transforms.View(64), transforms.View(32)]
  config = configs.AugmentConfig(crop=crop, crop_padding=10)
  rows = np.arange(64) + 0.5
  center = lambda view: np.array(
    [(view.sum((other, 2)) @ rows[: len(view)]) / view.sum() / len(view)
     for other in (1, 0)]
  )  # fmt: skip
  for i in range(8):
    (large, small), _ = transforms.training(image, views, config, [4, i])
    pair = center(large.numpy()), center(small.numpy())
    np.testing.assert_allclose(*pair, atol=0.5 / 32)
    one = transforms.training(image, views[1:], config, [4, i])[0]
    np.testing.assert_array_equal(one[0], small)


@pytest.mark.parametrize(('source', 'through'), [(96, 100), (288, 96)])
def test_a_view_is_resized_as_in_use(source, through, rng):
  """Averaging outside of a network; inside it between two pixels."""
  image = rng.randint(0, 256, (source, source, 3)).astype(np.uint8)
  config = configs.AugmentConfig(crop=configs.TrainTransform.NONE, flip=False)
  views = [transforms.View(32), transforms.View(32, through)]
  (outside, inside), _ = transforms.training(image, views, config, [1, 2])
  evaluated = transforms.evaluation(tf.constant(image), 32, CHALLENGE)
  np.testing.assert_allclose(outside, evaluated, atol=0.51)
  taken = image
  if source > through:
    taken = transforms.evaluation(tf.constant(image), through, CHALLENGE)
  # The center of three pixels is the middle one's.
  np.testing.assert_allclose(inside, taken[1::3, 1::3], atol=0.51)


def test_cutmix_cuts_the_same_box_at_every_size():
  config = configs.AugmentConfig(cutmix_alpha=1.0)
  levels = np.arange(4, dtype=np.float32)[:, None, None, None]
  views = [tf.constant(levels * np.ones((1, s, s, 3), np.float32))
           for s in (64, 32)]  # fmt: skip
  for i in range(6):
    (large, small), _ = transforms.mix(
      views, np.eye(4, dtype=np.float32), config, [5, i]
    )
    means = [x.numpy().mean((1, 2, 3)) for x in (large, small)]
    np.testing.assert_allclose(*means, atol=0.3)


def test_beta_draws_have_the_distributions_moments():
  draws = np.array(
    [transforms._stateless_beta(0.4, [1, i]).numpy() for i in range(2000)]
  )
  # Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)).
  assert abs(draws.mean() - 0.5) < 0.03
  assert abs(draws.var() - 1 / (4 * 1.8)) < 0.01
