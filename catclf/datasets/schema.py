"""Checks that stored arrays are labelled images, the same for HDF5 and ``.npz``."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.datasets.dataset import Labels, Part, Reading
from catclf.errors import DataError
from catclf.images.preprocess import FITS, Preprocess
from catclf.text import counted, printable

PLAIN = (("x", "y"), ("images", "labels"))
KEYS: dict[Part, tuple[tuple[str, str], ...]] = {
    "train": (("train_set_x", "train_set_y"), *PLAIN, ("test_set_x", "test_set_y")),
    "test": (("test_set_x", "test_set_y"), *PLAIN, ("train_set_x", "train_set_y")),
}
MOST_CLASSES = 1000


def find_keys(keys: Container[str], listed: list[str], part: Part, shown: str) -> tuple[str, str]:
    """The keys of images and labels. Raises DataError that lists those found."""
    for x_key, y_key in KEYS[part]:
        if x_key in keys and y_key in keys:
            return x_key, y_key
    found = ", ".join(printable(key) for key in listed[:20]) or "nothing"
    wanted = ", ".join(f"{x} and {y}" for x, y in KEYS[part])
    raise DataError(f"{shown}: has none of the keys {wanted}; it holds {found}")


def parts(keys: Container[str]) -> set[Part]:
    """Those parts of which images and labels are among the keys."""
    named: tuple[Part, ...] = ("train", "test")
    return {part for part in named if f"{part}_set_x" in keys and f"{part}_set_y" in keys}


def check_labels(shape: tuple[int, ...], dtype: np.dtype[Any], shown: str) -> None:
    """Labels are integers of shape (m,), (1, m) or (m, 1)."""
    if dtype.kind not in "biu":
        raise DataError(f"{shown} is {dtype}: labels must be integers, 0 or 1")
    if len(shape) not in (1, 2) or (len(shape) == 2 and 1 not in shape):
        raise DataError(f"{shown} has shape {shape}: labels must have shape (m,)")


def check_values(labels: NDArray[Any], classes: tuple[str, ...], shown: str) -> Labels:
    """Labels (m,) int64, each the index of a class."""
    values = labels.reshape(-1)
    count = len(classes) or 2
    outside = np.flatnonzero((values < 0) | (values >= count))
    if len(outside):
        allowed = "0 or 1" if count == 2 else f"0 to {count - 1}"
        raise DataError(
            f"{shown} has label {values[outside[0]]} at image {outside[0]}: "
            f"labels must be {allowed}"
        )
    return values.astype(np.int64)


def check_classes(names: list[str], shown: str) -> tuple[str, ...]:
    """Two or more different names."""
    if not 2 <= len(names) <= MOST_CLASSES or len(set(names)) < len(names) or not all(names):
        raise DataError(f"{shown}: list_classes must be two or more different names")
    return tuple(names)


def check_images(
    shape: tuple[int, ...], dtype: np.dtype[Any], m: int, size: int | None, shown: str
) -> None:
    """Images are uint8 (m, size, size, 3), as many as there are labels."""
    if dtype != np.uint8:
        raise DataError(f"{shown} is {dtype}: pixels must be uint8, 0 to 255")
    if len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2] or shape[1] == 0:
        raise DataError(f"{shown} has shape {shape}: (m, 64, 64, 3) or another square is needed")
    if shape[0] != m:
        raise DataError(f"{shown} has {counted(shape[0], 'image')}, but {counted(m, 'label')}")
    if m == 0:
        raise DataError(f"{shown} has no images")
    if size is not None and shape[1] != size:
        raise DataError(
            f"{shown} has images of {shape[1]}x{shape[1]}, not {size}x{size}: "
            f"train with `size={shape[1]}`"
        )


def recorded(fit: Any, resampling: Any, size: int, reading: Reading, shown: str) -> Preprocess:
    """The preprocessing that made stored images, as recorded with them, else as stated."""
    if fit is None:
        return Preprocess(size, reading.fit or "squash")
    if fit not in FITS or not isinstance(resampling, str):
        raise DataError(f"{shown}: was packed in a way that this catclf does not know")
    if reading.fit not in (None, fit):
        raise DataError(f"{shown}: was packed with `fit={fit}`, not {reading.fit}")
    return Preprocess(size, fit, resampling)
