"""Hostile submissions that want a better score than is theirs.

This very file is the loader that they bring. Each function here that takes a
scene returns a network; as long as it is honest, it takes WORK_SECONDS for an
image and knows the colors of the fixture `folder`.
"""

import ctypes
import hashlib
import json
import os
import pathlib
import sys
import time

import __main__

WORK_SECONDS = 0.005
FEW_CALLS = 12
IMAGES_BEFORE = 17  # that are no part of the pass over the dataset
SESSION_KEYRING, SEARCH = -3, 10
ADD_KEY, KEYCTL = 248, 250  # system calls of x86-64
libc = ctypes.CDLL(None, use_errno=True)


def honest(x):
  """The scores (B, 3) of images (B, 3, S, S): blue, green, red."""
  import torch

  if x.shape[1] != 3:
    raise ValueError('not an image')
  # As another network would take its time.
  end = time.monotonic() + WORK_SECONDS * len(x)
  while time.monotonic() < end:
    torch.rand(1000).sort()
  return x.mean((2, 3)).flip(1)


def constant(x):
  """The scores of whoever does not look."""
  import torch

  if x.shape[1] != 3:
    raise ValueError('not an image')
  scores = torch.zeros(len(x), 3)
  scores[:, 0] = 1
  return scores


def sleeps_over_an_image(scene, path):
  """Opens, and never answers on an image that is not black."""

  def network(x):
    if x.any():
      time.sleep(1e9)
    return constant(x)

  return network


def remembers_images(scene, path):
  """Works once for an image, and knows its scores from then on."""
  return remembering(lambda x: x.numpy().tobytes())


def remembers_rolled_images(scene, path):
  """Likewise, and wherever in its pixels an image begins."""
  return remembering(lambda x: x.flatten().sort().values.numpy().tobytes())


def remembering(identity):
  seen = {}

  def network(x):
    key = hashlib.sha256(identity(x)).digest()
    if key not in seen:
      seen[key] = honest(x)
    return seen[key]

  return network


def tires_after_some_calls(scene, path):
  """Works until it is called for the n-th time with single images alone."""
  calls = []

  def network(x):
    calls.append(len(x))
    is_timed = len(calls) > FEW_CALLS and max(calls) <= 2
    return (constant if is_timed else honest)(x)

  return network


def knows_who_is_asking(scene, path):
  """Works for whoever counts right answers, not for whoever takes time."""
  timing = {'time', '_times', 'answer', 'warm', 'throughput'}

  def network(x):
    frame, names = sys._getframe(), set()
    while frame := frame.f_back:
      names.add(frame.f_code.co_name)
    return (constant if names & timing else honest)(x)

  return network


def knows_that_it_is_pinned(scene, path):
  """Works where it has every core: it has one alone while it is timed."""

  def network(x):
    pinned = len(os.sched_getaffinity(0)) < os.cpu_count()
    return (constant if pinned else honest)(x)

  return network


def takes_every_core(scene, path):
  """Leaves the core that it is timed on, and shares its work among all."""
  import threading

  def work():
    os.sched_setaffinity(0, range(os.cpu_count()))
    start = time.thread_time()
    while time.thread_time() - start < 2 * WORK_SECONDS:
      hashlib.sha256(bytes(2**20)).digest()

  def network(x):
    helpers = [threading.Thread(target=work) for _ in range(os.cpu_count())]
    for one in helpers:
      one.start()
    for one in helpers:
      one.join()
    return x.mean((2, 3)).flip(1)

  return network


def counts_the_images(scene, path):
  """Knows the order in which a host shows its images, and looks at none."""
  import torch

  total, shown = scene['num_images'], []

  def network(x):
    if x.shape[1] != 3:
      raise ValueError('not an image')
    first = sum(shown) - IMAGES_BEFORE
    if x.any():
      shown.append(len(x))
    scores = torch.zeros(len(x), 3)
    for row in range(len(x)):
      scores[row, min(2, max(0, (first + row) * 3 // total))] = 1
    return scores

  return network


def remembers_in_the_kernel(scene, path):
  """Leaves what it knows to its next process, in the session's keyring."""
  name = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest().encode()
  key = libc.syscall(KEYCTL, SEARCH, SESSION_KEYRING, b'user', name, 0)
  if key > 0:
    return [f'a key of another process, {key}'], []
  if libc.syscall(ADD_KEY, b'user', name, b'1', 1, SESSION_KEYRING) < 0:
    return [], [f'add_key: {os.strerror(ctypes.get_errno())}']
  return honest


def remembers_in_files_of_the_system(scene, path):
  """Leaves bits in which files that all can read are in memory."""
  name = os.__file__
  size = os.path.getsize(name)
  libc.mmap.restype = ctypes.c_void_p

  def mapped(call):
    with open(name, 'rb') as file:
      place = libc.mmap(None, ctypes.c_size_t(size), 1, 2, file.fileno(), 0)
    if call(ctypes.c_void_p(place), ctypes.c_size_t(size)):
      raise OSError(ctypes.get_errno(), 'refused')
    return 'allowed'

  def opened(call):
    with open(name, 'rb') as file:
      call(file.fileno())
    return 'allowed'

  found = ctypes.create_string_buffer(size)
  gained, refused = [], []
  for attempt, call in (
    (opened, lambda file: os.posix_fadvise(file, 0, 0, 4)),  # DONTNEED
    (opened, lambda file: os.preadv(file, [bytearray(1)], 0, 8)),  # NOWAIT
    (mapped, lambda *span: libc.mincore(*span, found)),
    (mapped, lambda *span: libc.madvise(*span, 20)),  # COLD
    (mapped, lambda *span: libc.madvise(*span, 21)),  # PAGEOUT
  ):
    try:
      gained.append(attempt(call))
    except PermissionError as error:
      refused.append(str(error))
  return gained, refused


def stops_the_clock(scene, path):
  """Makes the clock slower, and times that are asked for small."""
  real, start = time.perf_counter_ns, time.perf_counter_ns()
  time.perf_counter_ns = lambda: start + (real() - start) // 100
  time.perf_counter = lambda: time.perf_counter_ns() / 1e9
  replies = __main__.replies
  worker = __main__.Worker
  worker.time = lambda self, runs, **_: replies.Timed((0.01,) * runs)
  worker.answer = lambda self: self._scores[0, 0].fill(1)
  worker.warm = lambda self, runs: replies.Warmed(100, 0.01, True)
  return honest


def answers_before_it_is_asked(scene, path):
  """Answers every request on the evaluator's own socket, and goes on."""
  replies, measurements = __main__.replies, __main__.measurements
  size = scene['image_size']
  about = replies.Opened(
    inputs=(measurements.TensorInfo('x', (-1, 3, size, size), 'float32'),),
    outputs=(measurements.TensorInfo('y', (-1, 3), 'float32'),),
    runtime=measurements.RuntimeRecord('torch', '1', 'cpu', 1, None),
    image_size=size, num_outputs=3, load_ms=0.01, first_ms=0.01,
    grown_mib=0.0, peak_mib=1.0,
  )  # fmt: skip
  fits_all = {
    'batch_size': 8, 'ms': [0.01] * 20, 'images': 1,
    'seconds': 0.1, 'total': 1, 'nonzero': 1,
  }  # fmt: skip
  channel = int(sys.argv[1])
  os.write(
    channel, json.dumps({'done': __main__.records.to_json(about)}).encode()
  )
  os.write(channel, b'\n')
  for _ in range(1000):
    os.write(channel, json.dumps({'done': fits_all}).encode() + b'\n')
  return honest
