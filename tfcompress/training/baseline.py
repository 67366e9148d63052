"""Stages `baseline` and `kd`: a network trained as it is.

On labels, or on labels and a teacher's outputs; what a parent has of zeros and
clusters is kept.
"""

from tfcompress.models import graph
from tfcompress.training import constraints, trainee
from tfcompress.training import job as job_lib


def prepare(job: job_lib.Job) -> trainee.Trainee:
  """Returns the job's network itself."""
  network = job.trainable(job.model)
  kept = constraints.preserving(graph.kernels(network))
  return trainee.Trainee(network, tuple(kept))
