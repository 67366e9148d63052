"""The one image in and the one vector of scores out."""

from collections.abc import Sequence

import numpy as np

from tfcompress.core import measurements

_NUMBERS = ('float', 'bfloat', 'int', 'uint')


def require_one_of_each(
  inputs: Sequence[measurements.TensorInfo],
  outputs: Sequence[measurements.TensorInfo],
  remedy: str,
) -> None:
  """Raises ValueError unless there is one input and one output, of numbers.

  Args:
    inputs: of a model.
    outputs: likewise.
    remedy: what may help where there are more.
  """
  if len(inputs) != 1 or len(outputs) != 1:
    raise ValueError(
      f'{len(inputs)} inputs ({_names(inputs)}) and {len(outputs)} outputs '
      f'({_names(outputs)}), expected one image in and one vector out; {remedy}'
    )
  for info in (*inputs, *outputs):
    if not info.dtype.startswith(_NUMBERS):
      raise ValueError(
        f'{info.name} is of dtype {info.dtype}, expected numbers: an image in, '
        'a score for each class out'
      )


def require_rows(scores: np.ndarray, batch: np.ndarray) -> np.ndarray:
  """Returns scores, of which each image of a batch must have its own row.

  Raises:
    ValueError: others, as of a file that is made for another batch size.
  """
  if scores.shape[:1] != batch.shape[:1]:
    raise ValueError(
      f'scores of shape {scores.shape} for {len(batch)} images, expected a row '
      'for each; the file may be made for another batch size'
    )
  return scores


def _names(infos: Sequence[measurements.TensorInfo]) -> str:
  return ', '.join(info.name for info in infos) or 'none'
