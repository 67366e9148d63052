"""The epoch with the best validation top-1: its weights, and when to stop."""

import io
import pathlib

import numpy as np
import tf_keras

from tfcompress.core import configs, records

FOLDER = 'checkpoints/best'
_TOP1 = 'top1'


class Best(tf_keras.callbacks.Callback):
  """Keeps the weights of the best epoch; stops when none has been for long.

  A file an epoch that was better than all before it: what a killed run had seen
  of an epoch without a checkpoint is forgotten, as the epoch is run again.
  """

  def __init__(
    self,
    network: tf_keras.Model,
    config: configs.TrainConfig,
    settled_step: int,
    begin: int = 0,
  ):
    """Makes it.

    Args:
      network: whose weights are kept.
      config: of the run.
      settled_step: the steps after which the network is what its stage
        promises; earlier epochs do not count.
      begin: epochs that were done when the run was last extended; patience
        counts from there.
    """
    super().__init__()
    self._network = network
    self._config = config
    self._settled_step = settled_step
    self._begin = begin
    self._folder = pathlib.Path(config.output_dir) / FOLDER

  def resume(self, done: int) -> None:
    """Forgets epochs after the first `done`."""
    for epoch in self._epochs():
      if epoch > done:
        self._path(epoch).unlink()

  @property
  def epoch(self) -> int | None:
    """The best epoch so far, from 1 on."""
    return max(self._epochs(), default=None)

  @property
  def top1(self) -> float | None:
    """Its validation top-1, a share."""
    if self.epoch is None:
      return None
    with np.load(self._path(self.epoch)) as file:
      return float(file[_TOP1])

  def ends(self, done: int) -> bool:
    """Whether so many epochs are enough for `--patience`."""
    patience = self._config.patience
    if patience is None or self.epoch is None:
      return False
    if done < (self._config.keep_epoch or 0):
      return False
    return done - max(self.epoch, self._begin) >= patience

  def restore(self) -> None:
    """Gives the network the weights of the best epoch."""
    with np.load(self._path(self.epoch)) as file:
      count = len(file.files) - 1
      self._network.set_weights([file[f'arr_{i}'] for i in range(count)])

  def on_epoch_end(self, epoch, logs=None):
    done = epoch + 1
    before = self.top1
    for old in sorted(self._epochs())[:-1]:
      self._path(old).unlink()  # The later one has a checkpoint by now.
    if int(self.model.optimizer.iterations) >= self._settled_step and (
      before is None or logs['val_top1'] > before
    ):
      self._write(done, logs['val_top1'])
    if self.ends(done):
      self.model.stop_training = True

  def _write(self, epoch: int, top1: float) -> None:
    weights = self._network.get_weights() if self._config.keep_best else []
    buffer = io.BytesIO()
    np.savez(buffer, *weights, **{_TOP1: np.float64(top1)})
    records.write_bytes(self._path(epoch), buffer.getvalue())

  def _epochs(self) -> list[int]:
    return [int(path.stem) for path in self._folder.glob('*.npz')]

  def _path(self, epoch: int) -> pathlib.Path:
    return self._folder / f'{epoch}.npz'
