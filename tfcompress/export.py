"""Exports an artifact to a checked `.tflite` with its metadata.

  python -m tfcompress.export --artifact=runs/kd --variant=int8 \\
    --output_dir=exported/kd --username=ada --teamname=engine

The file is compared with its parent on held-out images before anything is
written.
"""

import dataclasses

from absl import flags

from tfcompress import cli_flags
from tfcompress.core import records, types

FLAGS = flags.FLAGS


def _define_flags() -> None:
  flags.DEFINE_string('artifact', None, 'the artifact folder to export')
  flags.DEFINE_string('output_dir', None, 'where the three files go')
  cli_flags.define_data_flags()
  cli_flags.define(
    types.ExportConfig,
    variant=(
      'int8 is full integer; dynamic has int8 weights and float32 activations'
    ),
    io_dtype='of input and output; uint8 if not given and the variant is int8',
    calibration_examples=(
      'training images, evenly over the classes, that set the int8 ranges',
      1,
    ),
    parity_examples=(
      'held-out images on which file and parent are compared',
      1,
    ),
    min_agreement_percent=(
      'least share of them with the same top-1',
      0.0,
      100.0,
    ),
    min_snr_db='least signal-to-noise of the probabilities in decibel',
    username='for metadata.json; with it the file must be a submission',
    teamname='for metadata.json, likewise',
    custom_objects=cli_flags.CUSTOM_OBJECTS,
  )


_define_flags()


def _config() -> types.ExportConfig:
  cli_flags.require('artifact', 'output_dir', example='flags/export_int8.cfg')
  return cli_flags.read(types.ExportConfig)


def _export() -> None:
  config = _config()
  known = records.read_manifest(config.artifact).data
  config = dataclasses.replace(config, data=cli_flags.data_spec(known))
  from tfcompress.conversion import run

  parity = run.run(config)
  print(
    f'{config.output_dir}: {config.variant.value}, same top-1 as '
    f'{config.artifact} on {parity.agreement_percent:.1f} % of '
    f'{parity.examples} held-out images, {parity.snr_db:.1f} dB'
  )


def main() -> None:
  """Runs the command."""
  cli_flags.run(_export, __doc__)


if __name__ == '__main__':
  main()
