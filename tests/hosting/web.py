"""A web server on the loopback that breaks off, redirects and stalls."""

import contextlib
import dataclasses
import email.utils
import http.server
import pathlib
import threading
import urllib.parse
from collections.abc import Iterator


@dataclasses.dataclass
class Server:
  """A server of one file, at any path that `redirects` does not name.

  Attributes:
    url: of the file.
    content: of it.
    break_after: bytes of an answer, after which connections end, one each.
    ranges: whether parts may be asked for.
    redirects: by path.
    status: of an answer without the file.
    requests: what was asked for: method, path, first byte, headers.
  """

  url: str = ''
  content: bytes = b''
  break_after: list[int] = dataclasses.field(default_factory=list)
  ranges: bool = True
  redirects: dict[str, str] = dataclasses.field(default_factory=dict)
  status: int = 200
  requests: list[tuple] = dataclasses.field(default_factory=list)

  @property
  def starts(self) -> list[int]:
    """The first byte that every request asked for."""
    return [start for _, _, start, _ in self.requests]


class _Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = 'HTTP/1.1'
  server_state: Server

  def do_GET(self):
    state = self.server_state
    self.rfile.read(int(self.headers.get('Content-Length', 0)))
    span = self.headers.get('Range', 'bytes=0-')
    start = int(span.removeprefix('bytes=').partition('-')[0])
    path = urllib.parse.urlsplit(self.path).path  # A proxy's is a whole URL.
    state.requests.append((self.command, path, start, dict(self.headers)))
    if path in state.redirects:
      return self._head(302, {'Location': state.redirects[path]})
    if state.status != 200:
      return self._head(state.status, {})
    if start and start >= len(state.content):
      return self._head(416, {})
    self._send(start if state.ranges else 0)

  do_POST = do_GET

  def _send(self, start: int):
    state = self.server_state
    total = len(state.content)
    headers = {
      'ETag': '"one"',
      'Last-Modified': email.utils.formatdate(1e9, usegmt=True),
    }
    if state.ranges:
      headers['Accept-Ranges'] = 'bytes'
    if start:
      headers['Content-Range'] = f'bytes {start}-{total - 1}/{total}'
    self._head(206 if start else 200, headers, total - start)
    content = state.content[start:]
    if state.break_after:
      content = content[: state.break_after.pop(0)]
      self.close_connection = True
    self.wfile.write(content)

  def _head(self, status: int, headers: dict[str, str], length: int = 0):
    self.send_response(status)
    for name, value in (headers | {'Content-Length': str(length)}).items():
      self.send_header(name, value)
    self.end_headers()

  def log_message(self, *_):
    pass


@contextlib.contextmanager
def serve(content: bytes, name: str = 'images.zip') -> Iterator[Server]:
  """Serves a file until the context ends."""
  state = Server(content=content)
  handler = type('Handler', (_Handler,), {'server_state': state})
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
    state.url = f'http://127.0.0.1:{server.server_port}/{name}'
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
      yield state
    finally:
      server.shutdown()
      thread.join()


def files_of(folder: pathlib.Path) -> dict[str, bytes]:
  """The content of all files in a folder that are not hidden, by path."""
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in folder.rglob('*')
    if path.is_file() and not path.name.startswith('.')
  }
