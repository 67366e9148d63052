"""The Learner: a Keras model that trains a network and keeps its constraints."""

from collections.abc import Callable, Sequence

import tensorflow as tf
import tf_keras

from tfcompress.training import losses


class Learner(tf_keras.Model):
  """Trains `network` on labels; other objectives override `_terms`."""

  def __init__(
    self,
    network: tf_keras.Model,
    label_smoothing: float = 0.0,
    after_step: Sequence[Callable[[], None]] = (),
    terms: Sequence[str] = ('loss',),
    shipped: tf_keras.Model | None = None,
  ):
    """Makes a learner.

    Args:
      network: from images (B, T, T, 3) to logits (B, C), and features if any;
        the only model that trains and is saved.
      label_smoothing: of the cross-entropy.
      after_step: called in the graph after every update of the weights.
      terms: names of what `_terms` returns.
      shipped: what is validated, from the same images to logits (B, C): the
        network in float32, where it trains in less. `AsShipped` gives it the
        weights.
    """
    super().__init__()
    self.network = network
    self._label_smoothing = label_smoothing
    self._after_step = _Untracked(after_step)
    self._shipped = _Untracked([network if shipped is None else shipped])
    self._means = {name: tf_keras.metrics.Mean(name) for name in terms}

  def call(self, images: tf.Tensor, training: bool = False) -> list[tf.Tensor]:
    """Returns logits and features of images (B, T, T, 3)."""
    return tf.nest.flatten(self.network(images, training=training))

  def train_step(self, data):
    images, targets, *more = data
    context = self._context(images, *more)
    with tf.GradientTape() as tape:
      outputs = self(images, training=True)
      terms = self._terms(targets, outputs, context)
    variables = self.network.trainable_variables
    gradients = tape.gradient(terms['loss'], variables)
    self.optimizer.apply_gradients(zip(gradients, variables))
    for keep_constraint in self._after_step.items:
      keep_constraint()
    return self._update(terms, targets, outputs[0])

  def test_step(self, data):
    images, targets = data
    [network] = self._shipped.items
    logits, *_ = tf.nest.flatten(network(images, training=False))
    terms = {'loss': losses.cross_entropy(targets, logits)}
    return self._update(terms, targets, logits)

  def _context(self, images, *more):
    """What the loss needs beside the network's outputs."""
    del images, more

  def _terms(self, targets, outputs, context):
    """The total `loss` and its terms, scalars."""
    del context
    return {'loss': self._cross_entropy(targets, outputs[0])}

  def _cross_entropy(self, targets, logits):
    return losses.cross_entropy(targets, logits, self._label_smoothing)

  def _update(self, terms, targets, logits):
    for name, value in terms.items():
      self._means[name].update_state(value, sample_weight=tf.shape(logits)[0])
    self.compiled_metrics.update_state(targets, logits)
    shown = [self._means[name] for name in terms]
    shown += self.compiled_metrics.metrics
    return {metric.name: metric.result() for metric in shown}


class AsShipped(tf_keras.callbacks.Callback):
  """Gives a float32 twin the weights of a network before each validation."""

  def __init__(self, network: tf_keras.Model, shipped: tf_keras.Model):
    super().__init__()
    self._network, self._shipped = network, shipped

  def on_test_begin(self, logs=None):
    del logs
    self._shipped.set_weights(self._network.get_weights())


class _Untracked:
  """Hides what Keras would take for a part of the model."""

  def __init__(self, items):
    self.items = tuple(items)
