"""Folders of images with a table beside them, as Hugging Face's imagefolder has them.

``metadata.csv`` or ``metadata.jsonl`` with the columns ``file_name`` and ``label`` lies in the
folder, or in each of its parts. One without labels is about class folders, and is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping

from catclf.datasets.dataset import Part, Reading
from catclf.datasets.parts import part_kind, parts_among, seen_through
from catclf.datasets.sources import FileSource
from catclf.datasets.table import parts_of_table, read_table
from catclf.datasets.table_format import find_label
from catclf.datasets.table_rows import Table, columns_of
from catclf.datasets.tree import Folder
from catclf.errors import DataError
from catclf.text import printable

NAMES = ("metadata.csv", "metadata.jsonl")
WHOLE = ""  # the part of a table that is of all parts


def find(root: Folder, reading: Reading) -> dict[str, Table]:
    """The tables that label the images of a folder, by the part that they are of."""
    if reading.label_from == "name":
        return {}
    place = seen_through(root)
    tables = {WHOLE: table} if (table := _table(place)) else {}
    if not tables:
        for folder in sorted(place.folders(), key=lambda folder: len(folder.name)):
            kind = part_kind(folder.name)
            if kind is not None and kind != "other" and (table := _table(folder)):
                tables.setdefault(kind, table)
    labelled = {part: table for part, table in tables.items() if _has_labels(table, reading)}
    if tables and not labelled:
        _require_classes(place, next(iter(tables.values())))
    return labelled


def read(
    root: Folder, tables: Mapping[str, Table], name: str, part: Part, reading: Reading
) -> FileSource:
    """The images of one part. Raises DataError."""
    if WHOLE in tables:
        return read_table(tables[WHOLE], name, part, reading)
    wanted = part if part in tables else "validation" if part == "test" else part
    if wanted not in tables:
        other = printable(next(iter(tables.values())).folder.name)
        raise DataError(f"{root.shown}: has no {part} folder beside {other}")
    return read_table(tables[wanted], name, part, reading)


def parts(tables: Mapping[str, Table], reading: Reading | None) -> set[Part]:
    """The parts with a table of their own, or those in the one table."""
    return parts_of_table(tables[WHOLE], reading) if WHOLE in tables else parts_among(tables)


def _table(folder: Folder) -> Table | None:
    there = [name for name in folder.loose_files() if name.lower() in NAMES]
    if not there:
        return None
    name = min(there, key=lambda name: NAMES.index(name.lower()))
    if [each.lower() for each in there].count(name.lower()) > 1:
        raise DataError(f"{folder.shown}: holds {printable(name)} twice: give one at a time")
    return Table(folder, name, folder.inner(name))


def _has_labels(table: Table, reading: Reading) -> bool:
    return reading.columns is not None or find_label(columns_of(table)) is not None


def _require_classes(place: Folder, table: Table) -> None:
    """Raise DataError for a table without labels where no class folders can be meant."""
    if not any(folder.folders() or part_kind(folder.name) is None for folder in place.folders()):
        held = ", ".join(printable(name) for name in columns_of(table)[:20]) or "nothing"
        raise DataError(
            f"{table.shown}: has no column label; it has {held}: `columns=file_name,label` names "
            "others"
        )
