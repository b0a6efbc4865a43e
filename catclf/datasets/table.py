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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import TextIOWrapper
from itertools import chain
from typing import Any, BinaryIO, NamedTuple, TextIO, cast

from catclf.datasets.dataset import ReadOptions
from catclf.datasets.listing import Items, Row, Samples, Source
from catclf.datasets.names import key, latin, split_named, words
from catclf.errors import DataError, ImageError
from catclf.images.archive import Entry, Unreadable
from catclf.images.tree import ON_DISK, Folder, LeftOut
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
    samples = Samples(table.shown, name)
    try:
        table.require_kind()
        lines = table.lines()
        first = next(lines, (0, []))
        columns = _find_columns(table, first[1], options, samples.notes)
        samples.notes += table.form.notes if table.is_text else []
        data = lines if columns.header else chain([first], lines)
        samples.rows = [_row(table, columns, len(first[1]), *each) for each in data]
    except _UNSOUND as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        if isinstance(error, UnicodeError):
            why = "it is not text in UTF-8 or UTF-16: save it as UTF-8"
        raise DataError(f"{table.shown}: cannot be read: {why}") from error
    if not samples.rows:
        raise DataError(f"{table.shown}: has no images")
    items = _items(table, samples, options)
    _note_images(table, samples, items)
    folders = [row.file for row in samples.rows] if table.is_metadata else None
    return samples.source(options, items, folders)


# What a table holds


class Columns(NamedTuple):
    """The numbers of the columns used; ``header`` tells whether the first row names them."""

    path: int
    label: int
    split: int | None = None
    group: int | None = None
    header: bool = True


class Form(NamedTuple):
    """How a text is written; ``skipped`` lines come before the header."""

    encoding: str
    separator: str
    skipped: int
    notes: list[str]


@dataclass(frozen=True)
class Table:
    """A table in a folder; paths in it are relative to that.

    ``name`` is the file's. ``typed``: the user named the table itself; others came with images.
    """

    folder: Folder
    name: str
    shown: str
    typed: bool = False
    _alike: dict[Folder, dict[tuple[str, str], list[str]]] = field(default_factory=dict)

    @property
    def ending(self) -> str:
        """The ending of its name in small letters, without that of packing."""
        return f".{self.name.lower().removesuffix('.gz').rpartition('.')[2]}"

    @property
    def is_json(self) -> bool:
        """Whether its lines are objects of JSON."""
        return self.ending in (".jsonl", ".ndjson")

    @property
    def is_text(self) -> bool:
        """Whether its lines are divided by separators."""
        return not self.is_json and self.ending != ".parquet"

    @property
    def is_metadata(self) -> bool:
        """Whether it is a table of Hugging Face, by its name."""
        return self.name.lower().startswith("metadata.")

    def open(self) -> BinaryIO:
        """Its bytes. Raises OSError and ImageError."""
        inside = self.folder.path is None
        packed = self.name.lower().endswith(".gz")
        if packed and not inside:
            return cast(BinaryIO, gzip.open(self.folder.place(self.name)))
        file = self.folder.open(self.name, self.folder.files[self.name] if inside else ON_DISK)
        return cast(BinaryIO, gzip.open(file)) if packed else file

    def require_kind(self) -> None:
        """Raise DataError for a file that is plainly no table."""
        if self.ending == ".parquet":
            return
        with self.open() as file:
            start = file.read(START)
        kind = kind_of(start)
        if kind and not (self.is_json and start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"):
            raise DataError(f"{self.shown}: is not a table{kind}")

    def has_labels(self, options: ReadOptions) -> bool:
        """Whether a column holds labels."""
        if options.columns is not None:
            return True
        try:
            return find_label(self.header()) is not None
        except (*_UNSOUND, DataError):
            return False

    def header(self) -> list[str]:
        """The cells of its first row. Raises DataError, and one of ``_UNSOUND``."""
        return next(self.lines(), (0, []))[1]

    def lines(self) -> Iterator[tuple[int, list[str]]]:
        """Its rows that hold anything, with their line numbers; names of columns come first.

        Raises DataError, and one of ``_UNSOUND``.
        """
        if self.is_text:
            with self._text() as file:
                for line, cells in self._cells(file):
                    if any(map(str.strip, cells)):
                        yield line, cells
            return
        header: list[str] | None = None
        for line, fields in self._records():
            if header is None:
                header = list(fields)
                yield 0, header
            yield line, [cell(fields.get(name)) for name in header]

    def _records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The objects of JSON Lines, or the rows of Parquet, with their numbers."""
        if self.is_json:
            yield from self._objects()
            return
        from catclf.storage.parquet import ParquetFile

        if self.folder.path is None:
            raise ImageError("unsupported", "is in an archive: unpack it")
        with ParquetFile(self.folder.place(self.name)) as file:
            plain = [name for name, kind in file.columns.items() if kind in ("number", "text")]
            values = [file.values(name) for name in plain]
        others = dict.fromkeys(file.columns)
        for row, cells in enumerate(zip(*values, strict=True), 1):
            yield row, others | dict(zip(plain, cells, strict=True))

    @cached_property
    def form(self) -> Form:
        """How the text is written, by its first bytes."""
        with self.open() as file:
            start = file.read(_START)
        encoding = _encoding(start)
        notes = [] if encoding == "utf-8-sig" else ["is read as UTF-16"]
        errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
        text = start[: len(start) & ~1 if notes else None].decode(encoding, errors)
        first = text.partition("\n")[0].rstrip("\r")
        if stated := re.fullmatch(r"sep=(.)", first):
            return Form(encoding, stated[1], 1, notes)
        default = "\t" if self.ending == ".tsv" else ","
        separator = _separator(first, default)
        if separator != default and self.ending != ".txt":
            notes.append(f"is read as separated by {_SEPARATORS[separator]}")
        return Form(encoding, separator, 0, notes)

    def _text(self) -> TextIO:
        """The text after lines that are no table; bytes that are no text are kept for names."""
        encoding, _, skipped, _ = self.form
        errors = "surrogateescape" if encoding == "utf-8-sig" else "strict"
        file = TextIOWrapper(self.open(), encoding, errors, newline="")
        for _ in range(skipped):
            file.readline()
        return file

    def _cells(self, file: TextIO) -> Iterator[tuple[int, list[str]]]:
        """The rows of a text with their line numbers; of Caffe's lists a path and a label."""
        if self.ending == ".txt":
            yield from ((number, line.rsplit(None, 1)) for number, line in enumerate(file, 1))
            return
        reader = csv.reader(file, delimiter=self.form.separator)
        for row in reader:
            yield reader.line_num + self.form.skipped, row

    def _objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The objects of JSON Lines with their line numbers. Raises DataError."""
        with self.open() as file:
            for line, content in enumerate(iter(lambda: file.readline(LINE_BYTES + 1), b""), 1):
                where = f"{self.shown}: line {line}"
                if len(content) > LINE_BYTES:
                    raise DataError(f"{where}: has more than {LINE_BYTES} bytes")
                if content.strip():
                    yield line, object_of(content.removeprefix(b"\xef\xbb\xbf"), where)

    def find(self, folder: Folder, name: str) -> tuple[str, str] | None:
        """The one file below a folder that a path means, maybe in another spelling; that spelling.

        Each name is compared as a key, with backslashes as separators, and the last one also
        without the ending of the file that is there.
        """
        for text in dict.fromkeys((name, name.strip().replace("\\", "/"), latin(name))):
            parts = [part for part in text.split("/") if part not in ("", ".")]
            if parts and ".." not in parts and (found := self._found(folder, parts)):
                item, spelled = found
                return item, (name if text == name and spelled == parts else "/".join(spelled))
        return None

    def _found(self, folder: Folder, parts: list[str]) -> tuple[str, list[str]] | None:
        spelled = []
        for part in parts[:-1]:
            if (name := self._meant(folder, part, folder.folders, "folder")) is None:
                return None
            spelled.append(name)
            folder = folder.folders[name]
        name = self._meant(folder, parts[-1], folder.files, "file", "stem")
        item = None if name is None else folder.files[name]
        return None if item is None or isinstance(item, Entry) else (item, [*spelled, str(name)])

    def _meant(
        self, folder: Folder, name: str, held: Mapping[str, object], *kinds: str
    ) -> str | None:
        """The name in a folder that is equal, else the one of the first of ``kinds`` as a key."""
        if name in held:
            return name
        if folder not in self._alike:
            alike = self._alike[folder] = {}
            for each in sorted(folder.folders):
                alike.setdefault(("folder", key(each)), []).append(each)
            for each in sorted(folder.files):
                alike.setdefault(("file", key(each)), []).append(each)
                alike.setdefault(("stem", key(each.rpartition(".")[0])), []).append(each)
        found = [self._alike[folder].get((kind, key(name)), []) for kind in kinds]
        names = next(filter(None, found), [])
        return names[0] if len(names) == 1 else None


def object_of(content: bytes, where: str) -> dict[str, Any]:
    """An object of JSON. Raises DataError for other contents, and for a key that is there twice."""

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(fields := dict(pairs)) < len(pairs):
            raise ValueError("a key is there twice")
        return fields

    try:
        fields = json.loads(content, object_pairs_hook=distinct)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise DataError(f"{where}: is no object with a label")
    return fields


def cell(value: Any) -> str:
    """A value of JSON as the text of a cell; what is no text or number is empty."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value) if isinstance(value, str | int) else ""


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


def _separator(line: str, default: str) -> str:
    """The separator with which the header has known columns; else the one that divides it."""
    for separator in (default, *_SEPARATORS):
        try:
            header = next(csv.reader([line], delimiter=separator), [])
        except csv.Error:
            continue
        if named_column(PATH_COLUMNS, header) and named_column(LABEL_COLUMNS, header):
            return separator
    return next((each for each in (default, *_SEPARATORS) if each in line), default)


# Which columns are used


def find_label(columns: Sequence[str]) -> str | None:
    """The column that holds labels, by its name."""
    return named_column(LABEL_COLUMNS, columns)


def named_column(names: Sequence[str], columns: Sequence[str]) -> str | None:
    """The column that has the first of these names that is there."""
    plain = [re.sub(r"[\s.-]+", "_", key(name)) for name in columns]
    return next((columns[plain.index(name)] for name in names if name in plain), None)


def _find_columns(
    table: Table, first: list[str], options: ReadOptions, notes: list[str]
) -> Columns:
    """Which columns hold what, by the first row. Raises DataError."""
    paths = ("file_name", *PATH_COLUMNS) if table.is_metadata else PATH_COLUMNS
    path, label = options.columns or (named_column(paths, first), find_label(first))
    if table.ending == ".txt" or path is None or label is None:
        return _without_header(table, first, notes)
    numbers = [_number(table, first, name) for name in (path, label)]
    for each in numbers:
        if (count := first.count(first[each])) > 1:
            name = printable(first[each])
            notes.append(f"has {count} columns {name}, of which the first is used")
    others = [named_column(names, first) for names in (SPLIT_COLUMNS, GROUP_COLUMNS)]
    split, group = (None if name is None else first.index(name) for name in others)
    return Columns(numbers[0], numbers[1], split, group)


def _without_header(table: Table, first: list[str], notes: list[str]) -> Columns:
    """Two columns, one of which holds paths already in the first row. Raises DataError."""
    for path in range(2 if len(first) == 2 else 0):
        if first[path].strip() and table.find(table.folder, first[path]):
            order = "label and path" if path else "path and label"
            if table.ending != ".txt":
                notes.append(f"has no header: its columns are taken as {order}")
            return Columns(path, 1 - path, header=False)
    has_path = named_column(PATH_COLUMNS, first) is not None
    kind, known = ("label", LABEL_COLUMNS) if has_path else ("path", PATH_COLUMNS)
    raise DataError(
        f"{table.shown}: line 1: has no column {kind} (or {', '.join(known[1:6])}, …); it has "
        f"{listed(first)}: `columns=path,label` names others"
    )


def _number(table: Table, first: list[str], name: str) -> int:
    """The column of this name, or of this number from 1 on. Raises DataError."""
    keys = [key(each) for each in first]
    if key(name) in keys:
        return keys.index(key(name))
    if name.strip().isdigit() and 1 <= int(name) <= len(first):
        return int(name) - 1
    raise DataError(
        f"{table.shown}: line 1: has no column {printable(name)}; it has {listed(first)}"
    )


def listed(names: Iterable[object]) -> str:
    """The first names of columns or keys, for a message."""
    return ", ".join(printable(str(name)) for name in list(names)[:20]) or "nothing"


# The rows and their images


def _row(table: Table, columns: Columns, width: int, line: int, cells: Sequence[str]) -> Row:
    """A row of a table that has ``width`` columns. Raises DataError."""
    where = f"{table.shown}: line {line}"
    if len(cells) <= max(columns.path, columns.label):
        raise DataError(f"{where}: has {len(cells)} of {width} columns")
    name, label = cells[columns.path], cells[columns.label].strip()
    if not name.strip() or not label:
        raise DataError(f"{where}: the path or the label is empty")
    split, group = (
        "" if n is None or n >= len(cells) else cells[n].strip()
        for n in (columns.split, columns.group)
    )
    return Row(name, label, split, group, line)


def _items(table: Table, samples: Samples, options: ReadOptions) -> Items:
    """The files as they are called in their folder.

    A file that is not there is refused before any image is decoded: a table made elsewhere often
    misses them all.
    """
    folder, prefix = _place(table, samples.rows)
    names, changed, outside = [], [], []
    for row in samples.rows:
        where, name = f"{table.shown}: line {row.line}", row.file
        if found := table.find(folder, name):
            item, spelled = found
            names.append(item or prefix + spelled)
            changed += [(name, spelled)] if spelled != name else []
        elif is_base64(name):
            raise DataError(f"{where}: holds no path, but {BASE64}")
        elif folder.path is not None and not options.outside and _leads_out(table, name):
            outside.append(f"line {row.line}: {printable(name)}")
        else:
            names.append(_unlisted(table, where, name, options))
    if outside:
        raise DataError(
            f"{table.shown}: {counted(len(outside), 'path')} of {len(samples.rows)} lead out of "
            f"its folder, the first on {outside[0]}: `outside` reads them"
        )
    if prefix:
        samples.notes.append(f"its images are those in {printable(folder.name)}")
    if changed:
        name, spelled = changed[0]
        samples.notes.append(
            f"{counted(len(changed), 'path')} are spelled otherwise on disk: "
            f"'{printable(name)}' is taken as {printable(spelled)}"
        )
    return Items(names, table.folder.path or "", remote=options.remote_rows)


def _place(table: Table, rows: Sequence[Row]) -> tuple[Folder, str]:
    """The folder that paths are below, and its name before them.

    It is the table's own, or the one beside the table that holds all of the images, as Kaggle has
    train.csv beside train_images; of several the one that is named after the table's split.
    """
    if table.find(table.folder, rows[0].file) is None:
        split = split_named(table.name.partition(".")[0])
        inside = sorted(table.folder.inside, key=lambda each: split_named(each.name) != split)
        for each in inside[:FOLDERS_LIMIT]:
            if all(table.find(each, row.file) for row in rows):
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
        failure = ImageError("missing", "there is no such file, and URLs are not fetched")
        return Unreadable.because(table.folder.shown, name, failure)
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


def _note_images(table: Table, samples: Samples, items: Items) -> None:
    """Count images without a row in metadata, and rows that say another class than their folder."""
    if table.is_metadata:
        used = set(map(str, items.names))
        images = table.folder.images(LeftOut(), set())
        if unlisted := sum(str(image) not in used for image in images):
            what = counted(unlisted, "image")
            samples.notes.append(f"left out {what} that have no row in {table.name}")
    classes, apart = {key(text) for text in {row.text for row in samples.rows}}, 0
    for row in samples.rows:
        folder = key(row.file.replace("\\", "/").rpartition("/")[0].rpartition("/")[2])
        apart += folder in classes and folder != key(row.text)
    if apart:
        samples.notes.append(
            f"{table.name} gives {counted(apart, 'image')} another label than the folder that "
            "they are in: the table is used"
        )
