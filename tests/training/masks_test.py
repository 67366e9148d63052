import time

import numpy as np
import pytest

from tfcompress.training import masks

SHAPES = {'stem': (3, 3, 3, 8), 'conv': (3, 3, 8, 16), 'dense': (16, 12)}


def kernels(seed=0):
  rng = np.random.RandomState(seed)
  return {
    name: rng.randn(*shape).astype(np.float32) for name, shape in SHAPES.items()
  }


def mask_of_tfmot(kernel, sparsity, **kwargs):
  """The mask that TF-MOT's wrapper gives a layer with this kernel."""
  import tensorflow_model_optimization as tfmot
  import tf_keras

  outputs = kernel.shape[-1]
  layer = (
    tf_keras.layers.Dense(outputs, use_bias=False)
    if kernel.ndim == 2
    else tf_keras.layers.Conv2D(outputs, kernel.shape[0], use_bias=False)
  )
  wrapper = tfmot.sparsity.keras.prune_low_magnitude(
    layer,
    tfmot.sparsity.keras.ConstantSparsity(sparsity, 0, frequency=1),
    **kwargs,
  )
  window = (8, 8) if kernel.ndim == 4 else ()
  wrapper.build((None, *window, kernel.shape[-2]))
  layer.kernel.assign(kernel)
  wrapper.pruning_step.assign(1)
  wrapper.pruning_obj.conditional_mask_update()
  ((_, mask, _),) = wrapper.pruning_vars
  return mask.numpy().astype(bool)


@pytest.mark.parametrize('text', ['element', '2:4', '1:64', '4x1', '1x16'])
def test_a_granularity_reads_as_it_is_written(text):
  assert str(masks.parse(text)) == text


@pytest.mark.parametrize(
  'text',
  ['', 'block', '4:4', '0:4', '5:4', '2:65', '1x1', '0x4', '4x', '2:4 ', '-1:2']
  + ['2.0:4', '٢:٤'],
)
def test_anything_else_is_refused(text):
  with pytest.raises(ValueError, match='expected element, M:N such as 2:4'):
    masks.parse(text)


@pytest.mark.parametrize(
  ('text', 'shape', 'depthwise', 'expected'),
  [
    ('element', (3, 3, 3, 8), False, True),
    ('element', (3, 3, 8, 1), True, True),
    ('2:4', (3, 3, 8, 5), False, True),
    ('2:4', (3, 3, 3, 8), False, False),
    ('2:4', (2, 2, 6, 8), False, False),  # 24 rows, but 6 input channels
    ('2:4', (12, 3), False, True),
    ('2:4', (3, 3, 8, 1), True, False),
    ('4x1', (2, 2, 6, 8), False, True),
    ('4x1', (3, 3, 3, 8), False, False),
    ('1x8', (3, 3, 3, 8), False, True),
    ('1x8', (3, 3, 3, 12), False, False),
    ('4x1', (3, 3, 8, 1), True, False),
    ('4x4', (8, 12), False, True),
  ],
)
def test_fits_by_hand(text, shape, depthwise, expected):
  assert masks.fits(masks.parse(text), shape, depthwise) is expected


def test_a_kernel_that_does_not_fit_is_named():
  with pytest.raises(
    ValueError, match=r'stem of shape \(3, 3, 3, 8\) does not'
  ):
    masks.global_magnitude(kernels(), 0.5, masks.parse('2:4'))
  with pytest.raises(ValueError, match='does not divide into 4x1'):
    masks.magnitude(kernels()['stem'], 0.5, masks.parse('4x1'))


@pytest.mark.parametrize('sparsity', [-0.1, 1.0, float('nan')])
def test_a_sparsity_out_of_range_is_refused(sparsity):
  with pytest.raises(ValueError, match='expected a share from 0 to below 1'):
    masks.magnitude(kernels()['conv'], sparsity, masks.ELEMENT)


def test_elements_by_hand():
  kernel = np.array([[0.3, -0.1], [-0.5, 0.2]], np.float32)
  half = masks.magnitude(kernel, 0.5, masks.ELEMENT)
  assert half.tolist() == [[True, False], [True, False]]
  # 4 * 0.9 rounds to none; one stays.
  assert masks.magnitude(kernel, 0.9, masks.ELEMENT).tolist() == [
    [False, False],
    [True, False],
  ]
  assert masks.magnitude(kernel, 0.0, masks.ELEMENT).all()


def test_blocks_by_hand():
  kernel = np.array([[9, 1], [0, 3], [4, 5], [4, -5]], np.float32)
  # 2x1: the means are 4.5 2 / 4 5; half of the four blocks goes.
  by_column = masks.magnitude(kernel, 0.5, masks.parse('2x1'))
  assert by_column.tolist() == [[True, False], [True, False]] + [
    [False, True],
    [False, True],
  ]
  # 1x2: 5, 1.5, 4.5, 4.5.
  by_row = masks.magnitude(kernel, 0.25, masks.parse('1x2'))
  assert by_row[:, 0].tolist() == by_row[:, 1].tolist()
  assert by_row[:, 0].tolist() == [True, False, True, True]


def test_blocks_of_a_convolution_are_input_channels():
  kernel = np.ones((1, 1, 4, 2), np.float32)
  kernel[0, 0, :2, 1] = 0.1
  mask = masks.magnitude(kernel, 0.25, masks.parse('2x1'))
  assert not mask[0, 0, :2, 1].any()
  assert mask.sum() == 6


def test_two_of_four_by_hand():
  kernel = np.array([[1, 7], [-4, 7], [3, 7], [2, 7]], np.float32)
  mask = masks.magnitude(kernel, 0.9, masks.parse('2:4'))
  assert mask[:, 0].tolist() == [False, True, True, False]
  assert mask[:, 1].tolist() == [
    True,
    True,
    False,
    False,
  ]  # of equals the first
  one = masks.magnitude(kernel, 0.0, masks.parse('1:2'))
  assert one[:, 0].tolist() == [False, True, True, False]


@pytest.mark.parametrize('sparsity', [0.0, 0.137, 0.5, 0.8, 0.999])
@pytest.mark.parametrize('name', SHAPES)
def test_elements_against_tfmot(name, sparsity):
  kernel = kernels()[name]
  np.testing.assert_array_equal(
    masks.magnitude(kernel, sparsity, masks.ELEMENT),
    mask_of_tfmot(kernel, sparsity),
  )


@pytest.mark.parametrize('sparsity', [0.3, 0.5, 0.9])
def test_ties_against_tfmot(sparsity):
  kernel = np.round(kernels()['conv'], 1)
  np.testing.assert_array_equal(
    masks.magnitude(kernel, sparsity, masks.ELEMENT),
    mask_of_tfmot(kernel, sparsity),
  )


@pytest.mark.parametrize('m_by_n', [(2, 4), (1, 4), (3, 8)])
@pytest.mark.parametrize('name', ['conv', 'dense'])
def test_m_by_n_against_tfmot(name, m_by_n):
  kernel = np.round(kernels()[name][..., :8, :], 1)  # with ties
  np.testing.assert_array_equal(
    masks.magnitude(kernel, 0.5, masks.Granularity(zeros_among=m_by_n)),
    mask_of_tfmot(kernel, 0.5, sparsity_m_by_n=m_by_n),
  )


def test_blocks_against_tfmot():
  kernel = kernels()['dense']
  np.testing.assert_array_equal(
    masks.magnitude(kernel, 0.4, masks.parse('4x2')),
    mask_of_tfmot(kernel, 0.4, block_size=(4, 2), block_pooling_type='AVG'),
  )


def test_global_against_a_sort():
  found = masks.global_magnitude(kernels(), 0.7, masks.ELEMENT)
  everything = np.concatenate([np.abs(k).ravel() for k in kernels().values()])
  threshold = np.sort(everything)[round(0.7 * everything.size)]
  for name, kernel in kernels().items():
    np.testing.assert_array_equal(found[name], np.abs(kernel) >= threshold)


def test_a_kernel_of_small_weights_keeps_its_largest():
  given = kernels() | {'small': 1e-6 * kernels()['conv']}
  found = masks.global_magnitude(given, 0.5, masks.ELEMENT)
  largest = np.abs(given['small']).argmax()
  assert np.flatnonzero(found['small']).tolist() == [largest]
  total = sum(kernel.size for kernel in given.values())
  assert sum(mask.sum() for mask in found.values()) == total // 2


@pytest.mark.parametrize('text', ['element', '4x1', '1x4', '2x2'])
@pytest.mark.parametrize('sparsity', [0.0, 0.31, 0.5, 0.77, 0.99])
def test_the_share_over_all_kernels_is_met(text, sparsity):
  given = kernels()
  given.pop('stem')
  granularity = masks.parse(text)
  found = masks.global_magnitude(given, sparsity, granularity)
  total = sum(mask.size for mask in found.values())
  masked = total - sum(int(mask.sum()) for mask in found.values())
  assert abs(masked - sparsity * total) <= np.prod(granularity.block)


def test_of_equals_the_first_stay_over_kernels():
  ones = {'a': np.ones((2, 2), np.float32), 'b': np.ones((2, 2), np.float32)}
  found = masks.global_magnitude(ones, 0.375, masks.ELEMENT)
  assert found['a'].tolist() == [[True, True], [True, True]]
  assert found['b'].tolist() == [[True, False], [False, False]]


def every_way():
  """(name, function from kernels and sparsity to masks) of each kind."""
  for text in ('element', '4x1', '2x4', '2:4'):
    granularity = masks.parse(text)
    yield lambda given, share, g=granularity: {
      name: masks.magnitude(kernel, share, g) for name, kernel in given.items()
    }
    yield lambda given, share, g=granularity: masks.global_magnitude(
      given, share, g
    )


@pytest.mark.parametrize('decimals', [1, 9])
@pytest.mark.parametrize('way', every_way())
def test_a_masked_kernel_keeps_its_mask(way, decimals):
  given = {
    n: np.round(k, decimals) for n, k in kernels().items() if n != 'stem'
  }
  given = {n: np.where(k == 0, 0.05, k) for n, k in given.items()}
  first = way(given, 0.6)
  again = way({n: k * first[n] for n, k in given.items()}, 0.6)
  for name in given:
    np.testing.assert_array_equal(first[name], again[name])


@pytest.mark.parametrize('way', every_way())
def test_masks_only_grow(way):
  given = {n: np.round(k, 1) for n, k in kernels().items() if n != 'stem'}
  before = None
  for sparsity in np.linspace(0, 0.95, 8):
    now = way(given, sparsity)
    for name in given:
      assert now[name].any() and now[name].shape == given[name].shape
      assert before is None or not (now[name] & ~before[name]).any()
    before = now


@pytest.mark.parametrize('text', ['element', '4x1', '2:4'])
def test_eleven_million_weights_are_masked_at_once(text):
  rng = np.random.RandomState(0)
  shapes = [(3, 3, 512, 512)] * 3 + [(3, 3, 256, 256)] * 6 + [(512, 1000)]
  given = {
    str(i): rng.rand(*shape).astype(np.float32) - 0.5
    for i, shape in enumerate(shapes)
  }
  assert sum(kernel.size for kernel in given.values()) > 11e6
  start = time.monotonic()
  masks.global_magnitude(given, 0.8, masks.parse(text))
  # A third of a second alone; the rest is for a busy machine.
  assert time.monotonic() - start < 3
