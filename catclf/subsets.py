"""Some of the pictures of a data set, by their numbers: not copied until they are read."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import DataError
from catclf.maths import Floats
from catclf.problems.base import Labelled, Pictures
from catclf.wording import counted

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


def split(data: Labelled, fraction: float, seed: int) -> tuple[Part, Part]:
    """The pictures to train on, and ``fraction`` of each class held out, chosen by ``seed``.

    Raises DataError when a class has too few pictures to be in both.
    """
    rng = np.random.default_rng([seed, _SPLIT])
    labels = data.Y[0] > 0.5
    held = np.zeros(len(labels), dtype=bool)
    for label in (False, True):
        rows = np.flatnonzero(labels == label)
        count = round(fraction * len(rows))
        if not 0 < count < len(rows):
            raise DataError(
                f"{fraction:g} of {counted(len(rows), 'picture')} of one class cannot be held out "
                "for validation: use more pictures or another fraction"
            )
        held[rng.permutation(rows)[:count]] = True
    return Part(data, np.flatnonzero(~held)), Part(data, np.flatnonzero(held))


_SPLIT = 1  # keeps the split's random numbers apart from those of shuffling
