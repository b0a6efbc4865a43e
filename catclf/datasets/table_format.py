"""How a table is written: its encoding, its separator, and which column is which."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import TextIOWrapper
from typing import BinaryIO, Protocol, TextIO

from catclf.datasets.names import key
from catclf.errors import DataError
from catclf.text import printable

PATH_COLUMNS = (
    "path", "file", "filename", "image", "file_name", "filepath", "file_path", "image_path",
    "imagepath", "img_path", "image_file", "image_filename", "image_name", "img_name", "fname",
    "img", "images", "files", "paths", "picture", "photo", "image_id", "img_id", "imageid", "id",
    "name",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "class", "labels", "target", "targets", "category", "class_name", "classname",
    "label_name", "class_label", "classes", "y", "species", "type",
)  # fmt: skip
SPLIT_COLUMNS = (
    "split", "subset", "partition", "set", "part", "data_split", "dataset", "data_set", "phase",
)  # fmt: skip
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_START = 65536  # bytes by which encoding and separator are recognised


class Openable(Protocol):
    """The file of a table."""

    @property
    def ending(self) -> str: ...
    def open(self) -> BinaryIO: ...


@dataclass(frozen=True)
class Format:
    """How to open a table; ``skipped`` lines precede its header."""

    encoding: str
    delimiter: str
    skipped: int
    notes: tuple[str, ...]

    def open(self, table: Openable) -> TextIO:
        """The text after the skipped lines; bytes that are no text are kept for file names."""
        errors = "surrogateescape" if self.encoding == "utf-8-sig" else "strict"
        file = TextIOWrapper(table.open(), self.encoding, errors, newline="")
        for _ in range(self.skipped):
            file.readline()
        return file


@dataclass(frozen=True)
class Columns:
    """The numbers of the columns used, out of ``count``; ``header`` tells whether line 1 is one."""

    path: int
    label: int
    split: int | None
    count: int
    header: bool = True
    notes: tuple[str, ...] = ()


def find_format(table: Openable) -> Format:
    """Encoding and separator by a table's first bytes. Raises OSError and UnicodeError."""
    with table.open() as file:
        start = file.read(_START)
    encoding = _encoding(start)
    notes = [] if encoding == "utf-8-sig" else ["is read as UTF-16"]
    if encoding == "utf-8-sig":
        text = start.decode(encoding, "surrogateescape")
    else:
        text = start[: len(start) & ~1].decode(encoding, "replace")
    first, _, _ = text.partition("\n")
    default = "\t" if table.ending == ".tsv" else ","
    if stated := re.fullmatch(r"sep=(.)\r?", first):
        return Format(encoding, stated[1], 1, tuple(notes))
    delimiter = _delimiter(first.rstrip("\r"), default)
    if delimiter != default:
        notes.append(f"is read as separated by {_SEPARATORS[delimiter]}")
    return Format(encoding, delimiter, 0, tuple(notes))


def find_columns(
    first: list[str],
    wanted: tuple[str, str] | None,
    is_file: Callable[[str], bool],
    shown: str,
    paths: tuple[str, ...] = PATH_COLUMNS,
) -> Columns:
    """Which columns hold paths, labels and parts, by the first row. Raises DataError.

    ``paths`` are names of columns of paths, the likeliest first.
    """
    header = [_plain(name) for name in first]
    if wanted is not None:
        path, label = (_wanted(name, first, shown) for name in wanted)
        return Columns(path, label, _first_of(SPLIT_COLUMNS, header), len(first))
    path_column = _first_of(paths, header)
    label_column = _first_of(LABEL_COLUMNS, header)
    if path_column is not None and label_column is not None:
        return Columns(path_column, label_column, _first_of(SPLIT_COLUMNS, header), len(first))
    if len(first) == 2:
        for column in (0, 1):
            if first[column].strip() and is_file(first[column]):
                order = ("path", "label") if column == 0 else ("label", "path")
                note = f"has no header: its columns are taken as {order[0]} and {order[1]}"
                return Columns(column, 1 - column, None, 2, False, (note,))
    kind, known = ("path", PATH_COLUMNS) if path_column is None else ("label", LABEL_COLUMNS)
    held = ", ".join(printable(name) for name in first[:20]) or "nothing"
    raise DataError(
        f"{shown}: line 1: has no column {kind} (or {', '.join(known[1:6])}, …); it has {held}: "
        "`columns=path,label` names others"
    )


def find_label(columns: list[str]) -> str | None:
    """The column that holds labels, by its name."""
    place = _first_of(LABEL_COLUMNS, [_plain(name) for name in columns])
    return None if place is None else columns[place]


def _encoding(start: bytes) -> str:
    """UTF-16 by its mark, or by the zeros in every second byte; else UTF-8."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    evens, odds = start[0:200:2], start[1:200:2]
    if len(odds) > 4 and odds.count(0) > 0.8 * len(odds) and not evens.count(0):
        return "utf-16-le"
    if len(evens) > 4 and evens.count(0) > 0.8 * len(evens) and not odds.count(0):
        return "utf-16-be"
    return "utf-8-sig"


def _delimiter(line: str, default: str) -> str:
    """The separator with which the header has known columns; else the one that divides it."""
    for delimiter in (default, *_SEPARATORS):
        header = [_plain(name) for name in _divided(line, delimiter)]
        if None not in (_first_of(PATH_COLUMNS, header), _first_of(LABEL_COLUMNS, header)):
            return delimiter
    if default in line:
        return default
    return next((each for each in _SEPARATORS if each in line), default)


def _divided(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _plain(name: str) -> str:
    return re.sub(r"[\s.-]+", "_", key(name))


def _first_of(names: tuple[str, ...], header: list[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _wanted(name: str, first: list[str], shown: str) -> int:
    """The column of this name, or of this number from 1 on."""
    keys = [key(each) for each in first]
    if key(name) in keys:
        return keys.index(key(name))
    if name.strip().isdigit() and 1 <= int(name) <= len(first):
        return int(name) - 1
    held = ", ".join(printable(each) for each in first[:20]) or "nothing"
    raise DataError(f"{shown}: line 1: has no column {printable(name)}; it has {held}")
