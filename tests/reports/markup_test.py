import pytest

from tfcompress.reports import markup


@pytest.mark.parametrize(
  'text, expected',
  [
    ('a|b', 'a&#124;b'),
    ('<b>&amp;', '&lt;b&gt;&amp;amp;'),
    ('a_b*c', 'a\\_b\\*c'),
    ('\\|', '\\\\&#124;'),
    ('#1 and x/y#2', '\\#\u20601 and x/y\\#\u20602'),
    ('@all a@b.c', '@\u2060all a@\u2060b.c'),
    ('www.x.y GH-1', 'www\u2060.x.y GH\u2060-1'),
    ('at 10:30, model.pt: no', 'at 10:30, model.pt: no'),
    ('a\nb\u202e', 'a\ufffdb\ufffd'),
    ('שלום', '\u2068שלום\u2069'),
  ],
)
def test_text_is_escaped(text, expected):
  assert markup.escaped(text) == expected


def test_code_ends_where_it_should():
  assert markup.code('a`b') == '`` a`b ``'
  assert markup.code('a_b') == '`a_b`'
  assert len(markup.escaped('x' * 10_000)) == 500
