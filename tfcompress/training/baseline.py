"""Stage `baseline`: cross-entropy on labels."""

import functools

import tf_keras

from tfcompress.core import types
from tfcompress.models import heads
from tfcompress.training import losses, trainee


def prepare(
  network: tf_keras.Model, config: types.TrainConfig
) -> trainee.Trainee:
  """Returns the network itself, to be trained on its logits."""
  return trainee.Trainee(
    model=heads.with_logits(network),
    network=lambda: network,
    loss=functools.partial(
      losses.cross_entropy, label_smoothing=config.label_smoothing
    ),
  )
