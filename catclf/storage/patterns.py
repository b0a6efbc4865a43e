"""Patterns of file names: ``shards/{000..099}.tar`` and ``shards/*.tar``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import product

from catclf.errors import SettingsError
from catclf.storage.remote import WEB, is_remote, matching
from catclf.text import printable, reason, url_of

PATTERNS_LIMIT = 1_000_000  # names that a range in braces may stand for
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MAGIC = re.compile(r"[*?\[]")


def is_pattern(name: str) -> bool:
    """Whether a name that no file has stands for others."""
    return bool(_RANGE.search(name) or _has_magic(name)) and not os.path.lexists(name)


def _has_magic(name: str) -> bool:
    """Whether there are signs for others; in an address of the web they are letters."""
    return bool(_MAGIC.search(name)) and not url_of(name).startswith(WEB)


def as_data(name: str) -> str:
    """A name that a pattern has found, which may begin as an option, a list or stdin does."""
    return f"./{name}" if name.startswith(("-", "@")) else name


def expanded(arguments: Sequence[str], *, unmatched: bool = True) -> list[str]:
    """The arguments with patterns as the names that they stand for, in order.

    ``{000..123}`` is every number of that range, with its zeros; ``*``, ``?`` and ``[…]`` are
    matched with files, on disk or in a store. An argument that is a file stays as it is, and so
    does one that matches nothing, unless these are not wanted. Raises SettingsError for a range of
    more than ``PATTERNS_LIMIT`` numbers, and OSError with the name of a pattern whose store cannot
    be listed. What a pattern finds on disk is data: ``./-`` and ``./@x`` are no stdin and no list.
    """
    names: list[str] = []
    for argument in arguments:
        if not is_pattern(argument):
            names.append(argument)
            continue
        for name in _without_ranges(argument):
            names += _matching(name) or ([name] if unmatched or not _has_magic(name) else [])
    return names


def _matching(name: str) -> list[str]:
    if not _has_magic(name):
        return []
    if is_remote(name):
        try:
            return matching(name)
        except OSError as error:
            raise OSError(error.errno, reason(error), name) from error
    from glob import glob

    return sorted(map(as_data, glob(name, recursive=True)))  # noqa: PTH207


def _without_ranges(argument: str) -> list[str]:
    texts = _RANGE.split(argument)
    ranges = list(zip(map(int, texts[1::3]), map(int, texts[2::3]), strict=True))
    total = 1
    for low, high in ranges:
        total *= max(0, high - low + 1)
    if total > PATTERNS_LIMIT:
        raise SettingsError(f"{printable(argument)}: stands for {total} names: give fewer")
    numbers = (
        [f"{number:0{len(width)}}" for number in range(low, high + 1)]
        for (low, high), width in zip(ranges, texts[1::3], strict=True)
    )
    return [
        "".join(text + number for text, number in zip(texts[::3], (*chosen, ""), strict=True))
        for chosen in product(*numbers)
    ]
