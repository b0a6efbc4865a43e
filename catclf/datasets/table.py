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
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import TextIOWrapper
from typing import Any, BinaryIO, NamedTuple, TextIO, cast

from catclf.datasets.dataset import ReadOptions
from catclf.datasets.listing import Items, Samples, Source
from catclf.datasets.names import key, split_named, words
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
_UNSOUND = (OSError, EOFError, ImageError, csv.Error, UnicodeError, zlib.error)


class Columns(NamedTuple):
    """The numbers of the columns used; ``header`` tells whether the first row names them."""

    path: int
    label: int
    split: int | None = None
    group: int | None = None
    header: bool = True


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
    def is_json(self) -> bool:
        """Whether its lines are objects of JSON."""
        return self.ending in (".jsonl", ".ndjson")

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

    def header(self) -> list[str]:
        """The cells of its first row. Raises DataError, and one of ``_UNSOUND``."""
        if self.ending == ".parquet":
            with self._parquet() as file:
                return list(file.columns)
        if self.is_json:
            return next((list(fields) for _, fields in self._objects()), [])
        with self._text() as file:
            if self.ending == ".txt":  # the lists of Caffe
                return file.readline().rsplit(None, 1)
            return next(csv.reader(file, delimiter=self._format[1]), [])

    def has_labels(self, options: ReadOptions) -> bool:
        """Whether a column holds labels."""
        if options.columns is not None:
            return True
        try:
            return find_label(self.header()) is not None
        except (*_UNSOUND, DataError):
            return False

    def rows(self, header: list[str], columns: Columns) -> Iterator[tuple[int, Sequence[str]]]:
        """Its lines that hold anything, with their numbers; of Parquet only the columns used."""
        if self.ending == ".parquet":
            with self._parquet() as file:
                some = {n: file.values(header[n]) for n in columns[:4] if n is not None}
            for row in range(len(some[columns.path])):
                yield row + 1, [cell(some[n][row]) if n in some else "" for n in range(len(header))]
        elif self.is_json:
            for line, fields in self._objects():
                yield line, [cell(fields.get(name)) for name in header]
        else:
            with self._text() as file:
                reader = csv.reader(file, delimiter=self._format[1])
                lists = self.ending == ".txt"
                rows: Any = (line.rsplit(None, 1) for line in file) if lists else reader
                for number, row in enumerate(rows, 1):
                    if any(cell.strip() for cell in row) and (number > 1 or not columns.header):
                        yield (number if lists else reader.line_num + self._format[2]), row

    @cached_property
    def _format(self) -> tuple[str, str, int, list[str]]:
        """Encoding, separator, lines before the header, and notes, by the first bytes."""
        with self.open() as file:
            start = file.read(_START)
        encoding = _encoding(start)
        notes = [] if encoding == "utf-8-sig" else ["is read as UTF-16"]
        errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
        text = start[: len(start) & ~1 if notes else None].decode(encoding, errors)
        first = text.partition("\n")[0].rstrip("\r")
        if stated := re.fullmatch(r"sep=(.)", first):
            return encoding, stated[1], 1, notes
        default = "\t" if self.ending == ".tsv" else ","
        delimiter = _delimiter(first, default)
        if delimiter != default and self.ending != ".txt":
            notes.append(f"is read as separated by {_SEPARATORS[delimiter]}")
        return encoding, delimiter, 0, notes

    def _text(self) -> TextIO:
        """The text after lines that are no table; bytes that are no text are kept for names."""
        encoding, _, skipped, _ = self._format
        errors = "surrogateescape" if encoding == "utf-8-sig" else "strict"
        file = TextIOWrapper(self.open(), encoding, errors, newline="")
        for _ in range(skipped):
            file.readline()
        return file

    def _objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The objects of JSON Lines with their line numbers. Raises DataError."""
        with self.open() as file:
            for line, content in enumerate(iter(lambda: file.readline(LINE_BYTES + 1), b""), 1):
                where = f"{self.shown}: line {line}"
                if len(content) > LINE_BYTES:
                    raise DataError(f"{where}: has more than {LINE_BYTES} bytes")
                if not content.strip():
                    continue
                fields = json_of(content.removeprefix(b"\xef\xbb\xbf"), where)
                if not isinstance(fields, dict):
                    raise DataError(f"{where}: is no object with a path and a label")
                yield line, fields

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
    rows = Samples(table.shown, name)
    try:
        _require_table(table)
        header = table.header()
        columns = _find_columns(table, header, options, rows.notes)
        rows.notes += [] if table.is_json or table.ending == ".parquet" else table._format[3]
        _add(table, rows, header, columns)
    except _UNSOUND as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        if isinstance(error, UnicodeError):
            why = "it is not text in UTF-8 or UTF-16: save it as UTF-8"
        raise DataError(f"{table.shown}: cannot be read: {why}") from error
    if not len(rows):
        raise DataError(f"{table.shown}: has no images")
    items = _items(table, rows, options)
    if table.is_metadata:
        rows.divide_by_folders(rows.files)
    _note_images(table, rows, items)
    return rows.source(options, items)


def _require_table(table: Table) -> None:
    """Raise DataError for a file that is plainly no table."""
    if table.ending == ".parquet":
        return
    with table.open() as file:
        start = file.read(START)
    kind = kind_of(start)
    if kind and not (table.is_json and start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"):
        raise DataError(f"{table.shown}: is not a table{kind}")


def json_of(content: bytes, where: str) -> Any:
    """What JSON holds. Raises DataError, also for a key that is there twice."""

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(fields := dict(pairs)) < len(pairs):
            raise ValueError("a key is there twice")
        return fields

    try:
        return json.loads(content, object_pairs_hook=distinct)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is no JSON: {error}") from error


def _add(table: Table, rows: Samples, header: list[str], columns: Columns) -> None:
    for line, row in table.rows(header, columns):
        where = f"{table.shown}: line {line}"
        if len(row) <= max(columns.path, columns.label):
            raise DataError(f"{where}: has {len(row)} of {len(header)} columns")
        name, label = row[columns.path], row[columns.label].strip()
        if not name.strip() or not label:
            raise DataError(f"{where}: the path or the label is empty")
        split, group = (
            "" if n is None or n >= len(row) else row[n].strip()
            for n in (columns.split, columns.group)
        )
        rows.add(name, label, split, group, line)


def _items(table: Table, rows: Samples, options: ReadOptions) -> Items:
    """The files as they are called in their folder.

    A file that is not there is refused before any image is decoded: a table made elsewhere often
    misses them all.
    """
    folder, prefix = _place(table, rows)
    names, changed, outside = [], [], []
    for line, name in zip(rows.lines, rows.files, strict=True):
        if found := folder.find(name):
            item, spelled = found
            names.append(item or prefix + spelled)
            changed += [(name, spelled)] if spelled != name else []
        elif is_base64(name):
            raise DataError(f"{table.shown}: line {line}: holds no path, but {BASE64}")
        elif folder.path is not None and not options.outside and _leads_out(table, name):
            outside.append(f"line {line}: {printable(name)}")
        else:
            names.append(_unlisted(table, f"{table.shown}: line {line}", name, options))
    if outside:
        raise DataError(
            f"{table.shown}: {counted(len(outside), 'path')} of {len(rows)} lead out of its "
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


def _place(table: Table, rows: Samples) -> tuple[Folder, str]:
    """The folder that paths are below, and its name before them.

    It is the table's own, or the one beside the table that holds all of the images, as Kaggle has
    train.csv beside train_images; of several the one that is named after the table's split.
    """
    if table.folder.find(rows.files[0]) is None:
        split = split_named(table.name.partition(".")[0])
        inside = sorted(table.folder.inside, key=lambda each: split_named(each.name) != split)
        for each in inside[:FOLDERS_LIMIT]:
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


def _note_images(table: Table, rows: Samples, items: Items) -> None:
    """Count images without a row in metadata, and rows that say another class than their folder."""
    if table.is_metadata:
        used = set(map(str, items.names))
        images = table.folder.images(LeftOut(), set())
        if unlisted := sum(str(image) not in used for image in images):
            what = counted(unlisted, "image")
            rows.notes.append(f"left out {what} that have no row in {table.name}")
    classes = {key(text) for text in set(rows.texts)}
    apart = 0
    for file, text in zip(rows.files, rows.texts, strict=True):
        folder = key(file.replace("\\", "/").rpartition("/")[0].rpartition("/")[2])
        apart += folder in classes and folder != key(text)
    if apart:
        rows.notes.append(
            f"{table.name} gives {counted(apart, 'image')} another label than the folder that "
            "they are in: the table is used"
        )


def _encoding(start: bytes) -> str:
    """UTF-16 by its mark, or by the zeros in every second byte; else UTF-8."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    halves = start[0:200:2], start[1:200:2]
    for zeros, others, encoding in ((1, 0, "utf-16-le"), (0, 1, "utf-16-be")):
        many = len(halves[zeros]) > 4 and halves[zeros].count(0) > 0.8 * len(halves[zeros])
        if many and not halves[others].count(0):
            return encoding
    return "utf-8-sig"


def _delimiter(line: str, default: str) -> str:
    """The separator with which the header has known columns; else the one that divides it."""
    for delimiter in (default, *_SEPARATORS):
        try:
            header = next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error:
            continue
        if None not in (_first_of(PATH_COLUMNS, header), _first_of(LABEL_COLUMNS, header)):
            return delimiter
    return next((each for each in (default, *_SEPARATORS) if each in line), default)


def _find_columns(
    table: Table, first: list[str], options: ReadOptions, notes: list[str]
) -> Columns:
    """Which columns hold what, by the first row. Raises DataError."""

    def named(name: str) -> int:
        """The column of this name, or of this number from 1 on."""
        keys = [key(each) for each in first]
        if key(name) in keys:
            return keys.index(key(name))
        if name.strip().isdigit() and 1 <= int(name) <= len(first):
            return int(name) - 1
        raise DataError(f"{table.shown}: line 1: has no column {printable(name)}; it has {held}")

    held = ", ".join(printable(name) for name in first[:20]) or "nothing"
    if table.ending == ".txt":
        if len(first) == 2 and table.folder.find(first[0]) is not None:
            return Columns(0, 1, header=False)
        raise DataError(
            f"{table.shown}: is no list of images, with a path and a label a line: for other "
            "tables the ending is .csv or .tsv"
        )
    others = _first_of(SPLIT_COLUMNS, first), _first_of(GROUP_COLUMNS, first)
    paths = ("file_name", *PATH_COLUMNS) if table.is_metadata else PATH_COLUMNS
    path, label = _first_of(paths, first), _first_of(LABEL_COLUMNS, first)
    if options.columns is not None:
        path, label = map(named, options.columns)
    elif path is None or label is None:
        for column in range(2 if len(first) == 2 else 0):
            if first[column].strip() and table.folder.find(first[column]) is not None:
                order = "path and label" if column == 0 else "label and path"
                notes.append(f"has no header: its columns are taken as {order}")
                return Columns(column, 1 - column, header=False)
        kind, known = ("path", PATH_COLUMNS) if path is None else ("label", LABEL_COLUMNS)
        raise DataError(
            f"{table.shown}: line 1: has no column {kind} (or {', '.join(known[1:6])}, …); it has "
            f"{held}: `columns=path,label` names others"
        )
    for each in (path, label):
        if (count := first.count(first[each])) > 1:
            name = printable(first[each])
            notes.append(f"has {count} columns {name}, of which the first is used")
    return Columns(path, label, *others)


def find_label(columns: Sequence[str]) -> str | None:
    """The column that holds labels, by its name."""
    return named_column(LABEL_COLUMNS, columns)


def named_column(names: Sequence[str], columns: Sequence[str]) -> str | None:
    """The column that has the first of these names that is there."""
    place = _first_of(names, columns)
    return None if place is None else columns[place]


def _first_of(names: Sequence[str], header: Sequence[str]) -> int | None:
    plain = [re.sub(r"[\s.-]+", "_", key(name)) for name in header]
    return next((plain.index(name) for name in names if name in plain), None)


def cell(value: Any) -> str:
    """A value of JSON as the text of a cell; what is no text or number is empty."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value) if isinstance(value, str | int) else ""
