"""GitHub's API on the loopback, as far as a challenge uses it."""

import contextlib
import dataclasses
import http.server
import json
import re
import threading
from collections.abc import Iterator

TOKEN = 'ghs_a-token'
REPOSITORY = 'host/challenge'


@dataclasses.dataclass
class Api:
  """What the server has, and what it was asked.

  Attributes:
    url: of it.
    authors: of pull requests, by number.
    heads: likewise, their last commits.
    comments: by id, each a pull request's number, a type of user and a text.
    requests: that came, method and path.
    answers: a status and a Location each, which the next requests get.
  """

  url: str = ''
  authors: dict[int, str] = dataclasses.field(default_factory=dict)
  heads: dict[int, str] = dataclasses.field(default_factory=dict)
  comments: dict[int, tuple[int, str, str]] = dataclasses.field(
    default_factory=dict
  )
  requests: list[str] = dataclasses.field(default_factory=list)
  answers: list[tuple[int, str]] = dataclasses.field(default_factory=list)
  lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

  def texts(self, number: int) -> list[str]:
    return [text for of, _, text in self.comments.values() if of == number]

  def environment(self) -> dict[str, str]:
    """What a workflow of the repository has."""
    return {
      'GITHUB_API_URL': self.url,
      'GITHUB_REPOSITORY': REPOSITORY,
      'GITHUB_SERVER_URL': 'https://github.com',
      'GITHUB_TOKEN': TOKEN,
    }

  def answer(self, method: str, path: str, body: dict):
    """A status and what is said, None of what is not there."""
    path = path.removeprefix(f'/repos/{REPOSITORY}')
    number = int(re.search(r'\d+', path)[0])
    if (method, path) == ('GET', f'/pulls/{number}'):
      if number not in self.authors:
        return 404, None
      user = {'login': self.authors[number]}
      return 200, {'user': user, 'head': {'sha': self.heads[number]}}
    if method == 'POST' and path == f'/issues/{number}/comments':
      self.comments[len(self.comments) + 1] = (number, 'Bot', body['body'])
      return 201, {'id': len(self.comments)}
    if method == 'PATCH' and path == f'/issues/comments/{number}':
      of, kind, _ = self.comments[number]
      self.comments[number] = (of, kind, body['body'])
      return 200, {'id': number}
    if pages := re.fullmatch(
      r'/issues/\d+/comments\?per_page=(\d+)&page=(\d+)', path
    ):
      return 200, self._page(number, *map(int, pages.groups()))
    return 404, None

  def _page(self, number: int, size: int, page: int) -> list[dict]:
    found = [
      {'id': id_, 'user': {'type': kind}, 'body': text}
      for id_, (of, kind, text) in self.comments.items()
      if of == number
    ]
    return found[size * (page - 1) : size * page]


def _handler(api: Api) -> type[http.server.BaseHTTPRequestHandler]:
  class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
      pass

    def do_GET(self):
      body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
      with api.lock:
        api.requests.append(f'{self.command} {self.path}')
        location = ''
        if api.answers:
          (status, location), said = api.answers.pop(0), None
        elif self.headers['Authorization'] != f'Bearer {TOKEN}':
          status, said = 401, None
        else:
          status, said = api.answer(
            self.command, self.path, json.loads(body or b'{}')
          )
      content = json.dumps(said).encode()
      self.send_response(status)
      if location:
        self.send_header('Location', location)
      self.send_header('Content-Length', str(len(content)))
      self.end_headers()
      self.wfile.write(content)

    do_POST = do_PATCH = do_GET

  return Handler


@contextlib.contextmanager
def serve() -> Iterator[Api]:
  """Runs the server."""
  found = Api()
  with http.server.ThreadingHTTPServer(
    ('127.0.0.1', 0), _handler(found)
  ) as server:
    found.url = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    server.shutdown()
    thread.join()
