"""The figures of scripts/benchmark, each a ratio measured in one run."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ['PYTHONPATH'] = str(ROOT)

from tfcompress.core import native_logs  # noqa: E402

native_logs.silence()

import numpy as np  # noqa: E402

from tfcompress.core import configs, environment, types  # noqa: E402

BATCH = 128
STEM = 64
COMMANDS = ('train', 'export', 'evaluate')


def best_rates(*steps, images: int, rounds: int = 5) -> list[float]:
  """Images a second of each step's best round; rounds take turns.

  A machine's neighbours make a round slower, never faster.
  """
  best = [0.0] * len(steps)
  for step in steps:
    step()
  for _ in range(rounds):
    for index, step in enumerate(steps):
      start = time.perf_counter()
      step()
      rate = images / (time.perf_counter() - start)
      best[index] = max(best[index], rate)
  return best


def show(name: str, ratio: float, target: str, detail: str) -> None:
  print(f'{name:<44} {ratio:6.2f}  ({target})  {detail}', flush=True)


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
    schedules.optimizer(configs.OptimizerConfig(), 100, 10),
    steps_per_execution=loop.STEPS_PER_EXECUTION,
  )
  return model


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


def training() -> float:
  """Distillation over a plain fit; returns our images a second."""
  ours, plain = distillation_rates()
  bfloat16 = environment.cpu_has_bfloat16()
  show(
    'distillation / plain float32 fit',
    ours / plain,
    'at least 1.5 with bfloat16 units',
    f'{ours:.0f} / {plain:.0f} images/s, '
    f'bfloat16 units: {"yes" if bfloat16 else "no"}',
  )
  return ours


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


def slim() -> None:
  """Int8 latency at half the MACs, chosen for latency, over the original."""
  from tfcompress.conversion import latency, tflite
  from tfcompress.core import records
  from tfcompress.models import channels as channels_lib
  from tfcompress.models import graph, resnet, surgery
  from tfcompress.training import budget, importance
  from tfcompress.training import slim as stage

  model = resnet.build(types.ModelSpec())
  channels = channels_lib.of(model)
  scores = importance.scores(model, channels, configs.Importance.L1, ())
  measure = lambda kept: latency.int8_latency_ms(
    surgery.keep(model, channels, kept)
  )
  scores = stage.per_millisecond(
    scores, channels.groups, channels.count, measure
  )
  choice = budget.Choice(channels.groups, scores, channels.count, 8, False)
  macs = graph.macs(model)
  kept = budget.within(
    choice,
    lambda kept: surgery.counted(model, channels, kept)[0],
    macs / 2,
    'multiply-accumulates',
    tolerance=1e-4,
  )
  smaller = surgery.keep(model, channels, kept)
  rng = np.random.RandomState(0)
  images = rng.randint(0, 256, (2, 224, 224, 3)).astype(np.uint8)
  with tempfile.TemporaryDirectory() as folder:
    paths = [f'{folder}/{name}.tflite' for name in ('smaller', 'whole')]
    for path, one in zip(paths, (smaller, model)):
      content = tflite.convert(one, types.Variant.INT8, None, images)
      records.write_bytes(path, content)
    rounds = [
      [latency.median_ms(path, images[:1]) for path in paths] for _ in range(5)
    ]
  ours, whole = (min(times) for times in zip(*rounds))
  show(
    'int8 latency, slimmed to half the MACs / whole',
    ours / whole,
    'at most 0.60',
    f'{ours:.2f} / {whole:.2f} ms, ResNet-18 at 224, LiteRT, one thread, '
    f'{100 * graph.macs(smaller) / macs:.1f} % of the MACs, '
    '--allocation=latency --round_to=8',
  )


def pipeline(training_rate: float | None = None) -> None:
  """The input pipeline alone over the training rate that it must feed."""
  from tfcompress.data import pipelines, sources

  training_rate = training_rate or distillation_rates()[0]
  source = sources.load(types.DataSpec())
  batches = pipelines.train(
    source,
    configs.AugmentConfig(),
    batch_size=BATCH,
    image_size=STEM,
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


def int8_resnet(folder: str) -> str:
  """An int8 ResNet-18 at 224 with random weights, to be timed."""
  import tf_keras

  from tfcompress.conversion import tflite
  from tfcompress.models import resnet

  model = resnet.build(types.ModelSpec())
  for layer in model.layers:
    # Blocks start as identity; give every convolution weights to multiply.
    if isinstance(layer, tf_keras.layers.BatchNormalization):
      layer.gamma.assign(np.ones(layer.gamma.shape, np.float32))
  images = np.random.RandomState(0).randint(0, 256, (4, 224, 224, 3), np.uint8)
  path = f'{folder}/model.tflite'
  content = tflite.convert(model, types.Variant.INT8, None, images)
  pathlib.Path(path).write_bytes(content)
  return path


def accuracy() -> None:
  """Accuracy evaluation over the loop everyone writes, on two threads."""
  import tensorflow as tf
  from ai_edge_litert import interpreter as litert

  from tfcompress.data import pipelines, sources
  from tfcompress.measurement import accuracy as ours
  from tfcompress.runtimes import load

  source = sources.load(types.DataSpec())
  count = 480

  def loop_everyone_writes(path: str, num_threads: int | None) -> float:
    interpreter = litert.Interpreter(path, num_threads=num_threads)
    interpreter.allocate_tensors()
    (inputs,), (outputs,) = (
      interpreter.get_input_details(),
      interpreter.get_output_details(),
    )
    examples = source.handles(types.Split.VALIDATION).take(count)
    correct = 0
    start = time.perf_counter()
    for encoded, label in examples:
      image = tf.io.decode_image(encoded, channels=3)
      image = tf.image.resize(image, (224, 224))
      batch = tf.cast(image[None], tf.uint8).numpy()
      interpreter.set_tensor(inputs['index'], batch)
      interpreter.invoke()
      scores = interpreter.get_tensor(outputs['index'])
      correct += int(scores.argmax() == label.numpy())
    return count / (time.perf_counter() - start)

  def ours_on_two_threads(path: str) -> float:
    backends = [load.open_model(path, num_threads=1) for _ in range(2)]
    batches = pipelines.evaluation(
      source,
      types.Split.VALIDATION,
      types.EvaluationTransform.CHALLENGE,
      batch_size=ours.BATCH,
      input_size=224,
    )
    batches = batches.take(count // ours.BATCH)
    start = time.perf_counter()
    ranks = ours.ranks(
      backends, batches.as_numpy_iterator(), types.Normalization.RAW
    )
    return len(ranks) / (time.perf_counter() - start)

  with tempfile.TemporaryDirectory() as folder:
    path = int8_resnet(folder)
    rounds = [
      (
        ours_on_two_threads(path),
        loop_everyone_writes(path, None),
        loop_everyone_writes(path, 2),
      )
      for _ in range(3)
    ]
    rate, plain, threaded = (max(rates) for rates in zip(*rounds))
  show(
    'accuracy evaluation / the usual loop',
    rate / plain,
    'at least 2',
    f'{rate:.0f} / {plain:.0f} images/s; over the loop with num_threads=2, '
    f'{threaded:.0f} images/s: {rate / threaded:.2f}',
  )


def peak_mib(path: str, images: int, folder: str) -> float:
  """Peak memory of a process that evaluates so many images."""
  code = (
    'import sys, resource\n'
    'from tfcompress.core import measurements, types\n'
    'from tfcompress.measurement import accuracy\n'
    'config = measurements.MeasureConfig(sys.argv[1], '
    'data=types.DataSpec("folder:" + sys.argv[2]))\n'
    'record, _ = accuracy.measure(config)\n'
    'assert record.num_examples == int(sys.argv[3]), record\n'
    'print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n'
  )
  result = subprocess.run(
    [sys.executable, '-c', code, path, folder, str(images)],
    capture_output=True,
    text=True,
    check=True,
  )
  return float(result.stdout.split()[-1])


def memory() -> None:
  """Peak memory of evaluating 10,000 images over 1,000."""
  import tensorflow as tf

  from tfcompress.conversion import tflite
  from tfcompress.models import resnet

  rng = np.random.RandomState(0)
  with tempfile.TemporaryDirectory() as folder:
    model = resnet.build(types.ModelSpec(internal_size=STEM))
    images = rng.randint(0, 256, (4, 224, 224, 3), np.uint8)
    path = f'{folder}/model.tflite'
    content = tflite.convert(model, types.Variant.INT8, None, images)
    pathlib.Path(path).write_bytes(content)
    peaks = {}
    for count in (1_000, 10_000):
      root = pathlib.Path(folder, str(count))
      for label in range(100):
        for split, share in (('train', 1), ('validation', count // 100)):
          where = root / split / f'{label:03}'
          where.mkdir(parents=True)
          for index in range(share):
            image = rng.randint(0, 256, (64, 64, 3), np.uint8)
            jpeg = tf.io.encode_jpeg(image).numpy()
            (where / f'{index}.jpg').write_bytes(jpeg)
      peaks[count] = peak_mib(path, count, str(root))
  show(
    'peak memory, 10,000 / 1,000 images',
    peaks[10_000] / peaks[1_000],
    'at most 1.1',
    f'{peaks[10_000]:.0f} / {peaks[1_000]:.0f} MiB',
  )


def help_seconds() -> None:
  """The slowest --help over an interpreter that does nothing."""

  def seconds(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run(
      [sys.executable, *command], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - start

  empty = min(seconds('-c', '') for _ in range(5))
  slowest = {
    name: min(seconds('-m', f'tfcompress.{name}', '--help') for _ in range(5))
    for name in COMMANDS
  }
  name = max(slowest, key=slowest.get)
  show(
    'slowest --help / an empty python',
    slowest[name] / empty,
    'under 1 s',
    f'{name}: {slowest[name]:.2f} / {empty:.2f} s',
  )


def main() -> None:
  wanted = sys.argv[1:]
  others = {
    'cached': cached,
    'prune': prune,
    'slim': slim,
    'accuracy': accuracy,
    'memory': memory,
    'help': help_seconds,
  }
  known = ('training', 'pipeline', *others)
  if unknown := set(wanted) - set(known):
    sys.exit(f'error: {unknown.pop()!r} is none of {", ".join(known)}')
  wanted = wanted or known
  print(f'{environment.cpu_name()}, {len(os.sched_getaffinity(0))} cores')
  rate = training() if 'training' in wanted else None
  if 'pipeline' in wanted:
    pipeline(rate)
  for name, measure in others.items():
    if name in wanted:
      measure()


if __name__ == '__main__':
  main()
