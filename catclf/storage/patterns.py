"""Patterns of file names: ``shards/{000..099}.tar`` and ``shards/*.tar``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import product

from catclf.errors import SettingsError
from catclf.text import printable

PATTERNS_LIMIT = 1_000_000  # names that a range in braces may stand for
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MAGIC = re.compile(r"[*?\[]")


def is_pattern(name: str) -> bool:
    """Whether a name that no file has stands for others."""
    return bool(_RANGE.search(name) or _MAGIC.search(name)) and not os.path.lexists(name)


def expanded(arguments: Sequence[str]) -> list[str]:
    """The arguments with patterns as the names that they stand for, in order.

    ``{000..123}`` is every number of that range, with its zeros; ``*``, ``?`` and ``[…]`` are
    matched with files. An argument that is a file, or that matches nothing, stays as it is.
    Raises SettingsError for a range of more than ``PATTERNS_LIMIT`` numbers.
    """
    names: list[str] = []
    for argument in arguments:
        if not is_pattern(argument):
            names.append(argument)
            continue
        for name in _without_ranges(argument):
            names += _matching(name) or [name]
    return names


def _matching(name: str) -> list[str]:
    from glob import glob

    return sorted(glob(name, recursive=True)) if _MAGIC.search(name) else []  # noqa: PTH207


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
