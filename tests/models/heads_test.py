import numpy as np
import pytest
import tf_keras

from tfcompress.models import heads

IMAGES = np.random.RandomState(0).rand(4, 8, 8, 3).astype(np.float32)


def classifier(keras, ending: str):
  image = keras.layers.Input((8, 8, 3))
  x = keras.layers.Flatten()(image)
  activation = 'softmax' if ending == 'dense' else None
  if ending == 'nested':
    head = [
      keras.layers.Input((192,)),
      keras.layers.Dense(5, activation='softmax'),
    ]
    return keras.Model(image, keras.Sequential(head)(x))
  x = keras.layers.Dense(5, activation=activation, name='head')(x)
  if ending == 'layer':
    x = keras.layers.Softmax()(x)
  elif ending == 'activation':
    x = keras.layers.Activation('softmax')(x)
  return keras.Model(image, x)


def softmax(z):
  e = np.exp(z - z.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize('version', [2, 3])
@pytest.mark.parametrize(
  'ending', ['layer', 'activation', 'dense', 'nested', 'logits']
)
def test_the_softmax_of_the_logits_is_the_models_output(version, ending):
  if version == 2:
    keras = tf_keras
  else:
    import keras
  model = classifier(keras, ending)
  logits = np.array(heads.with_logits(model)(IMAGES))
  output = np.array(model(IMAGES))
  expected = softmax(output) if ending == 'logits' else output
  np.testing.assert_allclose(softmax(logits), expected, atol=1e-6)
  if ending in ('layer', 'activation', 'logits'):
    kernel, bias = model.get_layer('head').get_weights()
    by_hand = IMAGES.reshape(4, -1) @ kernel + bias
    np.testing.assert_allclose(logits, by_hand, atol=1e-5)
