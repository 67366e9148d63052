"""What others say, for a message of one line."""

_UNPRINTABLE = '\ufffd'


def printable(text: str) -> str:
  """Returns `text` as one line that commands no terminal.

  A stranger chose the names of files and tensors.
  """
  return ''.join(
    letter if letter.isprintable() else _UNPRINTABLE for letter in text
  )


def first_line(error: Exception) -> str:
  """Returns the first line of an error's text, or its type where it has none."""
  return (str(error).strip() or type(error).__name__).splitlines()[0]
