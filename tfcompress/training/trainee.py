"""What a stage makes of a job: a network to fit, and what holds meanwhile."""

import dataclasses

import tf_keras

from tfcompress.training import constraints as constraints_lib


@dataclasses.dataclass(frozen=True)
class Trainee:
  """A network to fit.

  Attributes:
    network: from raw images (B, T, T, 3), T the stem size, to probabilities.
    constraints: applied after every step.
    callbacks: the stage's own.
  """

  network: tf_keras.Model
  constraints: tuple[constraints_lib.Constraint, ...] = ()
  callbacks: tuple[tf_keras.callbacks.Callback, ...] = ()
