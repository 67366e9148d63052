"""Measures one model file, each part in a fresh process."""

import dataclasses

from tfcompress.core import environment, measurements, records
from tfcompress.measurement import accuracy, latency, memory, process, size
from tfcompress.runtimes import interface, load


def measure(config: measurements.MeasureConfig) -> measurements.Measurement:
  """Measures the parts that `config` asks for; the others stay None.

  Raises:
    ValueError: no model there, or one that cannot be opened or run.
  """
  load.runtime_of(config.model, config.runtime)
  fresh = process.in_fresh_process
  model, runtime = fresh(_describe, config)
  record = measurements.Measurement(
    model=model,
    dataset=None,
    runtime=runtime,
    size=None,
    latency_ms=None,
    throughput_per_s=None,
    memory_mib=None,
    accuracy=None,
    score=None,
    environment=environment.describe(runtime.device),
  )
  found = {}
  if measurements.Part.SIZE in config.parts:
    found['size'] = fresh(size.measure, config.model)
  if measurements.Part.LATENCY in config.parts:
    found['latency_ms'] = fresh(latency.measure, config)
    found['throughput_per_s'] = 1000 / found['latency_ms'].mean
  if measurements.Part.MEMORY in config.parts:
    found['memory_mib'] = fresh(memory.measure, config)
  if measurements.Part.ACCURACY in config.parts:
    found['accuracy'], found['dataset'] = fresh(accuracy.measure, config)
  return dataclasses.replace(record, **found)


def _describe(
  config: measurements.MeasureConfig,
) -> tuple[measurements.ModelRecord, measurements.RuntimeRecord]:
  """Opens the model and says what it is."""
  backend = load.open_model(config.model, config.runtime, config.num_threads)
  interface.image_size(backend, config.model)
  return measurements.ModelRecord(
    path=config.model,
    sha256=records.sha256(interface.file_of(config.model)),
    format=load.format_of(config.model),
    inputs=backend.inputs,
    outputs=backend.outputs,
  ), backend.info()
