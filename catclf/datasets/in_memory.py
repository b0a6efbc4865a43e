"""Images that Python holds: arrays of pixels, or paths in a list or a table, with their labels.

A table is anything with named columns, such as a pandas ``DataFrame`` or a dict of lists; none of
the libraries that make tables is needed here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from catclf.datasets.dataset import Labels, Part, Reading
from catclf.datasets.image_files import size_of_files
from catclf.datasets.labels import CLASSES_LIMIT
from catclf.datasets.names import require_distinct
from catclf.datasets.parts import part_kind
from catclf.datasets.sources import ArraySource, FileSource, Source
from catclf.datasets.table_format import LABEL_COLUMNS, PATH_COLUMNS, SPLIT_COLUMNS
from catclf.errors import DataError
from catclf.images import decode
from catclf.images.preprocess import Preprocess
from catclf.maths import Pixels
from catclf.text import printable

SIZE_LIMIT = 1024  # pixels; the size of a model
NAME = {True: "arrays", False: "paths"}  # of the source, in messages and in a model


def read(images: Any, labels: ArrayLike | None, reading: Reading, part: Part = "train") -> Source:
    """Images with their labels, one of ``classes`` each, or 0 and 1. Raises DataError.

    ``images`` are uint8 (m, h, w, 3), paths of image files, or a table; a table has a column path
    (or file, filename, image), and, without ``labels``, a column label (or class). The rows of
    ``part`` are taken where a column split (or subset) tells the part of each, as in a file.
    """
    if isinstance(images, str | bytes | os.PathLike):
        raise DataError("`labels` are for a list of paths: one path is a data set of its own")
    columns, rows = _columns(images), None
    if columns is not None:
        rows = _rows_of(images, columns, part)
        paths = images[_column(columns, PATH_COLUMNS)]
        labels = images[_column(columns, LABEL_COLUMNS)] if labels is None else labels
    else:
        images = paths = list(images) if isinstance(images, Iterator) else images
    if labels is None:
        raise DataError("images from Python need `labels`, one for each")
    classes, numbers = _classes(labels)
    if columns is None and is_pixels(images):
        pixels = as_array(images)
        _require_as_many(numbers, len(pixels))
        preprocess = Preprocess(
            reading.size or own_size(pixels) or reading.default_size, reading.fit or "squash"
        )
        pixels = fitted(pixels, preprocess)
        return ArraySource(NAME[True], NAME[True], classes, numbers, preprocess, pixels)
    files = paths_of(paths)
    _require_as_many(numbers, len(files))
    if rows is not None:  # the classes are those of all parts
        files, numbers = [files[row] for row in rows], numbers[rows]
    preprocess = Preprocess(size_of_files(Path(), files, reading), reading.fit or "squash")
    return FileSource(
        NAME[False], NAME[False], classes, numbers, preprocess, Path(), files, reading
    )


def is_pixels(images: Any) -> bool:
    """Whether these are arrays of numbers, and not paths."""
    array = images if isinstance(images, np.ndarray) else None
    if array is None and not isinstance(images, str | bytes) and len(images):
        first = next(iter(images))
        return not isinstance(first, str | os.PathLike)
    return array is not None and array.dtype.kind not in "OSU"


def as_array(images: Any) -> NDArray[Any]:
    """Images as one array. Raises DataError for those of several sizes."""
    try:
        return np.asarray(images)
    except ValueError as error:
        raise DataError("images from Python are of several shapes: one is needed") from error


def own_size(pixels: NDArray[Any]) -> int | None:
    """The height and width of square images that need not be resized; None for others."""
    if pixels.ndim == 4 and pixels.shape[1] == pixels.shape[2] <= SIZE_LIMIT:
        return int(pixels.shape[1])
    return None


def fitted(pixels: NDArray[Any], preprocess: Preprocess) -> Pixels:
    """Images uint8 (m, h, w, 3) brought to (m, size, size, 3) as image files are.

    Raises DataError for arrays of other types and shapes.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3 or not pixels.size:
        raise DataError(
            f"images {pixels.dtype} {pixels.shape}: uint8 (m, height, width, 3) is needed, with "
            "values from 0 to 255"
        )
    size = preprocess.size
    if pixels.shape[1:3] == (size, size):
        return pixels
    resized = np.empty((len(pixels), size, size, 3), np.uint8)
    for image, each in zip(resized, pixels, strict=True):
        image[...] = decode.resized(each, preprocess)
    return resized


def paths_of(paths: Any) -> list[str]:
    """Paths as text. Raises DataError for what is none."""
    if isinstance(paths, str | bytes | os.PathLike):
        raise DataError(f"{printable(os.fsdecode(paths))}: is one path: give a list of paths")
    try:
        return [os.fsdecode(path) for path in paths]
    except TypeError as error:
        raise DataError(
            f"images are arrays uint8 (m, height, width, 3) or paths ({error})"
        ) from error


def _columns(images: Any) -> list[Any] | None:
    """The names of the columns of a table; None for anything else."""
    if isinstance(images, Mapping):
        return list(images)
    columns = getattr(images, "columns", None)
    return None if columns is None else list(columns)


def _column(columns: list[Any], names: tuple[str, ...]) -> Any:
    """The column that has the first of ``names`` that is there. Raises DataError."""
    there = {str(column).strip().lower(): column for column in reversed(columns)}
    for name in names:
        if name in there:
            return there[name]
    listed = ", ".join(printable(str(column)) for column in columns[:20]) or "nothing"
    raise DataError(f"the table has no column {' or '.join(names[:3])}; it has {listed}")


def _rows_of(table: Any, columns: list[Any], part: Part) -> list[int] | None:
    """The numbers of the rows of a part; None for all, where no column tells the part of each."""
    there = {str(column).strip().lower(): column for column in reversed(columns)}
    named = next((there[name] for name in SPLIT_COLUMNS if name in there), None)
    kinds = [] if named is None else [part_kind(str(value)) for value in table[named]]
    if None in kinds or len(set(kinds)) < 2:
        return None
    held = part if part in kinds else "validation" if part == "test" else part
    if held not in kinds:
        raise DataError(f"the table has no rows of the {part} part")
    return [number for number, kind in enumerate(kinds) if kind == held]


def _classes(labels: ArrayLike) -> tuple[tuple[str, ...], Labels]:
    """Class names in order, and for each image its number; no names where labels are 0 and 1."""
    if np.ndim(labels) != 1 or not np.size(labels):
        raise DataError(f"labels {np.shape(labels)}: one for each image is needed, as (m,)")
    # As an array, a list of texts and NaN would be texts, and so would its NaN.
    values = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)  # type: ignore[arg-type]
    if missing := [number for number, value in enumerate(values) if _is_missing(value)]:
        raise DataError(
            f"labels: {len(missing)} of {len(values)} are missing, first labels[{missing[0]}]: "
            "leave such images out"
        )
    texts = [str(value) for value in values]
    if all(isinstance(v, Real | np.bool_) for v in values) and set(values) <= {0, 1}:
        return (), np.array(values, dtype=np.int64)
    names = sorted(set(texts))
    if not 2 <= len(names) <= CLASSES_LIMIT or "" in names:
        raise DataError(f"labels name {len(names)} classes: two are needed, none without a name")
    require_distinct(names, "labels")
    index = {name: number for number, name in enumerate(names)}
    return tuple(names), np.array([index[text] for text in texts], dtype=np.int64)


def _is_missing(value: Any) -> bool:
    """Whether a label is none: None, NaN, and what pandas has for them."""
    return value is None or (str(value) in ("nan", "<NA>", "NaT") and not isinstance(value, str))


def _require_as_many(labels: Labels, m: int) -> None:
    if len(labels) != m:
        raise DataError(f"there are {len(labels)} labels for {m} images")
