"""Stage `kd`: a student learns a teacher's outputs (Hinton 2015)."""

from tfcompress.models import heads
from tfcompress.training import distiller, trainee
from tfcompress.training import job as job_lib


def prepare(job: job_lib.Job) -> trainee.Trainee:
  """Returns a Distiller around the job's network."""
  return trainee.Trainee(
    model=distiller.Distiller(
      student=heads.with_logits(job.network),
      teacher=job.teacher.logits,
      config=job.config.distill,
      label_smoothing=job.config.label_smoothing,
    ),
    network=lambda: job.network,
  )
