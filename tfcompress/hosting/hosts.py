"""Where submissions are evaluated, and on what."""

import dataclasses
import pathlib

from tfcompress.core import challenges, measurements, types

ENVIRONMENTS = '.environments'  # of a repository, ignored by git
_FOLDER = 'folder:'


@dataclasses.dataclass(frozen=True)
class Host:
  """A challenge, and a machine for it.

  Attributes:
    repository: the folder of the challenge.
    challenge: its rules.
    data: the images.
    environments: folder of those that requirements are installed in.
    isolation: of a submission's processes; None takes the strictest there is.
  """

  repository: pathlib.Path
  challenge: challenges.Challenge
  data: types.DataSpec
  environments: pathlib.Path
  isolation: measurements.Isolation | None = None

  @property
  def limits(self) -> measurements.Limits:
    """Of every process that opens a model."""
    limits = self.challenge.limits
    return measurements.Limits(
      isolation=self.isolation,
      memory_limit=limits.memory_mib,
      time_limit=limits.seconds,
      process_limit=limits.processes,
    )


def require_classes(host: Host) -> None:
  """Raises ValueError where a challenge's images have other classes than it.

  Says what is odd about the images.
  """
  # Here, since it takes TensorFlow.
  from tfcompress.data import remarks, sources

  source = sources.load(host.data, training=False)
  remarks.show(source.remarks)
  found = len(source.class_names)
  if found != host.challenge.num_classes:
    raise ValueError(
      f'{challenges.CHALLENGE}: num_classes {host.challenge.num_classes}, but '
      f'{host.challenge.data.dataset} has {found}; change one of them'
    )


def images(
  repository: pathlib.Path, data: challenges.Data, dataset: str
) -> types.DataSpec:
  """Returns images of a challenge, wherever this program runs.

  Args:
    repository: that a folder of images is relative to.
    data: how they are brought to size.
    dataset: of `data`, or another.
  """
  if dataset.startswith(_FOLDER):
    folder = (repository / dataset.removeprefix(_FOLDER)).resolve()
    dataset = f'{_FOLDER}{folder}'
  return types.DataSpec(dataset=dataset, transform=data.transform)
