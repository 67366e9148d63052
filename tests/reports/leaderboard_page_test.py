import dataclasses
import io
import re

import numpy as np
import pytest
from matplotlib import image

from tests import needs
from tests.reports import browser, html_test, sample_entries
from tfcompress.competition import board
from tfcompress.core import challenges
from tfcompress.reports import leaderboard_page

CHALLENGE = sample_entries.CHALLENGE
SEVEN = sample_entries.seven()
MANY = sample_entries.many()
STANDINGS = sample_entries.standings(SEVEN)
ALICE = SEVEN[3]
KEYS = '[...document.querySelectorAll(".board tbody tr")].map(r => r.cells[{}].dataset.key)'  # fmt: skip


def rendered(entries):
  return leaderboard_page.page(
    CHALLENGE,
    sample_entries.standings(entries),
    entries,
    board.best_so_far(entries),
  )


@pytest.fixture(scope='module')
def texts():
  """The pages, by name."""
  return {
    'seven': rendered(SEVEN),
    'many': rendered(MANY),
    'one': rendered(SEVEN[:1]),
    'failed': rendered([one for one in SEVEN if not one.record]),
    'none': rendered(()),
    'alice': leaderboard_page.submission(
      CHALLENGE, ALICE, sample_entries.whole(ALICE)
    ),
    'eve': leaderboard_page.submission(CHALLENGE, SEVEN[-1], None),
  }


NAMES = ('seven', 'many', 'one', 'failed', 'none', 'alice', 'eve')


@pytest.mark.parametrize('name', NAMES)
def test_nothing_is_fetched_and_every_part_named_once(name, texts):
  page = html_test.Page(texts[name])
  assert len(set(page.ids)) == len(page.ids)
  for _, attribute, value in page.attributes:
    if attribute in ('src', 'xlink:href'):
      assert value.startswith(('#', 'data:')), value
    if attribute == 'href':
      local = r'#[\w-]+|data:,|(\.\./)?leaderboard(/[\w-]+)?\.html'
      local += r'|\.\./records/[\w-]+\.json'
      assert re.fullmatch(local, value), value
  assert 'url(' not in re.sub(r'url\(#[\w-]+\)', '', texts[name])


def test_the_table_has_the_figures_of_the_records(texts):
  table = html_test.rows(html_test.Page(texts['seven']).tables[0])
  assert table[0] == [
    'rank', 'participant', 'format', 'size, MiB', 'latency, ms', 'top-1, %',
    'score', 'submitted',
  ]  # fmt: skip
  for row, standing in zip(table[1:], STANDINGS, strict=True):
    record = standing.entry.record
    score, ratio = record.score, record.ratio
    low, high = score.final_ci95
    assert row[0].split()[0] == str(standing.rank)
    assert row[1] == f'{standing.entry.username} {standing.entry.teamname}'
    assert row[2] == standing.entry.model_format
    assert row[3] == f'{record.size.mib:.3f} {44.7 / record.size.mib:.2f} x'
    fastest, slowest = ratio.latency_ci95
    assert row[4] == (
      f'{record.latency_ms.mean:.3f} {ratio.latency:.2f} x, '
      f'{fastest:.2f} to {slowest:.2f}'
    )
    bounds = record.accuracy.top1_ci95_percent
    assert row[5] == (
      f'{record.accuracy.top1_percent:.2f} {bounds[0]:.2f} to {bounds[1]:.2f}'
    )
    assert row[6] == f'{score.final:.3f} {low:.3f} to {high:.3f}'
  assert [row[0] for row in table[1:]] == ['1  ≈', '2', '3']


def test_what_sorts_are_the_figures_in_full(texts):
  found = re.findall(r'data-key="([\d.e-]+)"', texts['seven'])
  numbers = set(map(float, filter(lambda key: key.count('-') < 2, found)))
  for standing in STANDINGS:
    record = standing.entry.record
    assert {
      float(standing.rank), record.size.mib, record.latency_ms.mean,
      record.accuracy.top1_percent, record.score.final,
    } <= numbers  # fmt: skip


def test_a_bar_is_the_sum_of_the_three_scores(texts):
  first = re.search(r'class="stack" role="img" aria-label="([^"]*)"(.*?)</td>',
                    texts['seven'], re.DOTALL)  # fmt: skip
  score = ALICE.record.score
  counts = (0.3 * score.size, 0.3 * score.latency, 0.4 * score.accuracy)
  assert first.group(
    1
  ) == 'size {:.3f}, latency {:.3f}, accuracy {:.3f}'.format(*counts)
  widths = list(map(float, re.findall(r'width: ([\d.]+)%', first.group(2))))
  assert widths == pytest.approx(
    [100 * one / score.final for one in counts], abs=0.006
  )
  assert sum(widths) == pytest.approx(100, abs=0.02)


def test_every_result_leads_to_its_page(texts):
  page = html_test.Page(texts['seven'])
  links = {value for _, name, value in page.attributes if name == 'href'}
  assert {f'leaderboard/{entry.id}.html' for entry in SEVEN} <= links
  words = ' '.join(page.words)
  assert 'handed in after the window closed' in words
  assert 'load_model raised OSError' in words


def test_pictures_name_the_best_and_lead_to_them(texts):
  picture = re.search(r'<svg.*?</svg>', texts['many'], re.DOTALL).group()
  best = sample_entries.standings(MANY)[:12]
  titles = set(re.findall(r'<title>(participant-\d\d)</title>', picture))
  assert titles == {entry.username for entry in MANY}
  drawn = set(re.findall(r'<text[^>]*>(participant-\d\d|baseline)<', picture))
  assert drawn == {one.entry.username for one in best} | {'baseline'}
  assert f'href="leaderboard/{MANY[0].id}.html"' in picture


def test_the_history_names_the_last_steps_of_the_best(texts):
  pictures = re.findall(r'<svg.*?</svg>', texts['many'], re.DOTALL)
  best, last = 0.0, []
  for entry in sorted(MANY, key=lambda one: one.submitted):
    if entry.record.score.final > best:
      best = entry.record.score.final
      last.append(entry.username)
  assert len(last) > 8
  drawn = re.findall(r'<text[^>]*>(participant-\d\d)<', pictures[1])
  assert sorted(drawn) == sorted(last[-8:])
  assert '<svg' not in texts['one'] and '<svg' not in texts['failed']


def test_a_submissions_page_has_its_scores_and_how_they_sum(texts):
  page = html_test.Page(texts['alice'])
  table = html_test.rows(page.tables[0])
  score, ratio = ALICE.record.score, ALICE.record.ratio
  low, high = ratio.latency_ci95
  mean = sample_entries.whole(ALICE).latency_ms.mean
  assert table[1] == [
    'size', '2.770 MiB', '44.700 MiB', '16.137', '0.3', '4.841'
  ]  # fmt: skip
  assert table[2] == [
    'latency', f'{mean:.3f} ms', '6.200 ms',
    f'{ratio.latency:.3f} {low:.3f} to {high:.3f}', '0.3',
    f'{0.3 * score.latency:.3f}',
  ]  # fmt: skip
  assert table[3][4:] == ['0.4', f'{0.4 * score.accuracy:.3f}']
  assert table[4] == ['score', f'{score.final:.3f}']
  words = ' '.join(page.words)
  for hashed in (ALICE.sha256, ALICE.submission_sha256, ALICE.record_sha256):
    assert hashed in words
  assert 'network, files, memory' in words
  assert 'tensorflow 2.21.0, ai-edge-litert 2.3.0' in words
  assert 'in pull request 12' in words


def test_weights_are_those_of_the_challenge():
  weights = challenges.Weights(size=0.125, latency=0.25, accuracy=0.625)
  changed = dataclasses.replace(CHALLENGE, weights=weights)
  text = leaderboard_page.submission(changed, ALICE, ALICE.record)
  assert '0.3 x size' not in text
  assert '0.125 x size + 0.25 x latency + 0.625 x accuracy' in text
  row = html_test.rows(html_test.Page(text).tables[0])[1]
  assert row[4:] == ['0.125', f'{44.7 / 2.77 * 0.125:.3f}']


def test_a_void_page_says_when_submissions_count():
  text = leaderboard_page.submission(CHALLENGE, SEVEN[5], None)
  words = ' '.join(html_test.Page(text).words)
  assert 'handed in after the window closed' in words
  assert (
    'from 2026-05-01 00:00 UTC+02:00 (Europe/Berlin) until '
    '2026-07-31 23:59:59 UTC+02:00 (Europe/Berlin)'
  ) in words


def test_what_strangers_name_is_text(texts):
  evil = dataclasses.replace(
    ALICE, username=sample_entries.HOSTILE, teamname='</script><b>x</b>'
  )
  pages = [
    texts['many'],
    texts['eve'],
    leaderboard_page.submission(CHALLENGE, evil, evil.record),
    rendered([evil, SEVEN[2]]),
  ]
  for text in pages:
    html_test.Page(text)
    scripts = re.findall(r'<script[^>]*>', text)
    assert scripts in ([], ['<script>'])
    assert '<b>' not in text and '\x1b' not in text
    assert 'alert(1)&lt;/script&gt;' in text


@pytest.fixture(scope='module')
def folder(texts, tmp_path_factory):
  folder = tmp_path_factory.mktemp('pages')
  for name, text in texts.items():
    (folder / f'{name}.html').write_text(text)
  return folder


@pytest.fixture(scope='module')
def chromium(folder):
  needs.require(needs.chromium)
  with browser.opened(folder) as found:
    yield found


@pytest.mark.parametrize('name', NAMES)
def test_a_phone_shows_it_without_scrolling_sideways(name, folder, chromium):
  chromium.open(folder / f'{name}.html', width=390, height=844)
  wide = chromium.run(
    '[document.documentElement.scrollWidth, '
    '...[...document.querySelectorAll("body *")]'
    '.filter(e => e.closest("svg") === null && !e.closest(".sum thead"))'
    '.map(e => e.getBoundingClientRect().right)]'
  )
  assert max(wide) <= 390
  asked = set(chromium.requests) - {'data:,'}
  assert asked == {(folder / f'{name}.html').as_uri()}
  assert chromium.complaints == []


def clicked(column):
  return (
    f'document.querySelectorAll(".board thead button")[{column}].click(), '
    + KEYS.format(column)
  )


@pytest.mark.parametrize(
  'column, descends_first',
  [(3, False), (4, False), (5, True), (6, True)],
)
def test_a_click_on_a_header_sorts(column, descends_first, folder, chromium):
  chromium.open(folder / 'many.html')
  chromium.run(clicked(0))
  once = list(map(float, chromium.run(clicked(column))))
  twice = list(map(float, chromium.run(clicked(column))))
  assert once == sorted(once, reverse=descends_first)
  assert twice == once[::-1]
  assert len(once) == 60


def test_ranks_are_numbers_and_names_are_words(folder, chromium):
  chromium.open(folder / 'many.html')
  assert chromium.run(clicked(0)) == [str(i) for i in range(60, 0, -1)]
  users = chromium.run(clicked(1))
  assert users == [f'participant-{i:02d}' for i in range(60)]


def test_a_key_on_a_header_sorts_and_is_told(folder, chromium):
  chromium.open(folder / 'seven.html')
  headers = '[...document.querySelectorAll(".board th[scope=col]")]'
  state = f'{headers}.map(h => h.getAttribute("aria-sort"))'
  assert chromium.run(state) == ['ascending', *[None] * 7]
  for _ in range(3 + 4):  # Links to the parts of the page, then headers.
    chromium.press('Tab')
  assert chromium.run('document.activeElement.textContent') == 'size, MiB'
  chromium.press('Enter')
  assert chromium.run(state)[3] == 'ascending'
  sizes = list(map(float, chromium.run(KEYS.format(3))))
  assert sizes == [2.76, 2.77, 42.8]
  chromium.press('Enter')
  assert chromium.run(state) == [*[None] * 3, 'descending', *[None] * 4]
  assert list(map(float, chromium.run(KEYS.format(3)))) == sizes[::-1]
  assert chromium.complaints == []


def test_what_is_missing_comes_last_whatever_the_order(folder, chromium):
  bare = dataclasses.replace(SEVEN[2].record, latency_ms=None)
  ends = dataclasses.replace(SEVEN[2], record=bare, username='zoe')
  (folder / 'bare.html').write_text(rendered([*SEVEN, ends]))
  chromium.open(folder / 'bare.html')
  for _ in range(2):
    keys = chromium.run(clicked(4))
    assert keys[-1] == '' and '' not in keys[:-1]


@pytest.mark.parametrize(
  'width, scheme', [(1280, 'light'), (1280, 'dark'), (390, 'light')]
)
def test_a_browser_draws_the_page(width, scheme, folder, chromium):
  chromium.open(folder / 'seven.html', width, 1500, scheme)
  pixels = image.imread(io.BytesIO(chromium.screenshot()))[..., :3]
  assert pixels.shape[:2] == (1500, width)
  assert (pixels.mean() < 0.3) == (scheme == 'dark')
  packed = (255 * pixels).astype(int) @ (2**16, 2**8, 1)
  assert len(np.unique(packed)) > 50


def test_no_other_script_may_run(texts, folder, chromium):
  other = '<script>document.title = "evil"</script>'
  text = texts['seven'].replace('</header>', f'{other}</header>')
  (folder / 'evil.html').write_text(text)
  chromium.open(folder / 'evil.html')
  assert 'leaderboard' in chromium.run('document.title')
  assert chromium.run('document.querySelectorAll(".board button").length') == 8
