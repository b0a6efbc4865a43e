"""A CSV or TSV table of image paths and labels."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from catclf.datasets.dataset import Reading
from catclf.datasets.sources import FileSource
from catclf.errors import DataError
from catclf.images.preprocess import Preprocess
from catclf.text import printable, reason

PATH_COLUMNS = ("path", "file", "filename", "image")
LABEL_COLUMNS = ("label", "class")


def read(path: Path, reading: Reading) -> FileSource:
    """Paths are relative to the table. Labels are class names, or 0 and 1. Raises DataError."""
    shown = printable(path)
    files, texts, lines = [], [], []
    try:
        # Undecodable bytes are kept: they may be part of a file name.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
            for line, name, label in _rows(csv.reader(file, delimiter=delimiter), shown):
                files.append(name)
                texts.append(label)
                lines.append(line)
    except OSError as error:
        raise DataError(f"{shown}: cannot be read: {reason(error)}") from error
    except csv.Error as error:
        raise DataError(f"{shown}: is not a readable table: {error}") from error
    if not files:
        raise DataError(f"{shown}: has no images")
    if not reading.skip_bad:
        _require_files(path.parent, files, lines, shown)
    names = sorted(set(texts))
    if set(names) <= {"0", "1"}:
        classes: tuple[str, ...] = ()
        labels = np.array([int(text) for text in texts], dtype=np.int64)
    else:
        classes = tuple(names)
        index = {name: i for i, name in enumerate(names)}
        labels = np.array([index[text] for text in texts], dtype=np.int64)
        if len(classes) < 2:
            raise DataError(f"{shown}: all images are {printable(names[0])}: two classes needed")
    preprocess = Preprocess(reading.size or reading.file_size, reading.fit or "squash")
    return FileSource(
        shown, path.name, classes, labels, preprocess, path.parent, files, reading, lines
    )


def _rows(reader: Iterator[list[str]], shown: str) -> Iterator[tuple[int, str, str]]:
    """Line number, path and label of each row; the header says where they are."""
    header = [name.strip().lower() for name in next(reader, [])]
    where = []
    for kind, names in (("path", PATH_COLUMNS), ("label", LABEL_COLUMNS)):
        columns = [header.index(name) for name in names if name in header]
        if not columns:
            found = ", ".join(printable(name) for name in header[:20]) or "nothing"
            raise DataError(
                f"{shown}: line 1: has no column {kind} (or {', '.join(names[1:])}); it has {found}"
            )
        where.append(columns[0])
    path_column, label_column = where
    for row in reader:
        line = int(getattr(reader, "line_num", 0))
        if not row:
            continue
        if len(row) <= max(where):
            raise DataError(f"{shown}: line {line}: has {len(row)} of {len(header)} columns")
        name, label = row[path_column], row[label_column].strip()
        if not name or not label:
            raise DataError(f"{shown}: line {line}: the path or the label is empty")
        yield line, name, label


def _require_files(root: Path, files: list[str], lines: list[int], shown: str) -> None:
    """Found before any image is decoded: a table made elsewhere often misses them all."""
    for line, name in zip(lines, files, strict=True):
        try:
            there = (root / name).is_file()
        except OSError as error:  # a name too long, a folder that may not be entered
            why = reason(error)
            raise DataError(f"{shown}: line {line}: {printable(name)}: {why}") from error
        if not there:
            raise DataError(f"{shown}: line {line}: there is no file {printable(name)}")
