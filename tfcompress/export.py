"""Exports an artifact to a checked `.tflite` with its metadata.

  python -m tfcompress.export --artifact=runs/kd --variant=int8 \\
    --output_dir=exported/kd --username=ada --teamname=engine

The file is compared with its parent on held-out images before anything is
written.

  python -m tfcompress.export --artifact=runs/kd --variant=static_wi4_ai8 \\
    --max_drop=1 --sensitivity --output_dir=exported/kd_wi4

Names of variants decode: wi4 is int4 weights, ai8 int8 activations, afp32 those
in float32.
"""

import dataclasses
import re

from absl import flags

from tfcompress import cli_flags
from tfcompress.conversion import ready
from tfcompress.core import environment, processes, records, types

FLAGS = flags.FLAGS
_BITS = {'wi': ('weights', ('4', '8')), 'ai': ('activations', ('8',))}


class _VariantParser(flags.EnumClassParser):
  """Says of a name that decodes which of its bits are out of range."""

  def parse(self, argument):
    try:
      return super().parse(argument)
    except ValueError as error:
      wrong = [
        f'int{bits} {_BITS[kind][0]} are out of range, expected '
        + ' or '.join(f'{kind}{other}' for other in _BITS[kind][1])
        for kind, bits in re.findall(r'_([wa]i)(\d+)', str(argument))
        if bits not in _BITS[kind][1]
      ]
      raise ValueError('; '.join([*wrong, str(error)])) from error


def _define_flags() -> None:
  flags.DEFINE_string('artifact', None, 'the artifact folder to export')
  flags.DEFINE_string('output_dir', None, 'where the three files go')
  flags.DEFINE(
    _VariantParser(types.Variant, case_sensitive=False),
    'variant',
    types.Variant.INT8,
    'what the numbers of the file are: '
    + ', '.join(variant.value for variant in types.Variant),
    serializer=flags.EnumClassSerializer(lowercase=True),
  )
  cli_flags.define_data_flags()
  cli_flags.define(
    types.ExportConfig,
    io_dtype=(
      'of input and output; uint8 if not given and the activations are int8'
    ),
    rewrites=(
      'exact changes to the graph, such as space_to_depth,normalization,resize,'
      'no_ops; those that fit if not given, none if empty; strides, for '
      'LiteRT on a GPU, only if it is among them'
    ),
    calibration=(
      'static and mixed variants: min_max ranges are those that were seen, mse '
      'ones err least'
    ),
    kernel_ranges=(
      'variants of litert-quantizer: min_max clips no weight, mse and octav clip '
      'where rounding then errs less, which pays with int4'
    ),
    calibration_examples=(
      'training images, evenly over the classes, that set the int8 ranges',
      2,
    ),
    sensitivity=(
      'quantize one layer at a time; write sensitivity.csv, .md and .png'
    ),
    keep_float=('so many of the most sensitive layers stay in float32', 0),
    max_drop=(
      'points of top-1 that the file may lose: as many of the most sensitive '
      'layers as it takes stay in higher precision; 1 of the mixed variant, if '
      'not given',
      0.0,
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
    profile='print the time of every operator of the file',
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
  known = records.read_manifest(config.artifact)
  data = cli_flags.data_spec(known.data)
  config = dataclasses.replace(config, data=data)
  from tfcompress.data import folders

  ready.require(config, known)
  folders.require(config.data, ready.needs_training_images(config, known))
  processes.go_on_watched('choose another --variant')
  from tfcompress.conversion import run

  parity = run.run(config, lambda layers: _report(config, layers))
  print(
    f'{config.output_dir}: {config.variant.value}, same top-1 as '
    f'{config.artifact} on {parity.agreement_percent:.1f} % of '
    f'{parity.examples} held-out images, {parity.snr_db:.1f} dB'
  )
  if note := _slow_here(config):
    print(note)
  if config.profile:
    from tfcompress.measurement import profile
    from tfcompress.reports import tables

    found = profile.profile(config.output_dir, known.model.input_size)
    print(tables.profile(found))


def _slow_here(config: types.ExportConfig) -> str:
  """That int8 may be no faster than float32 on this CPU, or ''."""
  from tfcompress.conversion import variants
  from tfcompress.measurement import int8

  why = int8.without_dot_products(environment.describe())
  recipe = variants.RECIPES[config.variant]
  if not why or not (recipe.calibrated or recipe.mode is variants.Mode.DYNAMIC):
    return ''
  return (
    f'{why}: int8 may be no faster than float32 here; to see, export it as '
    '--variant=float32 too, and give both folders to `python -m '
    'tfcompress.evaluate`, each as a --model'
  )


def _report(
  config: types.ExportConfig, layers: tuple[types.LayerSensitivity, ...]
) -> None:
  from tfcompress.reports import sensitivity

  print(sensitivity.table(layers))
  sensitivity.write(config.output_dir, layers, config.variant)


def main() -> None:
  """Runs the command."""
  cli_flags.run(_export, __doc__)


if __name__ == '__main__':
  main()
