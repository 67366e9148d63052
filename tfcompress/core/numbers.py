"""Numbers as people write them."""

_WHOLE = 1000


def plain(value: float) -> str:
  """Returns a number without an exponent, such as '27,653', '0.4321' or '12'.

  From a thousand on it is whole; below it has six digits at most.
  """
  return f'{value:,.0f}' if abs(value) >= _WHOLE else f'{value:.6g}'
