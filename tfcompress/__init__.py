"""A TensorFlow/TFLite-first model compression toolkit.

Import it before TensorFlow and Keras, which read some settings only once.
"""

from tfcompress.core import onednn

__version__ = '0.1.0'

onednn.turn_on()
