"""All pictures of a data set as rows, made once: blocks side by side, in memory or in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from catclf.errors import DataError
from catclf.features import Features, OnProgress, Rows
from catclf.machine import cores
from catclf.maths import Floats
from catclf.parallel import Team, blas_threads

if TYPE_CHECKING:
    from catclf.objective import Pictures

BLOCK = 16  # pictures that a worker encodes at a time
_STATISTICS = 256  # rows summed at a time
SPREAD = 0.01  # added to deviations: numbers that hardly vary are not blown up


class RowSource(Protocol):
    """Rows float32 (m, n): an array, or what reads them from a file when it is sliced."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> Rows: ...


def encode(
    features: Features,
    pictures: Pictures,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> Rows:
    """Rows (m, n) of all pictures, in memory."""
    rows = np.empty((len(pictures), features.n), dtype=np.float32)
    start = 0
    for block in encoded(features, pictures, workers, on_progress):
        rows[start : start + len(block)] = block
        start += len(block)
    return rows


def encoded(
    features: Features,
    pictures: Pictures,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[Rows]:
    """Blocks of rows in order, a few of them ahead; the same for any number of workers."""
    workers, m, done = workers or cores(), len(pictures), 0

    def transformed(start: int) -> Rows:
        return features.transform(np.asarray(pictures[start : start + BLOCK]))

    starts = range(0, m, BLOCK)
    alone = workers == 1 or len(starts) == 1  # then no thread has to be started
    with blas_threads(1):
        for block in (
            map(transformed, starts)
            if alone
            else Team(workers).in_order(transformed, starts, ahead=2)
        ):
            done += len(block)
            if on_progress:
                on_progress(done, m)
            yield block


@dataclass(frozen=True)
class Standard:
    """An affine map of rows: (x - mean) * factor, with mean and factor float32 (n,).

    factor = 1 / ((deviation + 0.01) √n), so that a row's squared length is about 1 on average, and
    the same learning rates and penalties suit every kind of features.
    """

    mean: Rows
    factor: Rows

    @classmethod
    def of(cls, rows: RowSource) -> Standard:
        """Mean and deviation of rows (m, n), summed in float64. Raises DataError unless finite."""
        m, n = rows.shape
        total, squares = np.zeros(n), np.zeros(n)
        for start in range(0, m, _STATISTICS):
            total += rows[start : start + _STATISTICS].sum(axis=0, dtype=np.float64)
        mean = total / m
        for start in range(0, m, _STATISTICS):
            squares += np.square(rows[start : start + _STATISTICS] - mean).sum(axis=0)
        if not np.isfinite(squares).all():
            raise DataError("the features of these pictures are not finite numbers")
        factor = 1.0 / ((np.sqrt(squares / m) + SPREAD) * np.sqrt(n))
        return cls(mean.astype(np.float32), factor.astype(np.float32))

    @classmethod
    def identity(cls, n: int) -> Standard:
        """The map that changes nothing."""
        return cls(np.zeros(n, np.float32), np.ones(n, np.float32))

    def apply(self, rows: Rows) -> Rows:
        """The rows, changed in place."""
        rows -= self.mean
        rows *= self.factor
        return rows

    def fold(self, w: Floats, b: float) -> tuple[Floats, float]:
        """Weights (n, 1) and bias of standardised rows, as those of the rows themselves.

        wᵀ((x - μ) * f) + b = (w * f)ᵀx + (b - (w * f)ᵀμ)
        """
        folded = w * self.factor.astype(np.float64)[:, None]
        return folded, b - float(folded[:, 0] @ self.mean.astype(np.float64))


class StandardRows:
    """Rows that are standardised each time they are read, for those too many to keep in memory."""

    def __init__(self, rows: RowSource, standard: Standard) -> None:
        self._rows, self._standard = rows, standard
        self.shape = tuple(rows.shape)
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Rows:
        return self._standard.apply(self._rows[rows])
