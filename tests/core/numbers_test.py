import pytest

from tfcompress.core import numbers


@pytest.mark.parametrize(
  ('value', 'text'),
  [
    (27653.1, '27,653'), (2765310.0, '2,765,310'), (1e6, '1,000,000'),
    (1000, '1,000'), (999.5, '999.5'), (12.0, '12'), (0.43214, '0.43214'),
    (0, '0'), (60.4, '60.4'), (1e7, '10,000,000'),
  ],
)  # fmt: skip
def test_numbers_have_no_exponent(value, text):
  assert numbers.plain(value) == text
