"""Parquet files of labelled images, as data sets of Hugging Face have them.

``image`` is a struct of bytes and path, or bytes alone; ``label`` an integer whose names are in the
file, or a text. Labels are read at once, images row by row as they are decoded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from catclf.datasets.dataset import Labels, Part, Reading
from catclf.datasets.image_files import size_of_images
from catclf.datasets.labels import as_labels, check_classes, from_texts
from catclf.datasets.parquet_images import ParquetImages
from catclf.datasets.shards import of_part, parts_named, signature
from catclf.datasets.sources import FileSource
from catclf.datasets.table_format import find_label
from catclf.errors import DataError, ImageError
from catclf.images.member import Member
from catclf.images.parquet import image_column, names_of
from catclf.images.preprocess import Limits, Preprocess
from catclf.storage.parquet import ParquetFile
from catclf.text import counted, printable, url_of


@dataclass
class ParquetSource(FileSource):
    """Images in rows of Parquet files; ``rows`` (m,) are their numbers in all files together."""

    images: ParquetImages = field(default_factory=lambda: ParquetImages(Limits().file_bytes))
    rows: Labels = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def names_are_whole(self) -> bool:
        return True

    def path(self, row: int) -> Member:
        return self.images.at(int(self.rows[row]), self.files[row])

    def state(self, row: int) -> tuple[int, ...]:
        return self.images.state(int(self.rows[row]))

    def containers(self) -> list[str]:
        return list(dict.fromkeys(map(self.images.file_of, self.rows.tolist())))

    def of(self, rows: Labels) -> Self:
        return replace(super().of(rows), rows=self.rows[rows])

    def absolute(self) -> Self:
        names = map(self.images.absolute_name, self.rows.tolist(), self.files)
        return replace(self, files=list(names), images=self.images.absolute(), called=self.names())


@dataclass
class _Read:
    """The content of all files: for each row its name and label, None where it has none."""

    images: ParquetImages
    names: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    classes: tuple[str, ...] | None = None
    notes: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)


def read(path: Path, files: Sequence[Path], part: Part, reading: Reading) -> ParquetSource:
    """The labelled images of one part, in the order of the files. Raises DataError."""
    shown = printable(path)
    notes: list[str] = []
    signature(files)
    if len(files) > 1:
        files = of_part(files, part, shown, notes)
    result = _Read(ParquetImages(reading.limits.file_bytes), notes=notes)
    for file in files:
        try:
            with ParquetFile(url_of(file)) as opened:
                _take(opened, reading, result)
        except ImageError as error:
            if not reading.skip_bad or len(files) == 1:
                raise DataError(f"{printable(file)}: {error}") from error
            result.damage.append(f"{printable(file)}: {error}: is left out")
    rows = _labelled(shown, result, reading.skip_bad)
    classes, labels = _labels(shown, result, rows)
    size = size_of_images(result.images.some(), reading)
    return ParquetSource(
        shown,
        path.name,
        classes or reading.classes,
        labels,
        Preprocess(size, reading.fit or "squash"),
        Path(),
        [result.names[row] for row in rows.tolist()],
        reading,
        notes=(*result.notes, *result.damage),
        damage=tuple(result.damage),
        images=result.images,
        rows=rows,
    )


def parts(path: Path, files: Sequence[Path], reading: Reading) -> set[Part]:
    """The parts that files are named after."""
    return parts_named(files)


def _take(file: ParquetFile, reading: Reading, result: _Read) -> None:
    """Add the rows of a file. Raises ImageError and DataError."""
    image, label = reading.columns or reading.keys or (None, None)
    column = image_column(file, image)
    label = _label_column(file, label)
    names = [f"{file.path}:{name}" for name in names_of(file, column)]
    values = file.values(label)
    classes = _class_names(file, label)
    if result.classes not in (None, classes):
        raise DataError(f"{printable(file.path)}: has other class names than the files before it")
    result.classes = classes
    result.names += names
    result.values += values
    result.images.add(file.path, column, file.groups)


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


def _labelled(shown: str, result: _Read, skip_bad: bool) -> Labels:
    """The numbers of the rows that have a label; -1 is none where labels have names."""
    none = (None, -1) if result.classes else (None,)
    bad = [i for i, value in enumerate(result.values) if value in none or value != value]  # or NaN
    if bad and not skip_bad:
        raise DataError(
            f"{shown}: {printable(result.names[bad[0]])} has no label, as {len(bad)} of "
            f"{len(result.values)} images: leave them out with `skip_bad`"
        )
    if bad:
        result.damage.append(f"left out {counted(len(bad), 'image')} without a label")
    rows = np.setdiff1d(np.arange(len(result.values)), bad)
    if not len(rows):
        raise DataError(f"{shown}: has no images with labels")
    return rows


def _labels(shown: str, result: _Read, rows: Labels) -> tuple[tuple[str, ...], Labels]:
    values = [result.values[row] for row in rows.tolist()]
    if result.classes:
        named = as_labels(np.array(values), result.classes, f"{shown}: its column of labels")
        result.notes += named.notes
        return named.classes, named.labels
    texts = [_text(value) for value in values]
    return from_texts(texts, texts, shown)


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(int(value)) if float(value).is_integer() else repr(value)
