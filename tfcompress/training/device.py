"""What training computes on, and in which type."""

import os

import tensorflow as tf

from tfcompress.core import configs, environment

_FIRST_WITH_BFLOAT16 = (8, 0)  # compute capability of Ampere


def name() -> str:
  """Returns the first GPU's name, or the CPU's."""
  gpus = tf.config.list_physical_devices('GPU')
  if not gpus:
    return environment.cpu_name()
  return tf.config.experimental.get_device_details(gpus[0])['device_name']


def dtype_policy(mixed_precision: configs.MixedPrecision) -> str:
  """Returns the Keras policy, 'float32' or 'mixed_bfloat16'.

  Raises:
    ValueError: bfloat16 is asked for where the user forbids oneDNN to use it.
  """
  if mixed_precision is configs.MixedPrecision.AUTO:
    mixed = _has_bfloat16()
  else:
    mixed = mixed_precision is configs.MixedPrecision.BFLOAT16
    on_cpu = not tf.config.list_physical_devices('GPU')
    if mixed and on_cpu and environment.bfloat16_is_forbidden():
      limit = (
        f'{environment.ONEDNN_LIMIT}={os.environ[environment.ONEDNN_LIMIT]}'
      )
      raise ValueError(
        f'--mixed_precision=bfloat16: {limit} leaves oneDNN no bfloat16; unset it, '
        'or train with --mixed_precision=none'
      )
  return 'mixed_bfloat16' if mixed else 'float32'


def _has_bfloat16() -> bool:
  gpus = tf.config.list_physical_devices('GPU')
  if not gpus:
    return environment.cpu_has_bfloat16()
  details = tf.config.experimental.get_device_details(gpus[0])
  return details['compute_capability'] >= _FIRST_WITH_BFLOAT16
