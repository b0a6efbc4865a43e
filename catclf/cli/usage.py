"""How commands are called: each mistake of usage is one line, and options may stand in a file.

A file of options, ``--config``, is TOML with a line ``name = value`` for each option, its name
without dashes. Options on the command line go before those of the file.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import cleandoc
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from catclf.cli.options import DEFAULT, expanded
from catclf.cli.shell import ExitCode, abandon, as_options, delivering, paged, put
from catclf.errors import InputError, SettingsError
from catclf.storage.location import locate
from catclf.text import printable, reason, url_of

# Names of arguments that stand for an option, in commands that do not have it.
DATA_ARGUMENTS = ("data", "image", "paths", "source", "sources")
ARGUMENTS = {"--data": DATA_ARGUMENTS, "--model": ("model",), "-m": ("model",)}
FILE = "catclf.file"  # under this name a context keeps what a file of options says
FILE_LIMIT = 1 << 20  # bytes
NOT_IN_FILE = ("config", "print_config", "help")
PATHS = ("data", "test", "cache", "output", "log", "plot")
# What other programs call it.
OTHER_OPTIONS = {
    "--iterations": "epochs max-iter num-iterations steps",
    "--learning-rate": "alpha eta rate step-size",
    "--l2": "lambda penalty regularization weight-decay",
    "--data": "dataset input source train training-data",
    "--validation": "val holdout validation-split",
    "--workers": "jobs n-jobs threads num-workers",
    "--output": "out save save-to",
    "--threshold": "cutoff decision-threshold",
    "--size": "image-size resize",
    "--class-weight": "balanced balance",
    "--skip-bad": "ignore-errors skip-errors",
    "--only": "sort move unsure uncertain",
}
OTHER_COMMANDS = {
    "train": "fit learn run",
    "predict": "classify score infer label",
    "evaluate": "test eval validate accuracy",
    "compare": "cv tune cross-validate search",
    "inspect": "show model",
    "data": "pack info verify split",
    "explain": "why",
    "export": "convert onnx",
    "help": "docs man manual",
}


class Given(NamedTuple):
    """An option as it was typed: its parameter, its name and its value, None for a flag."""

    parameter: Any
    name: str
    value: str | None

    @property
    def state(self) -> tuple[str | None, bool]:
        """What it says: its value, and whether a flag is turned off."""
        return self.value, self.name in self.parameter.secondary_opts

    def __str__(self) -> str:
        return printable(self.name if self.value is None else f"{self.name} {self.value}")


class File(NamedTuple):
    """A file of options: its path, all its values, and those that are used, as arguments."""

    path: str
    values: dict[str, Any]
    arguments: list[str]


class Group(TyperGroup):
    """Commands with a name in common."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with printing_help():
            return super().make_context(*args, **extra)


class Command(TyperCommand):
    """Refuses mistakes of usage before anything is read, and takes options from a file."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with printing_help():
            return super().make_context(*args, **extra)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # A command line to be completed may hold anything.
        line = None if ctx.resilient_parsing else _scan(self.params, args)
        if line is None:
            return super().parse_args(ctx, args)
        given, rest = _placed(self.params, *line)
        _require_once(given)
        typed = [part for each in given for part in (each.name, each.value) if part is not None]
        more: list[str] = []
        for path in (each.value for each in given if each.name == "--config"):
            names = {each.parameter.name for each in given}
            ctx.meta[FILE] = file = _file_of_options(str(path), self.params, names)
            more = file.arguments
        with _naming_the_file(ctx):
            return super().parse_args(ctx, [*more, *typed, "--", *rest])

    def invoke(self, ctx: Any) -> Any:
        with _naming_the_file(ctx):
            return super().invoke(ctx)


def _scan(parameters: list[Any], args: Sequence[str]) -> tuple[list[Given], list[str]] | None:
    """Options and other arguments of a command line; None where it asks for help.

    Raises SettingsError for an option that is not there or has no value.
    """
    options = {name: each for each in parameters for name in (*each.opts, *each.secondary_opts)}
    for name, arguments in ARGUMENTS.items():
        for each in parameters:
            if each.name in arguments:
                options.setdefault(name, each)
    given, rest, left = list[Given](), list[str](), deque(args)
    while left:
        arg = left.popleft()
        if arg == "--":
            rest += left
            break
        if not arg.startswith("-") or arg == "-":
            rest.append(arg)
            continue
        name, equals, value = arg.partition("=")
        if not arg.startswith("--") and name not in options:
            name, value, equals = arg[:2], arg[2:], arg[2:]
        if name in ("--help", "-h"):
            return None
        if name not in options:
            raise SettingsError(_unknown(name if arg.startswith("--") else arg, parameters))
        parameter = options[name]
        if getattr(parameter, "is_flag", False):
            if equals and arg.startswith("--"):
                raise SettingsError(f"{name}: takes no value")
            left.extendleft([f"-{value}"] if equals else [])  # the other letters of -qm
            given.append(Given(parameter, name, None))
        elif equals or left:
            given.append(Given(parameter, name, value if equals else left.popleft()))
        else:
            raise SettingsError(f"{name}: needs a value")
    return given, rest


def _placed(
    parameters: list[Any], given: list[Given], rest: list[str]
) -> tuple[list[Given], list[str]]:
    """Options and arguments with data and models where the command takes them.

    Data may be an argument or the value of --data, and a model an argument or that of --model, in
    every command. Raises SettingsError for an empty value: it comes from a variable that is not
    set, and would be this folder.
    """
    for each in given:
        if each.value == "":
            raise SettingsError(f"{each.name}: is empty: leave it out, or give a value")
    rest = [*rest, *(str(each.value) for each in given if each.name not in _names(each))]
    given = [each for each in given if each.name in _names(each)]
    if "" in rest:
        raise SettingsError("an argument is empty: leave it out, or give a value")
    options = {name: each for each in parameters for name in each.opts}
    taken = {each.parameter.name for each in given}
    model, data = options.get("--model"), options.get("--data")
    if model is not None and (model.multiple or model.name not in taken):
        from catclf.storage.npz import holds_model

        models = [name for name in rest if holds_model(Path(name))]
        needs = any(each.param_type_name == "argument" and each.required for each in parameters)
        if models and needs and models == rest and model.name in taken:
            raise SettingsError(f"{printable(rest[0])}: is a model: was it exchanged with --model?")
        rest = [name for name in rest if name not in models]
        given += [Given(model, "--model", name) for name in models]
    if data is not None:
        given += [Given(data, "--data", name) for name in rest]
        rest = []
    return given, rest


def _names(given: Given) -> list[str]:
    """The names of an option's parameter; an argument that stands for it has another one."""
    return [*given.parameter.opts, *given.parameter.secondary_opts]


def _require_once(given: list[Given]) -> None:
    """Raise SettingsError for an option that is given twice and says different things."""
    first: dict[str, Given] = {}
    for each in given:
        before = first.setdefault(each.parameter.name, each)
        takes_one = each.parameter.nargs == 1 and not each.parameter.multiple
        if takes_one and before.state != each.state:
            raise SettingsError(f"{before} and {each}: give one of them")


def _unknown(option: str, parameters: Sequence[Any]) -> str:
    """The message for an option that the command does not have."""
    known = [name for each in parameters for name in each.opts if name.startswith("--")]
    other = meant(option, known, OTHER_OPTIONS)
    hint = f"did you mean {other}?" if other else "see --help"
    return f"there is no option {printable(option)}: {hint}"


def meant(word: str, known: Sequence[str], others: Mapping[str, str] | None = None) -> str | None:
    """The word that is meant: what ``others`` call it, or one that is much like it or begins so."""
    from difflib import get_close_matches

    plain = {name.strip("-"): name for name in known}
    typed = word.strip("-").replace("_", "-")
    for name, words in (others or {}).items():
        if typed in words.split() and name in known:
            return name
    close = get_close_matches(typed, plain, n=1, cutoff=0.75)
    close += [name for name in plain if len(typed) > 1 and name.startswith(typed)]
    return plain[close[0]] if close else None


def require_command(name: str, commands: Sequence[str]) -> None:
    """Raise SettingsError for a name that is no command."""
    if name not in commands and not name.startswith("-"):
        other = meant(name, commands, OTHER_COMMANDS)
        hint = f"did you mean {other}?" if other else "'catclf --help' lists them"
        raise SettingsError(f"there is no command {printable(name)}: {hint}")


# A file of options


@contextmanager
def _naming_the_file(ctx: Any) -> Iterator[None]:
    """A block whose errors name the file of options where one of its options is at fault."""
    try:
        yield
    except Exception as error:
        file: File | None = ctx.meta.get(FILE)
        of_usage = getattr(error, "format_message", None)  # classes differ between Typers
        line = as_options(of_usage().rstrip(".") if of_usage else str(error))
        names = [each.partition("=")[0] for each in file.arguments] if file else []
        if not (of_usage or isinstance(error, SettingsError)) or not any(n in line for n in names):
            raise
        raise SettingsError(f"{printable(file.path)}: {line}") from error  # type: ignore[union-attr]


def _file_of_options(path: str, parameters: list[Any], typed: set[str]) -> File:
    """A file's options as arguments, but for those that were ``typed``.

    Raises InputError and SettingsError.
    """
    values, arguments = read_config(Path(path)), list[str]()
    options = _options_of_files(parameters)
    for name, value in values.items():
        option = next((each for each in options if f"--{name}" in each.opts), None)
        if option is None:
            raise SettingsError(f"{printable(path)}: {_unknown(f'--{name}', options)}")
        wanted = "true or false" if option.is_flag else "text or a number"
        sound = isinstance(value, str | int | float) and value != ""
        if not sound or isinstance(value, bool) != option.is_flag:
            raise SettingsError(f"{printable(path)}: {name}: {wanted} is needed")
        if option.name in typed:
            continue
        if not option.is_flag:
            arguments.append(f"{option.opts[0]}={value}")
        elif value or option.secondary_opts:
            arguments.append(option.opts[0] if value else option.secondary_opts[0])
    return File(path, values, arguments)


def read_config(path: Path) -> dict[str, Any]:
    """The names and values of a TOML file. Raises InputError."""
    import tomllib

    try:
        return tomllib.loads(locate(path).read(FILE_LIMIT).decode("utf-8"))
    except OSError as error:
        raise InputError(f"{printable(path)}: cannot be read: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{printable(path)}: is not a TOML file: {printable(why)}") from error


def recorded(ctx: typer.Context) -> dict[str, Any]:
    """What a model remembers of a file: its options but for paths; nothing without a file."""
    values = ctx.meta[FILE].values if FILE in ctx.meta else {}
    return {name: value for name, value in values.items() if name not in PATHS}


def to_toml(ctx: typer.Context) -> str:
    """All options as a file that gives the same run; those left to a default are comments."""
    lines = []
    for option in _options_of_files(ctx.command.params):
        name, value = option.opts[0].removeprefix("--"), ctx.params[option.name]
        default = option.help.partition(DEFAULT)[2].rstrip(".")
        if value is not None:
            lines.append(f"{name} = {toml(value)}")
        else:
            lines.append(f"# {name} =" + (f"  # default: {default}" if default else ""))
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """A value as TOML."""
    import json

    if isinstance(value, int | float):
        return repr(value).lower()  # also of True and False
    if isinstance(value, tuple):
        value = ",".join(value)
    text = url_of(value) if isinstance(value, Path) else str(value)
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _options_of_files(parameters: Sequence[Any]) -> list[Any]:
    """The parameters of a command that a file of options may set."""
    named = (each for each in parameters if each.opts[0].startswith("--"))
    return [each for each in named if each.name not in NOT_IN_FILE]


# Help


@contextmanager
def printing_help() -> Iterator[None]:
    """A block that may print help, and that fails as results do if stdout cannot be written.

    Long help on a terminal goes through a pager.
    """
    try:
        with delivering():
            try:
                with paged():
                    yield
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()  # here, and not when Python ends, which has its own code
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not error.code:
            raise  # completion was shown or installed
        abandon()  # rich makes a broken pipe a SystemExit with a code
        raise typer.Exit(ExitCode.CLOSED_PIPE) from None


def put_help(ctx: typer.Context) -> None:
    """Print the help of a group that is called without a command."""
    with printing_help():
        put(ctx.get_help() + "\n")


def add_command(app: typer.Typer, command: Callable[..., None]) -> None:
    """Add a command under its own name, with its docstring as its help.

    A paragraph becomes a line, which help breaks where the terminal ends.
    """
    parts = cleandoc(command.__doc__ or "").split("\n\n")
    text = "\n\n".join(" ".join(part.split()) for part in parts)
    app.command(command.__name__, cls=Command, help=text)(expanded(command))
