"""Channel importance against its papers' equations, in numpy."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.core import configs
from tfcompress.models import channels as channels_lib
from tfcompress.models import heads
from tfcompress.training import importance, losses

layers = tf_keras.layers


def network() -> tf_keras.Model:
  tf_keras.utils.set_random_seed(3)
  image = layers.Input((8, 8, 3))
  x = layers.Conv2D(6, 3, padding='same', use_bias=False, name='one')(image)
  x = layers.BatchNormalization(name='one_bn')(x)
  x = layers.ReLU()(x)
  y = layers.Conv2D(6, 3, padding='same', name='two')(x)
  x = layers.Add()([x, y])
  x = layers.GlobalAveragePooling2D()(x)
  model = tf_keras.Model(
    image, layers.Softmax()(layers.Dense(4, name='logits')(x))
  )
  rng = np.random.RandomState(0)
  bn = model.get_layer('one_bn')
  bn.set_weights([rng.uniform(0.2, 2, 6) for _ in range(4)])
  return model


def scores_of(model, kind, batches=()):
  channels = channels_lib.of(model)
  (group,) = [g for g in channels.groups if g.layers == ('one', 'two')]
  return importance.scores(model, channels, kind, batches)[group.ids]


@pytest.mark.parametrize(
  ('kind', 'of_filter'),
  [
    (configs.Importance.L1, lambda k, i: np.abs(k[..., i]).sum()),
    (configs.Importance.L2, lambda k, i: np.linalg.norm(k[..., i])),
    (
      configs.Importance.FPGM,
      lambda k, i: sum(
        np.linalg.norm(k[..., i] - k[..., j]) for j in range(k.shape[-1])
      ),
    ),
  ],
)
def test_a_tied_channel_has_the_mean_of_its_layers_scores(kind, of_filter):
  model = network()
  by_hand = []
  for name in ('one', 'two'):
    kernel = model.get_layer(name).kernel.numpy().astype(np.float64)
    found = np.array([of_filter(kernel, i) for i in range(6)])
    by_hand.append(found / found.mean())
  got = scores_of(model, kind)
  np.testing.assert_allclose(got, np.mean(by_hand, axis=0), rtol=1e-5)


def test_gamma_is_its_magnitude():
  model = network()
  gamma = model.get_layer('one_bn').gamma
  gamma.assign(-gamma)
  got = scores_of(model, configs.Importance.BN_GAMMA)
  np.testing.assert_allclose(got, np.abs(gamma.numpy()))


def test_gamma_needs_a_batch_normalization():
  image = layers.Input((8, 8, 3))
  x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name='bare')(image))
  model = tf_keras.Model(image, layers.Softmax()(layers.Dense(2)(x)))
  with pytest.raises(ValueError, match='the channels of bare have no batch'):
    importance.scores(
      model, channels_lib.of(model), configs.Importance.BN_GAMMA, ()
    )


def test_a_normalization_without_gamma_is_no_gate():
  image = layers.Input((8, 8, 3))
  x = layers.Conv2D(4, 3, name='conv')(image)
  x = layers.BatchNormalization(scale=False)(x)
  x = layers.GlobalAveragePooling2D()(x)
  model = tf_keras.Model(image, layers.Softmax()(layers.Dense(2)(x)))
  channels = channels_lib.of(model)
  with pytest.raises(ValueError, match='the channels of conv have no batch'):
    importance.scores(model, channels, configs.Importance.BN_GAMMA, ())
  images = tf.constant(np.random.RandomState(0).rand(4, 8, 8, 3), tf.float32)
  batches = [(images, tf.one_hot([0, 1, 0, 1], 2))]
  found = importance.scores(model, channels, configs.Importance.TAYLOR, batches)
  assert (found[channels.groups[0].ids] > 0).all()


def test_taylor_is_the_change_of_the_loss_to_first_order():
  """A gate of 1 - e on a channel's writers changes the loss by e sqrt(score)."""
  model = network()
  rng = np.random.RandomState(1)
  images = tf.constant(rng.rand(8, 8, 8, 3) * 2, tf.float32)
  targets = tf.one_hot(rng.randint(0, 4, 8), 4)
  got = scores_of(model, configs.Importance.TAYLOR, [(images, targets)])
  loss = lambda: float(
    losses.cross_entropy(targets, heads.with_logits(model)(images))
  )
  step = 1e-2
  for channel in range(6):
    values = []
    for sign in (1, -1):
      written = [model.get_layer('one_bn'), model.get_layer('two')]
      before = [layer.get_weights() for layer in written]
      for layer in written:
        weights = layer.get_weights()
        for weight in weights[:2]:  # gamma and beta, kernel and bias
          weight[..., channel] *= 1 + sign * step
        layer.set_weights(weights)
      values.append(loss())
      for layer, weights in zip(written, before):
        layer.set_weights(weights)
    slope = (values[0] - values[1]) / (2 * step)
    assert got[channel] == pytest.approx(slope**2, rel=0.05, abs=1e-7)
