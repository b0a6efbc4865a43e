"""Options of ``catclf train`` in a TOML file: ``--config`` reads and ``--print-config`` prints it.

A line is ``name = value``, with the name of an option without its dashes. Options on the command
line go before those of the file.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from catclf.errors import InputError, SettingsError
from catclf.storage.location import locate
from catclf.text import printable, reason, url_of

FILE_LIMIT = 1 << 20  # bytes
_META = "catclf.config"  # under this name the context keeps what a file says
_OWN = ("config", "print-config", "help")


def _read_option(ctx: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a file the defaults of the options that are read after this one."""
    if path is not None:
        values = read_config(path)
        ctx.default_map = dict(_checked(ctx, path, values))
        ctx.meta[_META] = values
    return path


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        help="Read options from this TOML file: learning-rate = 0.01; others given here go first.",
        is_eager=True,
        callback=_read_option,
        show_default="none",
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option("--print-config", help="Print all options as such a file, and do nothing else."),
]


def read_config(path: Path) -> dict[str, Any]:
    """The names and values of a TOML file. Raises InputError."""
    import tomllib

    shown = printable(path)
    try:
        return tomllib.loads(locate(path).read(FILE_LIMIT).decode("utf-8"))
    except OSError as error:
        large = error.errno == errno.EFBIG
        why = (
            "is too large to be a list of options" if large else f"cannot be read: {reason(error)}"
        )
        raise InputError(f"{shown}: {why}") from error
    except (ValueError, RecursionError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{shown}: is not a TOML file: {printable(why)}") from error


def recorded(ctx: typer.Context) -> dict[str, Any]:
    """What a model remembers of the file: its options but for paths, none where there was none."""
    values: dict[str, Any] = ctx.meta.get(_META, {})
    paths = {name for name, option in _options(ctx).items() if _is_path(option)}
    return {name: value for name, value in values.items() if name not in paths}


def to_toml(ctx: typer.Context) -> str:
    """All options as a file that gives the same run; those left to a default are comments."""
    lines = []
    for name, option in _options(ctx).items():
        value = ctx.params[option.name]
        if value is None:
            default = option.show_default
            about = f"  # default: {default}" if isinstance(default, str) else ""
            lines.append(f"# {name} ={about}")
        else:
            lines.append(f"{name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _options(ctx: typer.Context) -> dict[str, Any]:
    """The options of the command by name, but for those of this module."""
    parameters: list[Any] = list(ctx.command.params)
    named = {option.opts[0].removeprefix("--"): option for option in parameters}
    return {name: option for name, option in named.items() if name not in _OWN}


def _is_path(option: Any) -> bool:
    return bool(option.type.name in ("path", "file"))


def _checked(
    ctx: typer.Context, path: Path, values: dict[str, Any]
) -> Iterator[tuple[str, bool | str]]:
    """Parameters of the command with values as they are typed. Raises SettingsError."""
    options, shown = _options(ctx), printable(path)
    for name, value in values.items():
        option = options.get(name)
        if option is None:
            raise SettingsError(f"{shown}: {_unknown(name, value, options)}")
        if option.is_flag != isinstance(value, bool) or not isinstance(value, str | int | float):
            wanted = "true or false" if option.is_flag else "text or a number"
            raise SettingsError(f"{shown}: {name}: {wanted} is needed")
        if value == "":
            raise SettingsError(f"{shown}: {name}: is empty: leave it out, or give a value")
        # As text, so that 2.5 is no whole number here either.
        given = value if isinstance(value, bool) else str(value)
        try:
            option.type_cast_value(ctx, given)
        except typer.TyperException as error:
            why = error.format_message().partition(": ")[2] or error.format_message()
            raise SettingsError(f"{shown}: {name}: {printable(why)}") from error
        yield option.name, given


def _unknown(name: str, value: Any, options: dict[str, Any]) -> str:
    """The message for a name that no option has, with the option that may be meant."""
    from difflib import get_close_matches

    if isinstance(value, dict):
        return f"[{printable(name)}]: options stand in no section: leave this line out"
    others = {each.strip("-"): long for long, one in options.items() for each in one.opts}
    typed = name.replace("_", "-")
    close = [others[typed]] if typed in others else get_close_matches(typed, [*options], n=1)
    meant = f"did you mean {close[0]}?" if close else "names are those of options, without dashes"
    return f"there is no option {printable(name)}: {meant}"


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
