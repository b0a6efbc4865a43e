"""The two products of a block of pictures, compiled by Numba: the one door to it.

NumPy can only multiply numbers that were converted to floating point and written to memory first,
four bytes for each of the pixels' one. Compiled code converts them on their way to the products.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.maths import Floats
from catclf.problems.products import Real, Values

# Measured with n = 12288 on one core, milliseconds for 20 000 pictures: both products 20, of
# which 14 are the first one with runs of 2048 (512: 16, no runs: 12). Its error in z is 1.4e-7.
BLOCK = 256  # pictures at a time: 3 MB of pixels
RUN = 2048  # products that are summed in float32 before the sum goes on in float64
TILE = 2048  # columns of the second product that stay in the first-level cache: 8 KB


class Fused:
    """A block stays as it is, bytes or float32; products are summed in float32."""

    def __init__(self, n: int) -> None:
        self._times, self._transposed = compiled()
        self._product: NDArray[np.float32] = np.empty((n, 1), np.float32)

    def load(self, rows: Values) -> None:
        self._rows = rows

    def times(self, w: Real) -> Floats:
        Z = np.empty((1, len(self._rows)))
        self._times(self._rows, w[:, 0], Z[0])
        return Z

    def transposed_times(self, dZ: Floats) -> Real:
        self._transposed(self._rows, dZ[0].astype(np.float32), self._product[:, 0])
        return self._product


def missing() -> str:
    """Why Numba cannot be used, or nothing; it is imported to know."""
    try:
        import numba  # noqa: F401, TID251
    except ImportError as error:  # also for a NumPy that it does not work with
        return str(error)
    return ""


def require() -> None:
    """Raise SettingsError where Numba cannot be used."""
    if why := missing():
        raise SettingsError(
            f"--method fused needs Numba ({why}): python -m pip install 'catclf[fast]', "
            "or use --method stream"
        )


@cache
def compiled() -> tuple[Any, Any]:
    """Both products as machine code that runs without Python's lock.

    Sums may be taken in the order that suits the processor, which is the same on each run. Nothing
    is assumed of infinities and NaN, which are what divergence is known by.
    """
    from numba import njit  # noqa: TID251

    compile_ = njit(nogil=True, fastmath={"reassoc", "contract", "nsz"})
    return compile_(_times), compile_(_transposed_times)


def _times(P: Any, w: Any, Z: Any) -> None:
    """Z := P w for P (k, n), w (n,) float32 and Z (k,) float64; four rows share each load of w."""
    k, n = P.shape
    Z[:] = 0.0
    for start in range(0, n, RUN):
        stop = min(n, start + RUN)
        v = w[start:stop]
        i = 0
        while i + 4 <= k:
            p0, p1 = P[i, start:stop], P[i + 1, start:stop]
            p2, p3 = P[i + 2, start:stop], P[i + 3, start:stop]
            z0 = z1 = z2 = z3 = np.float32(0)
            for j in range(stop - start):
                z0 += np.float32(p0[j]) * v[j]
                z1 += np.float32(p1[j]) * v[j]
                z2 += np.float32(p2[j]) * v[j]
                z3 += np.float32(p3[j]) * v[j]
            Z[i] += z0
            Z[i + 1] += z1
            Z[i + 2] += z2
            Z[i + 3] += z3
            i += 4
        while i < k:
            p0, z0 = P[i, start:stop], np.float32(0)
            for j in range(stop - start):
                z0 += np.float32(p0[j]) * v[j]
            Z[i] += z0
            i += 1


def _transposed_times(P: Any, d: Any, dw: Any) -> None:
    """dw := Pᵀ d for P (k, n), d (k,) and dw (n,) float32; dw is loaded once for eight rows."""
    k, n = P.shape
    for start in range(0, n, TILE):
        stop = min(n, start + TILE)
        tile = dw[start:stop]
        tile[:] = 0.0
        i = 0
        while i + 8 <= k:
            p0, p1 = P[i, start:stop], P[i + 1, start:stop]
            p2, p3 = P[i + 2, start:stop], P[i + 3, start:stop]
            p4, p5 = P[i + 4, start:stop], P[i + 5, start:stop]
            p6, p7 = P[i + 6, start:stop], P[i + 7, start:stop]
            for j in range(stop - start):
                tile[j] += (
                    (d[i] * np.float32(p0[j]) + d[i + 1] * np.float32(p1[j]))
                    + (d[i + 2] * np.float32(p2[j]) + d[i + 3] * np.float32(p3[j]))
                ) + (
                    (d[i + 4] * np.float32(p4[j]) + d[i + 5] * np.float32(p5[j]))
                    + (d[i + 6] * np.float32(p6[j]) + d[i + 7] * np.float32(p7[j]))
                )
            i += 8
        while i < k:
            for j in range(stop - start):
                tile[j] += d[i] * np.float32(P[i, start + j])
            i += 1
