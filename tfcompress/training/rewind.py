"""The weights of an early epoch, kept for a later rewind (Frankle 2019)."""

import io
import pathlib

import numpy as np
import tf_keras

from tfcompress.core import records
from tfcompress.training import ready


class KeepEpoch(tf_keras.callbacks.Callback):
  """Writes the weights of a network as they are after one epoch; 0 is none."""

  def __init__(self, network: tf_keras.Model, epoch: int, artifact: str):
    super().__init__()
    self._network = network
    self._epoch = epoch
    self._path = _path(artifact, epoch)

  def on_epoch_begin(self, epoch, logs=None):
    del logs
    if epoch == self._epoch == 0:
      self._write()

  def on_epoch_end(self, epoch, logs=None):
    del logs
    if epoch + 1 == self._epoch:
      self._write()

  def _write(self) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, *self._network.get_weights())
    records.write_bytes(self._path, buffer.getvalue())


def restore(network: tf_keras.Model, artifact: str, epoch: int) -> None:
  """Gives a network the weights that an artifact had after `epoch`.

  Raises:
    ValueError: the artifact did not keep that epoch.
  """
  path = ready.kept_epoch(artifact, epoch)
  with np.load(path) as file:
    network.set_weights([file[name] for name in file.files])


def _path(artifact: str, epoch: int) -> pathlib.Path:
  return pathlib.Path(artifact) / ready.KEPT_EPOCHS / f'{epoch}.npz'
