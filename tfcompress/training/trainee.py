"""What a stage hands to the training loop."""

import dataclasses

import tf_keras


@dataclasses.dataclass(frozen=True)
class Trainee:
  """A model to fit and where its result lies.

  Attributes:
    model: takes images (B, S, S, 3) and targets (B, C); gets its optimizer from
      the loop. `loss` is set for a functional model, None for one that
      computes its own.
    network: holds the trained weights by the layer names of a plain build;
      called once, after training.
    loss: of targets and logits; None where the model has a train step.
    callbacks: the stage's own.
  """

  model: tf_keras.Model
  network: object
  loss: object = None
  callbacks: tuple[tf_keras.callbacks.Callback, ...] = ()
