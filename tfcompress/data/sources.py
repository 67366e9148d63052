"""Where images come from: a TFDS name or an image folder.

A source yields encoded images in a fixed order; it decodes nothing and keeps
no image in memory.
"""

import contextlib
import dataclasses
import difflib
import io
import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from tfcompress.core import errors, types
from tfcompress.data import folders, pillow, remarks, transforms

_SHUFFLED_IMAGES = 10_000
# What images are known by changes with the pixels that are decoded from them.
_DECODER = 'accurate DCT'
# What TensorFlow raises for an image that is none, not there, or not for us.
UNREADABLE = (
  tf.errors.InvalidArgumentError,
  tf.errors.NotFoundError,
  tf.errors.PermissionDeniedError,
  tf.errors.FailedPreconditionError,  # a folder
  tf.errors.UnknownError,  # a link to itself
)


@dataclasses.dataclass(frozen=True)
class Source:
  """A labelled image set.

  Attributes:
    name: as `--dataset` gives it.
    class_names: in the order of the labels.
    num_examples: by split.
    handles: makes the dataset of (handle, label), string and int64 scalars, of
      a split, in a fixed order.
    shuffle_buffer: handles to hold for a random order: all of a folder's, which
      are paths in order of their classes; some of a TFDS set's, which are whole
      images, in an order that is random already.
    read: from a handle to the encoded image, both string tensors.
    describe: names an example of a split for an error message, by its index.
    identity: makes a text that changes when the training images do.
    skipped_examples: by split, those left out since they did not decode.
    remarks: lines for a user, on what is odd about the images.
  """

  name: str
  class_names: tuple[str, ...]
  num_examples: Mapping[types.Split, int]
  handles: Callable[[types.Split], tf.data.Dataset]
  shuffle_buffer: int
  read: Callable[[tf.Tensor], tf.Tensor]
  describe: Callable[[types.Split, int], str]
  identity: Callable[[], str]
  skipped_examples: Mapping[types.Split, int] = dataclasses.field(
    default_factory=lambda: dict.fromkeys(types.Split, 0)
  )
  remarks: tuple[str, ...] = ()


def load(spec: types.DataSpec, training: bool = True) -> Source:
  """Opens a dataset, preparing or downloading it first where TFDS must.

  Args:
    spec: which.
    training: whether its training images are needed; else the source of a
      folder has that split in no attribute.

  Raises:
    ValueError: no such dataset or folder, classes that differ between splits,
      or a download without a network.
  """
  if folders.is_folder(spec):
    return _load_folder(spec, training)
  if spec.skip_corrupt_images:
    raise ValueError(
      f'--skip_corrupt_images is for image folders, got --dataset='
      f'{spec.dataset}'
    )
  return _load_tfds(spec)


def first_corrupt(source: Source, split: types.Split) -> str | None:
  """Names the first image of a split that does not decode, or None."""
  expected = 0
  for index in _decodes(source.handles(split), source.read):
    if index != expected:
      break
    expected += 1
  if expected == source.num_examples[split]:
    return None
  return source.describe(split, expected)


def unreadable(name: str) -> str:
  """Returns the sentence on an image that does not decode."""
  return (
    f'{name}: the image cannot be read or decoded, expected {pillow.FORMATS}; '
    'remove it or pass --skip_corrupt_images'
  )


def require_classes(source: Source, class_names: tuple[str, ...]) -> None:
  """Raises ValueError unless the source has exactly these classes."""
  if len(source.class_names) != len(class_names):
    raise ValueError(
      f'{source.name} has {len(source.class_names)} classes, the model '
      f'{len(class_names)}; give --dataset the images it was made for'
    )
  if source.class_names != tuple(class_names):
    ours, theirs = next(
      (a, b) for a, b in zip(source.class_names, class_names) if a != b
    )
    raise ValueError(
      f'{source.name} names a class {ours!r} where the model has {theirs!r}; '
      'give --dataset the images it was made for'
    )


def _load_folder(spec: types.DataSpec, training: bool) -> Source:
  found = folders.read(spec, training)
  files = {
    split: (images.paths, images.labels)
    for split, images in found.images.items()
  }
  skipped = dict.fromkeys(types.Split, 0)
  if spec.skip_corrupt_images:
    for split, (paths, labels) in files.items():
      good = _good_files(paths, labels)
      if not good.any():
        raise ValueError(
          f'{found.images[split].folder}: none of the {len(good)} images in it '
          'decodes'
        )
      files[split] = (paths[good], labels[good])
      skipped[split] = int((~good).sum())
  return Source(
    name=spec.dataset,
    class_names=found.class_names,
    num_examples={split: len(paths) for split, (paths, _) in files.items()},
    handles=lambda split: tf.data.Dataset.from_tensor_slices(files[split]),
    shuffle_buffer=max(len(paths) for paths, _ in files.values()),
    read=tf.io.read_file,
    describe=lambda split, index: os.fsdecode(files[split][0][index]),
    identity=lambda: _identity(files[types.Split.TRAIN][0]),
    skipped_examples=skipped,
    remarks=remarks.of(found),
  )


def _identity(paths: np.ndarray) -> str:
  """Names, sizes and times of files, which change when a file does."""
  lines = [_DECODER]
  for path in paths:
    status = os.stat(path)
    name = os.fsdecode(path)
    lines.append(f'{name}\0{status.st_size}\0{status.st_mtime_ns}')
  return '\n'.join(lines)


def _good_files(paths: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Which files decode, as booleans in their order."""
  handles = tf.data.Dataset.from_tensor_slices((paths, labels))
  good = np.zeros(len(paths), bool)
  good[list(_decodes(handles, tf.io.read_file))] = True
  return good


def _decodes(handles: tf.data.Dataset, read) -> Iterator[int]:
  """The indices of images that decode, in order; decodes them in parallel."""

  def one(index, example):
    # With a shape, or the image would not be decoded.
    return index, tf.shape(transforms.decode(read(example[0])))

  cores = len(os.sched_getaffinity(0))
  found = handles.enumerate().map(one, num_parallel_calls=cores)
  found = found.ignore_errors().as_numpy_iterator()
  return (int(index) for index, _ in found)


def _load_tfds(spec: types.DataSpec) -> Source:
  builder = _builder(spec)
  _prepare(builder, spec)
  features = builder.info.features
  if features is None or not {'image', 'label'} <= set(features):
    raise ValueError(
      f'{spec.dataset}: features {sorted(features or ())}, '
      'expected image and label; choose an image classification dataset'
    )
  splits = {
    types.Split.TRAIN: _split_name(builder, spec, 'train'),
    types.Split.VALIDATION: _split_name(builder, spec, 'validation', 'test'),
  }
  import tensorflow_datasets as tfds

  def handles(split: types.Split) -> tf.data.Dataset:
    dataset = builder.as_dataset(
      split=splits[split],
      decoders={'image': tfds.decode.SkipDecoding()},
      shuffle_files=False,
    )
    return dataset.map(lambda example: (example['image'], example['label']))

  return Source(
    name=spec.dataset,
    class_names=tuple(features['label'].names),
    num_examples={
      split: builder.info.splits[name].num_examples
      for split, name in splits.items()
    },
    handles=handles,
    shuffle_buffer=_SHUFFLED_IMAGES,
    read=tf.identity,
    describe=lambda split, index: f'{spec.dataset} {split.value} [{index}]',
    identity=lambda: _tfds_identity(builder, splits[types.Split.TRAIN]),
  )


def _tfds_identity(builder, split: str) -> str:
  """A prepared split: where it lies, and how much of it in each file."""
  info = builder.info.splits[split]
  return (
    f'{_DECODER} {builder.data_path} {split} {info.num_bytes} '
    f'{info.shard_lengths}'
  )


def _builder(spec: types.DataSpec):
  """The TFDS builder of a name; synthetic100 is ours."""
  import tensorflow_datasets as tfds

  if spec.dataset in types.GENERATED:
    from tfcompress.data import synthetic100  # noqa: F401  Registers itself.
  try:
    return tfds.builder(spec.dataset, data_dir=spec.data_dir or None)
  except (tfds.core.DatasetNotFoundError, ValueError) as error:
    builders = tfds.list_builders(with_community_datasets=False)
    known = [*builders, *types.GENERATED]
    close = difflib.get_close_matches(spec.dataset, known, n=3)
    hint = (
      f'did you mean {" or ".join(close)}?'
      if close
      else ('expected synthetic100, a TFDS name or folder:DIR')
    )
    raise ValueError(f'{spec.dataset}: no such dataset; {hint}') from error


def _prepare(builder, spec: types.DataSpec) -> None:
  """Prepares the dataset unless it is there, downloading what it must."""
  import requests
  import tensorflow_datasets as tfds

  if builder.data_path.exists():
    return
  print(
    f'preparing {spec.dataset} in {builder.data_path}, once; it may take '
    'minutes',
    flush=True,
  )
  tfds.disable_progress_bar()
  try:
    _require_network(builder)
    with contextlib.redirect_stdout(io.StringIO()):  # It says so once more.
      builder.download_and_prepare()
  except (
    requests.exceptions.RequestException,
    tfds.download.DownloadError,
    ConnectionError,
    AssertionError,  # TFDS's word for files that must be fetched by hand.
  ) as error:
    raise ValueError(
      f'{spec.dataset} must be downloaded and that failed '
      f'({errors.first_line(error)}); connect to the network, or copy a '
      'prepared one to --data_dir, or use --dataset=synthetic100 or folder:DIR'
    ) from error


def _require_network(builder) -> None:
  """Looks a download's host up: TFDS alone retries for minutes before it fails.

  Raises:
    ConnectionError: there is no network, nor a proxy that would know hosts.
  """
  if urllib.request.getproxies():
    return
  for url in list(builder.url_infos or ())[:1]:
    host = urllib.parse.urlsplit(url).hostname
    try:
      socket.getaddrinfo(host, None)
    except socket.gaierror as error:
      raise ConnectionError(f'cannot find {host}') from error


def _split_name(builder, spec: types.DataSpec, *names: str) -> str:
  for name in names:
    if name in builder.info.splits:
      return name
  raise ValueError(
    f'{spec.dataset}: splits {sorted(builder.info.splits)}, '
    f'expected {" or ".join(names)}'
  )
