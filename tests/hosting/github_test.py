"""What is asked of GitHub, and what comes of its answers."""

import pytest

from tests.hosting.api import TOKEN, serve
from tfcompress.hosting import github


@pytest.fixture
def api():
  with serve() as found:
    yield found


@pytest.fixture
def hub(api, monkeypatch):
  for name, value in api.environment().items():
    monkeypatch.setenv(name, value)
  monkeypatch.setattr(github, '_WAIT_SECONDS', 0.01)
  return github.of_environment()


def test_one_comment_a_pull_request(api, hub):
  api.comments = {1: (7, 'User', 'hello'), 2: (8, 'Bot', 'another bot')}
  github.comment(hub, 7, '$(id) "first" \u2603')
  assert api.texts(7) == ['hello', '<!-- tfcompress: the result -->\n$(id) "first" \u2603']  # fmt: skip
  github.comment(hub, 8, 'of another')
  github.comment(hub, 7, 'second')
  assert api.texts(7) == ['hello', '<!-- tfcompress: the result -->\nsecond']
  assert len(api.texts(8)) == 2


def test_ours_among_many_and_a_persons_that_looks_like_it(api, hub):
  mark = '<!-- tfcompress: the result -->\n'
  api.comments = {n: (7, 'User', f'{mark}{n}') for n in range(1, 250)}
  github.comment(hub, 7, 'first')
  github.comment(hub, 7, 'x' * 70_000)
  assert len(api.comments) == 250
  assert len(api.texts(7)[-1]) < 65_536 and api.texts(7)[-1].endswith('xxx')
  assert api.texts(7)[:-1] == [f'{mark}{n}' for n in range(1, 250)]


def test_a_busy_server_is_asked_again(api, hub):
  api.authors[7], api.heads[7] = 'ada', 'a' * 40
  api.answers = [(502, ''), (429, ''), (503, '')]
  assert github.read(hub, 7) == github.PullRequest('ada', 'a' * 40)
  assert len(api.requests) == 4
  api.answers = [(200, ''), (502, '')]
  with pytest.raises(ValueError, match='pull request 7 without'):
    github.read(hub, 7)


def test_a_comment_that_may_have_been_made_is_not_made_again(api, hub):
  api.comments[1] = (7, 'User', 'hello')
  github._call(hub, 'GET', 'issues/7/comments?per_page=100&page=1')
  api.answers = [(503, '')]
  github._call(hub, 'POST', 'issues/7/comments', {'body': 'once'})
  api.answers = [(502, '')]
  with pytest.raises(ValueError, match='GitHub: POST issues/7/comments: 502'):
    github._call(hub, 'POST', 'issues/7/comments', {'body': 'twice'})
  assert api.texts(7) == ['hello', 'once']


def test_errors_are_one_line_without_the_token(api, hub):
  with pytest.raises(ValueError, match='^GitHub: GET pulls/9: 404 Not Found$'):
    github.read(hub, 9)
  api.answers = [(403, '')]
  with pytest.raises(ValueError, match='403 Forbidden') as error:
    github.read(hub, 7)
  assert TOKEN not in str(error.value) + repr(hub)
  gone = github.Repository('http://127.0.0.1:1', 'a/b', 'https://b', TOKEN)
  with pytest.raises(ValueError, match='Connection refused'):
    github.read(gone, 7)


def test_the_token_follows_no_redirection(api, hub):
  api.answers = [(302, f'{api.url}/elsewhere')]
  with pytest.raises(ValueError, match='GET pulls/7: 302 Found'):
    github.read(hub, 7)
  assert len(api.requests) == 1


def test_what_is_no_workflow(monkeypatch, api):
  for name, value in api.environment().items():
    monkeypatch.setenv(name, value)
  monkeypatch.setenv('GITHUB_REPOSITORY', 'host/challenge/../../other')
  with pytest.raises(ValueError, match='expected OWNER/NAME'):
    github.of_environment()
  monkeypatch.delenv('GITHUB_TOKEN')
  with pytest.raises(ValueError, match='no GITHUB_TOKEN in the environment'):
    github.of_environment()
