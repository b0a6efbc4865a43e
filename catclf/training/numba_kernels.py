"""The pass over a block of images as machine code: the only module that imports Numba.

Sums may be taken in the order that suits the processor, which is the same on each run. Nothing is
assumed of infinities and NaN, which are what divergence is known by. Python's lock is not held.

Measured with n = 12288 on one core of 2 MB second-level cache, milliseconds for 20 000 images in
memory, of which reading them takes 8: groups of eight rows, scored and added while they are in that
cache, 16; the scores of 64 rows before their sums 18, of 256 rows 20. With runs of 2048 a z of
12288 products is off by 1.4e-7, without runs by 5e-7.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit  # noqa: TID251

RUN = 2048  # products that are summed in float32 before the sum goes on in float64
GROUP = 8  # rows that are added to dw together, so that it is loaded and stored once for them

_compiled = njit(nogil=True, fastmath={"reassoc", "contract", "nsz"})


@_compiled
def scores(P: Any, w: Any, b: float, Z: Any) -> None:
    """Z := P w + b for P (k, n), w (n,) float32 and Z (k,) float64."""
    k = len(P)
    whole = k - k % 4
    for i in range(0, whole, 4):
        _four_scores(P, i, w, b, Z)
    for i in range(whole, k):
        Z[i] = _score(P[i], w) + b


@_compiled
def pass_over(P: Any, w: Any, b: float, Y: Any, v: Any, Z: Any, dw: Any) -> None:
    """Z := P w + b and dw := Pᵀ d with d = v (σ(Z) - Y), in one pass over P.

    P (k, n) uint8 or float32, w and dw (n,) float32; Y, weights v and Z (k,) float64.
    """
    k = len(P)
    whole = k - k % GROUP
    d = np.empty(GROUP, np.float32)
    dw[:] = 0.0
    for i in range(0, whole, GROUP):
        _four_scores(P, i, w, b, Z)
        _four_scores(P, i + 4, w, b, Z)
        for row in range(GROUP):
            d[row] = v[i + row] * (_sigmoid(Z[i + row]) - Y[i + row])
        _add_eight(P, i, d, dw)
    for i in range(whole, k):
        Z[i] = _score(P[i], w) + b
        d[0] = v[i] * (_sigmoid(Z[i]) - Y[i])
        row = P[i]
        for j in range(len(dw)):
            dw[j] += d[0] * np.float32(row[j])


@_compiled
def _sigmoid(z: float) -> float:
    """As in ``maths.losses_and_errors``."""
    return math.exp(min(z, 0.0)) / (1.0 + math.exp(-abs(z)))


@_compiled
def _score(p: Any, w: Any) -> Any:
    z: Any = 0.0
    for start in range(0, len(w), RUN):
        run: Any = np.float32(0)
        for j in range(start, min(len(w), start + RUN)):
            run += np.float32(p[j]) * w[j]
        z += run
    return z


@_compiled
def _four_scores(P: Any, i: int, w: Any, b: Any, Z: Any) -> None:
    """Four rows share each load of w."""
    z0 = z1 = z2 = z3 = b
    for start in range(0, len(w), RUN):
        v = w[start : start + RUN]
        p0, p1 = P[i, start : start + RUN], P[i + 1, start : start + RUN]
        p2, p3 = P[i + 2, start : start + RUN], P[i + 3, start : start + RUN]
        run0: Any = np.float32(0)
        run1 = run2 = run3 = run0
        for j in range(len(v)):
            run0 += np.float32(p0[j]) * v[j]
            run1 += np.float32(p1[j]) * v[j]
            run2 += np.float32(p2[j]) * v[j]
            run3 += np.float32(p3[j]) * v[j]
        z0 += run0
        z1 += run1
        z2 += run2
        z3 += run3
    Z[i], Z[i + 1], Z[i + 2], Z[i + 3] = z0, z1, z2, z3


@_compiled
def _add_eight(P: Any, i: int, d: Any, dw: Any) -> None:
    p0, p1, p2, p3 = P[i], P[i + 1], P[i + 2], P[i + 3]
    p4, p5, p6, p7 = P[i + 4], P[i + 5], P[i + 6], P[i + 7]
    d0, d1, d2, d3, d4, d5, d6, d7 = d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]
    for j in range(len(dw)):
        dw[j] += (
            (d0 * np.float32(p0[j]) + d1 * np.float32(p1[j]))
            + (d2 * np.float32(p2[j]) + d3 * np.float32(p3[j]))
        ) + (
            (d4 * np.float32(p4[j]) + d5 * np.float32(p5[j]))
            + (d6 * np.float32(p6[j]) + d7 * np.float32(p7[j]))
        )
