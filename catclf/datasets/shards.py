"""Sources of several files: ``shards/{00000..00099}.tar`` and ``data/train-*.parquet``.

A file belongs to the part that its name begins with, or its folder is named after:
train-00000-of-00004.parquet.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from catclf.datasets.dataset import Part
from catclf.datasets.parts import Kind, part_kind, parts_among
from catclf.errors import DataError
from catclf.images.archive import PACKED_ENDINGS
from catclf.storage.copies import on_disk, renew, state_of
from catclf.storage.patterns import expanded, is_pattern
from catclf.storage.remote import is_remote
from catclf.text import counted, printable, reason, url_of

# The number of a shard: 000123, -00000-of-00004, and the hash that Hugging Face writes after it.
_NUMBER = re.compile(r"(?<!\d)\d++(?:[\s._-]*+of[\s._-]*+\d++)?(?:-[0-9a-f]{8,}+)?$", re.IGNORECASE)


def files_of(path: Path) -> list[Path]:
    """The files that a path stands for: those of a pattern, else itself. Raises DataError."""
    if not is_pattern(str(path)):
        return [path]
    url = url_of(path)
    try:
        names = expanded([url], unmatched=not is_remote(path))
    except OSError as error:
        raise DataError(
            f"{printable(error.filename)}: cannot be listed: {reason(error)}"
        ) from error
    if names in ([], [url]):
        raise DataError(f"{printable(path)}: there is no file of such a name")
    return [Path(name) for name in names]


def part_named(path: Path) -> Kind | None:
    """The part that a shard's name begins with, else that its folder is named after."""
    name = path.name
    for ending in (*PACKED_ENDINGS, path.suffix):
        if ending and name.lower().endswith(ending.lower()):
            name = name[: -len(ending)]
            break
    stem = _NUMBER.sub("", name).rstrip(" ._-")
    return part_kind(stem) if stem else part_kind(path.parent.name)


def parts_named(files: Sequence[Path]) -> set[Part]:
    """The parts of shards that are all named after one; else none."""
    kinds = [part_named(file) for file in files]
    return set() if None in kinds else parts_among(kinds)


def of_part(files: Sequence[Path], part: Part, shown: str, notes: list[str]) -> list[Path]:
    """The shards of a part; all where some are named after none. Raises DataError."""
    kinds = [part_named(file) for file in files]
    held = set(kinds)
    if len(held) == 1:
        return list(files)  # one part of several sources, or of none
    if None in held:
        odd = printable(files[kinds.index(None)].name)
        notes.append(f"{odd} is named after no part: all {counted(len(files), 'file')} are used")
        return list(files)
    wanted: Kind = part if part in held else "validation" if part == "test" else part
    if wanted not in held:
        raise DataError(f"{shown}: has no file of the {part} part")
    chosen = [file for file, kind in zip(files, kinds, strict=True) if kind == wanted]
    notes.append(f"its {wanted} part is {counted(len(chosen), 'file')} of {len(files)}")
    return chosen


def signature(files: Sequence[Path]) -> tuple[tuple[int, ...], ...]:
    """Numbers that change with the content of files. Raises DataError for one that is not there."""
    numbers = []
    for file in files:
        try:
            renew(file)
            place = os.stat(on_disk(file))  # noqa: PTH116
            numbers.append((place.st_dev, place.st_ino, *state_of(file)))
        except FileNotFoundError as error:
            raise DataError(f"{printable(file)}: there is no such file or folder") from error
        except OSError as error:
            raise DataError(f"{printable(file)}: cannot be read: {reason(error)}") from error
    return tuple(numbers)
