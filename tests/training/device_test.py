"""In which type training computes."""

import pytest
import tensorflow as tf

from tfcompress.core import configs, environment
from tfcompress.training import device

PRECISION = configs.MixedPrecision


@pytest.mark.parametrize('limit', ['avx2', 'AVX512_CORE_VNNI'])
def test_bfloat16_is_refused_where_onednn_may_not_use_it(limit, monkeypatch):
  monkeypatch.setenv(environment.ONEDNN_LIMIT, limit)
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: [])
  assert device.dtype_policy(PRECISION.AUTO) == 'float32'
  assert device.dtype_policy(PRECISION.NONE) == 'float32'
  expected = f'{environment.ONEDNN_LIMIT}={limit} leaves oneDNN no bfloat16'
  with pytest.raises(ValueError, match=expected):
    device.dtype_policy(PRECISION.BFLOAT16)


def test_bfloat16_is_had_where_nothing_forbids_it(monkeypatch):
  monkeypatch.delenv(environment.ONEDNN_LIMIT, raising=False)
  assert device.dtype_policy(PRECISION.BFLOAT16) == 'mixed_bfloat16'
