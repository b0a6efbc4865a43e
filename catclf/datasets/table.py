"""Tables of image paths and labels: CSV, TSV, JSON Lines, Parquet, and lists of Caffe.

Only the table itself may be remote or lie anywhere: its rows name files in its folder, unless
other options are given.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import TextIOWrapper
from typing import Any, BinaryIO, TextIO, cast

import numpy as np

from catclf.datasets.dataset import ReadOptions, Split
from catclf.datasets.labels import from_texts, numbered
from catclf.datasets.listing import Items, Listing, Source, listing_of_items
from catclf.datasets.names import key, latin, split_named, words
from catclf.datasets.tree import Folder
from catclf.errors import DataError, ImageError
from catclf.images.member import Unreadable
from catclf.images.walk import LeftOut
from catclf.storage.local import BASE64, START, is_base64, kind_of
from catclf.text import counted, has_scheme, printable, reason

PATH_COLUMNS = words(
    "path file filename image file_name filepath file_path image_path imagepath img_path "
    "image_file image_filename image_name img_name image_file_name fname img images files paths "
    "picture photo image_id img_id imageid id name"
)
LABEL_COLUMNS = words(
    "label class labels target targets category class_name classname label_name class_label "
    "classes y species type"
)
SPLIT_COLUMNS = words("split subset partition set part data_split dataset data_set phase")
GROUP_COLUMNS = "group", "groups", "group_id"
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_START = 65536  # bytes by which encoding and separator are recognised
LINE_BYTES = 1 << 20  # of one object of JSON Lines
FOLDERS_LIMIT = 20  # folders beside a table in which a file is looked for

Cells = tuple[int, str, str, str, str]  # line, path, label, split and group


@dataclass(frozen=True)
class Columns:
    """The numbers of the columns used, out of ``count``; ``header`` tells whether line 1 is one."""

    path: int
    label: int
    split: int | None
    group: int | None
    count: int
    header: bool = True
    notes: tuple[str, ...] = ()


@dataclass
class Rows:
    """Columns of a table; ``splits`` and ``groups`` are empty texts without such columns."""

    lines: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    """A table in a folder; paths in it are relative to that.

    ``name`` is the file's. ``typed``: the user named the table itself; others came with images.
    """

    folder: Folder
    name: str
    shown: str
    typed: bool = False

    @property
    def ending(self) -> str:
        """The ending of its name in small letters, without that of packing."""
        return f".{self.name.lower().removesuffix('.gz').rpartition('.')[2]}"

    @property
    def is_metadata(self) -> bool:
        """Whether it is a table of Hugging Face, by its name."""
        return self.name.lower().startswith("metadata.")

    def open(self) -> BinaryIO:
        """Its bytes. Raises OSError and ImageError."""
        if not self.name.lower().endswith(".gz"):
            return self.folder.open(self.name)
        inside = self.folder.path is None
        packed = self.folder.open(self.name) if inside else self.folder.place(self.name)
        return cast(BinaryIO, gzip.open(packed))

    def columns(self) -> list[str]:
        """The names of its columns, by its first row; none where it cannot be read."""
        try:
            if self.ending == ".parquet":
                return list(self._parquet().columns)
            if self.ending in (".jsonl", ".ndjson"):
                return [str(name) for name in next(_objects(self), (0, {}))[1]]
            return _first_row(self, _find_format(self))
        except (OSError, ImageError, DataError, csv.Error, UnicodeError):
            return []

    def has_labels(self, options: ReadOptions) -> bool:
        """Whether a column holds labels."""
        return options.columns is not None or find_label(self.columns()) is not None

    def has_file(self, name: str) -> bool:
        """Whether a path in it names a file."""
        return self.folder.find(name) is not None

    def find_columns(self, header: list[str], options: ReadOptions) -> Columns:
        """Which columns hold paths, labels, splits and groups. Raises DataError."""
        paths = ("file_name", *PATH_COLUMNS) if self.is_metadata else PATH_COLUMNS
        return _find_columns(header, options.columns, self.has_file, self.shown, paths)

    def cells(self, options: ReadOptions, notes: list[str]) -> Iterator[Cells]:
        """The cells used of each row that holds anything."""
        if self.ending == ".parquet":
            return _of_parquet(self, options)
        with self.open() as file:
            start = file.read(START)
        is_json = self.ending in (".jsonl", ".ndjson")
        kind = kind_of(start)
        if kind and not (is_json and start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"):
            raise DataError(f"{self.shown}: is not a table{kind}")
        if self.ending == ".txt":
            return _of_list(self)
        return _of_json(self, options) if is_json else _of_csv(self, options, notes)

    def _parquet(self) -> Any:
        from catclf.storage.parquet import ParquetFile

        if self.folder.path is None:
            raise ImageError("unsupported", "is in an archive: unpack it")
        return ParquetFile(self.folder.place(self.name))


def read(folder: Folder, name: str, shown: str, options: ReadOptions) -> Source:
    """The images that a table names, which the user named. Raises DataError."""
    if name.lower().startswith(("sample_submission", "samplesubmission")):
        raise DataError(
            f"{shown}: is a form for answers, whose labels mean nothing: give the table of the "
            "training images"
        )
    return read_table(Table(folder, name, shown, typed=True), name, options)


def read_table(table: Table, name: str, options: ReadOptions) -> Source:
    """The splits of a table's rows; ``name`` is the source's in a model.

    Labels are class names, or 0 and 1. A column named split (or the like) divides the rows, or the
    first folders of the paths of metadata. Raises DataError.
    """
    rows = _read_rows(table, options)
    if table.is_metadata and not any(rows.splits):
        folders = [name.partition("/")[0] for name in rows.files]
        kinds = {split_named(folder) for folder in set(folders)}
        if None not in kinds and len(kinds) > 1:
            rows.splits = folders
    items = _items(table, rows, options)
    if table.is_metadata:
        _note_images(table, rows, items)
    kinds_of_rows = _kinds(rows, table.shown)
    listed = partial(_listing, table, name, rows, items, kinds_of_rows)
    held = set(kinds_of_rows or ()) - {"other"}
    parts: dict[Any, Any] = {kind: partial(listed, kind) for kind in held}
    return Source(table.shown, options, parts or {None: partial(listed, None)}, lenient=True)


def _listing(
    table: Table,
    name: str,
    rows: Rows,
    items: Items,
    kinds: list[str] | None,
    wanted: Split | None,
    options: ReadOptions,
) -> Listing:
    notes = list(rows.notes)
    chosen = np.arange(len(rows.files))
    if wanted is not None and kinds is not None and len(set(kinds)) > 1:
        chosen = np.flatnonzero(np.array(kinds) == wanted)
        notes.append(f"its column of splits is honoured: {counted(len(chosen), 'row')} of {wanted}")
    texts = [rows.texts[row] for row in chosen.tolist()]
    classes, labels = from_texts(texts, rows.texts, table.shown)
    return listing_of_items(
        table.shown,
        name,
        classes,
        labels,
        items.take(chosen),
        options,
        lines=[rows.lines[row] for row in chosen.tolist()],
        groups=numbered([rows.groups[row] for row in chosen.tolist()]),
        notes=tuple(notes),
    )


def _kinds(rows: Rows, shown: str) -> list[str] | None:
    """The split of each row, if a column tells it of every row. Raises DataError."""
    known = {text: split_named(text) for text in set(rows.splits)}
    if known and None not in known.values():
        return [str(known[text]) for text in rows.splits]
    others = sorted(text for text, kind in known.items() if kind is None)
    if others and "test" in known.values():
        listed = ", ".join(f"'{printable(text)}'" for text in others[:5])
        raise DataError(
            f"{shown}: its column of splits holds {listed} beside train and test: write train, "
            "validation or test in each row"
        )
    if set(others) - {""}:
        listed = ", ".join(printable(text) for text in others[:5])
        rows.notes.append(
            f"the splits in its column are not all known ({listed}): all rows are used"
        )
    return None


def _items(table: Table, rows: Rows, options: ReadOptions) -> Items:
    """The files as they are called in their folder.

    A file that is not there is refused before any image is decoded: a table made elsewhere often
    misses them all.
    """
    folder, prefix = _place(table, rows)
    names, changed, outside = [], [], []
    for line, name in zip(rows.lines, rows.files, strict=True):
        where = f"{table.shown}: line {line}"
        found = folder.find(name)
        if found is not None:
            item, spelled = found
            names.append(item or prefix + spelled)
            changed += [(name, spelled)] if spelled != name else []
        elif is_base64(name):
            raise DataError(f"{where}: holds no path, but {BASE64}")
        elif folder.path is not None and not options.outside and _leads_out(table, name):
            outside.append(f"line {line}: {printable(name)}")
        else:
            names.append(_unlisted(table, where, name, options))
    if outside:
        raise DataError(
            f"{table.shown}: {counted(len(outside), 'path')} of {len(rows.files)} lead out of its "
            f"folder, the first on {outside[0]}: `outside` reads them"
        )
    if prefix:
        rows.notes.append(f"its images are those in {printable(folder.name)}")
    if changed:
        name, spelled = changed[0]
        rows.notes.append(
            f"{counted(len(changed), 'path')} are spelled otherwise on disk: "
            f"'{printable(name)}' is taken as {printable(spelled)}"
        )
    return Items(names, table.folder.path or "")


def _place(table: Table, rows: Rows) -> tuple[Folder, str]:
    """The folder that paths are below, and its name before them.

    It is the table's own, or the one beside the table that holds all of the images, as Kaggle has
    train.csv beside train_images.
    """
    if table.folder.find(rows.files[0]) is None:
        for each in table.folder.inside[:FOLDERS_LIMIT]:
            if all(each.find(name) is not None for name in rows.files):
                return each, f"{each.name}/"
    return table.folder, ""


def _unlisted(table: Table, where: str, name: str, options: ReadOptions) -> str:
    """A file that the tree of the folder does not list: hidden, outside of it, or not there.

    What is named by a URL is fetched only where that was asked for.
    """
    place = None if table.folder.path is None else table.folder.place(name)
    is_url = place is not None and has_scheme(name) and not os.path.lexists(place)
    if is_url and options.remote_rows:
        return name
    if not is_url and place is not None and (options.skip_bad or os.path.isfile(place)):
        return name  # one that is not there fails when it is decoded
    if options.skip_bad:
        why = "is a URL, which is not fetched" if is_url else "there is no such file in the archive"
        return Unreadable.because(table.folder.shown, name, ImageError("missing", why))
    if is_url:
        raise DataError(
            f"{where}: {printable(name)} is a URL, and what rows name is not fetched: copy the "
            "images to the table's folder, or allow it with `allow_remote_rows`"
        )
    raise DataError(
        f"{where}: there is no file {printable(name)} (paths are relative to the table)"
    )


def _leads_out(table: Table, name: str) -> bool:
    """Whether a path is not plainly below the folder of its table.

    An absolute one may lead there if the user named the table.
    """
    if not os.path.isabs(name) and ".." not in name.replace("\\", "/").split("/"):
        return False
    folder = os.path.abspath(table.folder.path or "")
    place = os.path.normpath(os.path.join(folder, name))
    return not (table.typed and place.startswith(folder + os.sep))


def _note_images(table: Table, rows: Rows, items: Items) -> None:
    """Count images without a row, and rows that say another class than their folder."""
    used = set(map(str, items.names))
    unlisted = 0
    for name, item in table.folder.images(LeftOut(), set()):
        unlisted += str(item or name) not in used
    if unlisted:
        rows.notes.append(f"left out {counted(unlisted, 'image')} that have no row in {table.name}")
    classes = {key(text) for text in rows.texts}
    apart = 0
    for file, text in zip(rows.files, rows.texts, strict=True):
        folder = key(file.replace("\\", "/").rpartition("/")[0].rpartition("/")[2])
        apart += folder in classes and folder != key(text)
    if apart:
        rows.notes.append(
            f"{table.name} gives {counted(apart, 'image')} another label than the folder that "
            "they are in: the table is used"
        )


def _read_rows(table: Table, options: ReadOptions) -> Rows:
    """All rows of a table that hold anything. Raises DataError."""
    shown, rows = table.shown, Rows()
    try:
        for line, name, label, split, group in table.cells(options, rows.notes):
            rows.lines.append(line)
            rows.files.append(name)
            rows.texts.append(latin(label))
            rows.splits.append(split)
            rows.groups.append(group)
    except (OSError, EOFError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is cut short"
        raise DataError(f"{shown}: cannot be read: {why}") from error
    except ImageError as error:
        raise DataError(f"{shown}: {error}") from error
    except csv.Error as error:
        raise DataError(f"{shown}: is not a readable table: {error}") from error
    except UnicodeError as error:
        raise DataError(f"{shown}: is not text in UTF-8 or UTF-16: save it as UTF-8") from error
    if not rows.files:
        raise DataError(f"{shown}: has no images")
    return rows


@dataclass(frozen=True)
class _Format:
    """How to open a table; ``skipped`` lines precede its header."""

    encoding: str
    delimiter: str
    skipped: int
    notes: tuple[str, ...]

    def open(self, table: Table) -> TextIO:
        """The text after the skipped lines; bytes that are no text are kept for file names."""
        errors = "surrogateescape" if self.encoding == "utf-8-sig" else "strict"
        file = TextIOWrapper(table.open(), self.encoding, errors, newline="")
        for _ in range(self.skipped):
            file.readline()
        return file


def _find_format(table: Table) -> _Format:
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
        return _Format(encoding, stated[1], 1, tuple(notes))
    delimiter = _delimiter(first.rstrip("\r"), default)
    if delimiter != default:
        notes.append(f"is read as separated by {_SEPARATORS[delimiter]}")
    return _Format(encoding, delimiter, 0, tuple(notes))


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
        try:
            header = [_plain(name) for name in next(csv.reader([line], delimiter=delimiter), [])]
        except csv.Error:
            continue
        if None not in (_first_of(PATH_COLUMNS, header), _first_of(LABEL_COLUMNS, header)):
            return delimiter
    if default in line:
        return default
    return next((each for each in _SEPARATORS if each in line), default)


def _find_columns(
    first: list[str],
    wanted: tuple[str, str] | None,
    is_file: Callable[[str], bool],
    shown: str,
    paths: Sequence[str],
) -> Columns:
    """Which columns hold what, by the first row; ``paths`` are likely names. Raises DataError."""
    header = [_plain(name) for name in first]
    others = _first_of(SPLIT_COLUMNS, header), _first_of(GROUP_COLUMNS, header), len(first)
    if wanted is not None:
        path, label = (_wanted(name, first, shown) for name in wanted)
        return Columns(path, label, *others)
    held_path, held_label = _first_of(paths, header), _first_of(LABEL_COLUMNS, header)
    if held_path is not None and held_label is not None:
        return Columns(held_path, held_label, *others)
    if len(first) == 2:
        for column in (0, 1):
            if first[column].strip() and is_file(first[column]):
                order = ("path", "label") if column == 0 else ("label", "path")
                note = f"has no header: its columns are taken as {order[0]} and {order[1]}"
                return Columns(column, 1 - column, None, None, 2, False, (note,))
    kind, known = ("path", PATH_COLUMNS) if held_path is None else ("label", LABEL_COLUMNS)
    held = ", ".join(printable(name) for name in first[:20]) or "nothing"
    raise DataError(
        f"{shown}: line 1: has no column {kind} (or {', '.join(known[1:6])}, …); it has {held}: "
        "`columns=path,label` names others"
    )


def find_label(columns: Sequence[str]) -> str | None:
    """The column that holds labels, by its name."""
    place = _first_of(LABEL_COLUMNS, [_plain(name) for name in columns])
    return None if place is None else columns[place]


def _plain(name: str) -> str:
    return re.sub(r"[\s.-]+", "_", key(name))


def _first_of(names: Sequence[str], header: list[str]) -> int | None:
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


def _first_row(table: Table, format: _Format) -> list[str]:
    with format.open(table) as file:
        return next(csv.reader(file, delimiter=format.delimiter), [])


def _of_csv(table: Table, options: ReadOptions, notes: list[str]) -> Iterator[Cells]:
    format = _find_format(table)
    columns = table.find_columns(_first_row(table, format), options)
    notes += (*format.notes, *columns.notes)
    with format.open(table) as file:
        reader = csv.reader(file, delimiter=format.delimiter)
        if columns.header:
            next(reader, None)
        for row in reader:
            if any(cell.strip() for cell in row):
                yield _cells(row, columns, table.shown, reader.line_num + format.skipped)


def _of_json(table: Table, options: ReadOptions) -> Iterator[Cells]:
    header: list[str] = []
    columns = None
    for line, fields in _objects(table):
        if columns is None:
            header = list(fields)
            columns = table.find_columns(header, options)
        if header[columns.path] not in fields or header[columns.label] not in fields:
            missing = next(n for n in (columns.path, columns.label) if header[n] not in fields)
            raise DataError(f"{table.shown}: line {line}: has no {printable(header[missing])}")
        yield _cells([_cell(fields.get(name)) for name in header], columns, table.shown, line)


def _of_parquet(table: Table, options: ReadOptions) -> Iterator[Cells]:
    with table._parquet() as file:
        header = list(file.columns)
        columns = table.find_columns(header, options)
        used = (columns.path, columns.label, columns.split, columns.group)
        lists = [[] if n is None else file.values(header[n]) for n in used]
        for row, values in enumerate(zip(lists[0], lists[1], strict=True)):
            more = [values[row] if values else None for values in lists[2:]]
            cells = [_cell(value) for value in (*values, *more)]
            yield _cells(cells, Columns(0, 1, 2, 3, 4), table.shown, row + 1)


def _of_list(table: Table) -> Iterator[Cells]:
    """Lines of Caffe's lists: a path, a blank, and a label."""
    with TextIOWrapper(table.open(), "utf-8-sig", "surrogateescape") as file:
        for number, line in enumerate(file, 1):
            words = line.rsplit(None, 1)
            if number == 1 and (len(words) < 2 or not table.has_file(words[0])):
                raise DataError(
                    f"{table.shown}: is no list of images, with a path and a label a line: for "
                    "other tables the ending is .csv or .tsv"
                )
            if words:
                yield _cells(words, Columns(0, 1, None, None, 2), table.shown, number)


def _cells(row: list[str], columns: Columns, shown: str, line: int) -> Cells:
    """What is used of a row. Raises DataError."""
    if len(row) <= max(columns.path, columns.label):
        raise DataError(f"{shown}: line {line}: has {len(row)} of {columns.count} columns")
    name, label = row[columns.path], row[columns.label].strip()
    if not name.strip() or not label:
        raise DataError(f"{shown}: line {line}: the path or the label is empty")
    split, group = (
        "" if n is None or n >= len(row) else row[n].strip() for n in (columns.split, columns.group)
    )
    return line, name, label, split, group


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
