"""Sources that are held in memory: ``.npz`` files, read without unpickling, and Python's objects.

Python holds arrays of pixels, or paths in a list or a table, with their labels. A table is anything
with named columns, such as a pandas ``DataFrame`` or a dict of lists; none of the libraries that
make tables is needed here.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from catclf import machine
from catclf.datasets.arrays import (
    CLASS_NAMES,
    Key,
    as_pixels,
    blank_notes,
    encoded,
    four_axes,
    in_colour,
    keys_of,
    require_numbers,
    scale_of,
    stored_listing,
)
from catclf.datasets.dataset import Labels, ReadOptions
from catclf.datasets.listing import Items, Listing, Source, listing_of_items
from catclf.datasets.names import (
    CLASSES_LIMIT,
    Named,
    as_labels,
    check_classes,
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
from catclf.storage.local import kind_of_file
from catclf.storage.location import locate
from catclf.text import printable, reason

SIZE_LIMIT = 1024  # pixels; the size of a model
NAME = {True: "arrays", False: "paths"}  # of what Python holds, in messages and in a model


def read_npz(path: Path, options: ReadOptions) -> Source:
    """The splits of an archive of arrays. Raises DataError."""
    shown = printable(path)
    with _opened(path) as archive:
        keys = keys_of(_keys(archive, shown), shown, options.keys)
    parts = {split: partial(_listing_of_npz, path, pair) for split, pair in keys.items()}
    return Source(shown, options, parts, lenient=True)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An open archive, with whatever is raised about it as DataError."""
    shown = printable(path)
    try:
        with zipfile.ZipFile(locate(path).local()) as archive:
            yield archive
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{shown}: cannot be read: {reason(error)}") from error
    except zipfile.BadZipFile as error:
        kind = kind_of_file(Path(locate(path).local()))
        why = kind if kind and " zip archive" not in kind else f": {error}"
        raise DataError(f"{shown}: is not a sound .npz archive{why}") from error
    except Exception as error:  # zipfile and the header parser raise anything on hostile bytes
        raise DataError(f"{shown}: is damaged and cannot be read") from error


def _keys(archive: zipfile.ZipFile, shown: str) -> list[str]:
    keys = [name.removesuffix(".npy") for name in archive.namelist()]
    if len(set(keys)) < len(keys):
        raise DataError(f"{shown}: holds a name twice")
    return keys


def _listing_of_npz(path: Path, pair: Key, options: ReadOptions) -> Listing:
    shown, (x_key, y_key) = printable(path), pair
    with _opened(path) as archive:
        classes = _classes_of_npz(archive, shown) or options.classes
        check_shape(*_header(archive, y_key, shown), f"{shown}: {y_key}")
        labels = as_labels(_array(archive, y_key, shown), classes, f"{shown}: {y_key}")
        dtype = _header(archive, x_key, shown)[1]
        if dtype.kind not in "SV":
            require_numbers(dtype, f"{shown}: {x_key}")
        return stored_listing(path, pair, labels, _array(archive, x_key, shown), options)


def _classes_of_npz(archive: zipfile.ZipFile, shown: str) -> tuple[str, ...]:
    """The class names under the first of the known keys that holds text."""
    for key in CLASS_NAMES:
        if key not in _keys(archive, shown):
            continue
        shape, dtype = _header(archive, key, shown)
        if dtype.kind in "SU" and len(shape) == 1 and shape[0] * dtype.itemsize <= 1 << 20:
            names = [os.fsdecode(name) for name in _array(archive, key, shown).tolist()]
            return check_classes(names, f"{shown}: {key}")
        if key == CLASS_NAMES[0]:
            raise DataError(f"{shown}: list_classes must be a list of names")
    return ()


def _header(
    archive: zipfile.ZipFile, key: str, shown: str
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array that is as large as it says. Raises DataError."""
    where, info = f"{shown}: {key}", archive.getinfo(f"{key}.npy")
    with archive.open(info) as stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise DataError(f"{where} is in an unknown array format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)  # at most 64 KB
        if dtype.hasobject:
            raise DataError(f"{where} holds pickled objects: they are never loaded")
        nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if nbytes != info.file_size - stream.tell():
            raise DataError(f"{where} does not hold as much as its shape {shape} says")
    machine.require_memory(nbytes, where)
    return shape, dtype


def _array(archive: zipfile.ZipFile, key: str, shown: str) -> NDArray[Any]:
    """An array whose header is sound. Raises DataError."""
    with archive.open(f"{key}.npy") as stream:
        try:
            values = np.lib.format.read_array(stream, allow_pickle=False)
        except ValueError as error:
            raise DataError(f"{shown}: {key} is truncated") from error
        stream.read(1)  # the end: here zipfile compares the checksum
    return np.ascontiguousarray(values)


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
        labels = images[_required(columns, LABEL_COLUMNS)] if labels is None else labels
        images = images[_required(columns, PATH_COLUMNS)]
    if labels is None:
        raise DataError("images from Python need `labels`, one for each")
    named = _labels(labels, options.classes)
    images = _held(images)
    m = len(named.labels)
    if len(images) != m and getattr(images, "ndim", 0) != 2:  # X (n, m) has images as columns
        raise DataError(f"there are {m} labels for {len(images)} images")
    of = _of_arrays if is_pixels(images) else _of_paths
    if kinds is None:
        return Source(NAME[of is _of_arrays], options, {None: partial(of, images, named, groups)})
    parts: dict[Any, Any] = {}
    for kind in set(kinds):  # the classes are those of all splits
        rows = np.flatnonzero(np.array(kinds) == kind)
        some = [images[row] for row in rows.tolist()]
        parts[kind] = partial(
            of,
            some,
            named._replace(labels=named.labels[rows]),
            None if groups is None else groups[rows],
        )
    return Source(NAME[of is _of_arrays], options, parts)


def _of_arrays(images: Any, named: Named, groups: Labels | None, options: ReadOptions) -> Listing:
    fit = options.fit or "squash"
    usual = Preprocess(options.size or options.default_size, fit)
    pixels, notes = as_images(images, len(named.labels), usual)
    notes += blank_notes(pixels, "images")
    preprocess = Preprocess(options.size or own_size(pixels) or options.default_size, fit)
    return Listing(
        NAME[True],
        NAME[True],
        named.classes or options.classes,
        named.labels,
        preprocess,
        options,
        pixels=resized(pixels, preprocess),
        groups=groups,
        notes=(*named.notes, *notes),
    )


def _of_paths(images: Any, named: Named, groups: Labels | None, options: ReadOptions) -> Listing:
    first = next(iter(images), b"")
    held = isinstance(first, bytes) and b"\0" in first  # which no path holds
    return listing_of_items(
        NAME[False],
        NAME[False],
        named.classes,
        named.labels,
        encoded(images, NAME[False], "images") if held else Items(paths_of(images)),
        options,
        groups=groups,
        notes=tuple(named.notes),
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
        arrays = [_of_pillow(image) for image in images]
        if len({(each.shape, each.dtype) for each in arrays}) != 1:
            return _of_several(arrays, usual)
        images = np.stack(arrays)
    m = len(images) if m is None else m
    return as_pixels(images, m, "images", square=False)


def _of_pillow(image: Any) -> NDArray[Any]:
    """An image as an array; one of Pillow whose numbers are no tones is converted."""
    mode = getattr(image, "mode", "I")
    if mode not in ("I", "F", "I;16"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return np.asarray(image)


def _of_several(arrays: list[NDArray[Any]], usual: Preprocess | None) -> tuple[Pixels, list[str]]:
    """Images of several shapes or types, brought to the usual shape if they have several."""
    notes: list[str] = []
    images = [four_axes(each[None], 1, "images", notes) for each in arrays]
    scales = {
        dtype: scale_of([each for each in images if each.dtype == dtype], "images", notes)
        for dtype in dict.fromkeys(each.dtype for each in images)
    }
    pixels = [in_colour(each, scales[each.dtype], notes) for each in images]
    if len({each.shape for each in pixels}) > 1:
        if usual is None:
            raise DataError("images from Python are of several shapes: one is needed")
        pixels = [resized(each, usual) for each in pixels]
    return np.concatenate(pixels), list(dict.fromkeys(notes))


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
    columns = images if isinstance(images, Mapping) else getattr(images, "columns", None)
    if columns is None:
        return None
    return {str(column).strip().lower(): column for column in reversed(list(columns))}


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
    texts = [os.fsdecode(v) if isinstance(v, bytes) else str(v) for v in values]
    names, rows = np.unique(texts, return_inverse=True)
    if not 2 <= len(names) <= CLASSES_LIMIT or "" in names:
        raise DataError(f"labels name {len(names)} classes: two are needed, none without a name")
    require_distinct(names.tolist(), "labels")
    return Named(rows.astype(np.int64), tuple(names.tolist()), [])


def _is_missing(value: Any) -> bool:
    """Whether a label is none: None, NaN, and what pandas has for them."""
    return value is None or (str(value) in ("nan", "<NA>", "NaT") and not isinstance(value, str))
