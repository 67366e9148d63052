"""A headless browser that tests steer, and that notes what it is asked for."""

import base64
import contextlib
import json
import os
import pathlib
import subprocess

from tests import needs

_FLAGS = (
  '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run',
  '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--hide-scrollbars', '--remote-debugging-pipe',
)  # fmt: skip
_KEYS = {'Tab': (9, ''), 'Enter': (13, '\r')}


@contextlib.contextmanager
def opened(folder: pathlib.Path):
  """Yields a Browser whose profile is in `folder`."""
  ask_read, ask = os.pipe()
  tell, tell_write = os.pipe()
  profile = f'--user-data-dir={folder / "profile"}'
  process = subprocess.Popen(
    # The browser reads what it is to do from 3, and answers on 4.
    ['bash', '-c', f'exec "$@" 3<&{ask_read} 4>&{tell_write}', 'bash',
     str(needs.CHROMIUM), *_FLAGS, profile],
    pass_fds=(ask_read, tell_write),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )  # fmt: skip
  os.close(ask_read)
  os.close(tell_write)
  try:
    with open(ask, 'wb', 0) as out, open(tell, 'rb') as answers:
      yield Browser(out, answers)
  finally:
    process.kill()
    process.wait(30)


class Browser:
  """One page at a time.

  Attributes:
    requests: the addresses that the page asked for.
    complaints: what it wrote to the console, exceptions among it.
  """

  def __init__(self, out, answers):
    self._out, self._answers = out, answers
    self._sent, self._session, self._left = 0, {}, b''
    self._seen = []
    self.requests, self.complaints = [], []
    target = self.call('Target.createTarget', url='about:blank')
    attached = self.call(
      'Target.attachToTarget', targetId=target['targetId'], flatten=True
    )
    self._session = {'sessionId': attached['sessionId']}
    for domain in ('Page', 'Runtime', 'Network', 'Log'):
      self.call(f'{domain}.enable')

  def call(self, method: str, **params):
    """Returns what the browser answers to a command."""
    self._sent += 1
    message = {'id': self._sent, 'method': method, 'params': params}
    self._out.write(json.dumps(message | self._session).encode() + b'\0')
    while (answer := self._next()).get('id') != self._sent:
      pass
    if 'error' in answer:
      raise RuntimeError(answer['error'])
    return answer['result']

  def _next(self) -> dict:
    while b'\0' not in self._left:
      got = os.read(self._answers.fileno(), 1 << 16)
      if not got:
        raise RuntimeError('the browser ended')
      self._left += got
    message, _, self._left = self._left.partition(b'\0')
    message = json.loads(message)
    self._note(message.get('method', ''), message.get('params', {}))
    return message

  def _note(self, method: str, params: dict) -> None:
    self._seen.append(method)
    if method == 'Network.requestWillBeSent':
      self.requests.append(params['request']['url'])
    if method in (
      'Runtime.consoleAPICalled', 'Runtime.exceptionThrown', 'Log.entryAdded',
    ):  # fmt: skip
      self.complaints.append(params)

  def open(self, path: pathlib.Path, width=1280, height=1000, scheme='light'):
    """Shows a file; a narrow one as on a phone."""
    self.call(
      'Emulation.setDeviceMetricsOverride',
      width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
    )  # fmt: skip
    feature = {'name': 'prefers-color-scheme', 'value': scheme}
    self.call('Emulation.setEmulatedMedia', features=[feature])
    self.requests.clear()
    self.complaints.clear()
    self._seen.clear()
    self.call('Page.navigate', url=path.as_uri())
    while 'Page.loadEventFired' not in self._seen:
      self._next()

  def run(self, script: str):
    """Returns the value of an expression."""
    result = self.call(
      'Runtime.evaluate', expression=script, returnByValue=True
    )
    if 'exceptionDetails' in result:
      raise RuntimeError(result['exceptionDetails'])
    return result['result'].get('value')

  def press(self, key: str) -> None:
    """Presses and releases a key, as a hand would."""
    code, text = _KEYS[key]
    for kind in ('keyDown', 'keyUp'):
      self.call(
        'Input.dispatchKeyEvent', type=kind, key=key, code=key,
        windowsVirtualKeyCode=code, **({'text': text} if text else {}),
      )  # fmt: skip

  def screenshot(self, whole: bool = False) -> bytes:
    """Returns the page as PNG; `whole` has what one would scroll to."""
    shot = self.call('Page.captureScreenshot', captureBeyondViewport=whole)
    return base64.b64decode(shot['data'])
