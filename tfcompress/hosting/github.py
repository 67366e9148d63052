"""GitHub's REST API, as far as a challenge needs it."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request

_SECONDS = 30.0  # that an answer may take
_ATTEMPTS, _WAIT_SECONDS = 4, 1.0
_BUSY = (429, 500, 502, 503, 504)
_NOT_DONE = (429, 503)  # for sure, so that a comment is not made twice
_MOST_BYTES = 2**25
_PAGE, _MOST_PAGES = 100, 30
_LONGEST_COMMENT = 60_000  # GitHub takes 65536 characters
_MARK = '<!-- tfcompress: the result -->'
_NAME = re.compile('[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+')
_BOT = 'Bot'


@dataclasses.dataclass(frozen=True)
class Repository:
  """Where a repository's API is, and what lets us in.

  Attributes:
    api_url: 'https://api.github.com', or that of a server of one's own.
    name: OWNER/NAME.
    server_url: where git has it.
    token: of the workflow.
  """

  api_url: str
  name: str
  server_url: str
  token: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class PullRequest:
  """What GitHub says of a pull request now.

  Attributes:
    author: who opened it.
    head_sha: its last commit.
  """

  author: str
  head_sha: str


class _NoRedirects(urllib.request.HTTPRedirectHandler):
  """The token would go with a request to wherever it is sent."""

  def redirect_request(self, request, file, code, message, headers, url):
    return None


def of_environment() -> Repository:
  """Returns the repository whose workflow this is.

  Raises:
    ValueError: it is no workflow, or has no token.
  """
  keys = (
    'GITHUB_API_URL', 'GITHUB_REPOSITORY', 'GITHUB_SERVER_URL', 'GITHUB_TOKEN'
  )  # fmt: skip
  missing = [key for key in keys if not os.environ.get(key)]
  if missing:
    raise ValueError(
      f'no {" and no ".join(missing)} in the environment; run it in the '
      'workflow publish.yml, or without a comment and a push'
    )
  api_url, name, server_url, token = (os.environ[key] for key in keys)
  if not _NAME.fullmatch(name):
    raise ValueError(f'GITHUB_REPOSITORY {name!r}: expected OWNER/NAME')
  return Repository(api_url.rstrip('/'), name, server_url.rstrip('/'), token)


def read(repository: Repository, number: int) -> PullRequest:
  """Returns a pull request.

  Raises:
    ValueError: there is none of this number, or no answer.
  """
  told = _call(repository, 'GET', f'pulls/{number:d}')
  try:
    return PullRequest(told['user']['login'], told['head']['sha'])
  except (KeyError, TypeError) as error:
    raise ValueError(
      f'GitHub: pull request {number} without {error}'
    ) from error


def comment(repository: Repository, number: int, text: str) -> None:
  """Comments on a pull request; an earlier comment of ours gives way.

  Args:
    repository: of the pull request.
    number: of the pull request.
    text: Markdown.

  Raises:
    ValueError: GitHub does not take it, or does not answer.
  """
  body = {'body': f'{_MARK}\n{text[:_LONGEST_COMMENT]}'}
  earlier = _earlier(repository, number)
  if earlier is None:
    _call(repository, 'POST', f'issues/{number:d}/comments', body)
  else:
    _call(repository, 'PATCH', f'issues/comments/{earlier:d}', body)


def _earlier(repository: Repository, number: int) -> int | None:
  """Our comment's id. A person may have written our mark, but is no bot."""
  for page in range(1, _MOST_PAGES + 1):
    path = f'issues/{number:d}/comments?per_page={_PAGE}&page={page}'
    comments = _call(repository, 'GET', path)
    for one in comments:
      ours = (one.get('body') or '').startswith(_MARK)
      if ours and (one.get('user') or {}).get('type') == _BOT:
        return int(one['id'])
    if len(comments) < _PAGE:
      break
  return None


def _call(
  repository: Repository, method: str, path: str, body: dict | None = None
):
  """The answer to a request, which is made again while GitHub is busy."""
  request = urllib.request.Request(
    f'{repository.api_url}/repos/{repository.name}/{path}',
    data=None if body is None else json.dumps(body).encode(),
    method=method,
    headers={
      'Accept': 'application/vnd.github+json',
      'Authorization': f'Bearer {repository.token}',
      'Content-Type': 'application/json',
      'X-GitHub-Api-Version': '2022-11-28',
    },
  )
  makes = method == 'POST'
  for attempt in range(_ATTEMPTS):
    try:
      return _answer(request)
    except urllib.error.HTTPError as error:
      error.close()
      problem = f'{error.code} {error.reason}'
      again = error.code in (_NOT_DONE if makes else _BUSY)
    except (OSError, http.client.HTTPException) as error:
      problem, again = str(error) or type(error).__name__, not makes
    except ValueError as error:
      problem, again = f'no JSON ({error})', False
    if not again:
      break
    if attempt + 1 < _ATTEMPTS:
      time.sleep(_WAIT_SECONDS * 2**attempt)
  raise ValueError(f'GitHub: {method} {path}: {problem}'.replace('\n', ' '))


def _answer(request: urllib.request.Request):
  opener = urllib.request.build_opener(_NoRedirects)
  with opener.open(request, timeout=_SECONDS) as answer:
    return json.loads(answer.read(_MOST_BYTES))
