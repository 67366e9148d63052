"""What each layer's quantization costs: one at a time, all others in float32."""

from tfcompress.conversion import float_files, parity, rounding
from tfcompress.core import types


def measure(
  file: float_files.FloatFile, known: parity.HeldOut
) -> tuple[types.LayerSensitivity, ...]:
  """Makes and runs a file for every layer, and prints how far it is.

  Args:
    file: what to quantize.
    known: the images to run on.

  Returns:
    The layers, the most sensitive, that is of the lowest signal-to-noise, first.
  """
  found = []
  for layer in file.layers:
    content = rounding.quantized_alone(file, layer)
    result = parity.measure_content(content, known)
    found.append(
      types.LayerSensitivity(
        layer=layer.name,
        operator=layer.operator.value,
        parameters=layer.parameters,
        bits=layer.bits[0],
        snr_db=result.snr_db,
        top1_drop=result.top1_drop,
        examples=result.examples,
      )
    )
    print(
      f'{len(found)} of {len(file.layers)}: only {layer.name} in '
      f'int{layer.bits[0]}, {result.snr_db:.1f} dB'
    )
  return tuple(sorted(found, key=lambda layer: layer.snr_db))
