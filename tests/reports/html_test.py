import dataclasses
import html.parser
import io
import re
import subprocess

import numpy as np
import pytest
from matplotlib import image

from tests import needs
from tests.reports import sample_records
from tfcompress.reports import files
from tfcompress.reports import html as report

SCRIPT = '/tmp/<script>alert(1)</script>/$x_{/a"b\x1b[31m'
VOID = {'meta', 'link', 'br'}
FOUR = sample_records.four()


class Page(html.parser.HTMLParser):
  """What a page is made of; raises if its tags do not match."""

  def __init__(self, text):
    super().__init__()
    self.open, self.attributes, self.ids = [], [], []
    self.tables, self.words = [], []
    self.feed(text)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.attributes += [(tag, *pair) for pair in attrs]
    self.ids += [value for name, value in attrs if name == 'id']
    if tag == 'table':
      self.tables.append([])
    if tag == 'tr':
      self.tables[-1].append([])
    if tag in ('td', 'th'):
      self.tables[-1][-1].append('')
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.attributes += [(tag, *pair) for pair in attrs]
    self.ids += [value for name, value in attrs if name == 'id']

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.words.append(data)
    if {'td', 'th'} & set(self.open):
      self.tables[-1][-1][-1] += data.strip() + ' '


@pytest.fixture(scope='module')
def text():
  return report.page(FOUR)


@pytest.fixture(scope='module')
def page(text):
  return Page(text)


def rows(table):
  return [[cell.strip() for cell in row] for row in table]


def test_the_ranking_is_the_first_table(page):
  header, first, *_, last = rows(page.tables[0])
  assert header[:6] == ['rank', 'front', 'model', 'format', 'runtime', 'MiB']
  assert first[:6] == [
    '1', '*', 'slim_kd_int8/model.tflite', 'tflite', 'litert_cpu', '2.770'
  ]  # fmt: skip
  assert first[7] == '12.16 11.91 to 12.40'
  assert last[:3] == ['-', '-', 'broken.onnx']


def test_without_a_score_no_page_speaks_of_one_or_of_a_baseline():
  plain = [dataclasses.replace(record, score=None) for record in FOUR]
  for records in (plain, plain[:1]):
    found = Page(report.page(records))
    headers = [title for table in found.tables for title in rows(table)[0]]
    assert not {'score', 'baseline'} & set(headers)
    words = ' '.join(found.words)
    assert 'baseline of the score' not in words
    assert '0.3 x size' not in words


def test_every_figure_of_every_model_is_there(page):
  figures = {row[0]: row[1:] for row in rows(page.tables[1])}
  assert figures['size, MiB'] == ['42.850', '44.700 1.0 x smaller']
  low, high = FOUR[0].latency_ms.mean_ci95
  assert figures['latency, ms, mean'][0] == (
    f'{FOUR[0].latency_ms.mean:.3f} {low:.3f} to {high:.3f}'
  )
  assert figures['p99'] == ['too few runs', '']
  assert figures['in batches of 64'][0] == '318'
  assert 'Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz' in page.words
  assert 'tensorflow 2.21.0, ai-edge-litert 2.3.0' in page.words


def test_the_slowest_operators_and_the_worst_classes_are_named(text, page):
  operators = FOUR[0].profile.operators
  total = sum(one.ms for one in operators)
  shares = [
    f'{one.ms:.3f} ms, {100 * one.ms / total:.1f} %' for one in operators
  ]
  assert [share in page.words for share in shares[:16]] == [True] * 15 + [False]
  confusion = np.array(FOUR[0].accuracy.confusion)
  np.fill_diagonal(confusion, 0)
  actual, found = np.unravel_index(confusion.argmax(), confusion.shape)
  assert rows(page.tables[2])[1] == [
    sample_records.CLASSES[actual],
    sample_records.CLASSES[found],
    str(confusion.max()),
    f'{2 * confusion.max():.1f} %',
  ]
  worst = min(FOUR[0].accuracy.per_class_percent.items(), key=lambda p: p[1])
  bars = text[text.index('<div class="classes">') :]
  assert re.search(r'bar-name">([^<]*)', bars).group(1) == worst[0]


def test_pictures_are_described_and_their_parts_named_once(page):
  labels = [value for tag, name, value in page.attributes
            if tag == 'svg' and name == 'aria-label']  # fmt: skip
  assert len(labels) == 3 + 2 * 3
  assert all(labels)
  assert len(set(page.ids)) == len(page.ids)


def test_nothing_is_fetched(text, page):
  for _, name, value in page.attributes:
    if name in ('href', 'src', 'xlink:href'):
      assert value.startswith(('#', 'data:')), value
  assert '://' not in text
  assert 'url(' not in re.sub(r'url\(#[\w-]+\)', '', text)
  assert '@import' not in text and '<script' not in text


def test_what_strangers_name_is_text(tmp_path):
  evil = dataclasses.replace(
    FOUR[1],
    model=dataclasses.replace(FOUR[1].model, path=SCRIPT),
    failure=f'{SCRIPT}: <b>broke</b>',
  )
  classes = {f'<i>{i}': 50.0 for i in range(2)}
  right = dataclasses.replace(
    FOUR[0].accuracy, per_class_percent=classes, confusion=((1, 1), (2, 0))
  )
  other = dataclasses.replace(FOUR[0], accuracy=right)
  files.write(tmp_path / 'x.html', [other, evil])
  text = (tmp_path / 'x.html').read_text()
  page = Page(text)
  assert '<script' not in text and '<b>' not in text and '<i>' not in text
  assert '\x1b' not in text
  assert SCRIPT.replace('\x1b', '\ufffd') in page.words
  assert '<b>broke</b>' in ''.join(page.words)


def test_a_page_of_what_failed_and_of_one_model():
  assert 'in the middle of a tensor' in ''.join(
    Page(report.page(FOUR[3:])).words
  )
  one = Page(report.page(FOUR[:1]))
  assert rows(one.tables[0])[0] == ['figure', 'value', 'baseline']


@pytest.fixture(scope='module')
def browse(text, tmp_path_factory):
  """Opens the page in a browser without a network."""
  needs.require(needs.chromium)
  folder = tmp_path_factory.mktemp('page')
  (folder / 'x.html').write_text(text)

  def run(*flags):
    done = subprocess.run(
      [
        *(str(needs.CHROMIUM), '--headless', '--no-sandbox', '--disable-gpu'),
        *('--no-first-run', '--disable-background-networking'),
        *('--disable-component-update', '--disable-sync'),
        *(f'--user-data-dir={folder / "profile"}', '--hide-scrollbars'),
        *('--enable-logging=stderr', '--v=0', *flags),
        (folder / 'x.html').as_uri(),
      ],
      capture_output=True,
      text=True,
      timeout=60,
      check=True,
    )
    assert 'CONSOLE' not in done.stderr
    return done.stdout

  return run


def test_a_browser_shows_the_page(browse):
  shown = Page(browse('--dump-dom').replace('<!DOCTYPE html>', ''))
  assert rows(shown.tables[0])[1][2] == 'slim_kd_int8/model.tflite'
  assert len(shown.tables[0]) == 1 + 4


@pytest.mark.parametrize('width', [1280, 390])
def test_a_browser_draws_the_page(width, browse, tmp_path):
  path = tmp_path / 'x.png'
  browse(f'--window-size={width},1800', f'--screenshot={path}')
  pixels = image.imread(io.BytesIO(path.read_bytes()))[..., :3]
  assert pixels.shape[:2] == (1800, width)
  packed = (255 * pixels).astype(int) @ (2**16, 2**8, 1)
  assert len(np.unique(packed)) > 50
