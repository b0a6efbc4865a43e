"""A CSV or TSV table of image paths and labels."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

from catclf.datasets.dataset import Part, Reading
from catclf.datasets.labels import from_texts
from catclf.datasets.names import forget_folders, other_spelling
from catclf.datasets.parts import part_kind, parts_among
from catclf.datasets.sources import FileSource, size_of_files
from catclf.datasets.table_format import Columns, Format, find_columns, find_format
from catclf.datasets.tree import DiskFolder
from catclf.errors import DataError
from catclf.images.preprocess import Preprocess
from catclf.storage.kinds import kind_of_file
from catclf.text import counted, printable, reason

FOLDERS_LIMIT = 20  # folders beside a table in which a file is looked for


@dataclass
class _Rows:
    """The rows of a table: ``kinds`` are their parts where a column tells them."""

    files: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def of(self, wanted: list[bool]) -> _Rows:
        """Only the rows wanted."""
        files, texts, splits = (
            list(compress(column, wanted)) for column in (self.files, self.texts, self.splits)
        )
        return _Rows(files, texts, splits, list(compress(self.lines, wanted)), self.notes)


def read(path: Path, part: Part, reading: Reading) -> FileSource:
    """Paths are relative to the table. Labels are class names, or 0 and 1.

    A column named split (or the like) divides the rows into parts. Raises DataError.
    """
    shown = printable(path)
    rows = _read_rows(path, reading)
    every = rows.texts
    rows = _of_part(rows, part, shown)
    if not rows.files:
        raise DataError(f"{shown}: has no images")
    forget_folders()
    files = _resolved(path.parent, rows, shown, refuse=not reading.skip_bad)
    classes, labels = from_texts(rows.texts, every, shown)
    if not classes and reading.classes:
        classes = reading.classes
    preprocess = Preprocess(size_of_files(path.parent, files, reading), reading.fit or "squash")
    return FileSource(
        shown,
        path.name,
        classes,
        labels,
        preprocess,
        path.parent,
        files,
        reading,
        rows.lines,
        notes=tuple(rows.notes),
    )


def parts(path: Path, reading: Reading | None = None) -> set[Part]:
    """The parts that a column of the table tells; none where no column does."""
    try:
        return parts_among(_kinds(_read_rows(path, reading or Reading())) or [])
    except DataError:  # reading it will say what is wrong
        return set()


def _read_rows(path: Path, reading: Reading) -> _Rows:
    shown = printable(path)
    rows = _Rows()
    try:
        if kind := kind_of_file(path):
            raise DataError(f"{shown}: is not a table{kind}")
        format = find_format(path)
        rows.notes += format.notes
        columns = _columns(path, format, reading, shown)
        rows.notes += columns.notes
        for line, name, label, split in _cells(path, format, columns, shown):
            rows.files.append(name)
            rows.texts.append(_latin(label))
            rows.splits.append(split)
            rows.lines.append(line)
    except OSError as error:
        raise DataError(f"{shown}: cannot be read: {reason(error)}") from error
    except csv.Error as error:
        raise DataError(f"{shown}: is not a readable table: {error}") from error
    except UnicodeError as error:
        raise DataError(f"{shown}: is not text in UTF-8 or UTF-16: save it as UTF-8") from error
    if not rows.files:
        raise DataError(f"{shown}: has no images")
    return rows


def _columns(path: Path, format: Format, reading: Reading, shown: str) -> Columns:
    with format.open(path) as file:
        first = next(csv.reader(file, delimiter=format.delimiter), [])
    return find_columns(first, reading.columns, path.parent, shown)


def _cells(
    path: Path, format: Format, columns: Columns, shown: str
) -> Iterator[tuple[int, str, str, str]]:
    """Line number, path, label and part of each row; rows without any value are left out."""
    with format.open(path) as file:
        reader = csv.reader(file, delimiter=format.delimiter)
        if columns.header:
            next(reader, None)
        for row in reader:
            line = reader.line_num + format.skipped
            if not any(cell.strip() for cell in row):
                continue
            if len(row) <= max(columns.path, columns.label):
                raise DataError(f"{shown}: line {line}: has {len(row)} of {columns.count} columns")
            name, label = row[columns.path], row[columns.label].strip()
            if not name.strip() or not label:
                raise DataError(f"{shown}: line {line}: the path or the label is empty")
            there = columns.split is not None and columns.split < len(row)
            yield line, name, label, row[columns.split].strip() if there else ""  # type: ignore[index]


def _kinds(rows: _Rows) -> list[str] | None:
    """The part of each row, if a column tells it of every row."""
    known = {text: part_kind(text) for text in set(rows.splits)}
    if not known or None in known.values():
        return None
    return [str(known[text]) for text in rows.splits]


def _of_part(rows: _Rows, part: Part, shown: str) -> _Rows:
    kinds = _kinds(rows)
    if kinds is None:
        others = sorted(text for text in set(rows.splits) if part_kind(text) is None)
        if others and any(part_kind(text) == "test" for text in rows.splits):
            listed = ", ".join(f"'{printable(text)}'" for text in others[:5])
            raise DataError(
                f"{shown}: its column of parts holds {listed} beside train and test: write train, "
                "validation or test in each row"
            )
        if set(others) - {""}:
            listed = ", ".join(printable(text) for text in others[:5])
            rows.notes.append(
                f"the parts in its column of parts are not all known ({listed}): all rows are used"
            )
        return rows
    held = set(kinds)
    wanted = part if part in held else "validation" if part == "test" else part
    if wanted not in held:
        if len(held) > 1:
            raise DataError(f"{shown}: has no rows of the {part} part")
        return rows  # it is one part of several tables
    if len(held) > 1:
        rows.notes.append(
            f"its column of parts is honoured: {counted(kinds.count(wanted), 'row')} of {wanted}"
        )
    return rows.of([kind == wanted for kind in kinds])


def _resolved(root: Path, rows: _Rows, shown: str, *, refuse: bool) -> list[str]:
    """The files as they are called on disk.

    A file that is not there is refused before any image is decoded: a table made elsewhere often
    misses them all.
    """
    files, changed = [], []
    for line, name in zip(rows.lines, rows.files, strict=True):
        found = _found(root, name, f"{shown}: line {line}: {printable(name)}", refuse=refuse)
        if found is not None and found != name:
            changed.append((name, found))
        elif found is None and refuse:
            raise DataError(
                f"{shown}: line {line}: there is no file {printable(name)}{_hint(root, name)}"
            )
        files.append(name if found is None else found)
    if changed:
        name, found = changed[0]
        rows.notes.append(
            f"{counted(len(changed), 'path')} are spelled otherwise on disk: "
            f"'{printable(name)}' is taken as {printable(found)}"
        )
    return files


def _found(root: Path, name: str, where: str, *, refuse: bool) -> str | None:
    try:
        if (root / name).is_file():
            return name
    except (OSError, ValueError) as error:  # too long a name, a folder that may not be entered
        if not refuse:
            return None
        why = reason(error) if isinstance(error, OSError) else "no file name holds a NUL byte"
        raise DataError(f"{where}: {why}") from error
    if (root / name).exists():  # a folder or a pipe
        return None
    try:
        return other_spelling(root, name) or other_spelling(root, _latin(name))
    except (OSError, ValueError):
        return None


def _latin(text: str) -> str:
    """A text whose bytes are no UTF-8, read as Windows-1252 writes them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode("cp1252", "replace")
    return text


def _hint(root: Path, name: str) -> str:
    """Where the file may be: in a folder beside the table."""
    try:
        for folder in DiskFolder(root).folders()[:FOLDERS_LIMIT]:
            if found := other_spelling(folder.path, name):
                return f": is it {printable(folder.name)}/{printable(found)}?"
    except (DataError, OSError):
        pass
    return " (paths are relative to the table)"
