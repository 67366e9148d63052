"""How benchmarks measure and print: rounds that take turns, ratios."""

import time

BATCH = 128
STEM = 64


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
