"""Stage `qat`: trains on with int8 arithmetic simulated inside.

What the parent has of zeros and clusters is kept, so a pruned parent makes it
sparsity-preserving and a clustered one cluster-preserving.
"""

from tfcompress.core import types
from tfcompress.data import pipelines
from tfcompress.models import fake_quant, graph
from tfcompress.training import constraints, trainee
from tfcompress.training import job as job_lib

_CALIBRATION_BATCHES = 4
_BATCH = 64


def prepare(job: job_lib.Job) -> trainee.Trainee:
  """Returns the fake-quantized network, its ranges from training images.

  Raises:
    ValueError: a layer that cannot be quantized.
  """
  network = fake_quant.quantized(job.trainable(job.model))
  images, _ = pipelines.evenly_drawn(
    job.source,
    types.Split.TRAIN,
    job.config.data.transform,
    count=_CALIBRATION_BATCHES * _BATCH,
    input_size=job.spec.input_size,
  )
  batches = (images[i : i + _BATCH] for i in range(0, len(images), _BATCH))
  size = job.spec.stem_size
  fake_quant.calibrate(
    network, (pipelines.as_seen_inside(batch, size) for batch in batches)
  )
  kept = constraints.preserving(graph.kernels(network))
  return trainee.Trainee(network, tuple(kept))
