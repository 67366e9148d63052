"""What a stage hands to the training loop."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf
import tf_keras


@dataclasses.dataclass(frozen=True)
class Trainee:
  """A model to fit and where its result lies.

  Attributes:
    model: takes images (B, S, S, 3) and targets (B, C); gets its optimizer from
      the loop.
    network: called once, after training; returns a model with the trained
      weights under the layer names of a plain build.
    loss: of targets and logits; None where the model has a train step.
    callbacks: the stage's own.
  """

  model: tf_keras.Model
  network: Callable[[], tf_keras.Model]
  loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None
  callbacks: tuple[tf_keras.callbacks.Callback, ...] = ()
