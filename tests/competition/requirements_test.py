import os
import re
import time

import pytest

from tfcompress.competition import requirements

PACKAGES = ('torch', 'tf_keras', 'NumPy', 'timm')


def check(tmp_path, content: str | bytes, packages=PACKAGES):
  path = tmp_path / 'requirements.txt'
  if isinstance(content, str):
    content = content.encode()
  path.write_bytes(content)
  return requirements.check(path, packages)


def test_exact_versions_of_what_is_allowed(tmp_path):
  found = check(
    tmp_path,
    '\ufeff# of the loader\r\n'
    'torch == 2.13.0+cpu  # a comment\n'
    '\n'
    'numpy[extra] (==2.1.0)\n'
    'TF.Keras==2.21.0;python_version<"3.13"\n',
  )
  assert found == (
    'torch==2.13.0+cpu',
    'numpy[extra]==2.1.0',
    'TF.Keras==2.21.0; python_version < "3.13"',
  )


def test_a_star_allows_any_package(tmp_path):
  assert check(tmp_path, 'anything==1', ('*',)) == ('anything==1',)


def test_nothing_is_required(tmp_path):
  assert check(tmp_path, '# nothing\n') == ()


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('-r other.txt', "got the option '-r other.txt'"),
    ('-e .', "got the option '-e .'"),
    ('--index-url https://evil.example', 'got the option'),
    ('  --extra-index-url=https://evil.example', 'got the option'),
    ('torch==1 --hash=sha256:00', "got 'torch==1 --hash=sha256:00', expected"),
    ('torch==1 \\', 'expected NAME==VERSION'),
    ('https://evil.example/torch-1-py3-none-any.whl', 'expected NAME==VERSION'),
    ('git+https://evil.example/torch', 'expected NAME==VERSION'),
    ('torch @ https://evil.example/torch.zip', "got an address, 'torch @"),
    ('torch @ file:///etc/passwd', "got an address, 'torch @"),
    ('./torch-1-py3-none-any.whl', 'expected NAME==VERSION'),
    ('/torch', 'expected NAME==VERSION'),
    ('torch', "got 'torch', expected one exact version, as in torch==1.2.3"),
    ('torch>=1', 'expected one exact version'),
    ('torch==1,>=0', 'expected one exact version'),
    ('torch==1.*', 'expected one exact version'),
    ('torch===1', 'expected one exact version'),
    ('torch~=1.0', 'expected one exact version'),
    ('torch==${VERSION}', 'expected NAME==VERSION'),
    (r'torch==1; os_name == "x\n-e ."', 'expected a marker of letters'),
    ('torch==1; os_name == "x -e ."', 'expected a marker of letters'),
    ('torch==1; os_name == \' --pre" "\'', 'expected a marker of letters'),
    ('torch==1; os_name == "${HOME}"', 'expected a marker of letters'),
    ('torch==1; os_name == "file:///etc"', 'expected a marker of letters'),
    ('torch==1; os_name == "\u202e"', 'expected a marker of letters'),
    ('torch==1; touch /tmp/x', 'expected NAME==VERSION'),
    ('torch==1\x1b[31m', r"got 'torch==1\x1b[31m', expected"),
    ('torch==' + '1' * 300, '307 characters, expected at most 300'),
    ('torch==1;' + '(' * 291, 'expected NAME==VERSION'),
    (
      'evil==1',
      "the package 'evil' is not allowed; the challenge allows numpy, "
      'tf-keras, timm, torch',
    ),
  ],
)
def test_a_line_that_is_refused_is_named(line, message, tmp_path):
  with pytest.raises(ValueError, match=re.escape(message)) as error:
    check(tmp_path, f'# comment\nnumpy==2\n{line}\n')
  expected = f'{tmp_path}/requirements.txt, line 3: '
  assert str(error.value).startswith(expected)
  assert str(error.value).isprintable()


@pytest.mark.parametrize('separator', ['\r', '\x0b', '\x0c', '\x85', '\u2028'])
def test_a_line_is_what_pip_takes_for_one(separator, tmp_path):
  with pytest.raises(ValueError, match='line 2: got the option'):
    check(tmp_path, f'numpy==2{separator}--index-url=https://evil.example')


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('numpy==1\n' * 51, '51 requirements, expected at most 50'),
    ('#' * 2**16 + '\n', 'larger than 64 KiB'),
    (b'numpy==1\n\xff\n', r'not UTF-8 \(invalid start byte at byte 9\)'),
  ],
  ids=['lines', 'bytes', 'encoding'],
)
def test_a_file_that_is_refused(content, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    check(tmp_path, content)


def test_no_link_is_followed_and_no_pipe_waited_for(tmp_path):
  (tmp_path / 'link').symlink_to('/etc/hostname')
  os.mkfifo(tmp_path / 'pipe')
  with pytest.raises(ValueError, match='link: cannot be read'):
    requirements.check(tmp_path / 'link', PACKAGES)
  with pytest.raises(ValueError, match='pipe: no plain file'):
    requirements.check(tmp_path / 'pipe', PACKAGES)


@pytest.mark.parametrize('piece', [' ', '#', ' #', '(', 'a.', '9', '"', '\n-'])
def test_no_content_takes_long(piece, tmp_path):
  start = time.monotonic()
  with pytest.raises(ValueError, match='requirements.txt'):
    check(tmp_path, (piece * 2**16)[: 2**16 - 4] + '\nx')
  assert time.monotonic() - start < 1
