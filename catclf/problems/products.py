"""The two products of a block of pictures with vectors, made with NumPy: P w and Pᵀ dZᵀ."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from catclf.maths import Floats

Real = NDArray[np.floating[Any]]
Values = NDArray[Any]  # pixels uint8, or features float32

# Measured with n = 12288 on one core of 2 MB second-level cache, milliseconds for 20 000 pictures:
# blocks of 16: 68, 32: 54, 64: 51 to 54, 128: 46 to 51, 256: 51. 128 pictures are 6 MB in float32.
BLOCK = 128  # pictures converted to floating point at a time
# One float32 sum of 12288 products is off by 5e-7 in z, sums of 512 added in float64 by 1.5e-7, in
# the same time; sums of 128 by 0.9e-7, in 1.3 times the time.
RUN = 512  # products that are summed in ``dtype`` before the sum goes on in float64


class Products(Protocol):
    """Products with one block of rows (k, n) at a time; one thread's own."""

    def load(self, rows: Values) -> None:
        """The block that the products are of, until the next one is loaded."""

    def times(self, w: Real) -> Floats:
        """(P w)ᵀ, shape (1, k), for w (n, 1)."""

    def transposed_times(self, dZ: Floats) -> Real:
        """Pᵀ dZᵀ, shape (n, 1), for dZ (1, k); the array is used again for the next block."""


class Converted:
    """A block is converted to ``dtype`` in a buffer, and multiplied by BLAS while in the cache.

    float32 moves half the bytes and makes two times the products of float64 in a second; over 2000
    steps on the course's data the printed costs are the same digits.
    """

    def __init__(self, k: int, n: int, dtype: type[np.float32] | type[np.float64]) -> None:
        self._buffer, self._product = np.empty((k, n), dtype), np.empty((n, 1), dtype)
        self._P: Real = self._buffer

    def load(self, rows: Values) -> None:
        self._P = self._buffer[: len(rows)]
        np.copyto(self._P, rows)

    def times(self, w: Real) -> Floats:
        P, (k, n) = self._P, self._P.shape
        whole = n - n % RUN
        runs = P[:, :whole].reshape(k, -1, RUN).transpose(1, 0, 2)  # (q, k, RUN): a view
        Z: Floats = np.matmul(runs, w[:whole].reshape(-1, RUN, 1)).sum(axis=0, dtype=np.float64)
        if whole < n:
            Z += P[:, whole:] @ w[whole:]
        return Z.T

    def transposed_times(self, dZ: Floats) -> Real:
        return np.matmul(self._P.T, dZ.T.astype(self._P.dtype), out=self._product)
