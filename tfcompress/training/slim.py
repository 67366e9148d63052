"""Stage `slim`: removes whole channels of a parent, then trains what is left.

The result is an ordinary dense network with fewer channels: nothing is masked,
and every runtime is faster for it.
"""

import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.core import configs, numbers, records, types
from tfcompress.data import pipelines
from tfcompress.models import channels as channels_lib
from tfcompress.models import graph, surgery
from tfcompress.training import (
  budget,
  constraints,
  importance,
  sequences,
  trainee,
)
from tfcompress.training import job as job_lib

_TAYLOR_IMAGES, _TAYLOR_BATCH = 512, 64
_EXACT, _MEASURED = 1e-4, 0.02  # how finely a level is sought


def prepare(job: job_lib.Job) -> trainee.Trainee:
  """Returns the network without the channels that matter least.

  Raises:
    ValueError: a layer that channels cannot be followed through, a pattern that
      matches no layer, or a budget that is out of reach.
  """
  channels = channels_lib.of(job.model)
  kept = _read_plan(job, channels)
  if kept is None:
    kept = _choose(job, channels)
    _write_plan(job, channels, kept)
  smaller = surgery.keep(job.model, channels, kept)
  _report(job.model, smaller, channels, kept)
  network = job.trainable(smaller)
  kept_zeros = constraints.preserving(graph.kernels(network))
  return trainee.Trainee(network, tuple(kept_zeros))


def _choose(job: job_lib.Job, channels: channels_lib.Channels) -> np.ndarray:
  """Which channels stay, bool (channels.count,)."""
  config = job.config.slim
  excluded = graph.matching(list(graph.kernels(job.model)), job.config.exclude)
  groups = [g for g in channels.groups if not excluded.intersection(g.layers)]
  if not groups:
    raise ValueError(
      f'--exclude={",".join(job.config.exclude)} leaves no channels to remove'
    )
  scores = importance.scores(
    job.model, channels, config.importance, _labelled(job)
  )
  latency = lambda kept: job.int8_latency_ms(
    surgery.keep(job.model, channels, kept)
  )
  if config.allocation is configs.Allocation.LATENCY:
    scores = per_millisecond(scores, groups, channels.count, latency)
  choice = budget.Choice(
    groups,
    scores,
    channels.count,
    config.round_to,
    config.allocation is configs.Allocation.UNIFORM,
    _whole(config, groups),
  )
  if config.channel_ratio is not None:
    return budget.at_ratio(choice, config.channel_ratio)
  return _within_target(job, channels, choice, latency)


def _whole(
  config: configs.SlimConfig, groups: list[channels_lib.Group]
) -> list[int] | None:
  """Channels of the groups before the first of several steps."""
  if not config.first_plan:
    return None
  counts = records.read_json(config.first_plan)['channels']
  return [counts[group.layers[0]] for group in groups]


def _within_target(
  job: job_lib.Job,
  channels: channels_lib.Channels,
  choice: budget.Choice,
  latency: Callable[[np.ndarray], float],
) -> np.ndarray:
  config = job.config.slim
  counted = lambda kept: surgery.counted(job.model, channels, kept)
  if config.target_macs:
    text, what = config.target_macs, 'multiply-accumulates'
    measure, tolerance = lambda kept: counted(kept)[0], _EXACT
  elif config.target_parameters:
    text, what = config.target_parameters, 'parameters'
    measure, tolerance = lambda kept: counted(kept)[1], _EXACT
  else:
    text, what = config.target_latency, 'ms, int8 on LiteRT, one thread'
    measure, tolerance = latency, _MEASURED
  whole = measure(choice.kept(0.0))
  target = budget.target_of(text, whole, config.progress)
  ends = f'from {numbers.plain(whole)} to {numbers.plain(target)}'
  print(f'{ends} {what}', flush=True)
  return budget.within(choice, measure, target, what, tolerance=tolerance)


def per_millisecond(
  scores: np.ndarray,
  groups: list[channels_lib.Group],
  count: int,
  latency: Callable[[np.ndarray], float],
) -> np.ndarray:
  """Importance over the time that a channel takes (Shen 2022, HALP).

  A channel's time is what half of its group's take, over their number; one
  that takes none, or less than is measured, counts as the fastest that does.
  """
  whole = latency(np.ones(count, bool))
  print(f'int8 latency {whole:.3f} ms; without half of the channels of')
  times = []
  for group in groups:
    half = group.ids[1::2]
    kept = np.ones(count, bool)
    kept[half] = False
    saved = whole - latency(kept) if len(half) else 0.0
    times.append(saved / max(1, len(half)))
    print(f'  {group.name:<40} {-saved:+.3f} ms', flush=True)
  times = np.array(times)
  fastest = times[times > 0].min() if (times > 0).any() else 1.0
  scores = scores.copy()
  for group, time_each in zip(groups, times):
    scores[group.ids] /= max(time_each, fastest)
  return scores


def _labelled(job: job_lib.Job):
  """Batches of training images and targets, in the evaluation transform."""
  if job.config.slim.importance is not configs.Importance.TAYLOR:
    return ()
  size = min(_TAYLOR_BATCH, job.config.batch_size)
  images, labels = pipelines.evenly_drawn(
    job.source,
    types.Split.TRAIN,
    job.config.data.transform,
    count=_TAYLOR_IMAGES,
    input_size=job.spec.input_size,
    seed=job.config.seed,
  )
  order = np.random.RandomState(job.config.seed).permutation(len(images))
  images, targets = (
    images[order],
    tf.one_hot(labels[order], job.spec.num_classes),
  )
  return [
    (tf.cast(images[i : i + size], tf.float32), targets[i : i + size])
    for i in range(0, len(images), size)
  ]


def _write_plan(
  job: job_lib.Job, channels: channels_lib.Channels, kept: np.ndarray
) -> None:
  kept_of = {
    group.layers[0]: np.flatnonzero(kept[channels.outputs[group.layers[0]]])
    for group in channels.groups
  }
  plan = {
    'of': _plan_of(job),
    'channels': {g.layers[0]: len(g.ids) for g in channels.groups},
    'kept': {name: found.tolist() for name, found in kept_of.items()},
  }
  records.write_json(pathlib.Path(job.config.output_dir) / sequences.PLAN, plan)


def _read_plan(
  job: job_lib.Job, channels: channels_lib.Channels
) -> np.ndarray | None:
  """The channels that the run chose when it began; None if it begins."""
  path = pathlib.Path(job.config.output_dir) / sequences.PLAN
  plan = records.read_json(path) if path.is_file() else {}
  if plan.get('of') != _plan_of(job):
    return None
  kept = np.ones(channels.count, bool)
  for layer, positions in plan['kept'].items():
    ids = channels.outputs[layer]
    kept[np.delete(ids, positions)] = False
  return kept


def _plan_of(job: job_lib.Job) -> object:
  """What a plan was made for."""
  config = job.config
  return records.to_json([config.slim, config.exclude, job.parents])


def _report(
  before: tf_keras.Model,
  after: tf_keras.Model,
  channels: channels_lib.Channels,
  kept: np.ndarray,
) -> None:
  """Prints what went, group by group."""
  width = max(len(group.name) for group in channels.groups)
  for group in channels.groups:
    left = int(kept[group.ids].sum())
    print(f'  {group.name:<{width}}  {len(group.ids):>5} -> {left:>5} channels')
  for name, count in (
    ('parameters', graph.trainable_parameters),
    ('multiply-accumulates', graph.macs),
  ):
    was, now = count(before), count(after)
    print(f'  {name:<{width}}  {was:,} -> {now:,} ({100 * now / was:.1f} %)')
