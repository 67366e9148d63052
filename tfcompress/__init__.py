"""A TensorFlow/TFLite-first model compression toolkit."""

__version__ = '0.1.0'
