"""Images that Python holds: arrays of pixels, or paths in a list or a table, with their labels.

A table is anything with named columns, such as a pandas ``DataFrame`` or a dict of lists; none of
the libraries that make tables is needed here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from catclf.datasets.arrays import as_pixels, require_numbers
from catclf.datasets.dataset import Labels, ReadOptions
from catclf.datasets.labels import CLASSES_LIMIT, numbered
from catclf.datasets.listing import Items, Listing, Source, listing_of_items
from catclf.datasets.names import require_distinct, split_named
from catclf.datasets.table import GROUP_COLUMNS, LABEL_COLUMNS, PATH_COLUMNS, SPLIT_COLUMNS
from catclf.errors import DataError
from catclf.images import decode
from catclf.images.preprocess import Preprocess
from catclf.maths import Pixels
from catclf.text import printable

SIZE_LIMIT = 1024  # pixels; the size of a model
NAME = {True: "arrays", False: "paths"}  # of the source, in messages and in a model


def read(images: Any, labels: ArrayLike | None, options: ReadOptions) -> Source:
    """Images with their labels, one of ``classes`` each, or 0 and 1. Raises DataError.

    ``images`` are arrays of pixels by the rules of stored ones, paths of image files, or a table; a
    table has a column path (or file, filename, image), and, without ``labels``, a column label (or
    class). A column split (or subset) divides the rows, as in a file, and group keeps together.
    """
    if isinstance(images, str | bytes | os.PathLike):
        raise DataError("`labels` are for a list of paths: one path is a data set of its own")
    columns = _columns(images)
    kinds, groups = None, None
    if columns is not None:
        kinds, groups = _kinds(images, columns), _groups(images, columns)
        paths = images[_required(columns, PATH_COLUMNS)]
        labels = images[_required(columns, LABEL_COLUMNS)] if labels is None else labels
    else:
        images = paths = list(images) if isinstance(images, Iterator) else images
    if labels is None:
        raise DataError("images from Python need `labels`, one for each")
    classes, numbers = _classes(labels)
    if columns is None and is_pixels(images):
        listing = partial(_of_arrays, images, classes, numbers)
        return Source(NAME[True], options, {None: listing})
    items = Items(paths_of(paths))
    _require_as_many(numbers, len(items))
    listed = partial(_of_paths, items, classes, numbers, groups)
    parts: dict[Any, Any] = {
        kind: partial(listed, np.flatnonzero(np.array(kinds) == kind)) for kind in set(kinds or ())
    }
    return Source(NAME[False], options, parts or {None: partial(listed, None)})


def _of_arrays(
    images: Any, classes: tuple[str, ...], labels: Labels, options: ReadOptions
) -> Listing:
    fit = options.fit or "squash"
    usual = Preprocess(options.size or options.default_size, fit)
    pixels, notes = as_images(images, len(labels), usual)
    preprocess = Preprocess(options.size or own_size(pixels) or options.default_size, fit)
    return Listing(
        NAME[True],
        NAME[True],
        classes or options.classes,
        labels,
        preprocess,
        options,
        pixels=resized(pixels, preprocess),
        notes=tuple(notes),
    )


def _of_paths(
    items: Items,
    classes: tuple[str, ...],
    labels: Labels,
    groups: Labels | None,
    rows: Labels | None,
    options: ReadOptions,
) -> Listing:
    if rows is not None:  # the classes are those of all splits
        items, labels = items.take(rows), labels[rows]
        groups = None if groups is None else groups[rows]
    return listing_of_items(
        NAME[False], NAME[False], classes, labels, items, options, groups=groups
    )


def is_pixels(images: Any) -> bool:
    """Whether these are arrays of numbers, and not paths."""
    array = images if isinstance(images, np.ndarray) else None
    if array is None and not isinstance(images, str | bytes) and len(images):
        first = next(iter(images))
        return not isinstance(first, str | os.PathLike)
    return array is not None and array.dtype.kind not in "OSU"


def as_images(
    images: Any, m: int | None = None, usual: Preprocess | None = None
) -> tuple[Pixels, list[str]]:
    """Images uint8 (m, h, w, 3) by the rules of stored arrays, and how they were taken.

    Those of several shapes are brought to the ``usual`` one. Raises DataError.
    """
    try:
        pixels = np.asarray(images)
    except ValueError as error:
        if usual is None:
            raise DataError("images from Python are of several shapes: one is needed") from error
        found = [as_images([image]) for image in images]
        each = np.concatenate([resized(pixels, usual) for pixels, _ in found])
        return each, list(dict.fromkeys(note for _, notes in found for note in notes))
    require_numbers(pixels.dtype, "images")
    if m is None:
        m = len(pixels)
    elif pixels.ndim != 2:
        _require_as_many(np.empty(m), len(pixels))
    return as_pixels(pixels, m, "images", square=False)


def own_size(pixels: NDArray[Any]) -> int | None:
    """The height and width of square images that need not be resized; None for others."""
    if pixels.ndim == 4 and pixels.shape[1] == pixels.shape[2] <= SIZE_LIMIT:
        return int(pixels.shape[1])
    return None


def resized(pixels: Pixels, preprocess: Preprocess) -> Pixels:
    """Images uint8 (m, h, w, 3) brought to (m, size, size, 3) as image files are."""
    size = preprocess.size
    if pixels.shape[1:3] == (size, size):
        return pixels
    images = np.empty((len(pixels), size, size, 3), np.uint8)
    for image, each in zip(images, pixels, strict=True):
        image[...] = decode.resized(each, preprocess)
    return images


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


def _columns(images: Any) -> dict[str, Any] | None:
    """The columns of a table by their names in small letters; None for anything else."""
    if isinstance(images, Mapping):
        columns = list(images)
    elif getattr(images, "columns", None) is not None:
        columns = list(images.columns)
    else:
        return None
    return {str(column).strip().lower(): column for column in reversed(columns)}


def _required(columns: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The column that has the first of ``names`` that is there. Raises DataError."""
    for name in names:
        if name in columns:
            return columns[name]
    listed = ", ".join(printable(str(each)) for each in reversed([*columns.values()])) or "nothing"
    raise DataError(f"the table has no column {' or '.join(names[:3])}; it has {listed}")


def _kinds(table: Any, columns: Mapping[str, Any]) -> list[str] | None:
    """The split of each row; None where no column tells it of every row."""
    named = next((columns[name] for name in SPLIT_COLUMNS if name in columns), None)
    kinds = [] if named is None else [split_named(str(value)) for value in table[named]]
    return None if None in kinds or len(set(kinds)) < 2 else [str(kind) for kind in kinds]


def _groups(table: Any, columns: Mapping[str, Any]) -> Labels | None:
    """A number for each value of a column of groups; -1 where it has none."""
    named = next((columns[name] for name in GROUP_COLUMNS if name in columns), None)
    values = [] if named is None else table[named]
    return numbered(["" if _is_missing(value) else str(value) for value in values])


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
    if all(isinstance(v, Real | np.bool_) for v in values) and set(values) <= {0, 1}:
        return (), np.array(values, dtype=np.int64)
    names, numbers = np.unique([str(value) for value in values], return_inverse=True)
    if not 2 <= len(names) <= CLASSES_LIMIT or "" in names:
        raise DataError(f"labels name {len(names)} classes: two are needed, none without a name")
    require_distinct(names.tolist(), "labels")
    return tuple(names.tolist()), numbers.astype(np.int64)


def _is_missing(value: Any) -> bool:
    """Whether a label is none: None, NaN, and what pandas has for them."""
    return value is None or (str(value) in ("nan", "<NA>", "NaT") and not isinstance(value, str))


def _require_as_many(labels: NDArray[Any], m: int) -> None:
    if len(labels) != m:
        raise DataError(f"there are {len(labels)} labels for {m} images")
