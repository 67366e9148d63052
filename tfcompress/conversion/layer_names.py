"""Whose a tensor of a `.tflite` is: the converter names it after its layers.

Such a name is `model/LAYER/Operator`; of what the converter made one, those of
all, with semicolons: `net/stem/Conv2D;net/stem_pad/Pad`. A layer's own name may
have slashes, and be the end of another's: `conv` beside `block/conv`.
"""

import dataclasses
from collections.abc import Collection

import tf_keras


@dataclasses.dataclass(frozen=True)
class LayerNames:
  """The layers of a network.

  Attributes:
    every: names of all layers.
    with_kernel: names of those that have a matrix of weights or a larger one.
    model: the name of the network.
  """

  every: Collection[str] = ()
  with_kernel: Collection[str] = ()
  model: str = ''

  def of(self, tensor: str) -> str | None:
    """Returns the layer that a tensor is named after; None if there is none.

    Of several the last with a kernel, else the last: a padding or an activation
    that became part of a convolution gives the convolution's tensors its name.
    """
    found = [layer for part in tensor.split(';') if (layer := self._in(part))]
    with_kernel = [layer for layer in found if layer in self.with_kernel]
    return next(reversed(with_kernel or found), None)

  def _in(self, part: str) -> str | None:
    """The longest layer that `[model/]LAYER/Operator` has, or ends last."""
    if part in self.every:
      return part
    scopes = part.removeprefix(f'{self.model}/').split('/')
    most = len(scopes)
    # What begins with the layer, then what has it further inside.
    wholes = ('/'.join(scopes[:end]) for end in range(most, 0, -1))
    inner = (
      '/'.join(scopes[start:end])
      for end in range(most, 0, -1)
      for start in range(1, end)
    )
    is_layer = self.every.__contains__
    return next(filter(is_layer, wholes), next(filter(is_layer, inner), None))


def of_model(model: tf_keras.Model) -> LayerNames:
  """Returns the names of a network's layers."""
  with_kernel = {
    layer.name
    for layer in model.layers
    if any(len(weight.shape) > 1 for weight in layer.weights)
  }
  every = {layer.name for layer in model.layers}
  return LayerNames(every, with_kernel, model.name)
