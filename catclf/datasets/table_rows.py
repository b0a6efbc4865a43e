"""The rows of a table: CSV and TSV, and JSON Lines, whose columns are the keys of its objects."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, BinaryIO

from catclf.datasets.dataset import Reading
from catclf.datasets.names import latin
from catclf.datasets.table_format import PATH_COLUMNS, Columns, Format, find_columns, find_format
from catclf.datasets.tree import Folder
from catclf.errors import DataError, ImageError
from catclf.storage.kinds import START, kind_of
from catclf.text import printable, reason

LINE_BYTES = 1 << 20  # of one object of JSON Lines
JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Table:
    """A table in a folder; paths in it are relative to that. ``name`` is the file's."""

    folder: Folder
    name: str
    shown: str

    @property
    def ending(self) -> str:
        """The ending of its name in small letters."""
        return f".{self.name.rpartition('.')[2].lower()}"

    @property
    def is_metadata(self) -> bool:
        """Whether it is a table of Hugging Face, by its name."""
        return self.name.lower().startswith("metadata.")

    def columns(self, header: list[str], reading: Reading) -> Columns:
        """Which columns hold paths, labels and parts. Raises DataError."""
        paths = ("file_name", *PATH_COLUMNS) if self.is_metadata else PATH_COLUMNS
        return find_columns(header, reading.columns, self.has_file, self.shown, paths)

    def open(self) -> BinaryIO:
        """Its bytes. Raises OSError and ImageError."""
        return self.folder.open(self.name)

    def has_file(self, name: str) -> bool:
        """Whether a path in it names a file."""
        try:
            return self.folder.find(name) is not None
        except (OSError, ValueError):
            return False


@dataclass
class Rows:
    """Columns of a table; ``splits`` are empty without a column of parts."""

    files: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def of(self, wanted: list[bool]) -> Rows:
        """Only the rows wanted."""
        files, texts, splits = (
            list(compress(column, wanted)) for column in (self.files, self.texts, self.splits)
        )
        return Rows(files, texts, splits, list(compress(self.lines, wanted)), self.notes)


def read_rows(table: Table, reading: Reading) -> Rows:
    """All rows of a table that hold anything. Raises DataError."""
    shown = table.shown
    rows = Rows()
    try:
        _require_table(table)
        cells = _of_json(table, reading, rows) if _is_json(table) else _of_csv(table, reading, rows)
        for line, name, label, split in cells:
            rows.files.append(name)
            rows.texts.append(latin(label))
            rows.splits.append(split)
            rows.lines.append(line)
    except OSError as error:
        raise DataError(f"{shown}: cannot be read: {reason(error)}") from error
    except ImageError as error:
        raise DataError(f"{shown}: {error}") from error
    except csv.Error as error:
        raise DataError(f"{shown}: is not a readable table: {error}") from error
    except UnicodeError as error:
        raise DataError(f"{shown}: is not text in UTF-8 or UTF-16: save it as UTF-8") from error
    if not rows.files:
        raise DataError(f"{shown}: has no images")
    return rows


def columns_of(table: Table) -> list[str]:
    """The names of its columns, by its first row; none where it cannot be read."""
    try:
        if _is_json(table):
            return [str(name) for name in next(_objects(table), (0, {}))[1]]
        return _first_row(table, find_format(table))
    except (OSError, ImageError, DataError, csv.Error, UnicodeError):
        return []


def _is_json(table: Table) -> bool:
    return table.ending in JSON_LINES


def _require_table(table: Table) -> None:
    with table.open() as file:
        start = file.read(START)
    if (kind := kind_of(start)) and not (
        _is_json(table) and start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"
    ):
        raise DataError(f"{table.shown}: is not a table{kind}")


def _first_row(table: Table, format: Format) -> list[str]:
    with format.open(table) as file:
        return next(csv.reader(file, delimiter=format.delimiter), [])


def _of_csv(table: Table, reading: Reading, rows: Rows) -> Iterator[tuple[int, str, str, str]]:
    """Line number, path, label and part of each row; rows without any value are left out."""
    format = find_format(table)
    rows.notes += format.notes
    first = _first_row(table, format)
    columns = table.columns(first, reading)
    rows.notes += columns.notes
    with format.open(table) as file:
        reader = csv.reader(file, delimiter=format.delimiter)
        if columns.header:
            next(reader, None)
        for row in reader:
            if any(cell.strip() for cell in row):
                where = f"{table.shown}: line {reader.line_num + format.skipped}"
                yield (reader.line_num + format.skipped, *_cells(row, columns, where))


def _of_json(table: Table, reading: Reading, rows: Rows) -> Iterator[tuple[int, str, str, str]]:
    """The same of JSON Lines."""
    header: list[str] = []
    columns = None
    for line, fields in _objects(table):
        where = f"{table.shown}: line {line}"
        if columns is None:
            header = list(fields)
            columns = table.columns(header, reading)
        if header[columns.path] not in fields or header[columns.label] not in fields:
            missing = next(n for n in (columns.path, columns.label) if header[n] not in fields)
            raise DataError(f"{where}: has no {printable(header[missing])}")
        row = [_cell(fields.get(name)) for name in header]
        yield (line, *_cells(row, columns, where))


def _cells(row: list[str], columns: Columns, where: str) -> tuple[str, str, str]:
    """Path, label and part of a row. Raises DataError."""
    if len(row) <= max(columns.path, columns.label):
        raise DataError(f"{where}: has {len(row)} of {columns.count} columns")
    name, label = row[columns.path], row[columns.label].strip()
    if not name.strip() or not label:
        raise DataError(f"{where}: the path or the label is empty")
    there = columns.split is not None and columns.split < len(row)
    return name, label, row[columns.split].strip() if there else ""  # type: ignore[index]


def _objects(table: Table) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of JSON Lines with their line numbers. Raises DataError."""
    with table.open() as file:
        line = 0
        while content := file.readline(LINE_BYTES + 1):
            line += 1
            where = f"{table.shown}: line {line}"
            if len(content) > LINE_BYTES:
                raise DataError(f"{where}: has more than {LINE_BYTES} bytes")
            if not content.strip():
                continue
            try:
                fields = json.loads(content.removeprefix(b"\xef\xbb\xbf"))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{where}: is no JSON: {error}") from error
            if not isinstance(fields, dict):
                raise DataError(f"{where}: is no object with a path and a label")
            yield line, fields


def _cell(value: Any) -> str:
    """A value of JSON as the text of a cell; what is no text or number is empty."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value) if isinstance(value, str | int) else ""
