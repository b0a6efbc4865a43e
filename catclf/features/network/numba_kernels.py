"""The sums of depthwise convolutions as machine code: a door to Numba, which this imports.

Products and sums are rounded and ordered as NumPy's on x86-64 are (no fused multiply-add, no
other order), so that features have the same bits with and without it. Python's lock is not held.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit  # noqa: TID251

_compiled = njit(nogil=True)
_ZERO, _SIX = np.float32(0), np.float32(6)


@_compiled
def activate(Z: Any, b: Any, out: Any) -> None:
    """out := min(max(Z + b, 0), 6) for Z and out (rows, numbers) and b (numbers,)."""
    for y in range(len(Z)):
        z, o = Z[y], out[y]
        for x in range(len(b)):
            o[x] = min(max(z[x] + b[x], _ZERO), _SIX)


@_compiled
def depthwise(lines: Any, runs: Any, b: Any, stride: int, channels: int, out: Any) -> None:
    """out := relu6(sums over windows + b); kernels of 3 or 5 pixels.

    Lines (rows, width * channels), runs (kernel, kernel, run) as many numbers as there is place
    for, b (side * channels,) and out (rows, side * channels), all float32.
    """
    kernel, run = runs.shape[0], runs.shape[2]
    for y in range(len(out)):
        for start in range(0, len(b), run):
            sums, biases = out[y, start : start + run], b[start : start + run]
            sums[:] = _ZERO
            for i in range(kernel):
                p = lines[y * stride + i, start * stride :]
                if kernel == 3:
                    _add_three(p, runs[i], channels, sums)
                else:
                    _add_five(p, runs[i], channels, sums)
            for x in range(run):
                sums[x] = min(max(sums[x] + biases[x], _ZERO), _SIX)


@_compiled
def _add_three(p: Any, w: Any, channels: int, sums: Any) -> None:
    run = len(sums)
    p0, p1, p2 = p[:run], p[channels : channels + run], p[2 * channels : 2 * channels + run]
    w0, w1, w2 = w[0], w[1], w[2]
    for x in range(run):
        s = sums[x] + p0[x] * w0[x]
        s += p1[x] * w1[x]
        sums[x] = s + p2[x] * w2[x]


@_compiled
def _add_five(p: Any, w: Any, channels: int, sums: Any) -> None:
    run = len(sums)
    p0, p1, p2 = p[:run], p[channels : channels + run], p[2 * channels : 2 * channels + run]
    p3, p4 = p[3 * channels : 3 * channels + run], p[4 * channels : 4 * channels + run]
    w0, w1, w2, w3, w4 = w[0], w[1], w[2], w[3], w[4]
    for x in range(run):
        s = sums[x] + p0[x] * w0[x]
        s += p1[x] * w1[x]
        s += p2[x] * w2[x]
        s += p3[x] * w3[x]
        sums[x] = s + p4[x] * w4[x]
