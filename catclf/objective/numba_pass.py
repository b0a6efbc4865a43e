"""A pass over pixels by compiled code, where Numba is installed.

NumPy can only multiply numbers that were converted to floating point and written to memory first,
four bytes for each of the pixels' one. Compiled code converts them on their way to the products.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.maths import Floats
from catclf.objective.base import ClassWeights, sample_weights, weighted_losses
from catclf.objective.numpy_pass import Real, Sums, Values
from catclf.text import to_install

BLOCK = 256  # images at a time: 3 MB of pixels


class Fused:
    """Blocks stay as they are, bytes or float32; products are summed in float32."""

    def __init__(self, n: int) -> None:
        self._product: NDArray[np.float32] = np.empty((n, 1), np.float32)

    def loss(self, rows: Values, w: Real, b: float, Y: Floats, weights: ClassWeights) -> float:
        from catclf.objective import numba_kernels

        rows, Z = np.ascontiguousarray(rows), np.empty((1, len(rows)))
        numba_kernels.scores(rows, w[:, 0], b, Z[0])
        return float(weighted_losses(Z, Y, weights)[0].sum())

    def sums(self, rows: Values, w: Real, b: float, Y: Floats, weights: ClassWeights) -> Sums:
        from catclf.objective import numba_kernels

        rows = np.ascontiguousarray(rows)  # another layout would be summed in another order
        Z, v = np.empty((1, len(rows))), sample_weights(weights, Y)
        numba_kernels.pass_over(rows, w[:, 0], b, Y[0], v[0], Z[0], self._product[:, 0])
        losses, dZ = weighted_losses(Z, Y, weights)
        return Sums(float(losses.sum()), float(dZ.sum()), self._product)


def missing() -> str:
    """Why Numba cannot be used, or nothing; it is imported to know."""
    try:
        import catclf.objective.numba_kernels  # noqa: F401
    except Exception as error:  # it has libraries of its own, and NumPy releases that it refuses
        return str(error) or type(error).__name__
    return ""


def require() -> None:
    """Raise SettingsError where Numba cannot be used."""
    if why := missing():
        raise SettingsError(
            f"`method=fused` needs Numba ({why}): {to_install('fast')}, or use `method=stream`"
        )
