"""Images and labels as every room sees them, in memory or on disk, and random divisions of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from catclf.errors import DataError
from catclf.maths import PIXEL_MAX, Floats
from catclf.text import counted, first_line, reason

Indices = NDArray[np.intp]  # numbers of images
GAP = 16  # images not wanted that are read with their neighbours rather than skipped
MEASURED = 256  # images in memory that are measured at a time


class Images(Protocol):
    """uint8 (m, size, size, 3), or rows of features float32 (m, n); in memory or read when sliced.

    An array is one of these, and so is anything that gives an array of images for a slice of
    their numbers; slices may be asked for by several threads.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> NDArray[Any]: ...


class Labelled(Protocol):
    """What a problem needs of a data set."""

    @property
    def images(self) -> Images:
        """uint8 (m, size, size, 3), or rows of features float32 (m, n)."""

    @property
    def Y(self) -> Floats:
        """Labels 0.0 or 1.0, shape (1, m)."""


class Rows:
    """Images, or rows of features, that are read when they are sliced.

    A subclass has ``shape`` and ``dtype``, and reads rows in their order by ``read_into``. Several
    threads may ask for slices.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any] = np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def read_into(self, start: int, out: NDArray[Any]) -> None:
        """Fill an array with the rows from ``start`` on.

        Saves a new array for each slice, whose fresh pages cost more than the copying.
        """
        raise NotImplementedError

    def __getitem__(self, rows: slice | Indices, /) -> NDArray[Any]:
        """Rows by a slice, or by an array of row numbers, as a new array. Raises IndexError."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                out = np.empty((max(stop - start, 0), *self.shape[1:]), self.dtype)
                self.read_into(start, out)
                return out
            rows = np.arange(start, stop, step)
        numbers, m = np.asarray(rows), len(self)
        if len(numbers) and not -m <= numbers.min() <= numbers.max() < m:
            raise IndexError(f"there are {m} rows")
        return take(self, numbers % m)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)


class IndexedImages(Rows):
    """The images at ``rows`` of others, in that order; sliced like them, and read when sliced."""

    def __init__(self, images: Images, rows: Indices) -> None:
        self.whole, self.rows, self.dtype = images, rows, images.dtype
        self.shape = (len(rows), *images.shape[1:])

    def __getitem__(self, rows: slice | Indices, /) -> NDArray[Any]:
        return take(self.whole, self.rows[rows])

    def read_into(self, start: int, out: NDArray[Any]) -> None:
        rows = self.rows[start : start + len(out)]
        if isinstance(self.whole, Rows) and len(rows) and (np.diff(rows) == 1).all():
            self.whole.read_into(int(rows[0]), out)
        else:
            out[...] = take(self.whole, rows)


class Subset:
    """Some of the images of a data set with their labels; ``fingerprint`` tells subsets apart."""

    source = ""

    def __init__(self, data: Labelled, rows: Indices) -> None:
        from hashlib import sha256  # takes 4 ms to load, and predict does without

        self.images: Images = IndexedImages(data.images, rows)
        self.rows = rows
        self.Y: Floats = data.Y[:, rows]
        whole = getattr(data, "fingerprint", "")
        self.fingerprint = sha256(whole.encode() + rows.astype("<i8").tobytes()).hexdigest()


def in_memory(images: Images) -> bool:
    """Whether slicing reads no file."""
    return isinstance(images.whole if isinstance(images, IndexedImages) else images, np.ndarray)


def take(images: Images, rows: Indices) -> NDArray[Any]:
    """The images with these numbers as a new array; from disk in the order of the file."""
    if isinstance(images, np.ndarray):
        result: NDArray[Any] = images[rows]
        return result
    steps = np.diff(rows)
    if len(rows) and (steps == 1).all():
        return images[int(rows[0]) : int(rows[-1]) + 1]
    if (steps < 0).any():
        order = np.argsort(rows, kind="stable")
        return take(images, rows[order])[np.argsort(order)]
    taken = np.empty((len(rows), *images.shape[1:]), images.dtype)
    edges = [0, *(np.flatnonzero(steps > GAP) + 1).tolist(), len(rows)]
    for a, b in pairwise(edges):
        if a < b:
            first = int(rows[a])
            taken[a:b] = images[first : int(rows[b - 1]) + 1][rows[a:b] - first]
    return taken


def extremes(images: Images, rows: Indices) -> NDArray[Any]:
    """The smallest and the largest number of each image, (2, k); in memory of consecutive ones."""
    found = np.empty((2, len(rows)), images.dtype)
    each = MEASURED if isinstance(images, np.ndarray) else 1
    for some in cut(slice(0, len(rows)), each):
        first, count = int(rows[some.start]), some.stop - some.start
        block = images[first : first + count].reshape(count, -1)
        found[:, some] = block.min(axis=1), block.max(axis=1)
    return found


def read_at(descriptor: int, view: memoryview, offset: int, shown: str) -> None:
    """Fill memory from a place in an open file, which several threads may do at once.

    Raises DataError when the file is shorter than it was.
    """
    while view:
        try:
            count = os.preadv(descriptor, [view], offset)
        except OSError as error:
            raise DataError(f"{shown}: cannot be read: {reason(error)}") from error
        if count == 0:
            raise DataError(f"{shown}: the file was cut short while it was read")
        view, offset = view[count:], offset + count


def measured(data: Labelled) -> tuple[int, int]:
    """m and n of a data set; raises DataError when it is empty or of other types and shapes."""
    images, Y = data.images, data.Y
    m = len(images)
    if m == 0:
        raise DataError("there are no images to train on")
    rows = images.dtype == np.float32 and len(images.shape) == 2
    if not (rows or images.dtype == np.uint8) or Y.shape != (1, m):
        raise DataError(f"images {images.dtype} and Y {Y.shape}: uint8 and (1, {m}) are needed")
    return m, int(np.prod(images.shape[1:]))


def scale_of(images: Images) -> float:
    """What the numbers of images are divided by to be features x: 255 for pixels, else 1."""
    return PIXEL_MAX if images.dtype == np.uint8 else 1.0


def read_rows(images: Images, rows: slice, buffer: NDArray[Any] | None = None) -> NDArray[Any]:
    """Some images as rows (k, n) of their type, without a copy where they are in memory.

    ``buffer`` (k or more, n) is used by images on disk that can read into it: new memory for each
    slice takes longer than the copying. Raises DataError when they cannot be read any more.
    """
    count = rows.stop - rows.start
    read_into = getattr(images, "read_into", None)
    try:
        if read_into is not None and buffer is not None:
            read_into(rows.start, buffer[:count].reshape(count, *images.shape[1:]))
            return buffer[:count]
        pixels = images[rows]
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"the images can no longer be read ({first_line(error)})") from error
    if len(pixels) != count:
        raise DataError(
            f"the images can no longer be read: {len(pixels)} of {count} came at {rows.start}"
        )
    return pixels.reshape(count, -1)


def cut(rows: slice, length: int) -> Iterator[slice]:
    """Consecutive slices of up to ``length`` that together are ``rows``."""
    for start in range(rows.start or 0, rows.stop, length):
        yield slice(start, min(start + length, rows.stop))


# Random divisions, the same for the same seed

_SPLIT = 1  # keeps the split's random numbers apart from those of shuffling


def stratified_split(
    labels: Indices, groups: Indices, fraction: float, seed: int
) -> tuple[Indices, Indices]:
    """Row numbers of two splits, sorted: the rest, and about ``fraction`` of each class.

    ``labels`` (m,) are class numbers, ``groups`` (m,) say which rows must stay together. Groups are
    taken at random, large ones first, where that brings the classes nearer to what is wanted.
    Raises DataError when a split would be empty.
    """
    members = _members(labels, groups, np.random.default_rng(seed))
    missing = fraction * np.bincount(labels)
    chosen = np.zeros(len(labels), dtype=bool)
    for rows, counts in members:
        if np.abs(missing - counts).sum() <= np.abs(missing).sum():
            chosen[rows] = True
            missing -= counts
    if chosen.all() or not chosen.any():
        raise DataError(
            f"{counted(len(labels), 'image')} cannot be divided so that each part has some: "
            "try `test=0.5`"
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def split(
    data: Labelled, fraction: float, seed: int, groups: Indices | None = None
) -> tuple[Subset, Subset]:
    """The images to train on, and ``fraction`` of each class held out, drawn by ``seed``.

    Images of one of ``groups`` (m,) are on one side. Raises DataError when a class has too few
    images to be in both.
    """
    Y, held = data.Y, np.zeros(data.Y.shape[1], dtype=bool)
    labels = (Y[0] > 0.5).astype(np.intp)
    if groups is not None and not _alone(groups):
        held[stratified_split(labels, groups, fraction, seed)[1]] = True
    else:
        for _, rows in _shuffled_classes(Y, np.random.default_rng([seed, _SPLIT])):
            held[rows[: round(fraction * len(rows))]] = True
    totals = np.bincount(labels, minlength=2)
    counts = np.bincount(labels[held], minlength=2)
    if (few := (counts == 0) | (counts == totals)).any():
        raise DataError(
            f"{fraction:g} of {counted(int(totals[few][0]), 'image')} of one class cannot be held "
            "out for validation: use more images or another fraction"
        )
    return Subset(data, np.flatnonzero(~held)), Subset(data, np.flatnonzero(held))


def possible_folds(Y: Floats, folds: int, groups: Indices | None = None) -> int:
    """``folds``, or fewer where a class of labels Y (1, m) has fewer images, or groups of them."""
    labels, rows = Y[0] > 0.5, np.arange(Y.shape[1])
    numbers = rows if groups is None else groups
    return min(folds, *(len(np.unique(numbers[labels == label])) for label in (False, True)))


def stratified_folds(
    Y: Floats,
    folds: int,
    seed: int,
    repeats: int = 1,
    *,
    groups: Indices | None = None,
    level: bool = False,
    advice: str = "give `l2` and `threshold` as numbers, or use more images",
) -> Indices:
    """The fold of each image in each repeat, (repeats, m), for labels Y (1, m).

    Each class is dealt out evenly, at random; images of one of ``groups`` (m,) are in one fold, and
    large groups are dealt out first. The first folds get one image more of a class that ``folds``
    does not divide; with ``level`` the last ones do of class 1, so that folds differ less in size.
    Raises DataError, with ``advice``, when a class has fewer images, or groups of them, than there
    are folds (see ``possible_folds``), or less than two folds are asked for.
    """
    possible = possible_folds(Y, folds, groups)
    if possible < max(folds, 2):
        kind = "images" if groups is None else "images, or groups of equal and similar ones,"
        raise DataError(
            f"cross-validation needs {max(folds, 2)} {kind} of each class, one has {possible}: "
            f"{advice}"
        )
    rng = np.random.default_rng(seed)
    fold_of = np.empty((repeats, Y.shape[1]), dtype=np.int64)
    if groups is not None and not _alone(groups):
        for repeat in range(repeats):
            fold_of[repeat] = _grouped_folds((Y[0] > 0.5).astype(np.intp), groups, folds, rng)
        return fold_of
    dealt = {False: 0, True: 0}  # repeats, by class
    for label, rows in _shuffled_classes(Y, rng, repeats):
        places = np.arange(len(rows)) % folds
        fold_of[dealt[label], rows] = folds - 1 - places if label and level else places
        dealt[label] += 1
    return fold_of


def _grouped_folds(
    labels: Indices, groups: Indices, folds: int, rng: np.random.Generator
) -> Indices:
    """Each group in the fold that has the least of its classes so far."""
    totals = np.bincount(labels, minlength=2)
    have = np.zeros((folds, 2))
    fold_of = np.empty(len(labels), np.int64)
    for rows, counts in _members(labels, groups, rng):
        load = (have / totals) @ counts
        fold = int(np.lexsort((have.sum(axis=1), load))[0])
        fold_of[rows] = fold
        have[fold] += counts
    if (have >= totals).any():
        raise DataError(
            f"cross-validation needs groups that leave both classes outside of each of {folds} "
            "folds: give `l2` and `threshold` as numbers, or use more images"
        )
    return fold_of


def _members(
    labels: Indices, groups: Indices, rng: np.random.Generator
) -> list[tuple[Indices, Indices]]:
    """The rows of each group with the count of each class, at random, large groups first."""
    order = np.argsort(groups, kind="stable")
    ends = np.flatnonzero(np.diff(groups[order])) + 1
    members = np.split(order, ends)
    shuffled = [members[place] for place in rng.permutation(len(members))]
    shuffled.sort(key=len, reverse=True)
    classes = int(labels.max()) + 1
    return [(rows, np.bincount(labels[rows], minlength=classes)) for rows in shuffled]


def _alone(groups: Indices) -> bool:
    """Whether no two rows are of one group."""
    return len(np.unique(groups)) == len(groups)


def stratified_sample(Y: Floats, limit: int, seed: int) -> Indices:
    """Sorted row numbers of about ``limit`` images, classes in the proportion of Y (1, m).

    Of a rare class there are five or more, if it has them.
    """
    stride = -(-Y.shape[1] // limit)
    chosen = [
        rows[:: max(1, min(stride, len(rows) // 5))]
        for _, rows in _shuffled_classes(Y, np.random.default_rng(seed))
    ]
    return np.sort(np.concatenate(chosen))


def _shuffled_classes(
    Y: Floats, rng: np.random.Generator, repeats: int = 1
) -> Iterator[tuple[bool, Indices]]:
    """Each class, negatives first, with its row numbers in random order, ``repeats`` times."""
    labels = Y[0] > 0.5
    for label in (False, True):
        rows = np.flatnonzero(labels == label)
        for _ in range(repeats):
            yield label, rng.permutation(rows)
