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
_E = types.ExportConfig


def _define_flags() -> None:
  flags.DEFINE_string('artifact', None, 'the artifact folder to export')
  flags.DEFINE_string('output_dir', None, 'where the three files go')
  flags.DEFINE_enum_class(
    'variant',
    _E.variant,
    types.Variant,
    'int8 is full integer; dynamic has int8 weights and float32 activations',
  )
  flags.DEFINE_enum_class(
    'io_dtype',
    None,
    types.IoDtype,
    'of input and output; uint8 if not given and the variant is int8',
  )
  flags.DEFINE_integer(
    'calibration_examples',
    _E.calibration_examples,
    'training images, evenly over the classes, that set the int8 ranges',
    1,
  )
  flags.DEFINE_integer(
    'parity_examples',
    _E.parity_examples,
    'held-out images on which file and parent are compared',
    1,
  )
  flags.DEFINE_float(
    'min_agreement_percent',
    _E.min_agreement_percent,
    'least share of them with the same top-1',
    0.0,
    100.0,
  )
  flags.DEFINE_float(
    'min_snr_db',
    _E.min_snr_db,
    'least signal-to-noise of the probabilities in decibel',
  )
  flags.DEFINE_string('username', _E.username, 'for metadata.json')
  flags.DEFINE_string('teamname', _E.teamname, 'for metadata.json')
  cli_flags.define_data_flags()


_define_flags()


def _config() -> types.ExportConfig:
  for name in ('artifact', 'output_dir'):
    if not FLAGS[name].value:
      raise ValueError(
        f'--{name} is missing; give it, or --flagfile=flags/export_int8.cfg'
      )
  return types.ExportConfig(
    artifact=FLAGS.artifact,
    output_dir=FLAGS.output_dir,
    variant=FLAGS.variant,
    io_dtype=FLAGS.io_dtype,
    calibration_examples=FLAGS.calibration_examples,
    parity_examples=FLAGS.parity_examples,
    min_agreement_percent=FLAGS.min_agreement_percent,
    min_snr_db=FLAGS.min_snr_db,
    username=FLAGS.username,
    teamname=FLAGS.teamname,
  )


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
