"""The training loop: fit, watched, journaled, and resumable at every epoch."""

import csv
import math
import os
import pathlib
import sys
import time
from collections.abc import Sequence

import tensorflow as tf
import tf_keras
import tqdm

from tfcompress.training import best as best_lib
from tfcompress.training import learner, ranks

CHECKPOINTS = 'checkpoints'
LOGS = 'logs'
HISTORY = 'history.csv'
STEPS_PER_EXECUTION = 4  # Python is asked only so often


def fit(
  model: learner.Learner,
  optimizer: tf_keras.optimizers.Optimizer,
  make_train_data,
  validation_data: tf.data.Dataset,
  *,
  callbacks: Sequence[tf_keras.callbacks.Callback],
  best: best_lib.Best | None,
  folder: pathlib.Path,
  epochs: int,
  steps_per_epoch: int,
  batch_size: int,
) -> int:
  """Trains to `epochs`, from the last checkpoint in `folder` if there is one.

  Args:
    model: what to fit.
    optimizer: unbuilt.
    make_train_data: from the first epoch to the batches from there on.
    validation_data: batches (images, targets), seen after every epoch.
    callbacks: the stage's own; they come before the checkpoint.
    best: keeps the best epoch, and may end the training.
    folder: of the artifact; gets checkpoints/ and logs/.
    epochs: of the whole training, a restart included.
    steps_per_epoch: batches an epoch.
    batch_size: images a step, for the rates that are shown.

  Returns:
    How many epochs are done.

  Raises:
    ValueError: the loss is no finite number; the last checkpoint stays.
  """
  model.compile(
    optimizer,
    steps_per_execution=STEPS_PER_EXECUTION,
    metrics=_metrics(validation_data.element_spec[1].shape[-1]),
  )
  checkpoint = _Checkpoint(model, folder / CHECKPOINTS)
  first = checkpoint.restore()
  if first:
    print(f'continuing after epoch {first} of {epochs}')
  if best is not None:
    best.resume(first)
  if first == epochs or (best is not None and best.ends(first)):
    return first
  history = model.fit(
    make_train_data(first),
    initial_epoch=first,
    epochs=epochs,
    steps_per_epoch=steps_per_epoch,
    validation_data=validation_data,
    verbose=0,
    callbacks=[
      *callbacks,
      _FiniteLoss(folder / CHECKPOINTS),
      *([] if best is None else [best]),
      _Journal(folder / LOGS, first),
      _Progress(first, epochs, steps_per_epoch * batch_size, batch_size),
      checkpoint,
    ],
  )
  return first + len(history.epoch)


def _metrics(num_classes: int) -> list[tf_keras.metrics.Metric]:
  """With their variables: a step that makes some is traced twice."""
  return [
    tf_keras.metrics.MeanMetricWrapper(metric, metric.__name__)
    for metric in ranks.metrics(num_classes)
  ]


class _Checkpoint(tf_keras.callbacks.Callback):
  """Saves weights, optimizer and epoch after every epoch; keeps the last two."""

  def __init__(self, model: tf_keras.Model, folder: pathlib.Path):
    super().__init__()
    model.optimizer.build(model.trainable_variables)
    self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
    tracked = tf.train.Checkpoint(
      variables=list(model.variables),
      optimizer=list(model.optimizer.variables),
      epoch=self._epoch,
    )
    self._manager = tf.train.CheckpointManager(tracked, str(folder), 2)

  def restore(self) -> int:
    """Restores the last checkpoint; returns how many epochs it has."""
    if self._manager.latest_checkpoint:
      tracked = self._manager.checkpoint
      status = tracked.restore(self._manager.latest_checkpoint)
      status.assert_existing_objects_matched()
    return int(self._epoch)

  def on_epoch_end(self, epoch, logs=None):
    del logs
    self._epoch.assign(epoch + 1)
    self._manager.save(checkpoint_number=epoch + 1)


class _FiniteLoss(tf_keras.callbacks.Callback):
  """Stops at the first loss that is no finite number."""

  def __init__(self, checkpoints: pathlib.Path):
    super().__init__()
    self._checkpoints = checkpoints
    self._epoch = 0

  def on_epoch_begin(self, epoch, logs=None):
    del logs
    self._epoch = epoch

  def on_train_batch_end(self, batch, logs=None):
    self._check(logs['loss'], f'step {batch + 1}')

  def on_epoch_end(self, epoch, logs=None):
    del epoch
    self._check(logs['val_loss'], 'the validation')

  def _check(self, loss, where: str) -> None:
    if not math.isfinite(loss):
      kept = ''
      if tf.train.latest_checkpoint(self._checkpoints):
        kept = f'the last good checkpoint is kept in {self._checkpoints}; '
      raise ValueError(
        f'the loss became {loss} in epoch {self._epoch + 1} at {where}; {kept}'
        'begin anew, in another --output_dir or with --overwrite, with a lower '
        '--learning_rate or --clip_norm'
      )


class _Journal(tf_keras.callbacks.Callback):
  """Writes every epoch's figures as a CSV row and to TensorBoard."""

  def __init__(self, folder: pathlib.Path, first_epoch: int):
    super().__init__()
    folder.mkdir(parents=True, exist_ok=True)
    self._path = folder / HISTORY
    self._rows = self._read()[:first_epoch]
    self._writer = tf.summary.create_file_writer(str(folder))
    self._start = 0.0

  def _read(self) -> list[dict[str, str]]:
    if not self._path.is_file():
      return []
    with self._path.open(newline='') as file:
      return list(csv.DictReader(file))

  def on_epoch_begin(self, epoch, logs=None):
    del epoch, logs
    self._start = time.monotonic()

  def on_epoch_end(self, epoch, logs=None):
    row = {
      'epoch': epoch + 1,
      **{name: float(value) for name, value in logs.items()},
      'learning_rate': float(self.model.optimizer.learning_rate),
      'seconds': round(time.monotonic() - self._start, 2),
    }
    self._rows.append(row)
    self._write()
    with self._writer.as_default(step=epoch + 1):
      for name, value in row.items():
        tf.summary.scalar(name, value)
    self._writer.flush()

  def _write(self) -> None:
    """Rewrites the whole file, so that a killed run leaves whole rows."""
    temporary = self._path.with_suffix('.tmp')
    with temporary.open('w', newline='') as file:
      writer = csv.DictWriter(file, fieldnames=list(self._rows[-1]))
      writer.writeheader()
      writer.writerows(self._rows)
    os.replace(temporary, self._path)


class _Progress(tf_keras.callbacks.Callback):
  """A bar over all of training, and a line after every epoch."""

  def __init__(
    self, first_epoch: int, epochs: int, images_per_epoch: int, batch_size: int
  ):
    super().__init__()
    self._epochs = epochs
    self._images_per_epoch = images_per_epoch
    self._batch_size = batch_size
    self._epoch = first_epoch
    self._bar = tqdm.tqdm(
      total=epochs * images_per_epoch,
      initial=first_epoch * images_per_epoch,
      unit='img',
      unit_scale=True,
      dynamic_ncols=True,
      # A log file gets a line now and then, a terminal a live bar.
      mininterval=0.2 if sys.stderr.isatty() else 20,
    )

  def on_epoch_begin(self, epoch, logs=None):
    del logs
    self._epoch = epoch
    self._start = time.monotonic()
    self._bar.set_description(f'epoch {epoch + 1}/{self._epochs}', False)

  def on_train_batch_end(self, batch, logs=None):
    self._bar.set_postfix_str(
      f'loss {logs["loss"]:.3f}, top-1 {100 * logs["top1"]:.1f} %', False
    )
    done = self._epoch * self._images_per_epoch + (batch + 1) * self._batch_size
    self._bar.update(done - self._bar.n)

  def on_test_begin(self, logs=None):
    del logs
    self._rate = self._images_per_epoch / (time.monotonic() - self._start)

  def on_epoch_end(self, epoch, logs=None):
    tqdm.tqdm.write(
      f'epoch {epoch + 1}/{self._epochs}: '
      f'loss {logs["loss"]:.3f}, top-1 {100 * logs["top1"]:.1f} %; '
      f'validation loss {logs["val_loss"]:.3f}, '
      f'top-1 {100 * logs["val_top1"]:.1f} %; {self._rate:.0f} images/s'
    )

  def on_train_end(self, logs=None):
    del logs
    self._bar.close()
