"""One pass over a block of images: losses, errors, and Pᵀ dZᵀ; by NumPy or by compiled code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.maths import Floats, losses_and_errors, sigmoid
from catclf.text import to_install

Real = NDArray[np.floating[Any]]
Values = NDArray[Any]  # pixels uint8, or features float32
Weights = Floats | None  # of the losses of images, (1, m); None: all are 1

# Measured with n = 12288 on one core of 2 MB second-level cache, milliseconds for 20 000 images:
# blocks of 16: 68, 32: 54, 64: 51 to 54, 128: 46 to 51, 256: 51. 128 images are 6 MB in float32.
BLOCK = 128  # images converted to floating point at a time
FUSED_BLOCK = 256  # images that compiled code takes at a time: 3 MB of pixels
# One float32 sum of 12288 products is off by 5e-7 in z, sums of 512 added in float64 by 1.5e-7, in
# the same time; sums of 128 by 0.9e-7, in 1.3 times the time.
RUN = 512  # products that are summed in float32 before the sum goes on in float64


@dataclass
class Sums:
    """Sums over some images: losses, errors dZ, and X dZᵀ with X still in pixels, (n, 1).

    ``bend`` is the sum of the second derivatives of the losses by z, where it was asked for. Of k
    models side by side ``loss`` and ``db`` are (k,), and ``dw`` is (n, k).
    """

    loss: Any = 0.0
    db: Any = 0.0
    dw: Any = 0.0
    bend: float = 0.0

    def plus(self, others: Sums) -> Sums:
        """These sums, with others added in place."""
        self.loss += others.loss
        self.db += others.db
        self.dw += others.dw
        self.bend += others.bend
        return self


def weighted_losses(Z: Floats, Y: Floats, v: Weights) -> tuple[Floats, Floats]:
    """The losses of images and their errors dZ, (1, m), times the weights of the images."""
    losses, dZ = losses_and_errors(Z, Y)
    if v is not None:
        losses *= v
        dZ *= v
    return losses, dZ


def bends(Z: Floats, v: Weights) -> Floats:
    """The second derivatives v a (1 - a) of the losses by z, of Z's shape."""
    A = sigmoid(Z)
    A *= 1.0 - A
    return A if v is None else v * A


class Converted:
    """A block is converted in a buffer, and multiplied by BLAS while in the cache.

    float32 moves half the bytes and makes two times the products of float64 in a second; over 2000
    steps on the course's data the printed costs are the same digits. float64 is for certificates.
    """

    def __init__(self, k: int, n: int, dtype: type[Any] = np.float32) -> None:
        self._buffer, self._product = np.empty((k, n), dtype), np.empty((n, 1), dtype)

    def sums(
        self, rows: Values, w: Real, b: float, Y: Floats, v: Weights, gradient: bool = True
    ) -> Sums:
        """The sums over rows (k, n), for w (n, 1), Y (1, k) and weights v; or of losses alone.

        Their array is used again for the next block.
        """
        P = self._buffer[: len(rows)]
        np.copyto(P, rows)
        Z = _times(P, w) + b
        losses, dZ = weighted_losses(Z, Y, v)
        if not gradient:
            return Sums(float(losses.sum()))
        bend = float(bends(Z, v).sum()) if P.dtype == np.float64 else 0.0
        np.matmul(P.T, dZ.T.astype(P.dtype), out=self._product)  # (n, k) @ (k, 1)
        return Sums(float(losses.sum()), float(dZ.sum()), self._product, bend)


class Fused:
    """Blocks stay as they are, bytes or float32; compiled code sums products in float32."""

    def __init__(self, n: int) -> None:
        self._product: NDArray[np.float32] = np.empty((n, 1), np.float32)

    def sums(
        self, rows: Values, w: Real, b: float, Y: Floats, v: Weights, gradient: bool = True
    ) -> Sums:
        """As ``Converted.sums``."""
        from catclf.training import numba_kernels

        rows = np.ascontiguousarray(rows)  # another layout would be summed in another order
        Z, each = np.empty((1, len(rows))), np.ones_like(Y) if v is None else v
        if not gradient:
            numba_kernels.scores(rows, w[:, 0], b, Z[0])
            return Sums(float(weighted_losses(Z, Y, v)[0].sum()))
        numba_kernels.pass_over(rows, w[:, 0], b, Y[0], each[0], Z[0], self._product[:, 0])
        losses, dZ = weighted_losses(Z, Y, v)
        return Sums(float(losses.sum()), float(dZ.sum()), self._product)


def missing_numba() -> str:
    """Why Numba cannot be used, or nothing; it is imported to know."""
    try:
        import catclf.training.numba_kernels  # noqa: F401
    except Exception as error:  # it has libraries of its own, and NumPy releases that it refuses
        return str(error) or type(error).__name__
    return ""


def require_numba() -> None:
    """Raise SettingsError where Numba cannot be used."""
    if why := missing_numba():
        raise SettingsError(
            f"`method=fused` needs Numba ({why}): {to_install('fast')}, or use `method=stream`"
        )


def _times(P: Real, w: Real) -> Floats:
    """(P w)ᵀ, shape (1, k), for P (k, n) and w (n, 1), with sums of ``RUN`` products in float64."""
    k, n = P.shape
    whole = n - n % RUN
    runs = P[:, :whole].reshape(k, -1, RUN).transpose(1, 0, 2)  # (q, k, RUN): a view
    Z: Floats = np.matmul(runs, w[:whole].reshape(-1, RUN, 1)).sum(axis=0, dtype=np.float64)
    if whole < n:
        Z += P[:, whole:] @ w[whole:]
    return Z.T
