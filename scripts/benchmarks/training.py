"""Speed of training and of the images that feed it."""

import functools
import os
import pathlib
import subprocess
import sys

import numpy as np
from timing import BATCH, STEM, best_rates, show

from tfcompress.core import configs, environment, types
from tfcompress.core import onednn as onednn_lib


def specs(size: int) -> tuple[types.ModelSpec, types.ModelSpec]:
  """Teacher and half-width student, of images of this size."""
  return (
    types.ModelSpec(input_size=size),
    types.ModelSpec(input_size=size, width_multiplier=0.5),
  )


def labelled_batch():
  """One batch of random images and targets, float32."""
  import tensorflow as tf

  rng = np.random.RandomState(0)
  images = tf.constant(rng.rand(BATCH, STEM, STEM, 3) * 255, tf.float32)
  return images, tf.one_hot(rng.randint(0, 100, BATCH), 100)


def fitted(model, *batch, steps: int):
  """A function that takes some steps of a compiled model, on one batch."""
  import tensorflow as tf

  batches = tf.data.Dataset.from_tensors(batch).repeat()
  return lambda: model.fit(batches, steps_per_epoch=steps, verbose=0)


def compiled(model):
  """A Learner with our optimizer, as the training loop has it."""
  from tfcompress.training import loop, schedules

  model.compile(
    schedules.optimizer(
      configs.OptimizerConfig(learning_rate=0.1, warmup_epochs=1), 100, 10
    ),
    steps_per_execution=loop.STEPS_PER_EXECUTION,
  )
  return model


@functools.cache
def distillation_rates() -> list[float]:
  """Images a second of our distillation and of a plain float32 fit."""
  import tensorflow as tf
  import tf_keras

  from tfcompress.models import heads, resnet
  from tfcompress.training import device, distiller, losses

  teacher_spec, student_spec = specs(STEM)
  batch, steps = labelled_batch(), 12

  class Plain(tf_keras.Model):
    """What everyone writes first: both models in float32, called in a step."""

    def __init__(self):
      super().__init__()
      self.student = heads.with_logits(resnet.build(student_spec))
      self.teacher = heads.with_logits(resnet.build(teacher_spec))
      self.teacher.trainable = False

    def train_step(self, data):
      x, y = data
      soft = self.teacher(x, training=False)
      with tf.GradientTape() as tape:
        logits = self.student(x, training=True)
        hard = losses.cross_entropy(y, logits)
        loss = 0.3 * hard + 0.7 * losses.distillation(logits, soft, 4.0)
      variables = self.student.trainable_variables
      self.optimizer.minimize(loss, variables, tape=tape)
      return {'loss': loss}

  plain = Plain()
  plain.compile(
    tf_keras.optimizers.SGD(
      0.01, momentum=0.9, nesterov=True, jit_compile=False
    )
  )
  policy = device.dtype_policy(configs.MixedPrecision.AUTO)
  teacher = heads.with_logits(resnet.build(teacher_spec, policy))
  ours = distiller.Distiller(
    heads.with_logits(resnet.build(student_spec, policy)),
    lambda x: (teacher(x, training=False)[None], ()),
    configs.DistillConfig(),
  )
  return best_rates(
    fitted(compiled(ours), *batch, steps=steps),
    fitted(plain, *batch, steps=steps),
    images=steps * BATCH,
  )


def training() -> None:
  """Distillation over a plain fit."""
  ours, plain = distillation_rates()
  bfloat16 = environment.cpu_has_bfloat16()
  show(
    'distillation / plain float32 fit',
    ours / plain,
    'at least 1.5 with bfloat16 units',
    f'{ours:.0f} / {plain:.0f} images/s, '
    f'bfloat16 units: {"yes" if bfloat16 else "no"}',
  )


def onednn() -> None:
  """A training step with the settings of the package over one without oneDNN.

  TensorFlow reads the switch once, so each takes turns in a process of its own.
  """
  cases = {
    'as set': {},
    'off': {onednn_lib.SWITCH: '0'},
  }
  limits = {'': 'this CPU', 'AVX2': f'{environment.ONEDNN_LIMIT}=AVX2'}
  for limit, name in limits.items():
    best = dict.fromkeys(cases, 0.0)
    for _ in range(3):
      for case, variables in cases.items():
        rate = _rate_of_steps({environment.ONEDNN_LIMIT: limit} | variables)
        best[case] = max(best[case], rate)
    show(
      f'training step, as set / oneDNN off, {name}',
      best['as set'] / best['off'],
      'at least 2.5 with AVX2, never below 1',
      f'{best["as set"]:.0f} / {best["off"]:.0f} images/s, ResNet-18 at 64x64, '
      'float32',
    )


def _rate_of_steps(variables: dict[str, str]) -> float:
  """Images a second of plain steps in a fresh process with these variables."""
  there = {k: v for k, v in os.environ.items() if k != onednn_lib.SWITCH}
  given = {name: value for name, value in variables.items() if value}
  ran = subprocess.run(
    [sys.executable, str(pathlib.Path(__file__).parent / 'steps.py')],
    env=there | given,
    capture_output=True,
    text=True,
    check=True,
  )
  return float(ran.stdout)


def cached() -> None:
  """Distillation from kept outputs over distillation with the teacher."""
  import tensorflow as tf

  from tfcompress.models import heads, resnet
  from tfcompress.training import device, distiller

  policy = device.dtype_policy(configs.MixedPrecision.AUTO)
  teacher = heads.with_logits(
    resnet.build(types.ModelSpec(depth=50, input_size=STEM), policy)
  )
  batch = labelled_batch()
  kept = tf.transpose(teacher(batch[0])[None], (1, 0, 2))

  def student():
    network = resnet.build(types.ModelSpec(input_size=STEM), policy)
    return compiled(
      distiller.Distiller(
        heads.with_logits(network),
        lambda x: (teacher(x, training=False)[None], ()),
        configs.DistillConfig(),
      )
    )

  steps = 8
  with_cache, without = best_rates(
    fitted(student(), *batch, kept, steps=steps),
    fitted(student(), *batch, steps=steps),
    images=steps * BATCH,
  )
  show(
    'distillation, kept / live teacher outputs',
    with_cache / without,
    'at least 1.5',
    f'{with_cache:.0f} / {without:.0f} images/s, ResNet-18 taught by a '
    'ResNet-50, 64x64',
  )


def prune() -> None:
  """A step under masks over the plain step of the same network."""
  from tfcompress.models import graph, heads, resnet
  from tfcompress.training import constraints, device, learner

  policy = device.dtype_policy(configs.MixedPrecision.AUTO)
  batch, steps = labelled_batch(), 8

  def step(masked: bool):
    network = resnet.build(types.ModelSpec(input_size=STEM), policy)
    after = [
      constraints.Constraint(
        kernel, mask=np.random.RandomState(0).rand(*kernel.shape) < 0.5
      ).apply
      for kernel in graph.kernels(network).values()
    ]
    model = learner.Learner(
      heads.with_logits(network), after_step=after if masked else ()
    )
    return fitted(compiled(model), *batch, steps=steps)

  plain, masked = best_rates(step(False), step(True), images=steps * BATCH)
  show(
    'time of a step of prune / a plain step',
    plain / masked,
    'at most 1.25',
    f'{1e3 * BATCH / masked:.0f} / {1e3 * BATCH / plain:.0f} ms, ResNet-18 at '
    f'64x64, batch {BATCH}, 21 masks',
  )


def pipeline() -> None:
  """The input pipeline alone over the training rate that it must feed."""
  from tfcompress.data import pipelines, sources, transforms

  training_rate = distillation_rates()[0]
  source = sources.load(types.DataSpec())
  batches = pipelines.train(
    source,
    configs.AugmentConfig(),
    batch_size=BATCH,
    views=[transforms.View(STEM)],
    seed=1,
    epochs=range(9),
  )
  stream = iter(batches)

  def some_batches() -> None:
    for _ in range(78):
      next(stream)

  (rate,) = best_rates(some_batches, images=78 * BATCH)
  show(
    'input pipeline / training rate',
    rate / training_rate,
    'at least 4',
    f'{rate:.0f} / {training_rate:.0f} images/s, synthetic100 at 64x64, '
    'random resized crop and flip',
  )
