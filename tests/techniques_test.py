"""Every technique: artifact in, artifact out, exported, evaluated.

What a technique promises is counted in the exported file's own tensors.
"""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np
import pytest

from tests import conftest
from tfcompress.conversion import run as conversion_run
from tfcompress.core import configs, measurements, records, types
from tfcompress.measurement import accuracy, size
from tfcompress.models import io
from tfcompress.runtimes import tflite_file
from tfcompress.training import run


def slim(**kwargs):
  return {'stage': types.Stage.SLIM, 'slim': configs.SlimConfig(**kwargs)}


def prune(**kwargs):
  config = configs.PruneConfig(prune_end=0.8, **kwargs)
  return {'stage': types.Stage.PRUNE, 'prune': config}


def cluster(clusters):
  config = configs.ClusterConfig(clusters)
  return {'stage': types.Stage.CLUSTER, 'cluster': config}


def taught(stage=types.Stage.KD, **kwargs):
  return {
    'stage': stage, 'distill': configs.DistillConfig(teacher=('',), **kwargs)
  }  # fmt: skip


QAT = {'stage': types.Stage.QAT}
TECHNIQUES = {
  'label smoothing': [{'label_smoothing': 0.1}],
  'slim uniform': [slim(channel_ratio=0.5)],
  'slim macs': [
    slim(
      target_macs='50%',
      importance=configs.Importance.FPGM,
      allocation=configs.Allocation.GLOBAL,
    )
  ],
  'slim taylor in steps': [
    slim(
      target_parameters='50%',
      importance=configs.Importance.TAYLOR,
      slim_steps=2,
    )
  ],
  'slim taught': [slim(channel_ratio=0.5) | taught(types.Stage.SLIM)],
  'prune': [prune(target_sparsity=0.5)],
  'prune global': [
    prune(target_sparsity=0.7, scope=configs.PruningScope.GLOBAL)
  ],
  'prune 2:4': [prune(granularity='2:4')],
  'prune blocks': [prune(target_sparsity=0.5, granularity='4x1')],
  'prune but some': [
    prune(target_sparsity=0.5) | {'exclude': ('st*m', 'logits')}
  ],
  'cluster': [cluster(8)],
  'cluster pruned': [prune(target_sparsity=0.5), cluster(8)],
  'prune 2:4 clustered': [cluster(8), prune(granularity='2:4')],
  'qat': [QAT],
  'qat taught': [QAT | taught(types.Stage.QAT)],
  'qat pruned': [prune(target_sparsity=0.5), QAT],
  'qat 2:4': [prune(granularity='2:4'), QAT],
  'qat clustered': [cluster(8), QAT],
  'qat pruned and clustered': [
    prune(target_sparsity=0.5),
    cluster(8),
    QAT,
  ],  # fmt: skip
  'slim, kd, prune, qat': [
    slim(channel_ratio=0.25),
    taught(),
    prune(target_sparsity=0.5),
    QAT,
  ],
  'kd dkd': [taught(distill_loss=configs.DistillLoss.DKD)],
  'kd attention': [taught(attention=('joined', 'stem_relu:joined'))],
}
# Together they have each stage.
OFTEN = {'slim macs', 'prune 2:4', 'cluster', 'qat', 'kd attention'}


@dataclasses.dataclass(frozen=True)
class Result:
  """What came out of a chain of stages and its export."""

  manifest: types.Manifest
  export: pathlib.Path
  kernels: dict[str, np.ndarray]
  weights: dict[str, tflite_file.Weight]


@pytest.fixture(scope='module')
def artifacts(tmp_path_factory) -> pathlib.Path:
  return tmp_path_factory.mktemp('artifacts')


def chain(stages, config, baseline, folder) -> str:
  """Runs stages, each the next one's parent; returns the last artifact.

  Chains that begin alike have their beginning in common: a training that is in
  the folder already is not run again.
  """
  parent = baseline
  for count, stage in enumerate(stages, start=1):
    name = hashlib.sha256(repr(stages[:count]).encode()).hexdigest()
    if 'distill' in stage:
      distill = dataclasses.replace(stage['distill'], teacher=(baseline,))
      stage = stage | {'distill': distill}
    one = dataclasses.replace(
      config,
      output_dir=str(folder / name),
      parent=parent,
      model=None,
      epochs=2,
      **stage,
    )
    run.run(one, '', lambda model: 1.0)
    parent = one.output_dir
  return parent


def exported(artifact: str, folder: pathlib.Path, rewrites=()) -> Result:
  """Exports, as a rule without rewrites: kernels as they were trained."""
  export = folder / 'exported'
  conversion_run.run(
    types.ExportConfig(
      artifact=artifact,
      output_dir=str(export),
      calibration_examples=12,
      parity_examples=12,
      min_agreement_percent=50,
      min_snr_db=0,
      rewrites=rewrites,
    )
  )
  model, manifest = io.load(artifact)
  kernels = {
    layer.name: layer.kernel.numpy()
    for layer in model.layers
    if hasattr(layer, 'kernel')
  }
  weights = {}
  for weight in tflite_file.weights(str(export)):
    for name in kernels:
      if f'/{name}/' in f'/{weight.name}/'.replace(';', '/'):
        weights[name] = weight
  return Result(manifest, export, kernels, weights)


@pytest.mark.parametrize(
  'name',
  [
    name if name in OFTEN else pytest.param(name, marks=pytest.mark.long)
    for name in TECHNIQUES
  ],
)
def test_a_technique_keeps_its_promise_in_the_file(
  name, baseline_config, own, artifacts, tmp_path
):
  stages = TECHNIQUES[name]
  before = records.sha256(own)
  artifact = chain(stages, baseline_config, own, artifacts)
  assert records.sha256(own) == before
  result = exported(artifact, tmp_path)
  assert result.manifest.steps[0] == 'baseline'
  assert result.manifest.metrics['top1_percent'] > 40  # Chance is 33.
  require_bits(result)
  require_channels(result)
  require_zeros(result, stages)
  require_clusters(result, stages)
  require_measurable(result)
  if 'clustered' in name or ',' in name:  # What is kept, rewrites keep.
    exported(artifact, tmp_path, rewrites=None)


def require_bits(result: Result) -> None:
  """Every kernel is there, as int8 with a scale for each output channel."""
  assert (
    {*result.kernels} == {*result.weights} == {*conftest.CHANNELS, 'logits'}
  )
  for name, weight in result.weights.items():
    assert weight.values.dtype == np.int8
    assert np.abs(weight.values.astype(int)).max() <= 127
    assert weight.values.shape == result.kernels[name].shape
    if name != 'logits':
      assert weight.scale.size == result.kernels[name].shape[-1]


def require_channels(result: Result) -> None:
  """A slimmed network is smaller in the file, not masked."""
  channels = result.manifest.model.channels
  assert channels == {
    name: weight.values.shape[-1]
    for name, weight in result.weights.items()
    if name != 'logits'
  }
  slimmed = 'slim' in result.manifest.steps
  assert (sum(channels.values()) < sum(conftest.CHANNELS.values())) == slimmed
  assert channels['stem'] == channels['outer']
  assert channels['wide'] == channels['shortcut']
  parameters = sum(weight.values.size for weight in result.weights.values())
  assert parameters == sum(k.size for k in result.kernels.values())


def require_zeros(result: Result, stages) -> None:
  """At least the zeros that were asked for, where they were asked for."""
  settings = [stage['prune'] for stage in stages if 'prune' in stage]
  zeros = {n: (w.values == 0).mean() for n, w in result.weights.items()}
  if not settings:
    assert result.manifest.sparsity.total < 0.01
    return
  (config,) = settings
  excluded = next((s['exclude'] for s in stages if 'exclude' in s), ())
  for name, weight in result.weights.items():
    kernel = result.kernels[name]
    assert (weight.values[kernel == 0] == 0).all()
    one = 1 / kernel.size
    if name == 'stem' and (excluded or config.granularity != 'element'):
      assert (kernel != 0).all()  # Its 3 input channels divide into no unit.
    elif excluded and name == 'logits':
      assert (kernel != 0).all()
    elif config.granularity == '2:4':
      rows = np.moveaxis(weight.values, -2, -1).reshape(-1, 4)
      assert ((rows == 0).sum(1) >= 2).all()
    elif config.granularity == '4x1':
      blocks = kernel.reshape(-1, 4, kernel.shape[-1])
      assert ((blocks == 0).all(1) | (blocks != 0).all(1)).all()
      assert zeros[name] >= config.target_sparsity - 4 * one
    elif config.scope is configs.PruningScope.LAYER:
      assert zeros[name] >= config.target_sparsity - one
  if config.scope is configs.PruningScope.GLOBAL:
    total = result.manifest.sparsity.total
    assert total == pytest.approx(config.target_sparsity, abs=1e-3)
    assert np.ptp(list(result.manifest.sparsity.per_layer.values())) > 0.1


def require_clusters(result: Result, stages) -> None:
  """At most so many values in a kernel, and in a channel of the file."""
  settings = [stage['cluster'] for stage in stages if 'cluster' in stage]
  if not settings:
    assert not result.manifest.clusters
    return
  assert {*result.manifest.clusters} == {*conftest.CHANNELS, 'logits'}
  for name, weight in result.weights.items():
    # Pruned afterwards, zero is a value of its own.
    count = settings[0].clusters + ('prune' in stages[-1])
    assert len(np.unique(result.kernels[name])) <= count
    values = weight.values.reshape(-1, weight.values.shape[-1])
    assert max(len(np.unique(column)) for column in values.T) <= count


def require_measurable(result: Result) -> None:
  """The evaluator opens it, and says of it what the export said."""
  found, _ = accuracy.measure(
    measurements.MeasureConfig(
      measurements.OpenConfig(str(result.export)),
      data=result.manifest.data,
      input_scaling=types.Preprocessing(),
      class_names=result.manifest.class_names,
    )
  )
  said = json.loads((result.export / 'metadata.json').read_text())
  parity = said['tfcompress']['parity']
  assert parity['examples'] == len(found.labels) == 12
  top1 = 100 * (found.top1 == found.labels).mean()
  assert top1 == pytest.approx(parity['file_top1_percent'])
  nonzero = sum(np.count_nonzero(w.values) for w in result.weights.values())
  file = measurements.OpenConfig(str(result.export))
  assert size.parameters(file)[1] >= nonzero
