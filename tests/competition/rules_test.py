import dataclasses
import datetime
import re
import subprocess
import sys

import pytest

from tfcompress.competition import rule_keys, rules
from tfcompress.core import challenges, measurements, types

CPU, GPU = measurements.Device
UTC = datetime.UTC
BERLIN = datetime.timezone(datetime.timedelta(hours=2))
CHANGED = challenges.Challenge(
  title='The "next" one, \\ and Ünïcode',
  num_classes=10,
  image_size=96,
  formats=(challenges.ModelFormat.PYTORCH, challenges.ModelFormat.TFLITE),
  packages=('*',),
  weights=challenges.Weights(0.1, 0.2, 0.7),
  baseline=challenges.Baseline('baseline/model.tflite', None),
  window=challenges.Window(
    datetime.datetime(2026, 5, 1, tzinfo=BERLIN),
    datetime.datetime(2026, 5, 31, 23, 59, 59, tzinfo=BERLIN),
  ),
  limits=challenges.Limits(1.5, 0.5, 512, 8, 60.25, 100.0, 12.5),
  evaluation=challenges.Evaluation((GPU, CPU), GPU, 4, 50, 0.0, 2),
  data=challenges.Data(
    'folder:data/private',
    'folder:data/public',
    types.EvaluationTransform.IMAGENET,
    'https://example.org/images.zip?key=1#2',
    'ab' * 32,
  ),
)


def write(tmp_path, text: str):
  (tmp_path / 'baseline').mkdir(exist_ok=True)
  (tmp_path / 'baseline/model.tflite').touch()
  path = tmp_path / 'challenge.toml'
  path.write_text(text)
  return path


def refusal(path) -> str:
  """The one line that a file is refused with."""
  with pytest.raises(ValueError) as error:
    rules.read(path)
  line = str(error.value)
  assert line.startswith(str(path)) and line.isprintable()
  return line.removeprefix(str(path))


def differing(one, other):
  """The fields that are not the same, also of what is within."""
  for field in dataclasses.fields(one):
    values = getattr(one, field.name), getattr(other, field.name)
    if dataclasses.is_dataclass(values[0]):
      yield from (f'{field.name}.{name}' for name in differing(*values))
    elif values[0] != values[1]:
      yield field.name


@pytest.mark.parametrize('challenge', [challenges.Challenge(), CHANGED])
def test_rules_survive_their_file(challenge, tmp_path):
  assert rules.read(write(tmp_path, rules.text(challenge))) == challenge


def test_every_key_is_written_with_what_it_means():
  keys = list(rule_keys.KEYS)
  # Every field is another one there, so nothing was read by its default.
  assert list(differing(challenges.Challenge(), CHANGED)) == keys
  text = rules.text(challenges.Challenge())
  for key in keys:
    name = re.escape(key.rpartition('.')[2])
    assert re.search(rf'\n# [^\n]+\.\n(# )?{name} = ', text), key
  assert max(map(len, text.splitlines())) <= 80


def test_what_is_left_out_has_its_default(tmp_path):
  assert rules.read(write(tmp_path, '')) == challenges.Challenge()
  read = rules.read(
    write(tmp_path, '\ufeffnum_classes = 7\r\n[limits]\nseconds = 3\n')
  )
  assert read == challenges.Challenge(
    num_classes=7, limits=challenges.Limits(seconds=3.0)
  )
  assert isinstance(read.limits.seconds, float)


def test_the_accuracy_of_a_file_is_measured_if_it_is_not_given(tmp_path):
  text = '[baseline]\nmodel = "baseline/model.tflite"\n'
  read = rules.read(write(tmp_path, text))
  assert read.baseline == challenges.Baseline('baseline/model.tflite', None)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('title = ', ", line 1, title: not TOML, got 'title =': Invalid value"),
    ('a\n\n\n', ", line 1: not TOML, got 'a': Expected '='"),
    ('\n[weights\nsize = 1', ", line 2: not TOML, got '[weights': Expected"),
    (
      'title = "a"\ntitle = "b"\n[data]',
      """, line 2, title: not TOML, got 'title = "b"': Cannot overwrite""",
    ),
    ('title = "a\x1b"', ', line 1, title: not TOML'),
    ('num_classes = ' + '9' * 5000, ': Exceeds the limit'),
    ('formats = ' + '[' * 9000, ': nested too deep'),
    (
      'classes = 10',
      ', line 1, classes: unknown key, known: title, num_classes, image_size, '
      'formats, packages',
    ),
    (
      '\n[weight]\nsize = 1',
      ', line 2, weight: unknown table, known: weights, baseline, window',
    ),
    (
      '[weights]\nsize = 0.3\nsizes = 1 # size = 2',
      ', line 3, weights.sizes: unknown key, known in [weights]: size, latency, '
      'accuracy',
    ),
    ('"a.\\u001b" = 1', ', line 1, a.\ufffd: unknown key, known: title'),
    ('weights = 3', ', line 1, weights: got 3, expected a table, [weights]'),
    ('[[weights]]\nsize = 1', ", line 1, weights: got [{'size': 1}], expected"),
    ('title = 1', ', line 1, title: got 1, expected printable text in quota'),
    ('title = "a\\nb"', r", line 1, title: got 'a\nb', expected printable"),
    ('title = " "', ", line 1, title: got ' ', expected 1 to 200 characters"),
    (
      '\n num_classes = 1',
      ', line 2, num_classes: got 1, expected a whole number from 2 to 1000000',
    ),
    ('num_classes = 10.0', 'num_classes: got 10.0, expected a whole number'),
    ('num_classes = true', 'num_classes: got true, expected a whole number'),
    ('num_classes = "10"', "num_classes: got '10', expected a whole number"),
    ('image_size = 5000', 'image_size: got 5000, expected a whole number fro'),
    ('formats = "tflite"', "formats: got 'tflite', expected a list"),
    (
      'formats = []',
      "formats: got [], expected some of 'tflite', 'tensorflow'",
    ),
    (
      'formats = [\n  "tflite",\n  "onnx",\n]',
      ", line 1, formats: got 'onnx', expected one of 'tflite', 'tensorflow', "
      "'pytorch'",
    ),
    ('formats = [["tflite"]]', "formats: got ['tflite'], expected one of"),
    ('formats = ["tflite", "tflite"]', 'expected each but once'),
    ('packages = ["a==1"]', "packages: got 'a==1', expected names of packages"),
    ('packages = [1]', 'packages: got 1, expected printable text'),
    (
      '[weights]\nsize = 0.3\nlatency = 0.3\naccuracy = 0.5',
      ', line 1, weights: got 0.3 + 0.3 + 0.5 = 1.1, expected a sum of 1',
    ),
    ('[weights]\nsize = -0.1', ', line 2, weights.size: got -0.1, expected a '),
    (
      '[weights]\nsize = nan',
      'weights.size: got nan, expected a number from 0',
    ),
    (
      '[weights]\nsize = inf',
      'weights.size: got inf, expected a number from 0',
    ),
    ('weights.size = 2', ', line 1, weights.size: got 2, expected a number'),
    ('weights = {size = 2}', ', line 1, weights.size: got 2, expected a numb'),
    ('["weights"]\n"size" = 2', ', line 2, weights.size: got 2, expected'),
    (
      'title = """\nnum_classes = 1"""\nnum_classes = 1',
      ', line 3, num_classes: got 1, expected a whole number',
    ),
    (
      '[baseline]\nmodel = "plain"',
      ', line 1, baseline.top1_percent: got none, expected a number',
    ),
    (
      '[baseline]\ntop1_percent = 0',
      'top1_percent: got 0, expected a number above 0 and at most 100',
    ),
    (
      '[baseline]\nmodel = "../model.tflite"',
      ", line 2, baseline.model: got '../model.tflite', expected 'plain' or a "
      'path inside',
    ),
    ('[baseline]\nmodel = "/etc/passwd"', 'a path inside the repository'),
    ('[baseline]\nmodel = ""', "got '', expected 'plain' or a path inside"),
    ('[baseline]\nmodel = "out"', "got 'out', expected 'plain' or a path insi"),
    (
      '[baseline]\nmodel = "no.tflite"',
      "baseline.model: got 'no.tflite', which is not in the repository",
    ),
    (
      '[window]\nopens = 2026-05-01T00:00:00',
      ', line 2, window.opens: got 2026-05-01T00:00:00, expected a moment: add '
      'a time zone, as in 2026-05-01T00:00:00+02:00',
    ),
    ('[window]\ncloses = 2026-05-01', 'got 2026-05-01, expected a moment: add'),
    ('[window]\ncloses = 12:00:00', 'got 12:00:00, expected a date and time'),
    (
      '[window]\ncloses = "2026-05-01T00:00:00Z"',
      "got '2026-05-01T00:00:00Z', expected a date and time without quotation",
    ),
    (
      # The second is an hour earlier, though it looks later.
      '[window]\nopens = 2026-05-01T00:00:00Z\n'
      'closes = 2026-05-01T01:00:00+02:00',
      ', line 3, window.closes: got 2026-05-01T01:00:00+02:00, expected no '
      'moment before it opens, 2026-05-01T00:00:00+00:00',
    ),
    ('[limits]\nmodel_mib = 0', 'model_mib: got 0, expected a number above 0'),
    ('[limits]\nmemory_mib = 0.5', 'memory_mib: got 0.5, expected a whole'),
    ('[evaluation]\ndevices = []', "got [], expected some of 'cpu', 'gpu'"),
    ('[evaluation]\ndevices = ["tpu"]', "got 'tpu', expected one of 'cpu'"),
    (
      '[evaluation]\n\ndevices = ["gpu"]',
      ", line 1, evaluation.ranking_device: got 'cpu', expected one of devices, "
      "'gpu'",
    ),
    ('[data]\ndataset = ""', "data.dataset: got '', expected a TFDS name"),
    ('[data]\ndataset = "folder:"', "'folder:PATH' with a path inside"),
    ('[data]\ndataset = "folder:../x"', "'folder:PATH' with a path inside"),
    ('[data]\ndataset = "folder:~/x"', "'folder:PATH' with a path inside"),
    ('[data]\ndataset = "folder:x/../.."', "'folder:PATH' with a path inside"),
    (
      '[data]\ndataset = "folder:/x"\nsource = "kaggle:a/b"',
      ", line 2, data.dataset: got 'folder:/x', expected a TFDS name, or "
      "'folder:PATH' with a path inside the repository (or, without a source, "
      'an absolute one)',
    ),
    (
      '[data]\ndataset = "folder:x"\npublic = "folder:../x"',
      ", line 3, data.public: got 'folder:../x', expected",
    ),
    ('[data]\ntransform = "crop"', "got 'crop', expected one of 'challenge'"),
    (
      '[data]\ndataset = "folder:x"\nsource = "ftp://a.b/c"',
      ", line 3, data.source: got 'ftp://a.b/c', expected 'kaggle:OWNER/NAME'",
    ),
    ('[data]\nsource = "kaggle:name"', "got 'kaggle:name', expected 'kaggle:"),
    ('[data]\nsource = "https://"', "got 'https://', expected 'kaggle:OWNER"),
    (
      '[data]\nsource = "kaggle:competitions/x"',
      "data.source: got 'kaggle:competitions/x', but the dataset 'synthetic100' "
      'is no',
    ),
    (
      '[data]\ndataset = "folder:x"\nsource = "https://a.b/c"\nsha256 = "12"',
      ", line 4, data.sha256: got '12', expected the 64 hex digits",
    ),
    (
      '[data]\ndataset = "folder:x"\nsource = "http://a.b/c"',
      ", line 1, data.sha256: got '', expected the 64 hex digits",
    ),
    (
      f'[data]\nsha256 = "{"12" * 32}"',
      'expected "": there is no source that it could be of',
    ),
  ],
)
def test_a_mistake_is_named_by_line_and_key(text, message, tmp_path):
  (tmp_path / 'out').symlink_to('/etc')
  assert message in refusal(write(tmp_path, text))


def test_kaggle_takes_versions_and_checksums(tmp_path):
  text = (
    '[data]\ndataset = "folder:x"\npublic = "folder:/x"\n'
    f'source = "kaggle:a/b.c/3"\nsha256 = "{"aB" * 32}"'
  )
  data = rules.read(write(tmp_path, text)).data
  assert (data.source, data.sha256) == ('kaggle:a/b.c/3', 'ab' * 32)


def test_files_that_are_none(tmp_path):
  path = tmp_path / 'challenge.toml'
  assert refusal(path) == ': cannot be read (No such file or directory)'
  path.write_bytes(b'\n# \xff\n')
  assert refusal(path) == ', line 2: not UTF-8 (invalid start byte)'
  path.unlink()
  path.mkdir()
  assert refusal(path) == ': cannot be read (Is a directory)'


def test_images_may_lie_elsewhere_if_nobody_has_to_fetch_them(tmp_path):
  read = rules.read(write(tmp_path, '[data]\ndataset = "folder:/data/x"\n'))
  assert read.data.dataset == 'folder:/data/x'


def test_hex_digits_may_be_capital(tmp_path):
  text = rules.text(CHANGED).replace('ab' * 32, 'AB' * 32)
  assert rules.read(write(tmp_path, text)) == CHANGED


@pytest.mark.parametrize(
  ('moment', 'reason'),
  [
    ('2026-04-30T21:59:59+00:00', 'opens 2026-05-01T00:00:00+02:00'),
    ('2026-04-30T22:00:00+00:00', ''),
    ('2026-05-01T07:00:00+09:00', ''),
    ('2026-05-01T06:59:59+09:00', 'opens 2026-05-01T00:00:00+02:00'),
    ('2026-05-31T21:59:59+00:00', ''),
    ('2026-05-31T14:59:59-07:00', ''),
    ('2026-05-31T15:00:00-07:00', 'closed 2026-05-31T23:59:59+02:00'),
    ('2026-06-01T00:00:01+00:00', 'closed 2026-05-31T23:59:59+02:00'),
  ],
)
def test_both_ends_belong_to_the_window(moment, reason):
  found = rules.in_window(
    CHANGED.window, datetime.datetime.fromisoformat(moment)
  )
  expected = f'handed in {moment}, the window {reason}' if reason else ''
  assert found == expected


def test_a_window_without_ends():
  moment = datetime.datetime(2026, 5, 1, tzinfo=UTC)
  before, after = (moment + datetime.timedelta(days=days) for days in (-1, 1))
  assert rules.in_window(challenges.Window(), moment) == ''
  assert rules.in_window(challenges.Window(opens=before), moment) == ''
  assert rules.in_window(challenges.Window(closes=after), moment) == ''
  assert 'opens' in rules.in_window(challenges.Window(opens=after), moment)
  assert 'closed' in rules.in_window(challenges.Window(closes=before), moment)


def test_neither_tensorflow_nor_numpy_is_imported():
  program = (
    'import sys\n'
    'from tfcompress.competition import requirements, rules, submission\n'
    "print({'numpy', 'tensorflow'} & set(sys.modules))"
  )
  ran = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=True
  )
  assert ran.stdout == 'set()\n'
