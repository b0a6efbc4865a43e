"""How commands are called: each mistake of usage is one line that says what may be meant."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import cleandoc
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from catclf.cli.completion import usual_model
from catclf.cli.options import expanded
from catclf.cli.shell import ExitCode, abandon_stdout, as_options, delivering, paged, put
from catclf.cli.words import CONFIG, OTHER_COMMANDS, OTHER_OPTIONS, meant
from catclf.errors import SettingsError
from catclf.text import printable

# Names of arguments that stand for an option, in commands that do not have it.
ARGUMENTS = {"--data": ("data", "image", "paths", "source", "sources"), "--model": ("model",)}
INPUTS = "paths"  # the argument that holds any number of inputs, each with a record of its own


class Given(NamedTuple):
    """An option as it was typed: its parameter, its name and its value, None for a flag."""

    parameter: Any
    name: str
    value: str | None


class File(NamedTuple):
    """A file of options: its path, all its values, and the options that it gave."""

    path: str
    values: dict[str, Any]
    options: list[str]


class Group(TyperGroup):
    """Commands with a name in common."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with printing_help():
            return super().make_context(*args, **extra)


class Command(TyperCommand):
    """Refuses mistakes of usage before anything is read."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with printing_help():
            return super().make_context(*args, **extra)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # a command line to be completed may hold anything
            return super().parse_args(ctx, args)
        line = _scan(self.params, args)
        if line is None:
            return super().parse_args(ctx, args)
        _require_sound(self.params, *line)
        given, rest = _placed(self.params, *line)
        config = next((each.value for each in given if each.name == "--config"), None)
        more: list[str] = []
        if config is not None:
            from catclf.cli.config import arguments_of

            named = {each.parameter.name for each in given}
            more, values = arguments_of(config, self.params, named)
            ctx.meta[CONFIG] = File(config, values, [each.partition("=")[0] for each in more])
        with _blaming(ctx, args):
            typed = [part for each in given for part in (each.name, each.value) if part is not None]
            return super().parse_args(ctx, [*more, *typed, "--", *rest])

    def invoke(self, ctx: Any) -> Any:
        with _blaming(ctx):
            return super().invoke(ctx)


@contextmanager
def _blaming(ctx: Any, args: Sequence[str] = ()) -> Iterator[None]:
    """A block whose errors name the file of options where one of its options is at fault.

    Those of usage say how to give a file whose name looks like an option.
    """
    try:
        yield
    except Exception as error:
        file: File | None = ctx.meta.get(CONFIG)
        of_usage = getattr(error, "format_message", None)  # classes differ between Typers
        line = of_usage().rstrip(".") if of_usage else str(error)
        if not of_usage and not isinstance(error, SettingsError):
            raise
        if file is not None and any(name in as_options(line) for name in file.options):
            raise SettingsError(f"{printable(file.path)}: {line}") from error
        if of_usage and (hint := _file_hint(args)):
            raise SettingsError(f"{line}{hint}") from error
        raise


def _require_sound(parameters: list[Any], given: list[Given], rest: list[str]) -> None:
    """Raise SettingsError for an option that has an empty value or is given twice.

    Also for an empty argument, which as a path would be this folder: it comes from a variable that
    is not set.
    """
    for number, each in enumerate(given):
        if each.value == "":
            raise SettingsError(f"{each.name}: is empty: leave it out, or give a value")
        before = [other for other in given[:number] if other.parameter is each.parameter]
        again = before and not _takes_several(each.parameter)
        off = [o.name in each.parameter.secondary_opts for o in (*before[:1], each)]
        if again and (each.value is not None or off[0] != off[-1]):
            shown = [f"{o.name} {o.value or ''}".strip() for o in (*before, each)]
            raise SettingsError(f"{' and '.join(map(printable, shown))}: give one of them")
    recorded = any(rest) and any(each.name == INPUTS for each in parameters)
    if "" in rest and not recorded:
        raise SettingsError("an argument is empty: leave it out, or give a value")


def _takes_several(parameter: Any) -> bool:
    return getattr(parameter, "multiple", False) or parameter.nargs != 1


def _placed(
    parameters: list[Any], given: list[Given], rest: list[str]
) -> tuple[list[Given], list[str]]:
    """Options and arguments with data and model where the command takes them.

    Data may be an argument or the value of --data, and a model an argument or that of --model, in
    every command. Raises SettingsError for data that are named in both ways.
    """
    options = {name: each for each in parameters for name in each.opts}
    argument = _argument_for(parameters, "--data")
    named = [each.value or "" for each in given if each.parameter is argument]
    given = [each for each in given if each.parameter is not argument or argument is None]
    if "--model" in options:
        from catclf.storage.npz import holds_model

        models = [name for name in rest if holds_model(Path(name))]
        taken = any(each.parameter is options["--model"] for each in given)
        if models and (not taken or options["--model"].multiple):
            rest = [name for name in rest if name not in models]
            _require_inputs(parameters, rest, models[0], given)
            given += [Given(options["--model"], "--model", name) for name in models]
    if "--data" in options and rest and argument is None:
        before = [each.value or "" for each in given if each.parameter is options["--data"]]
        _require_one([*before, *rest])
        given, rest = [*given, Given(options["--data"], "--data", rest[0])], []
    elif named and argument is not None and argument.nargs == 1:
        _require_one([*rest, *named])
    model = _argument_for(parameters, "--model")
    if model is not None:
        named += [each.value or "" for each in given if each.parameter is model]
        given = [each for each in given if each.parameter is not model]
        _require_one([*rest, *named])
        named = named if rest or named else [usual_model()]
    return given, [*rest, *named]


def _require_inputs(parameters: list[Any], rest: list[str], model: str, given: list[Given]) -> None:
    """Refuse a model in the place of the only input, where --model names something else."""
    named = [each.value for each in given if each.name in ("--model", "-m")]
    if named and not rest and any(each.name == INPUTS and each.required for each in parameters):
        other = printable(named[0] or "")
        raise SettingsError(
            f"{printable(model)}: is a model and no image: if it was exchanged with {other}, give "
            f"-m {printable(model)} {other}"
        )


def _argument_for(parameters: list[Any], option: str) -> Any:
    """The argument that stands for an option which the command does not have; None without one."""
    if any(option in each.opts for each in parameters):
        return None
    return next((each for each in parameters if each.opts[0] in ARGUMENTS[option]), None)


def _require_one(names: list[str]) -> None:
    if len(names) > 1:
        raise SettingsError(f"{' and '.join(map(printable, names))}: give one of them")


def _scan(parameters: list[Any], args: Sequence[str]) -> tuple[list[Given], list[str]] | None:
    """Options and other arguments of a command line; None where it asks for help.

    Raises SettingsError for an option that is not there or has no value.
    """
    options = {
        name: each
        for each in parameters
        for name in (*each.opts, *each.secondary_opts)
        if name.startswith("-")
    }
    for name, option in (("--data", "--data"), ("--model", "--model"), ("-m", "--model")):
        if name not in options and (argument := _argument_for(parameters, option)):
            options[name] = argument
    given: list[Given] = []
    rest: list[str] = []
    left = deque(args)
    while left:
        arg = left.popleft()
        if arg == "--":
            return given, [*rest, *left]
        if not arg.startswith("-") or arg == "-":
            rest.append(arg)
            continue
        name, equals, value = arg.partition("=")
        if not arg.startswith("--") and name not in options:
            name, value, equals = arg[:2], arg[2:], arg[2:]
        if name in ("--help", "-h"):
            return None
        if name not in options:
            raise SettingsError(_unknown(name if arg.startswith("--") else arg, parameters, args))
        parameter = options[name]
        if getattr(parameter, "is_flag", False):
            if equals and arg.startswith("--"):
                raise SettingsError(f"{name}: takes no value")
            given.append(Given(parameter, name, None))
            if equals:
                left.appendleft(f"-{value}")  # the other letters of -qm
        elif equals or left:
            given.append(Given(parameter, name, value if equals else left.popleft()))
        else:
            raise SettingsError(f"{name}: needs a value")
    return given, rest


def _unknown(option: str, parameters: list[Any], args: Sequence[str]) -> str:
    """The message for an option that the command does not have."""
    known = [name for each in parameters for name in each.opts if name.startswith("--")]
    other = meant(option, known, OTHER_OPTIONS)
    hint = _file_hint(args) or (f": did you mean {other}?" if other else ": see --help")
    return f"there is no option {printable(option)}{hint}"


def _file_hint(args: Sequence[str]) -> str:
    """How to give a file whose name begins with a dash, if there is one of these names."""
    options = args[: args.index("--")] if "--" in args else args
    for name in options:
        if len(name) > 1 and name.startswith("-") and os.path.lexists(name):
            shown = printable(name)
            return f": if the file {shown} is meant, give ./{shown}, or -- before it"
    return ""


def require_command(name: str, commands: Sequence[str]) -> None:
    """Raise SettingsError for a name that is no command."""
    if name not in commands and not name.startswith("-"):
        other = meant(name, commands, OTHER_COMMANDS)
        hint = f"did you mean {other}?" if other else "'catclf --help' lists them"
        raise SettingsError(f"there is no command {printable(name)}: {hint}")


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
        abandon_stdout()  # rich makes a broken pipe a SystemExit with a code
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
