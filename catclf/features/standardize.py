"""Rows of features brought to one scale, so that penalties and learning rates suit every kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from catclf.errors import DataError
from catclf.features.base import Rows
from catclf.maths import Floats
from catclf.maths.reduction import Run, TreeSum, aligned_runs, part_length
from catclf.samples import Images, cut

_STATISTICS = 128  # rows summed at a time
SPREAD = 0.01  # added to deviations: numbers that hardly vary are not blown up


@dataclass(frozen=True)
class Standardizer:
    """An affine map of rows: (x - mean) * factor, with mean and factor float32 (n,).

    factor = c / (deviation + damping * mean deviation + 0.01), with c such that a row's squared
    length is about 1 on average, and the same learning rates and penalties suit every kind of
    features. With damping, numbers that vary little keep less weight than the others: worth 0.5
    points for patches on cats and dogs, and nothing for other kinds.
    """

    mean: Rows
    factor: Rows

    @classmethod
    def of(cls, rows: Images, damping: float = 0.0) -> Standardizer:
        """Mean and deviation of rows (m, n), summed in float64. Raises DataError unless finite."""
        m, length = len(rows), parts_of_rows(len(rows))
        (whole,) = aligned_runs(0, -(-m // length), -(-m // length))
        mean = sum_of_rows(rows, whole, length) / m
        return cls.of_sums(mean, sum_of_squares(rows, whole, length, mean), m, damping)

    @classmethod
    def of_sums(cls, mean: Floats, squares: Floats, m: int, damping: float = 0.0) -> Standardizer:
        """From the mean (n,) of m rows and the sum of squared distances from it (n,).

        Raises DataError unless they are finite.
        """
        if not np.isfinite(squares).all():
            raise DataError("the features of these images are not finite numbers")
        deviation = np.sqrt(squares / m)
        damped = deviation + damping * deviation.mean() + SPREAD
        factor = (1.0 + damping) / (damped * np.sqrt(len(mean)))
        return cls(mean.astype(np.float32), factor.astype(np.float32))

    @classmethod
    def identity(cls, n: int) -> Standardizer:
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


def parts_of_rows(m: int) -> int:
    """How many of m rows are a part of the canonical sums."""
    return part_length(m, _STATISTICS)


def sum_of_rows(rows: Images, run: Run, length: int) -> Floats:
    """The canonical sum (n,) of the rows of an aligned run of parts.

    ``rows`` are those from the run's first one on.
    """
    return _summed(rows, run, length, lambda block: block.sum(axis=0, dtype=np.float64))


def sum_of_squares(rows: Images, run: Run, length: int, mean: Floats) -> Floats:
    """The canonical sum (n,) of squared distances from the mean (n,), likewise."""
    return _summed(rows, run, length, lambda block: np.square(block - mean).sum(axis=0))


def _summed(rows: Images, run: Run, length: int, of_block: Callable[[Rows], Floats]) -> Floats:
    tree: TreeSum[Floats] = TreeSum(lambda a, b: np.add(a, b, out=a))
    stop = min((run.stop - run.start) * length, len(rows))
    for part in cut(slice(0, stop), length):
        total = np.zeros(rows.shape[1])
        for block in cut(part, _STATISTICS):
            total += of_block(rows[block])
        tree.take(total)
    return tree.total()


class StandardizedRows:
    """Rows that are standardised each time they are read, for those too many to keep in memory."""

    def __init__(self, rows: Images, standard: Standardizer) -> None:
        self._rows, self._standard = rows, standard
        self.shape = tuple(rows.shape)
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Rows:
        return self._standard.apply(self._rows[rows])
