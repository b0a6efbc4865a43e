"""Images that Python holds: arrays of pixels, or paths in a list or a table, with their labels.

A table is anything with named columns, such as a pandas ``DataFrame`` or a dict of lists; none of
the libraries that make tables is needed here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from catclf.datasets import arrays
from catclf.datasets.dataset import Labels, ReadOptions, Split
from catclf.datasets.listing import Items, Listing, Source, listing_of_items
from catclf.datasets.names import (
    CLASSES_LIMIT,
    Named,
    as_labels,
    check_shape,
    numbered,
    require_distinct,
    split_named,
)
from catclf.datasets.table import GROUP_COLUMNS, LABEL_COLUMNS, PATH_COLUMNS, SPLIT_COLUMNS
from catclf.errors import DataError
from catclf.images import decode
from catclf.images.preprocess import Preprocess
from catclf.maths import Pixels
from catclf.text import printable

SIZE_LIMIT = 1024  # pixels; the size of a model


def read(images: Any, labels: ArrayLike | None, options: ReadOptions) -> Source:
    """Images with their labels, one of ``classes`` each, or 0 and 1. Raises DataError.

    ``images`` are arrays of pixels by the rules of stored ones, paths of image files, or a table; a
    table has a column path (or file, filename, image), and, without ``labels``, a column label (or
    class). A column split (or subset) divides the rows, as in a file, and group keeps together.
    """
    if isinstance(images, str | bytes | os.PathLike):
        raise DataError(
            "`labels` are for a list of paths: one path is a data set of its own: give a list"
        )
    table, kinds, groups = _Table.of(images), None, None
    if table is not None:
        kinds, groups = table.splits(), numbered(table.texts(GROUP_COLUMNS))
        labels = table.column(LABEL_COLUMNS) if labels is None else labels
        images = table.column(PATH_COLUMNS)
    if labels is None:
        raise DataError("images from Python need `labels`, one for each")
    named, images = _labels(labels, options.classes), _held(images)
    m = len(named.labels)
    if len(images) != m and getattr(images, "ndim", 0) != 2:  # X (n, m) has images as columns
        raise DataError(f"there are {m} labels for {len(images)} images")
    listed = _listing_of_arrays if is_pixels(images) else _listing_of_paths

    def part(split: Split | None, options: ReadOptions) -> Listing:
        whole = listed(images, named, groups, options)
        return whole if kinds is None else whole.select(np.flatnonzero(kinds == split))

    held: Any = {None} if kinds is None else set(kinds.tolist())
    name = "arrays" if is_pixels(images) else "paths"
    return Source(name, options, {split: partial(part, split) for split in held})


def _listing_of_arrays(
    images: Any, named: Named, groups: Labels | None, options: ReadOptions
) -> Listing:
    fit = options.fit or "squash"
    usual = Preprocess(options.size or options.default_size, fit)
    pixels, notes = as_images(images, len(named.labels), usual)
    notes += arrays.blank_notes(pixels, "images")
    _, height, width, _ = pixels.shape
    own = height if height == width <= SIZE_LIMIT else None
    preprocess = Preprocess(options.size or own or options.default_size, fit)
    return Listing(
        "arrays",
        "arrays",
        named.classes or options.classes,
        named.labels,
        preprocess,
        options,
        pixels=resized(pixels, preprocess),
        groups=groups,
        notes=(*named.notes, *notes),
    )


def _listing_of_paths(
    images: Any, named: Named, groups: Labels | None, options: ReadOptions
) -> Listing:
    first = next(iter(images), b"")
    held = isinstance(first, bytes) and b"\0" in first  # which no path holds
    items = arrays.encoded(images, "paths", "images") if held else Items(paths_of(images))
    notes = tuple(named.notes)
    return listing_of_items(
        "paths", "paths", named.classes, named.labels, items, options, groups=groups, notes=notes
    )


def _held(images: Any) -> Any:
    """Images that can be counted and indexed: an array, or a list. Raises DataError."""
    if hasattr(images, "__array__"):
        images = np.asarray(images)  # also of a tensor, or a column of a table
    if isinstance(images, np.ndarray) and images.ndim and images.dtype.kind != "O":
        return images
    if not isinstance(images, Iterable) or getattr(images, "ndim", 1) == 0:
        raise DataError(f"images are arrays or paths in a list, not one {type(images).__name__}")
    return list(images)


def is_pixels(images: Any) -> bool:
    """Whether these are arrays of numbers, and not paths."""
    if isinstance(images, np.ndarray) and images.dtype.kind not in "OSU":
        return True
    first = next(iter(images), "")
    return not isinstance(first, str | bytes | os.PathLike)


def as_images(
    images: Any, m: int | None = None, usual: Preprocess | None = None
) -> tuple[Pixels, list[str]]:
    """Images uint8 (m, h, w, 3) by the rules of stored arrays, and how they were taken.

    Images of Pillow are taken in their colours. Those of several shapes are brought to the
    ``usual`` one. Raises DataError.
    """
    if not isinstance(images, np.ndarray):
        several = [_of_pillow(image) for image in images]
        if len({(each.shape, each.dtype) for each in several}) != 1:
            return _of_several(several, usual)
        images = np.stack(several)
    m = len(images) if m is None else m
    return arrays.as_pixels(images, m, "images", square=False)


def _of_pillow(image: Any) -> NDArray[Any]:
    """An image as an array; one of Pillow whose numbers are no tones is converted."""
    mode = getattr(image, "mode", "I")
    if mode not in ("I", "F", "I;16"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return np.asarray(image)


def _of_several(several: list[NDArray[Any]], usual: Preprocess | None) -> tuple[Pixels, list[str]]:
    """Images of several shapes or types, brought to the usual shape if they have several."""
    notes: list[str] = []
    images = [arrays.four_axes(each[None], 1, "images", notes) for each in several]
    scales = {
        dtype: arrays.scale_of([each for each in images if each.dtype == dtype], "images", notes)
        for dtype in dict.fromkeys(each.dtype for each in images)
    }
    pixels = [arrays.in_colour(each, scales[each.dtype], notes) for each in images]
    if len({each.shape for each in pixels}) > 1:
        if usual is None:
            raise DataError("images from Python are of several shapes: one is needed")
        pixels = [resized(each, usual) for each in pixels]
    return np.concatenate(pixels), list(dict.fromkeys(notes))


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


class _Table:
    """Named columns; names are compared in small letters."""

    def __init__(self, columns: Any, names: Iterable[Any]) -> None:
        self._columns = columns
        self._names = {str(name).strip().lower(): name for name in reversed(list(names))}

    @classmethod
    def of(cls, images: Any) -> _Table | None:
        """A table; None for anything else."""
        names = images if isinstance(images, Mapping) else getattr(images, "columns", None)
        return None if names is None else cls(images, names)

    def column(self, names: Sequence[str]) -> Any:
        """The column that has the first of ``names`` that is there. Raises DataError."""
        for name in names:
            if name in self._names:
                return self._columns[self._names[name]]
        listed = [printable(str(each)) for each in reversed([*self._names.values()])]
        raise DataError(
            f"the table has no column {' or '.join(names[:3])}; it has "
            f"{', '.join(listed) or 'nothing'}"
        )

    def texts(self, names: Sequence[str]) -> list[str]:
        """The values of such a column as texts; none where there is no such column."""
        if not self._names.keys() & set(names):
            return []
        return ["" if _is_missing(value) else str(value) for value in self.column(names)]

    def splits(self) -> NDArray[np.str_] | None:
        """The split of each row; None where no column tells several of every row."""
        kinds = [split_named(text) for text in self.texts(SPLIT_COLUMNS)]
        return None if None in kinds or len(set(kinds)) < 2 else np.array(kinds)


def _labels(labels: ArrayLike, classes: tuple[str, ...]) -> Named:
    """Labels by the rules of stored ones; other numbers than those are names of classes."""
    # As an array, a list of texts and NaN would be texts, and so would its NaN.
    values = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)  # type: ignore[arg-type]
    if missing := [number for number, value in enumerate(values) if _is_missing(value)]:
        raise DataError(
            f"labels: {len(missing)} of {len(values)} are missing, first labels[{missing[0]}]: "
            "leave such images out"
        )
    if np.ndim(labels) != 1 and np.size(labels):
        array = np.asarray(labels)
        check_shape(array.shape, array.dtype, "labels")
        return as_labels(array, classes, "labels")
    numbers = all(isinstance(value, Real | np.bool_) for value in values)
    if numbers and (classes or set(values) <= {0, 1} or set(values) in ({-1, 1}, {1, 2})):
        return as_labels(np.array(values), classes, "labels")
    texts = arrays.texts_of(value if isinstance(value, bytes) else str(value) for value in values)
    names, rows = np.unique(texts, return_inverse=True)
    if not 2 <= len(names) <= CLASSES_LIMIT or "" in names:
        raise DataError(f"labels name {len(names)} classes: two are needed, none without a name")
    require_distinct(names.tolist(), "labels")
    return Named(rows.astype(np.int64), tuple(names.tolist()), [])


def _is_missing(value: Any) -> bool:
    """Whether a label is none: None, NaN, and what pandas has for them."""
    return value is None or (str(value) in ("nan", "<NA>", "NaT") and not isinstance(value, str))
