"""HDF5 data sets in the course's schema: the one door to h5py.

A file from a stranger must not make us read another file or allocate what it does not hold: only
data sets reached by hard links, stored in this file and filled to their declared size are read.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.datasets import Dataset, Part
from catclf.errors import DataError
from catclf.files import printable, reason
from catclf.maths import Floats, Pixels

PLAIN = (("x", "y"), ("images", "labels"))
TRAIN = ("train_set_x", "train_set_y")
TEST = ("test_set_x", "test_set_y")
KEYS: dict[Part, tuple[tuple[str, str], ...]] = {
    "train": (TRAIN, *PLAIN, TEST),
    "test": (TEST, *PLAIN, TRAIN),
}
MOST_COMPRESSION = 1100  # deflate reaches 1032:1 at best
MOST_CLASSES = 1000


def read(path: Path, part: Part, positive: str | None, size: int | None) -> Dataset:
    """Read pictures, labels and class names of one part. Raises DataError."""
    shown = printable(path)
    with _opened(path) as file:
        x_key, y_key = _find_keys(file, part, shown)
        labels = _read_labels(_dataset(file, y_key, shown), f"{shown}: {y_key}")
        names = _read_classes(file, shown)
        pictures = _dataset(file, x_key, shown)
        _check_pictures(pictures, len(labels), size, f"{shown}: {x_key}", y_key)
        Y, classes = _binary(labels, names, positive, f"{shown}: {y_key}")
        return Dataset(_read_pixels(pictures, f"{shown}: {x_key}"), Y, classes, path.name)


def holds_both(path: Path) -> bool:
    """Whether one file has a training and a test part."""
    with _opened(path) as file:
        return all(key in file for key in (*TRAIN, *TEST))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import h5py  # noqa: TID251

    shown = printable(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise DataError(f"{shown}: is not a file: give an HDF5 file")
        file = h5py.File(os.fsencode(path), "r")
    except OSError as error:
        raise DataError(f"{shown}: {_why(error)}") from error
    with file:
        yield file


def _why(error: OSError) -> str:
    """The cause of a failed open in words that say what to do."""
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "may not be read: check its permissions"
    if truncated := re.search(r"eof = (\d+).*stored_eof = (\d+)", text):
        had, needed = truncated.groups()
        return f"is truncated: {had} of {needed} bytes are there: copy or download it again"
    if "signature not found" in text:
        return "is not an HDF5 file"
    if "lock" in text:
        return "is open for writing in another program: close it there first"
    return f"cannot be read as HDF5: {reason(error)}".splitlines()[0]


def _find_keys(file: Any, part: Part, shown: str) -> tuple[str, str]:
    for x_key, y_key in KEYS[part]:
        if x_key in file and y_key in file:
            return x_key, y_key
    found = ", ".join(printable(str(key)) for key in list(file)[:20]) or "nothing"
    wanted = ", ".join(f"{x} and {y}" for x, y in KEYS[part])
    raise DataError(f"{shown}: has none of the keys {wanted}; it holds {found}")


def _dataset(file: Any, key: str, shown: str) -> Any:
    """The data set under a key, if all of it is stored in this file."""
    import h5py  # noqa: TID251

    if not isinstance(file.get(key, getlink=True), h5py.HardLink):
        raise DataError(f"{shown}: {key} is a link to another place: links are not followed")
    found = file[key]
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        raise DataError(f"{shown}: {key} is not a data set")
    if found.external or found.is_virtual:
        raise DataError(f"{shown}: {key} keeps its data in other files: they are not read")
    stored = found.id.get_storage_size()
    if found.nbytes > stored * (MOST_COMPRESSION if found.chunks else 1):
        raise DataError(
            f"{shown}: {key} declares {found.nbytes} bytes and stores {stored}: it is damaged"
        )
    return found


def _read_labels(labels: Any, shown: str) -> NDArray[np.int64]:
    """Integer labels of shape (m,), from (m,), (1, m) or (m, 1)."""
    if labels.dtype.kind not in "biu":
        raise DataError(f"{shown} is {labels.dtype}: labels must be integers, 0 or 1")
    if labels.ndim > 2 or labels.ndim == 0 or (labels.ndim == 2 and 1 not in labels.shape):
        raise DataError(f"{shown} has shape {labels.shape}: labels must have shape (m,)")
    values: NDArray[np.int64] = _fetch(labels, shown).reshape(-1).astype(np.int64)
    return values


def _read_classes(file: Any, shown: str) -> list[str]:
    """The names in ``list_classes``, label 0 first; none when the key is missing."""
    if "list_classes" not in file:
        return []
    dataset = _dataset(file, "list_classes", shown)
    if dataset.ndim != 1 or dataset.dtype.kind not in "SO" or not 2 <= len(dataset) <= MOST_CLASSES:
        raise DataError(f"{shown}: list_classes must be a list of two or more names")
    raw = _fetch(dataset, f"{shown}: list_classes")
    names = [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in raw]
    if len(set(names)) < len(names) or not all(names):
        raise DataError(f"{shown}: list_classes has empty or repeated names")
    return names


def _check_pictures(pictures: Any, m: int, size: int | None, shown: str, y_key: str) -> None:
    shape = tuple(pictures.shape)
    if pictures.dtype != np.uint8:
        raise DataError(f"{shown} is {pictures.dtype}: pixels must be uint8, 0 to 255")
    if len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2] or shape[1] == 0:
        raise DataError(f"{shown} has shape {shape}: (m, 64, 64, 3) or another square is needed")
    if shape[0] != m:
        raise DataError(f"{shown} has {shape[0]} pictures, but {y_key} has {m} labels")
    if m == 0:
        raise DataError(f"{shown} has no pictures")
    if size is not None and shape[1] != size:
        raise DataError(
            f"{shown} has pictures of {shape[1]}x{shape[1]}, not {size}x{size}: "
            f"try --size {shape[1]}"
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if pictures.nbytes > 0.8 * memory:
        raise DataError(
            f"{shown} needs {pictures.nbytes / 1e9:.1f} GB of memory; "
            f"this machine has {memory / 1e9:.1f} GB"
        )


def _binary(
    labels: NDArray[np.int64], names: list[str], positive: str | None, shown: str
) -> tuple[Floats, tuple[str, str]]:
    """Y (1, m) with 1.0 for the positive class, and the names of labels 0 and 1."""
    count = len(names) or 2
    outside = np.flatnonzero((labels < 0) | (labels >= count))
    if len(outside):
        allowed = "0 or 1" if count == 2 else f"0 to {count - 1}"
        raise DataError(
            f"{shown} has label {labels[outside[0]]} at picture {outside[0]}: "
            f"labels must be {allowed}"
        )
    if not names:
        name = positive or "cat"
        return (labels == 1).astype(np.float64).reshape(1, -1), (f"non-{name}", name)
    if positive is not None and positive not in names:
        raise DataError(f"{shown}: no class is named {positive}: choose from {', '.join(names)}")
    name = positive or ("cat" if "cat" in names else names[1])
    index = names.index(name)
    other = names[1 - index] if count == 2 else f"non-{name}"
    return (labels == index).astype(np.float64).reshape(1, -1), (other, name)


def _read_pixels(pictures: Any, shown: str) -> Pixels:
    pixels: Pixels = np.ascontiguousarray(_fetch(pictures, shown))
    return pixels


def _fetch(dataset: Any, shown: str) -> NDArray[Any]:
    """All values; a damaged chunk or an unknown filter becomes a DataError."""
    try:
        values: NDArray[Any] = dataset[...]
    except (OSError, ValueError, RuntimeError) as error:
        cause = str(error).splitlines()[0]
        raise DataError(f"{shown} is damaged and cannot be read ({cause})") from error
    return values
