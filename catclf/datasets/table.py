"""A table of image paths and labels: CSV, TSV, or JSON Lines."""

from __future__ import annotations

from pathlib import Path

from catclf.datasets.dataset import Part, Reading
from catclf.datasets.image_files import size_of_files
from catclf.datasets.labels import from_texts
from catclf.datasets.names import forget_folders
from catclf.datasets.parts import part_kind, parts_among
from catclf.datasets.sources import FileSource
from catclf.datasets.table_rows import Rows, Table, read_rows
from catclf.datasets.tree import DiskFolder, Folder
from catclf.errors import DataError
from catclf.images.preprocess import Preprocess
from catclf.text import counted, printable, reason

FOLDERS_LIMIT = 20  # folders beside a table in which a file is looked for


def read(path: Path, part: Part, reading: Reading) -> FileSource:
    """Paths are relative to the table. Labels are class names, or 0 and 1.

    A column named split (or the like) divides the rows into parts. Raises DataError.
    """
    return read_table(_on_disk(path), path.name, part, reading)


def parts(path: Path, reading: Reading | None = None) -> set[Part]:
    """The parts in a column of the table; none without such a column."""
    return parts_of_table(_on_disk(path), reading)


def read_table(table: Table, name: str, part: Part, reading: Reading) -> FileSource:
    """The same of a table in any folder; ``name`` is the source's in a model."""
    rows = _rows(table, reading)
    every = rows.texts
    rows = _of_part(rows, part, table.shown)
    if not rows.files:
        raise DataError(f"{table.shown}: has no images")
    forget_folders()
    files = _resolved(table.folder, rows, table.shown, refuse=not reading.skip_bad)
    classes, labels = from_texts(rows.texts, every, table.shown)
    if not classes and reading.classes:
        classes = reading.classes
    root = table.folder.root
    preprocess = Preprocess(size_of_files(root, files, reading), reading.fit or "squash")
    return FileSource(
        table.shown,
        name,
        classes,
        labels,
        preprocess,
        root,
        files,
        reading,
        rows.lines,
        notes=tuple(rows.notes),
    )


def parts_of_table(table: Table, reading: Reading | None = None) -> set[Part]:
    """The same of a table in any folder."""
    try:
        return parts_among(_kinds(_rows(table, reading or Reading())) or [])
    except DataError:  # reading it will say what is wrong
        return set()


def _on_disk(path: Path) -> Table:
    return Table(DiskFolder(path.parent), path.name, printable(path))


def _rows(table: Table, reading: Reading) -> Rows:
    """The rows; the first folders of the paths of metadata are parts where no column is."""
    rows = read_rows(table, reading)
    if table.is_metadata and not any(rows.splits):
        folders = [name.partition("/")[0] for name in rows.files]
        kinds = {part_kind(folder) for folder in set(folders)}
        if None not in kinds and len(kinds) > 1:
            rows.splits = folders
    return rows


def _kinds(rows: Rows) -> list[str] | None:
    """The part of each row, if a column tells it of every row."""
    known = {text: part_kind(text) for text in set(rows.splits)}
    if not known or None in known.values():
        return None
    return [str(known[text]) for text in rows.splits]


def _of_part(rows: Rows, part: Part, shown: str) -> Rows:
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


def _resolved(folder: Folder, rows: Rows, shown: str, *, refuse: bool) -> list[str]:
    """The files as they are called in their folder.

    A file that is not there is refused before any image is decoded: a table made elsewhere often
    misses them all.
    """
    files, changed = [], []
    for line, name in zip(rows.lines, rows.files, strict=True):
        where = f"{shown}: line {line}"
        file = _file(folder, name, f"{where}: {printable(name)}", refuse=refuse)
        if file is None and refuse:
            raise DataError(f"{where}: there is no file {printable(name)}{_hint(folder, name)}")
        path, spelled = file or (folder.missing(name), name)
        if spelled != name:
            changed.append((name, spelled))
        files.append(path)
    if changed:
        name, spelled = changed[0]
        rows.notes.append(
            f"{counted(len(changed), 'path')} are spelled otherwise on disk: "
            f"'{printable(name)}' is taken as {printable(spelled)}"
        )
    return files


def _file(folder: Folder, name: str, where: str, *, refuse: bool) -> tuple[str, str] | None:
    try:
        return folder.find(name)
    except (OSError, ValueError) as error:  # too long a name, a folder that may not be entered
        if not refuse:
            return None
        why = reason(error) if isinstance(error, OSError) else "no file name holds a NUL byte"
        raise DataError(f"{where}: {why}") from error


def _hint(folder: Folder, name: str) -> str:
    """Where the file may be: in a folder beside the table."""
    try:
        for each in folder.folders()[:FOLDERS_LIMIT]:
            if file := each.find(name):
                return f": is it {printable(each.name)}/{printable(file[1])}?"
    except (DataError, OSError, ValueError):
        pass
    return " (paths are relative to the table)"
