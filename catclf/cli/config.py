"""Options in a TOML file: ``--config`` reads one, and ``--print-config`` prints it.

A line is ``name = value``, with the name of an option without its dashes. Options on the command
line go before those of the file.
"""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import typer

from catclf.cli.options import DEFAULT
from catclf.cli.words import CONFIG, OTHER_OPTIONS, meant
from catclf.errors import InputError, SettingsError
from catclf.storage.location import locate
from catclf.text import printable, reason, url_of

FILE_LIMIT = 1 << 20  # bytes
OWN = ("config", "print_config")
PATHS = ("data", "test", "cache", "output", "log", "plot")


def read_config(path: Path) -> dict[str, Any]:
    """The names and values of a TOML file. Raises InputError."""
    import tomllib

    shown = printable(path)
    try:
        return tomllib.loads(locate(path).read(FILE_LIMIT).decode("utf-8"))
    except OSError as error:
        large = error.errno == errno.EFBIG
        why = f"cannot be read: {reason(error)}"
        raise InputError(
            f"{shown}: {'is too large to be a list of options' if large else why}"
        ) from error
    except (ValueError, RecursionError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{shown}: is not a TOML file: {printable(why)}") from error


def arguments_of(
    path: str, parameters: list[Any], typed: set[str]
) -> tuple[list[str], dict[str, Any]]:
    """A file's options as arguments but for those that were ``typed``, and all its values.

    Raises InputError and SettingsError.
    """
    values, shown = read_config(Path(path)), printable(path)
    options = _options(parameters)
    more = []
    for name, value in values.items():
        option = options.get(name)
        if option is None:
            raise SettingsError(f"{shown}: {_unknown(name, value, options)}")
        if option.is_flag != isinstance(value, bool) or not isinstance(value, str | int | float):
            wanted = "true or false" if option.is_flag else "text or a number"
            raise SettingsError(f"{shown}: {name}: {wanted} is needed")
        if value == "":
            raise SettingsError(f"{shown}: {name}: is empty: leave it out, or give a value")
        if option.name in typed:
            continue
        if not isinstance(value, bool):
            more.append(f"--{name}={value}")
        elif value or option.secondary_opts:
            more.append(f"--{name}" if value else option.secondary_opts[0])
    return more, values


def recorded(ctx: typer.Context) -> dict[str, Any]:
    """What a model remembers of the file: its options but for paths, none where there was none."""
    values = ctx.meta[CONFIG].values if CONFIG in ctx.meta else {}
    return {name: value for name, value in values.items() if name not in PATHS}


def to_toml(ctx: typer.Context) -> str:
    """All options as a file that gives the same run; those left to a default are comments."""
    lines = []
    for name, option in _options(ctx.command.params).items():
        value = ctx.params[option.name]
        if value is None:
            default = option.help.partition(DEFAULT)[2].rstrip(".")
            about = f"  # default: {default}" if default else ""
            lines.append(f"# {name} ={about}")
        else:
            lines.append(f"{name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _options(parameters: list[Any]) -> dict[str, Any]:
    """The options of a command by name, but for those of this module."""
    return {
        each.opts[0].removeprefix("--"): each
        for each in parameters
        if each.opts[0].startswith("--") and each.name not in (*OWN, "help")
    }


def _unknown(name: str, value: Any, options: dict[str, Any]) -> str:
    """The message for a name that no option has, with the option that may be meant."""
    if isinstance(value, dict):
        return f"[{printable(name)}]: options stand in no section: leave this line out"
    others = {each.strip("-"): long for long, one in options.items() for each in one.opts}
    other = meant(name, [f"--{each}" for each in others], OTHER_OPTIONS)
    hint = (
        f"did you mean {others[other.strip('-')]}?"
        if other
        else "names are those of options, without dashes"
    )
    return f"there is no option {printable(name)}: {hint}"


def _toml(value: Any) -> str:
    """A value as TOML. Raises SettingsError for a path that is not UTF-8."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = url_of(value) if isinstance(value, Path) else str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SettingsError(
            f"{printable(text)}: is not UTF-8, and TOML holds nothing else"
        ) from error
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
