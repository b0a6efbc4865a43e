"""One pass over a block of images: their losses, errors, and Pᵀ dZᵀ; made with NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from catclf.maths import Floats
from catclf.objective.base import ClassWeights, weighted_losses

Real = NDArray[np.floating[Any]]
Values = NDArray[Any]  # pixels uint8, or features float32

# Measured with n = 12288 on one core of 2 MB second-level cache, milliseconds for 20 000 images:
# blocks of 16: 68, 32: 54, 64: 51 to 54, 128: 46 to 51, 256: 51. 128 images are 6 MB in float32.
BLOCK = 128  # images converted to floating point at a time
# One float32 sum of 12288 products is off by 5e-7 in z, sums of 512 added in float64 by 1.5e-7, in
# the same time; sums of 128 by 0.9e-7, in 1.3 times the time.
RUN = 512  # products that are summed in float32 before the sum goes on in float64


@dataclass
class Sums:
    """Sums over some images: losses, errors dZ, and X dZᵀ with X still in pixels, (n, 1)."""

    loss: float
    db: float
    dw: NDArray[Any]

    def add(self, others: Sums) -> None:
        self.loss += others.loss
        self.db += others.db
        self.dw += others.dw

    def plus(self, others: Sums) -> Sums:
        """As ``add``; these sums themselves, for a reduction."""
        self.add(others)
        return self


class Products(Protocol):
    """Passes over blocks: rows (k, n), w (n, 1) for them, Y (1, k). One thread's own."""

    def loss(self, rows: Values, w: Real, b: float, Y: Floats, weights: ClassWeights) -> float:
        """The sum of the losses alone."""

    def sums(self, rows: Values, w: Real, b: float, Y: Floats, weights: ClassWeights) -> Sums:
        """All sums; their array is used again for the next block."""


class Converted:
    """A block is converted to float32 in a buffer, and multiplied by BLAS while in the cache.

    float32 moves half the bytes and makes two times the products of float64 in a second; over 2000
    steps on the course's data the printed costs are the same digits.
    """

    def __init__(self, k: int, n: int) -> None:
        self._buffer, self._product = np.empty((k, n), np.float32), np.empty((n, 1), np.float32)

    def loss(self, rows: Values, w: Real, b: float, Y: Floats, weights: ClassWeights) -> float:
        losses, _ = weighted_losses(_times(self._load(rows), w) + b, Y, weights)
        return float(losses.sum())

    def sums(self, rows: Values, w: Real, b: float, Y: Floats, weights: ClassWeights) -> Sums:
        P = self._load(rows)
        losses, dZ = weighted_losses(_times(P, w) + b, Y, weights)
        return Sums(float(losses.sum()), float(dZ.sum()), self._transposed_times(P, dZ))

    def total(self, rows: Values) -> Real:
        """The sum of the rows, (n, 1); exact for pixels, whose sum is below 2^24."""
        return self._transposed_times(self._load(rows), np.ones((1, len(rows))))

    def _load(self, rows: Values) -> Real:
        P = self._buffer[: len(rows)]
        np.copyto(P, rows)
        return P

    def _transposed_times(self, P: Real, dZ: Floats) -> Real:
        """Pᵀ dZᵀ: (n, k) @ (k, 1)."""
        return np.matmul(P.T, dZ.T.astype(P.dtype), out=self._product)


def _times(P: Real, w: Real) -> Floats:
    """(P w)ᵀ, shape (1, k), for P (k, n) and w (n, 1), with sums of ``RUN`` products in float64."""
    k, n = P.shape
    whole = n - n % RUN
    runs = P[:, :whole].reshape(k, -1, RUN).transpose(1, 0, 2)  # (q, k, RUN): a view
    Z: Floats = np.matmul(runs, w[:whole].reshape(-1, RUN, 1)).sum(axis=0, dtype=np.float64)
    if whole < n:
        Z += P[:, whole:] @ w[whole:]
    return Z.T
