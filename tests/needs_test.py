from tests import needs


def test_what_was_not_tested_is_said_with_what_changes_it():
  lacking = ['chromium', 'bubblewrap', 'bubblewrap', 'torch', 'a GPU']
  assert needs.summary(lacking) == [
    'not tested here: 1 need a GPU, 2 need bubblewrap, 1 need chromium, '
    '1 need torch',
    '  sudo apt-get install bubblewrap chromium',
    '  scripts/test --all    # installs torch and linters, and takes longer',
  ]


def test_nothing_is_said_where_all_was_tested():
  assert needs.summary([]) == []
