"""Parquet files of labelled images, as data sets of Hugging Face have them.

``image`` is a struct of bytes and path, or bytes alone; ``label`` an integer whose names are in the
file, or a text. Labels are read at once, images row by row as they are decoded.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, repeat
from pathlib import Path
from typing import Any

import numpy as np

from catclf.datasets.dataset import Labels, ReadOptions
from catclf.datasets.listing import SAMPLED, Items, Row, Samples, Source
from catclf.datasets.names import check_classes
from catclf.datasets.table import (
    GROUP_COLUMNS,
    PATH_COLUMNS,
    SPLIT_COLUMNS,
    cell,
    find_label,
    listed,
    named_column,
)
from catclf.datasets.table import read as read_table
from catclf.errors import DataError, ImageError
from catclf.images.archive import (
    IMAGE_COLUMNS,
    Member,
    Unreadable,
    contents_of,
    image_column,
    names_of,
    row_image,
)
from catclf.images.tree import Folder
from catclf.storage.location import locate
from catclf.storage.parquet import ParquetFile
from catclf.text import counted, printable, url_of

_Group = tuple[str, str, int, int]  # file, column, number in the file, and its rows
PATH_MAX = 4096  # characters of a path; a longer text is none


class ParquetItems(Items):
    """Images in rows of Parquet files; ``rows`` (m,) are their numbers in all files together.

    Only one row group is open at a time, of which a few images are held. Rows that are read in
    order cost nothing more; going back, or to another row group, begins that anew.
    """

    def __init__(
        self, limit: int, groups: Sequence[_Group], names: Sequence[str], rows: Labels
    ) -> None:
        super().__init__(names)
        self._limit, self._groups, self.rows = limit, groups, rows
        # The first row of each group, and the number of all rows.
        self._firsts = [0, *accumulate(length for *_, length in groups)]
        self._lock = threading.Lock()
        self._group, self._next = -1, 0
        self._last: bytes | ImageError = b""
        self._contents: Iterator[bytes | ImageError] = iter(())

    def __reduce__(self) -> tuple[type[ParquetItems], tuple[Any, ...]]:
        return ParquetItems, (self._limit, self._groups, self.names, self.rows)

    def __getitem__(self, row: Any) -> Member:
        """The image of a row, also one that cannot be read."""
        return self._at(int(self.rows[row]), self.names[row])

    def take(self, rows: Labels) -> ParquetItems:
        names = [self.names[row] for row in rows.tolist()]
        return ParquetItems(self._limit, self._groups, names, self.rows[rows])

    def some(self) -> Iterator[str]:
        """The first images of some row groups that are spread over all."""
        for group in np.unique(np.linspace(0, len(self._groups) - 1, SAMPLED).astype(int)).tolist():
            if self._groups and self._firsts[group] < self._firsts[group + 1]:
                yield self._at(self._firsts[group], f"{self._groups[group][0]}:")

    def state(self, row: int) -> tuple[int, ...]:
        number = int(self.rows[row])
        return number, *locate(self._file_of(number)).state()

    def containers(self) -> list[str]:
        return list(dict.fromkeys(map(self._file_of, self.rows.tolist())))

    def absolute(self) -> ParquetItems:
        groups = [(locate(group[0]).absolute, *group[1:]) for group in self._groups]
        names = []
        for number, name in zip(self.rows.tolist(), self.names, strict=True):
            file = self._file_of(number)
            names.append(locate(file).absolute + name[len(file) :])
        return ParquetItems(self._limit, groups, names, self.rows)

    def _file_of(self, number: int) -> str:
        return self._groups[bisect_right(self._firsts, number) - 1][0]

    def _at(self, number: int, name: str) -> Member:
        group = bisect_right(self._firsts, number) - 1
        file = self._groups[group][0]
        with self._lock:
            if group != self._group or number < self._next - 1:
                self._group, self._next = group, self._firsts[group]
                self._contents = _contents(self._groups[group], self._limit)
            while self._next <= number:
                self._next += 1
                self._last = next(self._contents)
            return row_image(file, name[len(file) + 1 :], self._last)


def _contents(group: _Group, limit: int) -> Iterator[bytes | ImageError]:
    path, column, number, _ = group
    try:
        with ParquetFile(path) as file:
            yield from contents_of(file, column, number, limit)
    except ImageError as error:  # the file can no longer be opened
        yield from repeat(error)


def read(path: Path, files: Sequence[Path], options: ReadOptions) -> Source:
    """The labelled images in the order of the files. Raises DataError."""
    samples, groups = Samples(printable(path), locate(path).name), list[_Group]()
    numbers, unlabelled, first = list[int](), list[str](), True
    for file in files:
        try:
            with ParquetFile(url_of(file)) as opened:
                if len(files) == 1 and _names_files(opened):
                    return read_table(Folder.of(path.parent), path.name, samples.shown, options)
                image, label = options.columns or options.keys or (None, None)
                column, label = image_column(opened, image), _label_column(opened, label)
                classes = _class_names(opened, label)
                if not first and classes != samples.classes:
                    raise DataError(f"{printable(file)}: has other class names than those before")
                rows = _rows(opened, column, label, classes)
        except ImageError as error:
            if not options.skip_bad or len(files) == 1:
                raise DataError(f"{printable(file)}: {error}") from error
            samples.damage.append(f"{printable(file)}: {error}: is left out")
            continue
        start, first, samples.classes = sum(length for *_, length in groups), False, classes
        groups += [(opened.path, column, n, m) for n, m in enumerate(opened.groups)]
        unlabelled += [row.file for row in rows if not row.text]
        numbers += [number for number, row in enumerate(rows, start) if row.text]
        samples.rows += [row for row in rows if row.text]
    if unlabelled:
        _note_unlabelled(samples, unlabelled, options.skip_bad)
    names = [row.file for row in samples.rows]
    items = ParquetItems(options.limits.file_bytes, groups, names, np.array(numbers, np.int64))
    _require_bytes(samples.shown, items.take(np.arange(min(len(items), SAMPLED))))
    return samples.source(options, items)


def _rows(file: ParquetFile, image: str, label: str, classes: tuple[str, ...]) -> list[Row]:
    """The rows of a file; the text of one without a label is empty. Raises DataError."""
    names = [f"{file.path}:{name}" for name in names_of(file, image)]
    labels = [_label_text(file, value, classes) for value in file.values(label)]
    splits, groups = (_texts(file, columns) for columns in (SPLIT_COLUMNS, GROUP_COLUMNS))
    return list(map(Row, names, labels, splits, groups))


def _label_text(file: ParquetFile, value: Any, classes: tuple[str, ...]) -> str:
    """A label as text; empty where there is none: null, NaN, or -1 where labels have names."""
    if value is None or value != value or (classes and value == -1):
        return ""
    if not classes:
        return value.strip() if isinstance(value, str) else cell(value) or repr(value)
    if value in range(len(classes)):
        return classes[int(value)]
    raise DataError(
        f"{printable(file.path)}: has label {value}, but names of {len(classes)} labels alone"
    )


def _texts(file: ParquetFile, names: Sequence[str]) -> list[str]:
    """The values of the column that has one of these names, as text; empty where there is none."""
    held = [name for name, kind in file.columns.items() if kind in ("number", "text")]
    column = named_column(names, held)
    return [cell(value) for value in file.values(column)] if column else [""] * sum(file.groups)


def _note_unlabelled(samples: Samples, names: Sequence[str], skip_bad: bool) -> None:
    """Say which rows have no label. Raises DataError unless they may be left out."""
    total = len(names) + len(samples.rows)
    if not skip_bad or not samples.rows:
        raise DataError(
            f"{samples.shown}: {printable(names[0])} has no label, as {len(names)} of {total} "
            "images: leave them out with `skip_bad`"
        )
    samples.damage.append(f"left out {counted(len(names), 'image')} without a label")


def _names_files(file: ParquetFile) -> bool:
    """Whether a file is a table of paths, such as metadata.parquet, and holds no images."""
    for name in IMAGE_COLUMNS:
        if file.columns.get(name) == "text" and len(str(file.values(name)[:1])) > PATH_MAX:
            why = f"has images as text in its column {name}, as base64: store their bytes"
            raise ImageError("unsupported", why)
    texts = (name for name, kind in file.columns.items() if kind == "text")
    paths = any(name.lower() in PATH_COLUMNS for name in texts)
    return paths and not {"image", "bytes"} & set(file.columns.values())


def _require_bytes(shown: str, items: ParquetItems) -> None:
    """Raise DataError for a file that holds paths of its images and not the images."""
    for item in items:
        if not isinstance(item, Unreadable) or item.failure.kind != "missing":
            return
    raise DataError(
        f"{shown}: holds no images, only paths of their files: give the folder of the images, "
        "or write the file anew with the images in it (`embed_external_files=True`)"
    )


def _label_column(file: ParquetFile, wanted: str | None) -> str:
    held = [name for name, kind in file.columns.items() if kind in ("number", "text")]
    label = find_label(held) if wanted is None else wanted
    if label is None or label not in held:
        raise ImageError(
            "unsupported",
            f"has no labels in a column {printable(wanted or 'label')}; it has "
            f"{listed(file.columns)}: `columns=image,label` names others",
        )
    return label


def _class_names(file: ParquetFile, label: str) -> tuple[str, ...]:
    """The names of integer labels in the metadata of Hugging Face; none where it has none."""
    try:
        names = json.loads(file.notes)["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    if not isinstance(names, list) or file.columns[label] != "number":
        return ()
    return check_classes([str(name) for name in names], f"{printable(file.path)}: names of labels")
