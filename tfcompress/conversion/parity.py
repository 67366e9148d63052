"""Checks that a converted file still is the model it was made from."""

import dataclasses
import os
import pathlib
import tempfile

import numpy as np
import tf_keras

from tfcompress.conversion import variants
from tfcompress.core import ranks, records, types
from tfcompress.runtimes import interface, load


@dataclasses.dataclass(frozen=True)
class Parity:
  """How much two models agree on the same images.

  Attributes:
    agreement_percent: share of images with the same top-1.
    snr_db: signal-to-noise of the probabilities, 10 log10(sum p^2 /
      sum (p - q)^2) with p the parent's and q the file's.
    examples: how many images.
    parent_top1_percent: top-1 of the parent on them.
    file_top1_percent: top-1 of the file on them.
  """

  agreement_percent: float
  snr_db: float
  examples: int
  parent_top1_percent: float
  file_top1_percent: float

  @property
  def top1_drop(self) -> float:
    """Points of top-1 that the file lacks of its parent's."""
    # Rounded: 55 - 54 is to be within 1, whatever their floats are.
    return round(self.parent_top1_percent - self.file_top1_percent, 9)


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Images that were not trained on, and what the parent says of them.

  Attributes:
    images: uint8 (N, S, S, 3).
    labels: int64 (N,).
    parent: its probabilities, float32 (N, C).
  """

  images: np.ndarray
  labels: np.ndarray
  parent: np.ndarray


def held_out(
  model: tf_keras.Model, images: np.ndarray, labels: np.ndarray
) -> HeldOut:
  """Runs the parent on uint8 images (N, S, S, 3) with labels (N,)."""
  parent = model.predict(images.astype(np.float32), batch_size=32, verbose=0)
  return HeldOut(images, labels, parent)


def measure(
  path: str, known: HeldOut, num_threads: int | None = None
) -> Parity:
  """Runs a file on held-out images and compares it with its parent.

  Raises:
    ValueError: its probabilities are not finite.
  """
  backend = load.open_model(path, num_threads=num_threads)
  info, out = backend.inputs[0], backend.outputs[0]
  encoded = interface.encode(known.images, info, types.Preprocessing())
  file = np.concatenate(
    [interface.decode(backend.predict(one[None]), out) for one in encoded]
  )
  backend.close()
  return compare(known.parent, file, known.labels)


def measure_content(content: bytes, known: HeldOut) -> Parity:
  """As `measure`, of a file that is not written yet, on all cores."""
  with tempfile.TemporaryDirectory() as scratch:
    path = pathlib.Path(scratch) / records.EXPORTED
    path.write_bytes(content)
    return measure(str(path), known, len(os.sched_getaffinity(0)))


def compare(parent: np.ndarray, file: np.ndarray, labels: np.ndarray) -> Parity:
  """Compares probabilities (N, C), float32, with labels (N,) int64.

  Raises:
    ValueError: the file's are not finite.
  """
  if not np.isfinite(parent).all():
    raise ValueError(
      'the artifact gives outputs that are not finite; no model was written; '
      'train it anew, with a lower --learning_rate'
    )
  if not np.isfinite(file).all():
    raise ValueError(
      'the converted file gives outputs that are not finite; no model was '
      'written; choose another --variant'
    )
  noise = float(np.square(parent - file, dtype=np.float64).sum())
  signal = float(np.square(parent, dtype=np.float64).sum())
  first, second = parent.argmax(axis=-1), file.argmax(axis=-1)
  return Parity(
    agreement_percent=_percent(first == second),
    # 200 dB stands for equality: JSON holds no infinity.
    snr_db=min(200.0, 10 * np.log10(signal / noise)) if noise else 200.0,
    examples=len(labels),
    parent_top1_percent=_percent(ranks.of(parent, labels) == 0),
    file_top1_percent=_percent(ranks.of(file, labels) == 0),
  )


def _percent(which: np.ndarray) -> float:
  """The share of true ones (N,), as near to its decimal as a float can be."""
  return 100 * int(which.sum()) / len(which)


def require(parity: Parity, config: types.ExportConfig, trained: bool) -> None:
  """Raises ValueError where a file is too far from its parent.

  Args:
    parity: what was found.
    config: what is least.
    trained: the parent was trained for int8.
  """
  remedies = variants.remedies(config.variant, trained=trained)
  if parity.agreement_percent < config.min_agreement_percent:
    raise ValueError(
      f"the {config.variant.value} file has the parent's top-1 on "
      f'{parity.agreement_percent:.1f} % of {parity.examples} held-out images, '
      f'expected at least {config.min_agreement_percent:g} %; no model was '
      f'written; {remedies}, or lower --min_agreement_percent'
    )
  if parity.snr_db < config.min_snr_db:
    raise ValueError(
      f"the {config.variant.value} file's probabilities have a "
      f'signal-to-noise of {parity.snr_db:.1f} dB, expected at least '
      f'{config.min_snr_db:g} dB; no model was written; '
      f'{remedies}, or lower --min_snr_db'
    )


def require_interface(path: str, spec: types.ModelSpec) -> None:
  """Raises ValueError unless a file takes one image and gives its classes."""
  backend = load.open_model(path)
  got = [info.shape for info in (*backend.inputs, *backend.outputs)]
  backend.close()
  size = spec.input_size
  expected = [(1, size, size, 3), (1, spec.num_classes)]
  if got != expected:
    raise ValueError(
      f'the converted file has inputs and outputs {got}, expected {expected}'
    )
