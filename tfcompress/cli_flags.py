"""Flags that commands share, and how every command starts and ends.

Only this module and the command-line modules know absl. A flag belongs to the
command that calls a `define_*` function.
"""

import dataclasses
import enum
import math
import os
import pathlib
import signal
import sys
import types as python_types
import typing
from collections.abc import Callable, Iterator

from absl import flags

from tfcompress.core import native_logs, types

FLAGS = flags.FLAGS
flags.disclaim_key_flags()

CUSTOM_OBJECTS = (
  'module or .py file whose classes and functions the model names'
)


class _Help(flags.BooleanFlag):
  """`--help`: prints the command's usage and flags, and exits with code 0."""

  def __init__(self, usage: str):
    super().__init__('help', False, 'show this help', short_name='h')
    self._usage = usage

  def parse(self, arg):
    if not self._parse(arg):
      return
    print(self._usage.strip())
    print('\nflags:')
    # Without the line that names the module's file.
    flags_of = lambda module: FLAGS.module_help(module).split('\n', 2)[2]
    print(_of_command(flags_of))
    sys.exit(0)


def run(main: Callable[..., None], usage: str, most_arguments: int = 0) -> None:
  """Parses the flags and runs `main`; every command starts here.

  What the user got wrong (ValueError, OSError) ends as one line on stderr and
  exit code 1. Anything else is a bug and keeps its traceback.

  Args:
    main: reads FLAGS; takes the arguments that are no flags.
    usage: the text above the flags that --help shows.
    most_arguments: how many of those there may be.
  """
  native_logs.silence()
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  flags.DEFINE_flag(_Help(usage))
  try:
    main(*_parse(sys.argv, most_arguments))
  except BrokenPipeError:  # Who read our output has seen enough.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
  except (flags.Error, ValueError, OSError) as error:
    _fail(' '.join(str(error).split()))
  except KeyboardInterrupt:
    _fail('interrupted')


def _parse(argv: list[str], most_arguments: int) -> list[str]:
  given_flagfiles()  # Raises where one cannot be read.
  rest = FLAGS(argv)[1:]
  if unexpected := rest[most_arguments:]:
    raise ValueError(
      f'unexpected argument {unexpected[0]!r}: flags are --name=value'
    )
  return rest


def _fail(message: str) -> None:
  # A path may hold bytes that are no text.
  text = message.encode(errors='backslashreplace').decode()
  _end_bars()
  print(f'error: {text}', file=sys.stderr)
  sys.exit(1)


def _end_bars() -> None:
  """Ends the lines of progress bars that are still drawn."""
  # A command that has not come that far has not imported it.
  if bars := sys.modules.get('tqdm'):
    for bar in list(getattr(bars.tqdm, '_instances', ())):
      bar.close()


def as_flagfile() -> str:
  """Returns the flags that were given, as a flagfile that runs again."""
  lines = _of_command(
    lambda module: '\n'.join(
      flag.serialize()
      for flag in FLAGS.flags_by_module_dict()[module]
      if flag.present and flag.name != 'help'
    )
  )
  return lines + '\n'


def _of_command(describe: Callable[[str], str]) -> str:
  """Describes the modules whose flags are the command's own, not absl's."""
  return '\n'.join(
    describe(module)
    for module in sorted(FLAGS.flags_by_module_dict())
    if not module.startswith('absl')
  )


def given_flagfiles() -> list[str]:
  """Returns the flagfiles of the command line, each after those nested in it.

  Raises:
    ValueError: one cannot be read, or is nested in itself.
  """
  return list(_flagfiles_among(sys.argv[1:]))


def _flagfiles_among(
  arguments: list[str], around: tuple[str, ...] = ()
) -> Iterator[str]:
  """Those that arguments name, which stand in the flagfiles `around` them."""
  for i, argument in enumerate(arguments):
    name, _, path = argument.strip().lstrip('-').partition('=')
    if name == 'flagfile':
      path = path or (arguments[i + 1 : i + 2] or [''])[0]
      path = os.path.expanduser(path)
      if path in around:
        raise ValueError(f'flagfile {path} is nested in itself')
      yield from _flagfiles_among(_lines_of(path), (*around, path))
      yield path


def _lines_of(path: str) -> list[str]:
  try:
    return pathlib.Path(path).read_text().splitlines()
  except (OSError, UnicodeDecodeError) as error:
    why = getattr(error, 'strerror', None) or 'not a text file'
    raise ValueError(
      f'cannot read the flagfile {path}: {why}; its path is relative to the '
      'current directory'
    ) from error


def define(config: type, **helps: str | tuple) -> None:
  """Defines a flag for each of a dataclass's fields, with its default.

  Args:
    config: the dataclass.
    **helps: by field, the flag's help, or a tuple of the help, the lower bound
      and, if there is one, the upper bound. Fields without help get no flag.
  """
  hints = typing.get_type_hints(config)
  for field in dataclasses.fields(config):
    if field.name not in helps:
      continue
    text = helps[field.name]
    text, *bounds = (text,) if isinstance(text, str) else text
    kind = _without_none(hints[field.name])
    if typing.get_origin(kind) is tuple:
      default = None if field.default is None else list(field.default)
      flags.DEFINE_list(field.name, default, text)
    elif issubclass(kind, enum.Enum):
      flags.DEFINE_enum_class(field.name, field.default, kind, text)
    else:
      _DEFINE[kind](field.name, field.default, text, *bounds)


def _without_none(hint: type) -> type:
  """The type of `hint`'s values that are not None."""
  if typing.get_origin(hint) in (typing.Union, python_types.UnionType):
    return typing.get_args(hint)[0]
  return hint


class _FiniteParser(flags.FloatParser):
  """Refuses nan, which is within all bounds, and infinity."""

  def parse(self, argument):
    if not math.isfinite(number := super().parse(argument)):
      raise ValueError(f'{argument}: expected a finite number')
    return number


def define_float(
  name: str, default: float | None, text: str, *bounds: float
) -> None:
  """Defines a flag of a finite number, with a lower and an upper bound or not."""
  parser = _FiniteParser(*bounds)
  flags.DEFINE(
    parser, name, default, text, serializer=flags.ArgumentSerializer()
  )


_DEFINE = {
  bool: flags.DEFINE_bool,
  float: define_float,
  int: flags.DEFINE_integer,
  str: flags.DEFINE_string,
}


def read(config: type, **others):
  """Returns a dataclass of the flags that have its fields' names.

  Args:
    config: the dataclass.
    **others: fields that are no flags, or not as they are.
  """
  hints = typing.get_type_hints(config)
  names = (set(hints) - set(others)) & set(FLAGS)
  own = {name: _value(name, hints[name]) for name in names}
  return config(**own, **others)


def _value(name: str, hint: type):
  """A flag's value, a list as a tuple, which does not change."""
  value = FLAGS[name].value
  if not isinstance(value, list):
    return value
  kind = typing.get_args(_without_none(hint))[0]
  try:
    return tuple(kind(item) for item in value)
  except ValueError as error:
    expected = 'whole numbers'
    if issubclass(kind, enum.Enum):
      expected = f'some of {", ".join(member.value for member in kind)}'
    raise ValueError(
      f'--{name}={",".join(value)}: expected {expected}, separated by commas'
    ) from error


def define_data_flags() -> None:
  """Defines which images to use and how evaluation brings them to size."""
  define(
    types.DataSpec,
    dataset=(
      'synthetic100 (generated), a TFDS name such as cifar100, or folder:DIR '
      'with DIR/{train,validation}/CLASS/*.{jpg,jpeg,png}'
    ),
    data_dir="where TFDS keeps prepared datasets; empty is TFDS's own default",
    transform=(
      'evaluation: challenge resizes to the input size and does nothing else, '
      'imagenet resizes the short side to 256/224 of it and crops the center'
    ),
    skip_corrupt_images=(
      'leave out, and count, the images of a folder that do not decode'
    ),
  )


def data_spec(known: types.DataSpec | None = None) -> types.DataSpec:
  """Returns what `define_data_flags` defined.

  Args:
    known: what a model was made for; only the flags that were given change it.
  """
  if known is None:
    return read(types.DataSpec)
  names = given(*(field.name for field in dataclasses.fields(known)))
  values = {name: FLAGS[name].value for name in names}
  return dataclasses.replace(known, **values)


def require(*names: str, example: str = '') -> None:
  """Raises ValueError unless these flags have a value."""
  for name in names:
    if not FLAGS[name].value:
      instead = f'; give it, or --flagfile={example}' if example else ''
      raise ValueError(f'--{name} is missing{instead}')


def given(*names: str) -> list[str]:
  """Returns those of the flags that the user set, flagfiles included."""
  return [name for name in names if FLAGS[name].present]
