"""Parquet files of labelled images, as data sets of Hugging Face have them.

``image`` is a struct of bytes and path, or bytes alone; ``label`` an integer whose names are in the
file, or a text. Labels are read at once, images row by row as they are decoded.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from catclf.datasets.dataset import Labels, ReadOptions
from catclf.datasets.labels import as_labels, check_classes
from catclf.datasets.listing import SAMPLED, Items, Samples, Source
from catclf.datasets.table import (
    GROUP_COLUMNS,
    PATH_COLUMNS,
    SPLIT_COLUMNS,
    cell,
    find_label,
    named_column,
)
from catclf.datasets.table import read as read_table
from catclf.datasets.tree import Folder
from catclf.errors import DataError, ImageError
from catclf.images.archive import IMAGE_COLUMNS, image_column, member, names_of
from catclf.images.member import Member, Unreadable
from catclf.storage.location import locate
from catclf.storage.parquet import ParquetFile
from catclf.text import counted, printable, url_of

_Group = tuple[str, str, int, int]  # file, column, number in the file, and its rows
PATH_MAX = 4096  # characters of a path; a longer text is none
_Content = bytes | int | ImageError | None


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
        self._last: _Content = None
        self._stream: Iterator[bytes | int | None] = iter(())

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
        with self._lock:
            group = bisect_right(self._firsts, number) - 1
            file = self._groups[group][0]
            content = self._content(group, number)
        own = name[len(file) + 1 :]
        if isinstance(content, ImageError):
            return Unreadable.because(file, own, content)
        return member(file, own, content)

    def _content(self, group: int, number: int) -> _Content:
        if group != self._group or number < self._next - 1:
            self._group, self._next = group, self._firsts[group]
            self._last, self._stream = None, _contents(*self._groups[group][:3], self._limit)
        while self._next <= number:
            self._next += 1
            try:
                self._last = next(self._stream)
            except StopIteration:
                if not isinstance(self._last, ImageError):
                    self._last = ImageError("damaged", "is missing in its file, which is damaged")
            except ImageError as error:  # the rest of the row group cannot be read either
                self._last = error
        return self._last


def _contents(file: str, column: str, group: int, limit: int) -> Iterator[bytes | int | None]:
    with suppress(GeneratorExit), ParquetFile(file) as opened:
        yield from opened.images(column, group, limit)


def read(path: Path, files: Sequence[Path], options: ReadOptions) -> Source:
    """The labelled images in the order of the files. Raises DataError."""
    rows, groups, names = Samples(printable(path), locate(path).name), list[_Group](), list[str]()
    values, classes = list[Any](), None
    for file in files:
        try:
            with ParquetFile(url_of(file)) as opened:
                if len(files) == 1 and _names_files(opened):
                    return read_table(Folder.of(path.parent), path.name, rows.shown, options)
                image, label = options.columns or options.keys or (None, None)
                column, label = image_column(opened, image), _label_column(opened, label)
                named = _class_names(opened, label)
                if classes not in (None, named):
                    raise DataError(f"{printable(file)}: has other class names than those before")
                called = [f"{opened.path}:{name}" for name in names_of(opened, column)]
                classes, content = named, opened.values(label)
                rows.splits += _texts(opened, SPLIT_COLUMNS)
                rows.groups += _texts(opened, GROUP_COLUMNS)
                groups += [(opened.path, column, n, m) for n, m in enumerate(opened.groups)]
                names += called
                values += content
        except ImageError as error:
            if not options.skip_bad or len(files) == 1:
                raise DataError(f"{printable(file)}: {error}") from error
            rows.damage.append(f"{printable(file)}: {error}: is left out")
    labelled = _labelled(rows, names, values, bool(classes), options.skip_bad)
    values = [values[row] for row in labelled.tolist()]
    rows.splits = [rows.splits[row] for row in labelled.tolist()]
    rows.groups = [rows.groups[row] for row in labelled.tolist()]
    names, known = [names[row] for row in labelled.tolist()], None
    items = ParquetItems(options.limits.file_bytes, groups, names, labelled)
    _require_bytes(rows.shown, items.take(np.arange(len(items))))
    if classes:
        known = as_labels(np.array(values), classes, f"{rows.shown}: its column of labels")
    else:
        rows.texts = [cell(value).strip() or repr(value) for value in values]
    return rows.source(options, items, known)


def _texts(file: ParquetFile, names: Sequence[str]) -> list[str]:
    """The values of the column that has one of these names, as text; empty where there is none."""
    held = [name for name, kind in file.columns.items() if kind in ("number", "text")]
    column = named_column(names, held)
    return [cell(value) for value in file.values(column)] if column else [""] * sum(file.groups)


def _names_files(file: ParquetFile) -> bool:
    """Whether a file is a table of paths, such as metadata.parquet, and holds no images."""
    kinds = set(file.columns.values())
    for name in IMAGE_COLUMNS:
        if file.columns.get(name) == "text" and len(str(file.values(name)[:1])) > PATH_MAX:
            why = f"has images as text in its column {name}, as base64: store their bytes"
            raise ImageError("unsupported", why)
    paths = any(
        name.lower() in PATH_COLUMNS and kind == "text" for name, kind in file.columns.items()
    )
    return paths and not kinds & {"image", "bytes"}


def _require_bytes(shown: str, items: ParquetItems) -> None:
    """Raise DataError for a file that holds paths of its images and not the images."""
    for row in range(min(len(items), SAMPLED)):
        item = items[row]
        if not isinstance(item, Unreadable) or item.failure.kind != "missing":
            return
    raise DataError(
        f"{shown}: holds no images, only paths of their files: give the folder of the images, "
        "or write the file anew with the images in it (`embed_external_files=True`)"
    )


def _label_column(file: ParquetFile, wanted: str | None) -> str:
    held = [name for name, kind in file.columns.items() if kind in ("number", "text")]
    label = wanted if wanted in held else None if wanted is not None else find_label(held)
    if label is None:
        columns = ", ".join(printable(name) for name in list(file.columns)[:20]) or "nothing"
        raise ImageError(
            "unsupported",
            f"has no labels in a column {printable(wanted or 'label')}; it has {columns}: "
            "`columns=image,label` names others",
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


def _labelled(
    rows: Samples, names: Sequence[str], values: list[Any], named: bool, skip_bad: bool
) -> Labels:
    """The numbers of the rows that have a label; -1 is none where labels have names."""
    none = (None, -1) if named else (None,)
    bad = [i for i, value in enumerate(values) if value in none or value != value]  # or NaN
    if bad and not skip_bad:
        what = "no label, but -1" if values[bad[0]] == -1 else "no label"
        raise DataError(
            f"{rows.shown}: {printable(names[bad[0]])} has {what}, as {len(bad)} of "
            f"{len(values)} images: leave them out with `skip_bad`"
        )
    if bad:
        rows.damage.append(f"left out {counted(len(bad), 'image')} without a label")
    if len(bad) == len(values):
        raise DataError(f"{rows.shown}: has no images with labels")
    return np.setdiff1d(np.arange(len(values)), bad)
