"""What a stage makes of a job: a network to fit, and what holds meanwhile."""

import dataclasses
from collections.abc import Mapping

import tf_keras

from tfcompress.training import constraints as constraints_lib


@dataclasses.dataclass(frozen=True)
class Trainee:
  """A network to fit.

  Attributes:
    network: from raw images (B, T, T, 3), T the stem size, to probabilities.
    constraints: applied after every step.
    callbacks: the stage's own.
    settled_step: the steps after which the network is what the stage promises.
    plan: what a restart must know of it, for `sequences.PLAN`.
  """

  network: tf_keras.Model
  constraints: tuple[constraints_lib.Constraint, ...] = ()
  callbacks: tuple[tf_keras.callbacks.Callback, ...] = ()
  settled_step: int = 0
  plan: Mapping[str, object] | None = None
