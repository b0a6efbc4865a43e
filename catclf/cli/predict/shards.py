"""Outputs of ``catclf predict --output-dir``: one for each argument, its name a function of that.

A complete output is never made again, so that a run that was stopped at any moment, or one part of
many, goes on where it was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from catclf.cli.predict.outputs import FAILED, failed_mark
from catclf.cli.stdout import warn
from catclf.errors import InputError, OutputError, SettingsError
from catclf.storage.location import expanded, is_pattern, is_remote, locate
from catclf.text import counted, printable, reason

_PART = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,8})")


def part_of(text: str) -> tuple[int, int]:
    """K and N of "K/N". Raises SettingsError unless 1 <= K <= N."""
    match = _PART.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        raise SettingsError(f"--part {printable(text)}: give K/N with 1 <= K <= N, such as 3/10")
    return int(match[1]), int(match[2])


def pending(
    arguments: Sequence[str], folder: Path, ending: str, part: str | None, quiet: bool = True
) -> list[tuple[list[str], Path | None]]:
    """Each argument of a part whose output is not complete, with the name of its output.

    A line on stderr counts the others, unless ``quiet``. Raises SettingsError for arguments that
    would have the same output, InputError for patterns without files, and OutputError where the
    folder cannot be made.
    """
    for argument in arguments:
        if is_pattern(argument):
            raise InputError(f"{printable(argument)}: there is no file of such a name")
    k, n = part_of(part) if part is not None else (1, 1)
    outputs: dict[str, str] = {}
    for argument in arguments:
        name = f"{_name(argument)}{ending}"
        if name in outputs:
            raise SettingsError(
                f"{printable(outputs[name])} and {printable(argument)} would both be written to "
                f"{printable(folder / name)}: give them in two runs, to two folders"
            )
        outputs[name] = argument
    taken = list(outputs.items())[k - 1 :: n]
    there = _present(folder, [name for name, _ in taken])
    if there and not quiet:
        warn(
            f"{printable(folder)}: {counted(len(there), 'output')} of {len(taken)} are there and "
            "stay: remove those that are to be made again"
        )
    return [([each], folder / name) for name, each in taken if name not in there]


def _present(folder: Path, names: list[str]) -> set[str]:
    """Those of the names that are complete in a folder, which is made if it is on disk."""
    try:
        if is_remote(folder):
            there = set(locate(folder).names())
            return {name for name in names if name in there and name + FAILED not in there}
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{printable(folder)}: is no folder and cannot be made one: {error.strerror}"
        ) from error
    return {
        name
        for name in names
        if (folder / name).is_file() and not failed_mark(folder / name).exists()
    }


def _name(argument: str) -> str:
    name = locate(argument.removeprefix("@")).name
    if argument in ("", "-", "@") or not name:
        raise SettingsError(
            f"{printable(argument)!r} has no name for an output in --output-dir: give files, "
            "folders or archives"
        )
    return name


def named(arguments: Sequence[str]) -> list[str]:
    """The arguments with patterns as the names that they stand for. Raises InputError."""
    try:
        return expanded(arguments)
    except OSError as error:
        raise InputError(
            f"{printable(error.filename)}: cannot be listed: {reason(error)}"
        ) from error
