"""HDF5 data sets in the course's schema: the one door to h5py.

A file from a stranger must not make us read another file or allocate what it does not hold: only
data sets reached by hard links, stored in this file and filled to their declared size are read.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf import machine
from catclf.datasets import schema
from catclf.datasets.dataset import Part, Reading
from catclf.datasets.hdf5_rows import DiskRows
from catclf.datasets.sources import ArraySource
from catclf.errors import DataError
from catclf.maths import Pixels
from catclf.text import printable, reason

MOST_COMPRESSION = 1100  # deflate reaches 1032:1 at best
IN_MEMORY = 256 * 1024 * 1024  # bytes of pixels: more than this stays on disk where that is fast
FIT, RESAMPLING = "catclf_fit", "catclf_resampling"  # attributes of packed images


def read(path: Path, part: Part, reading: Reading) -> ArraySource:
    """Read labels and class names of one part, and images, unless they stay on disk.

    Raises DataError.
    """
    shown = printable(path)
    file = _opened(path)
    try:
        x_key, y_key = schema.find_keys(file, [str(key) for key in file], part, shown)
        where = f"{shown}: {y_key}"
        label_set = _dataset(file, y_key, shown)
        schema.check_labels(label_set.shape, label_set.dtype, where)
        classes = _read_classes(file, shown)
        images = _dataset(file, x_key, shown)
        m = label_set.size
        schema.check_images(images.shape, images.dtype, m, reading.size, f"{shown}: {x_key}")
        labels = schema.check_values(_fetch(label_set, where), classes, where)
        attributes = (images.attrs.get(FIT), images.attrs.get(RESAMPLING))
        preprocess = schema.recorded(*attributes, images.shape[1], reading, shown)
        names = _read_names(file, x_key, m, shown)
        pixels = _pixels(images, f"{shown}: {x_key}", reading.stream)
    except BaseException as error:
        file.close()
        if isinstance(error, DataError) or not isinstance(error, Exception):
            raise
        # h5py raises anything at all on damaged files
        raise DataError(f"{shown}: is damaged and cannot be read as HDF5") from error
    if isinstance(pixels, np.ndarray):
        file.close()
    return ArraySource(shown, path.name, classes, labels, preprocess, pixels, names)


def parts(path: Path) -> set[Part]:
    """Which of a training and a test part one file has."""
    with _opened(path) as file, suppress(Exception):  # reading it will say what is damaged
        return schema.parts(file)
    return set()


def _opened(path: Path) -> Any:
    import h5py  # noqa: TID251

    shown = printable(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise DataError(f"{shown}: is not a file: give an HDF5 file")
        return h5py.File(os.fsencode(path), "r")
    except OSError as error:
        raise DataError(f"{shown}: {_why(error)}") from error


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
    kept = found.id.get_storage_size()
    if found.nbytes > kept * (MOST_COMPRESSION if found.chunks else 1):
        raise DataError(
            f"{shown}: {key} declares {found.nbytes} bytes and stores {kept}: it is damaged"
        )
    return found


def _read_classes(file: Any, shown: str) -> tuple[str, ...]:
    """The names in ``list_classes``, label 0 first; none when the key is missing."""
    if "list_classes" not in file:
        return ()
    names = _dataset(file, "list_classes", shown)
    if names.ndim != 1 or names.dtype.kind not in "SO" or len(names) > schema.MOST_CLASSES:
        raise DataError(f"{shown}: list_classes must be a list of names")
    return schema.check_classes(_texts(names, f"{shown}: list_classes"), shown)


def _read_names(file: Any, x_key: str, m: int, shown: str) -> tuple[str, ...] | None:
    """What the images were called before they were packed, if that was kept."""
    key = x_key.removesuffix("_x") + "_names"
    if not x_key.endswith("_set_x") or key not in file:
        return None
    names = _dataset(file, key, shown)
    if names.shape != (m,) or names.dtype.kind not in "SO":
        return None
    return tuple(_texts(names, f"{shown}: {key}"))


def _texts(dataset: Any, shown: str) -> list[str]:
    raw = _fetch(dataset, shown)
    return [os.fsdecode(text) if isinstance(text, bytes | str) else "" for text in raw]


def _pixels(images: Any, shown: str, stream: bool) -> Pixels:
    """The images in memory, or reading from disk when they are many or ``stream`` says so.

    Compressed images would be unpacked again in every pass, so they stay on disk only if memory
    cannot hold them.
    """
    most = IN_MEMORY if images.compression is None else 0.5 * machine.memory()
    if images.nbytes <= most and not stream:
        pixels: Pixels = np.ascontiguousarray(_fetch(images, shown))
        return pixels
    rows: Any = DiskRows(images, shown)  # has what is used of an array
    return rows  # type: ignore[no-any-return]


def _fetch(dataset: Any, shown: str) -> NDArray[Any]:
    """All values; a damaged chunk or an unknown filter becomes a DataError."""
    try:
        values: NDArray[Any] = dataset[...]
    except (OSError, ValueError, RuntimeError) as error:
        cause = str(error).splitlines()[0]
        raise DataError(f"{shown} is damaged and cannot be read ({cause})") from error
    return values
