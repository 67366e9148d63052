"""Stage `baseline`: cross-entropy on labels."""

import functools

from tfcompress.models import heads
from tfcompress.training import job as job_lib
from tfcompress.training import losses, trainee


def prepare(job: job_lib.Job) -> trainee.Trainee:
  """Returns the network itself, to be trained on its logits."""
  return trainee.Trainee(
    model=heads.with_logits(job.network),
    network=lambda: job.network,
    loss=functools.partial(
      losses.cross_entropy, label_smoothing=job.config.label_smoothing
    ),
  )
