"""Some of the pictures of a data set, by their numbers: not copied until they are read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from catclf.errors import DataError
from catclf.maths import PIXEL_MAX, Floats, Pixels

Rows = NDArray[np.intp]
GAP = 16  # pictures not wanted that are read with their neighbours rather than skipped


class Subset:
    """The pictures at ``rows`` (rising) of others; sliced like them, and read when sliced."""

    def __init__(self, pictures: Pictures, rows: Rows) -> None:
        self.whole, self.rows = pictures, rows

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.whole.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.whole.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        return take(self.whole, self.rows[rows])


class Part:
    """Some of the pictures of a data set with their labels."""

    def __init__(self, data: Labelled, rows: Rows) -> None:
        self.pictures: Pictures = Subset(data.pictures, rows)
        self.Y: Floats = data.Y[:, rows]


def in_memory(pictures: Pictures) -> bool:
    """Whether slicing reads no file."""
    return isinstance(pictures.whole if isinstance(pictures, Subset) else pictures, np.ndarray)


def take(pictures: Pictures, rows: Rows) -> NDArray[Any]:
    """The pictures with these numbers, which must rise, as a new array."""
    if isinstance(pictures, np.ndarray):
        found: NDArray[Any] = pictures[rows]
        return found
    taken = np.empty((len(rows), *pictures.shape[1:]), pictures.dtype)
    edges = [0, *(np.flatnonzero(np.diff(rows) > GAP) + 1).tolist(), len(rows)]
    for a, b in pairwise(edges):
        if a < b:
            first = int(rows[a])
            taken[a:b] = pictures[first : int(rows[b - 1]) + 1][rows[a:b] - first]
    return taken


class Pictures(Protocol):
    """uint8 (m, size, size, 3), or rows of features float32 (m, n); in memory or read when sliced.

    An array is one of these, and so is anything that gives an array of pictures for a slice of
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
    def pictures(self) -> Pictures:
        """uint8 (m, size, size, 3), or rows of features float32 (m, n)."""

    @property
    def Y(self) -> Floats:
        """Labels 0.0 or 1.0, shape (1, m)."""


def measured(data: Labelled) -> tuple[int, int]:
    """m and n of a data set; raises DataError when it is empty or of other types and shapes."""
    pictures, Y = data.pictures, data.Y
    m = len(pictures)
    if m == 0:
        raise DataError("there are no pictures to train on")
    rows = pictures.dtype == np.float32 and len(pictures.shape) == 2
    if not (rows or pictures.dtype == np.uint8) or Y.shape != (1, m):
        raise DataError(f"pictures {pictures.dtype} and Y {Y.shape}: uint8 and (1, {m}) are needed")
    return m, int(np.prod(pictures.shape[1:]))


def scale_of(pictures: Pictures) -> float:
    """What the numbers of pictures are divided by to be features x: 255 for pixels, else 1."""
    return PIXEL_MAX if pictures.dtype == np.uint8 else 1.0


def read_rows(pictures: Pictures, rows: slice, buffer: NDArray[Any] | None = None) -> NDArray[Any]:
    """Some pictures as rows (k, n) of their type, without a copy where they are in memory.

    ``buffer`` (k or more, n) is used by pictures on disk that can read into it: new memory for each
    slice takes longer than the copying. Raises DataError when they cannot be read any more.
    """
    count = rows.stop - rows.start
    read_into = getattr(pictures, "read_into", None)
    try:
        if read_into is not None and buffer is not None:
            read_into(rows.start, buffer[:count].reshape(count, *pictures.shape[1:]))
            return buffer[:count]
        found = pictures[rows]
    except (OSError, RuntimeError, ValueError) as error:
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"the pictures can no longer be read ({cause})") from error
    if len(found) != count:
        raise DataError(
            f"the pictures can no longer be read: {len(found)} of {count} came at {rows.start}"
        )
    return found.reshape(count, -1)


def cut(rows: slice, length: int) -> Iterator[slice]:
    """Consecutive slices of up to ``length`` that together are ``rows``."""
    for start in range(rows.start or 0, rows.stop, length):
        yield slice(start, min(start + length, rows.stop))


class RowView:
    """Some rows of pictures, in the order of ``rows``, not copied until they are sliced."""

    def __init__(self, pictures: Pixels, rows: NDArray[np.int64]) -> None:
        self._pictures, self._rows = pictures, rows
        self.shape: tuple[int, ...] = (len(rows), *pictures.shape[1:])
        self.dtype = np.dtype(np.uint8)
        self.ndim = 4
        self.nbytes = int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice | NDArray[np.integer[Any]]) -> Pixels:
        return self._pictures[self._rows[rows]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.uint8, copy=False)
