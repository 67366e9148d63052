"""The teachers' outputs on all training images, computed once, kept on disk.

Possible where an image has but one view, or two that mirror each other: with
--crop=none and neither mixup nor CutMix. The numbers are those that the
teachers would give in every step; a step only costs its student.
"""

import hashlib
import json
import os
import pathlib

import numpy as np
import tensorflow as tf
import tqdm

from tfcompress.core import configs, records, types
from tfcompress.data import pipelines, transforms
from tfcompress.training import job as job_lib
from tfcompress.training import teacher as teacher_lib

_BATCH = 128
_PIXELS = 2  # another number where the same view has got other pixels


def of(job: job_lib.Job) -> pipelines.Extra | None:
  """Returns what reads the teachers' logits (B, K, C) of a batch of views.

  None where they cannot be kept, or would not be used twice.
  """
  if not job.teachers or not _one_view(job.config):
    return None
  path = _path(job)
  views = 1 + job.config.augment.flip
  if not path.is_file():
    if job.config.epochs <= views:
      return None
    _write(job, path, views)
  return _reader(path)


def folder() -> pathlib.Path:
  """Where outputs are kept: the user's cache folder."""
  cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  return pathlib.Path(cache).expanduser() / 'tfcompress' / 'teachers'


def _one_view(config: configs.TrainConfig) -> bool:
  augment = config.augment
  return (
    augment.crop is configs.TrainTransform.NONE
    and not (augment.mixup_alpha or augment.cutmix_alpha)
    and not config.distill.attention  # Features are too large to keep.
  )


def _path(job: job_lib.Job) -> pathlib.Path:
  """A file named after all that the outputs depend on."""
  key = {
    'teachers': [teacher.record.sha256 for teacher in job.teachers],
    'scaling': [teacher.scaling.value for teacher in job.teachers],
    'policies': [teacher.policy for teacher in job.teachers],
    'views': _views(job),
    'pixels': _PIXELS,
    'mirrored': job.config.augment.flip,
    'images': job.source.identity(),
  }
  text = json.dumps(records.to_json(key), sort_keys=True)
  return folder() / f'{hashlib.sha256(text.encode()).hexdigest()[:32]}.npy'


def _views(job: job_lib.Job) -> tuple[transforms.View, ...]:
  """What the teachers see, each view once."""
  return tuple(dict.fromkeys(teacher.view for teacher in job.teachers))


def _write(job: job_lib.Job, path: pathlib.Path, views: int) -> None:
  """Writes float32 logits (N, views, K, C); the file is there when whole."""
  examples = job.source.num_examples[types.Split.TRAIN]
  shape = (examples, views, len(job.teachers), job.spec.num_classes)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_suffix(f'.{os.getpid()}')
  outputs = np.lib.format.open_memmap(temporary, 'w+', np.float32, shape)
  teach = tf.function(teacher_lib.teach(job.teachers, _views(job)))
  batches = pipelines.still(
    job.source,
    job.config.augment,
    batch_size=_BATCH,
    views=_views(job),
  )
  try:
    with tqdm.tqdm(total=examples, unit='img', desc='teacher') as bar:
      done = 0
      for seen in batches:
        end = done + len(seen[0])
        for view in range(views):
          first, *others = (x[:, :, ::-1] if view else x for x in seen)
          logits, _ = teach(first, tuple(others))
          outputs[done:end, view] = _batch_first(logits)
        bar.update(end - done)
        done = end
    outputs.flush()
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)
  print(f"the teacher's outputs are kept in {path}", flush=True)


def _batch_first(logits: tf.Tensor) -> np.ndarray:
  return logits.numpy().swapaxes(0, 1)


def _reader(path: pathlib.Path) -> pipelines.Extra:
  outputs = np.load(path, mmap_mode='r')

  def read(index: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    return outputs[index, mirrored.astype(np.int64)]

  def lookup(index: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    found = tf.numpy_function(read, (index, mirrored), tf.float32)
    return tf.ensure_shape(found, (None, *outputs.shape[2:]))

  return lookup
