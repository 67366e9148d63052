import dataclasses
import gzip

import numpy as np
import pytest
import tf_keras

from tfcompress.models import io


def two_layers() -> tf_keras.Model:
  image = tf_keras.Input((4, 4, 1))
  x = tf_keras.layers.Conv2D(2, 2, name='conv')(image)
  x = tf_keras.layers.Flatten()(x)
  return tf_keras.Model(image, tf_keras.layers.Dense(3, name='dense')(x))


def test_sparsity_by_hand():
  model = two_layers()
  conv = np.array([1, 0, 0, 0, 5, 6, 7, 8], np.float32).reshape(2, 2, 1, 2)
  dense = np.ones((18, 3), np.float32)
  dense[:9] = 0
  model.set_weights([conv, np.ones(2), dense, np.zeros(3)])
  record = io.sparsity(model)
  assert record.per_layer == {'conv': 3 / 8, 'dense': 0.5}
  assert record.total == (3 + 27) / (8 + 54)
  assert record.raw_bytes == 4 * (8 + 2 + 54 + 3)
  assert record.nonzero_bytes == 4 * (5 + 2 + 27 + 0)
  raw = b''.join(w.astype('<f4').tobytes() for w in model.get_weights())
  assert record.gzip_bytes == len(gzip.compress(raw, 6))


def test_a_model_that_does_not_fit_its_manifest(baseline, tmp_path):
  model, manifest = io.load(baseline)
  channels = dict(manifest.model.channels) | {'stem_conv': 9}
  spec = dataclasses.replace(manifest.model, channels=channels)
  io.save(str(tmp_path), model, dataclasses.replace(manifest, model=spec))
  with pytest.raises(ValueError, match="its manifest.json says .*conv': 9"):
    io.load(str(tmp_path))


def test_an_artifact_comes_back_as_it_was_saved(baseline):
  model, manifest = io.load(baseline)
  saved = tf_keras.models.load_model(f'{baseline}/model.keras')
  images = np.random.RandomState(0).rand(2, 48, 48, 3) * 255
  np.testing.assert_array_equal(
    model(images.astype(np.float32)), saved(images.astype(np.float32))
  )
  assert manifest.class_names == ('blue', 'green', 'red')
  assert manifest.model.channels['stem_conv'] == 8
