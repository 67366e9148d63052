import dataclasses
import hashlib
import json
import os
import pathlib
import socket

import pytest

from tfcompress.competition import plain_files, submission
from tfcompress.core import challenges

PYTORCH = challenges.ModelFormat.PYTORCH
TENSORFLOW = challenges.ModelFormat.TENSORFLOW
TFLITE = challenges.ModelFormat.TFLITE
LIMIT = 2048  # bytes
CHALLENGE = challenges.Challenge(
  limits=challenges.Limits(model_mib=LIMIT / 2**20)
)
MODEL = {'model.tflite': 'a model'}


def told(**changes) -> str:
  keys = {'username': 'ann', 'teamname': 'A team', 'model_format': 'tflite'}
  return json.dumps(keys | changes)


def made(root: pathlib.Path, files=MODEL, name='ann', **metadata):
  """Writes a folder of files, and of metadata if they have none."""
  folder = root / name
  content = {'metadata.json': told(username=name, **metadata), **files}
  for path, text in content.items():
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    if isinstance(text, str):
      text = text.encode()
    (folder / path).write_bytes(text)
  return folder


def refusal(folder, author='', challenge=CHALLENGE) -> str:
  """The one line that a folder is refused with, without the folder."""
  with pytest.raises(ValueError) as error:
    submission.read(folder, challenge, author)
  line = str(error.value)
  assert line.startswith(str(folder)) and line.isprintable()
  return line.removeprefix(str(folder))


def saved_model(name: str) -> dict[str, str]:
  return {
    f'{name}/saved_model.pb': 'graph',
    f'{name}/variables/variables.index': 'index',
  }


@pytest.mark.parametrize(
  ('model_format', 'model', 'files'),
  [
    (TFLITE, 'model.tflite', MODEL),
    (TENSORFLOW, 'model.h5', {'model.h5': '1234567'}),
    (TENSORFLOW, 'model.keras', {'model.keras': '1234567'}),
    (TENSORFLOW, 'model.pb', {'model.pb': '1234567'}),
    (PYTORCH, 'model.pt', {'model.pt': '1234567'}),
    (PYTORCH, 'model.pth', {'model.pth': '1234567'}),
  ],
)
def test_every_model_file(model_format, model, files, tmp_path):
  folder = made(tmp_path, files, model_format=model_format.value)
  assert submission.read(folder, CHALLENGE) == submission.Submission(
    folder=folder,
    username='ann',
    teamname='A team',
    model_format=model_format,
    model=folder / model,
    loader=None,
    requirements=None,
    size_bytes=7,
  )


def test_a_saved_model_is_a_folder(tmp_path):
  folder = made(
    tmp_path, saved_model('model.saved_model'), model_format='tensorflow'
  )
  (folder / 'model.saved_model/assets').mkdir()
  found = submission.read(folder, CHALLENGE)
  assert found.model == folder / 'model.saved_model'
  assert found.size_bytes == len('graph') + len('index')


def test_a_loader_counts_as_size_and_what_lies_beside_does_not(tmp_path):
  files = {
    'model.pt': '12345',
    'model_loader.py': 'raise SystemExit',  # Nobody runs it here.
    'requirements.txt': 'torch==2.13.0',
    'README.md': 'read',
    'LICENSE': 'me',
  }
  text = told(model_format='pytorch', tfcompress={'variant': 'x'}, other=[1])
  folder = made(tmp_path, {**files, 'metadata.json': '\ufeff' + text})
  found = submission.read(folder, CHALLENGE)
  assert found.loader == folder / 'model_loader.py'
  assert found.requirements == folder / 'requirements.txt'
  assert found.size_bytes == 5 + 16


def test_an_author_may_write_the_name_otherwise_but_the_folder_not(tmp_path):
  folder = made(tmp_path, name='Ann-b')
  assert submission.read(folder, CHALLENGE, 'aNN-B').username == 'Ann-b'
  assert refusal(folder, 'ann') == (
    ": username is 'Ann-b', expected who hands it in, 'ann'"
  )
  folder = made(tmp_path, {**MODEL, 'metadata.json': told(username='ANN')})
  assert refusal(folder, 'ann') == (
    ": username is 'ANN', expected the name of the folder, 'ann'"
  )


def test_the_folder_that_one_is_in(tmp_path, monkeypatch):
  monkeypatch.chdir(made(tmp_path))
  found = submission.read('.', CHALLENGE)
  assert found.model.read_text() == 'a model'


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('', ': not JSON (Expecting value'),
    ('{"username": "ann",}', ': not JSON ('),
    ('{"username": NaN}', ': not JSON (NaN is no JSON)'),
    (b'{"username": "\xff"}', ": not JSON ('utf-8' codec can't decode"),
    ('{"username": ' + '9' * 5000 + '}', ': not JSON (Exceeds the limit'),
    ('[' * 100_000, ': nested too deep; expected a JSON object with username'),
    (
      '[]',
      ': got a list; expected a JSON object with username, teamname and '
      'model_format',
    ),
    ('"ann"', ': got text; expected a JSON object'),
    ('{"a": "' + 'a' * 2**20 + '"}', ': larger than 1024 KiB'),
    ('{"username": "ann"}', ': no teamname; expected a JSON object with user'),
    (told(username=None), ': username is null, expected text'),
    (told(teamname=['a']), ': teamname is a list, expected text'),
    (told(model_format=True), ': model_format is a truth value, expected te'),
    (
      told(username='../ann'),
      ": username is '../ann', expected a name on GitHub: letters, digits and "
      'single dashes, at most 39',
    ),
    (told(username='/ann'), ": username is '/ann', expected a name on"),
    (told(username=''), ": username is '', expected a name on"),
    (told(username='.'), ": username is '.', expected a name on"),
    (told(username='ann--b'), ": username is 'ann--b', expected a name on"),
    (told(username='-ann'), ": username is '-ann', expected a name on"),
    (told(username='ann-'), ": username is 'ann-', expected a name on"),
    (told(username='ann\n'), r": username is 'ann\n', expected a name on"),
    (told(username='änn'), ": username is 'änn', expected a name on"),
    (told(username='ann٣'), ": username is 'ann٣', expected a name on"),
    (told(username='ann\x00'), r": username is 'ann\x00', expected a name on"),
    (told(username='$(id)'), ": username is '$(id)', expected a name on"),
    (told(username='a' * 40), f": username is '{'a' * 40}', expected a name"),
    (told(username='a' * 9**5), f": username is '{'a' * 60}'..., expected"),
    (told(teamname='a' * 81), f": teamname is '{'a' * 60}'..., expected 1 to"),
    (told(teamname='a\x1b[31m'), r": teamname is 'a\x1b[31m', expected 1 to"),
    (told(teamname='\u202etxt'), r": teamname is '\u202etxt', expected 1 to"),
    (told(teamname='\ud800'), r": teamname is '\ud800', expected 1 to 80"),
    (told(teamname=' '), ": teamname is ' ', expected 1 to 80 printable"),
    (
      told(model_format='onnx'),
      ": model_format is 'onnx', expected one of tflite, tensorflow, pytorch",
    ),
    (told(model_format='\x1b'), r": model_format is '\x1b', expected one of"),
  ],
  ids=lambda value: value[:20] if isinstance(value, str) else 'bytes',
)
def test_what_metadata_may_not_be(content, message, tmp_path):
  line = refusal(made(tmp_path, {**MODEL, 'metadata.json': content}))
  assert line.removeprefix('/metadata.json').startswith(message)


@pytest.mark.parametrize(
  ('metadata', 'files', 'message'),
  [
    ({}, {}, ': no model in it, expected model.tflite'),
    (
      {'model_format': 'tensorflow'},
      {},
      ': no model in it, expected model.h5 or model.keras or model.pb or '
      'model.saved_model',
    ),
    (
      {'model_format': 'pytorch'},
      {'model.pt': '1', 'model.pth': '1'},
      ': 2 models, model.pt and model.pth; expected one',
    ),
    (
      {'model_format': 'pytorch'},
      MODEL,
      ": model_format is 'pytorch', but the model is model.tflite; expected "
      'model.pt or model.pth',
    ),
    ({}, {'model.tflite': ''}, ': model.tflite is empty, expected a model'),
    (
      {'model_format': 'tensorflow'},
      {'model.saved_model/saved_model.pb': ''},
      ': model.saved_model is empty, expected a model',
    ),
    (
      {'model_format': 'tensorflow'},
      {'model.saved_model': 'x'},
      ': model.saved_model is a file, expected a folder',
    ),
    ({}, {'model.tflite/x': 'x'}, ': model.tflite is a folder, expected a fi'),
    (
      {},
      {**MODEL, 'weights.bin': 'x'},
      ': weights.bin does not belong there; expected metadata.json, '
      'model_loader.py, requirements.txt, README.md, LICENSE and one of '
      'model.tflite, model.h5, model.keras, model.pb, model.saved_model, '
      'model.pt, model.pth',
    ),
    ({}, {**MODEL, '.git/config': 'x'}, ': .git does not belong there'),
    ({}, {'model.TFLITE': 'x'}, ': model.TFLITE does not belong there'),
    ({}, {**MODEL, 'README.md': '1' * (2**20 + 1)}, ': README.md has 1048577 '),
    (
      {},
      {**MODEL, 'model_loader.py': ''},
      ': model_loader.py in it, but a .tflite is opened as it is; leave it out',
    ),
    (
      {},
      {**MODEL, 'requirements.txt': ''},
      ': requirements.txt without a model_loader.py that would need it',
    ),
    (
      {'model_format': 'pytorch'},
      {'model.pt': '1', 'model_loader.py': '', 'requirements.txt': 'evil==1'},
      "/requirements.txt, line 1: the package 'evil' is not allowed",
    ),
    (
      {},
      {'model.tflite': '1' * (LIMIT + 1)},
      ': model.tflite has 0.002 MiB with its loader (2049 bytes), limit '
      '0.00195312 MiB',
    ),
    (
      {'model_format': 'pytorch'},
      {'model.pt': '1' * LIMIT, 'model_loader.py': '1'},
      ': model.pt has 0.002 MiB with its loader (2049 bytes), limit',
    ),
    ({}, {**MODEL, 'a\x1b[31m': ''}, r": a name is not printable, 'a\x1b[31m'"),
    ({}, {**MODEL, 'a\nb/c': ''}, r": a name is not printable, 'a\nb'"),
    ({}, {**MODEL, 'a\udcff': ''}, r": a name is not printable, 'a\udcff'"),
  ],
)
def test_what_a_folder_may_not_have(metadata, files, message, tmp_path):
  folder = made(tmp_path, files, **metadata)
  assert refusal(folder).startswith(message)


def test_as_large_as_is_allowed(tmp_path):
  folder = made(tmp_path, {'model.tflite': '1' * LIMIT})
  assert submission.read(folder, CHALLENGE).size_bytes == LIMIT


def test_a_format_that_the_challenge_does_not_accept(tmp_path):
  challenge = dataclasses.replace(CHALLENGE, formats=(TFLITE, TENSORFLOW))
  folder = made(tmp_path, {'model.pt': 'x'}, model_format='pytorch')
  assert refusal(folder, challenge=challenge) == (
    ": model_format is 'pytorch', which the challenge does not accept; expected "
    'one of tflite, tensorflow'
  )


def test_folders_that_are_none(tmp_path):
  folder = made(tmp_path)
  assert refusal(tmp_path / 'bob') == ': no such folder'
  assert refusal(folder / 'model.tflite') == ': is a file, expected a folder'
  (tmp_path / 'link').symlink_to(folder)
  assert refusal(tmp_path / 'link') == ': is a link, expected a folder'
  (folder / 'metadata.json').unlink()
  assert refusal(folder) == (
    ': no metadata.json in it; expected a JSON object with username, teamname '
    'and model_format'
  )
  with pytest.raises(ValueError, match='^a\ufffd: no such folder$'):
    submission.read('a\x1b', CHALLENGE)


def linked_inside(path: pathlib.Path):
  path.symlink_to('metadata.json')


def linked_outside(path: pathlib.Path):
  path.symlink_to('/etc/hostname')


def linked_to_a_folder(path: pathlib.Path):
  path.symlink_to('/etc')


def linked_hard(path: pathlib.Path):
  (path.parents[2] / 'labels').write_text('secret')
  os.link(path.parents[2] / 'labels', path)


def listening(path: pathlib.Path):
  with socket.socket(socket.AF_UNIX) as listener:
    here = os.getcwd()
    os.chdir(path.parent)  # The path may be too long for a socket.
    listener.bind(path.name)
    os.chdir(here)


@pytest.mark.parametrize(
  ('make', 'what'),
  [
    (linked_inside, 'a link'),
    (linked_outside, 'a link'),
    (linked_to_a_folder, 'a link'),
    (linked_hard, 'a file of 2 names (hard links)'),
    (os.mkfifo, 'no file'),
    (listening, 'no file'),
  ],
)
@pytest.mark.parametrize('place', ['README.md', 'model.saved_model/assets'])
def test_nothing_but_files_of_its_own(make, what, place, tmp_path):
  files = saved_model('model.saved_model')
  folder = made(tmp_path / 'submissions', files, model_format='tensorflow')
  make(folder / place)
  assert refusal(folder) == (
    f': {place} is {what}, expected files and folders of its own'
  )


def test_metadata_that_is_a_link_or_a_folder(tmp_path):
  folder = made(tmp_path)
  (folder / 'metadata.json').rename(tmp_path / 'metadata.json')
  (folder / 'metadata.json').symlink_to('../metadata.json')
  assert 'metadata.json is a link' in refusal(folder)
  (folder / 'metadata.json').unlink()
  (folder / 'metadata.json').mkdir()
  assert refusal(folder) == '/metadata.json: no plain file'


def test_too_many_files(tmp_path):
  folder = made(tmp_path)
  for number in range(plain_files.MOST_FILES):
    (folder / str(number)).touch()
  assert refusal(folder) == ': more than 1000 files and folders'


def test_folders_too_deep_in_each_other(tmp_path):
  deepest = '/'.join(['model.saved_model', *'123456789'])
  folder = made(tmp_path, {f'{deepest}/file': 'x'}, model_format='tensorflow')
  assert submission.read(folder, CHALLENGE).size_bytes == 1
  (folder / deepest / 'a' / 'b').mkdir(parents=True)
  assert refusal(folder) == ': more than 10 folders in each other'


def test_a_snapshot_is_the_same_to_the_byte(tmp_path):
  files = saved_model('model.saved_model') | {'README.md': 'read'}
  folder = made(tmp_path, files, model_format='tensorflow')
  (folder / 'model.saved_model/assets').mkdir()
  first = submission.read(folder, CHALLENGE)
  copied = submission.copy(first, tmp_path / 'a' / 'snapshot')
  assert copied == dataclasses.replace(
    first,
    folder=tmp_path / 'a' / 'snapshot',
    model=tmp_path / 'a' / 'snapshot' / 'model.saved_model',
  )
  names = sorted(path.relative_to(folder) for path in folder.rglob('*'))
  snapshot = copied.folder
  assert names == sorted(p.relative_to(snapshot) for p in snapshot.rglob('*'))
  for name in names:
    if (folder / name).is_file():
      assert (snapshot / name).read_bytes() == (folder / name).read_bytes()
  assert submission.sha256(copied) == submission.sha256(first)


def test_sha256_is_of_the_model_and_of_all(tmp_path):
  folder = made(tmp_path)
  found = submission.read(folder, CHALLENGE)
  model, whole = submission.sha256(found)
  assert model == hashlib.sha256(b'a model').hexdigest()
  (folder / 'LICENSE').write_text('me')
  assert submission.sha256(found)[0] == model
  assert submission.sha256(found)[1] != whole


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    ('model.tflite', 'a larger model'),
    ('metadata.json', told(teamname='Another')),
    ('model_loader.py', 'x'),
    ('weights.bin', 'x'),
  ],
)
def test_a_submission_that_changes_is_not_copied(name, content, tmp_path):
  found = submission.read(made(tmp_path), CHALLENGE)
  (found.folder / name).write_text(content)
  with pytest.raises(ValueError, match='^[^\n]+$'):
    submission.copy(found, tmp_path / 'snapshot')


def test_a_file_that_became_a_link_is_not_copied(tmp_path):
  found = submission.read(made(tmp_path), CHALLENGE)
  (tmp_path / 'labels').write_text('a model')
  found.model.unlink()
  found.model.symlink_to('../labels')
  with pytest.raises(ValueError, match='model.tflite is a link'):
    submission.copy(found, tmp_path / 'snapshot')
  with pytest.raises(ValueError, match='cannot be read'):
    plain_files.copy(found.model, tmp_path / 'new', 7)


@pytest.mark.parametrize('size', [6, 8, 0])
def test_a_file_of_another_size_than_expected(size, tmp_path):
  (tmp_path / 'file').write_text('a model')
  with pytest.raises(ValueError, match='changed while it was copied'):
    plain_files.copy(tmp_path / 'file', tmp_path / 'new', size)
  assert (tmp_path / 'new').stat().st_size <= size + 1


def test_a_file_without_end_is_not_read_to_it(tmp_path):
  with pytest.raises(ValueError, match='no plain file'):
    plain_files.copy(pathlib.Path('/dev/zero'), tmp_path / 'new', 10)


def own_files(root: pathlib.Path) -> pathlib.Path:
  """A user's files, which may be links."""
  for name in ('net.PT', 'load.py'):
    (root / name).write_text(name)
  (root / 'needed.txt').write_text('torch==2.13.0\n')
  (root / 'linked.tflite').symlink_to('net.PT')
  for name, text in saved_model('export').items():
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
  return root


def test_what_is_written_is_what_is_read(tmp_path):
  own = own_files(tmp_path)
  target = tmp_path / 'submissions' / 'ann'
  written = submission.write(
    target,
    'ann',
    'Ünï',
    PYTORCH,
    own / 'net.PT',
    own / 'load.py',
    own / 'needed.txt',
    {'tfcompress': {'variant': 'int8'}, 'username': 'bob'},
  )
  assert written == submission.read(target, CHALLENGE, 'ann')
  assert written.model.read_text() == 'net.PT'
  assert written.loader.read_text() == 'load.py'
  assert json.loads((target / 'metadata.json').read_text()) == {
    'username': 'ann',
    'teamname': 'Ünï',
    'model_format': 'pytorch',
    'tfcompress': {'variant': 'int8'},
  }
  assert os.listdir(target.parent) == ['ann']


def test_a_submission_is_replaced_but_for_what_lies_beside(tmp_path):
  own, target = own_files(tmp_path), tmp_path / 'submissions' / 'ann'
  submission.write(target, 'ann', 'A', PYTORCH, own / 'net.PT', own / 'load.py')
  (target / 'README.md').write_text('read')
  submission.write(target, 'ann', 'A', TENSORFLOW, own / 'export')
  assert sorted(os.listdir(target)) == [
    'README.md',
    'metadata.json',
    'model.saved_model',
  ]
  submission.write(target, 'ann', 'A', TFLITE, own / 'linked.tflite')
  assert sorted(os.listdir(target)) == [
    'README.md',
    'metadata.json',
    'model.tflite',
  ]
  # Again, of itself.
  submission.write(target, 'ann', 'A', TFLITE, target / 'model.tflite')
  assert (target / 'model.tflite').read_text() == 'net.PT'
  assert os.listdir(target.parent) == ['ann']


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'username': '../ann'}, "username is '../ann', expected a name on GitHub"),
    ({'username': 'bob'}, "username is 'bob', expected the name of the folder"),
    ({'teamname': ''}, "ann/metadata.json: teamname is '', expected 1 to 80"),
    ({'model': 'no.pt'}, 'no.pt: no such file or folder'),
    (
      {'model': 'load.py'},
      'load.py: not pytorch by its name; expected *.pt, *.pth',
    ),
    (
      {'model': 'load.py', 'model_format': TENSORFLOW},
      'expected *.h5, *.keras, *.pb, a SavedModel folder',
    ),
    ({'model': 'export'}, 'export: not pytorch by its name'),
    ({'loader': 'no.py'}, 'no.py: cannot be copied (No such file'),
    ({'loader': 'export'}, 'ann: model_loader.py is a folder, expected a file'),
    ({'requirements': 'needed.txt'}, 'requirements.txt without a model_load'),
    (
      {'loader': 'load.py', 'requirements': 'load.py'},
      "ann/requirements.txt, line 1: got 'load.py', expected one exact",
    ),
    ({'extra': {'a': float('nan')}}, 'not JSON compliant'),
    (
      {'challenge': dataclasses.replace(CHALLENGE, formats=(TFLITE,))},
      "ann: model_format is 'pytorch', which the challenge does not accept",
    ),
  ],
)
def test_a_refused_one_leaves_what_was_there(changes, message, tmp_path):
  own, target = own_files(tmp_path), tmp_path / 'submissions' / 'ann'
  submission.write(target, 'ann', 'A', TFLITE, own / 'linked.tflite')
  arguments = {
    'username': 'ann',
    'teamname': 'A',
    'model_format': PYTORCH,
    'model': 'net.PT',
    **changes,
  }
  for name in ('model', 'loader', 'requirements'):
    if name in arguments:
      arguments[name] = own / arguments[name]
  with pytest.raises(ValueError) as error:
    submission.write(target, **arguments)
  assert message in str(error.value) and '\n' not in str(error.value)
  assert submission.read(target, CHALLENGE).model_format is TFLITE
  assert os.listdir(target.parent) == ['ann']


def test_a_folder_that_is_no_submission_is_not_replaced(tmp_path):
  own, home = own_files(tmp_path), tmp_path / 'home' / 'ann'
  (home / 'photos').mkdir(parents=True)
  with pytest.raises(ValueError, match='photos in it, so it is no submission'):
    submission.write(home, 'ann', 'A', PYTORCH, own / 'net.PT')
  assert os.listdir(home) == ['photos']
  assert os.listdir(home.parent) == ['ann']
