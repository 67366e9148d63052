"""Prints the images a second of training steps in float32, the best of a few.

In a process of its own, since TensorFlow reads its settings as it loads.
"""

import tfcompress  # noqa: F401, I001  Before TensorFlow.

import numpy as np
import tf_keras
from timing import STEM, best_rates

from tfcompress.core import types
from tfcompress.models import heads, resnet

_BATCH, _STEPS = 64, 3


def main() -> None:
  rng = np.random.RandomState(0)
  images = rng.rand(_BATCH, STEM, STEM, 3).astype(np.float32) * 255
  targets = np.eye(100, dtype=np.float32)[rng.randint(0, 100, _BATCH)]
  model = heads.with_logits(resnet.build(types.ModelSpec(input_size=STEM)))
  model.compile(
    tf_keras.optimizers.SGD(0.01, momentum=0.9),
    tf_keras.losses.CategoricalCrossentropy(from_logits=True),
  )

  def steps():
    for _ in range(_STEPS):
      model.train_on_batch(images, targets)

  (rate,) = best_rates(steps, images=_STEPS * _BATCH, rounds=2)
  print(rate)


if __name__ == '__main__':
  main()
