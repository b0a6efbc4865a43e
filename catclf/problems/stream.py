"""Descent on w itself, in one pass over the pixels for each evaluation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from catclf.maths import Floats, losses_and_errors
from catclf.problems.base import (
    EQUAL,
    ClassWeights,
    Labelled,
    Pictures,
    Point,
    cut,
    measured,
    read_rows,
    scale_of,
    weigh,
)
from catclf.subsets import in_memory
from catclf.threads import Team

# Measured with n = 12288 on one core of 2 MB second-level cache, milliseconds for 20 000 pictures:
# blocks of 16: 68, 32: 54, 64: 51 to 54, 128: 46 to 51, 256: 51. 128 pictures are 6 MB in float32.
BLOCK = 128  # pictures converted to floating point at a time
# One float32 sum of 12288 products is off by 5e-7 in z, sums of 512 added in float64 by 1.5e-7, in
# the same time; sums of 128 by 0.9e-7, in 1.3 times the time.
RUN = 512  # products that are summed in ``dtype`` before the sum goes on in float64
PART = 4  # blocks: a worker's unit of work and of reading, 6 MB of pixels, 1.2 ms

T = TypeVar("T")
Real = NDArray[np.floating[Any]]
Values = NDArray[Any]  # pixels uint8, or features float32


@dataclass
class Sums:
    """Sums over some pictures: losses, errors dZ, and X dZᵀ with X still in pixels, (n, 1)."""

    loss: float
    db: float
    dw: Floats


class StreamProblem:
    """Descent on w itself: each evaluation passes once over the pixels.

    The pixels stay uint8, in memory or on disk (features are float32, and nothing divides them).
    Blocks of ``BLOCK`` pictures are converted in a buffer that each worker reuses, and are used for
    Z and for dw while they are in the cache:

        P (k, n) a block of Xᵀ,  Z = P w / 255 + b,  dw += Pᵀ dZᵀ / 255

    The products of a block are made in ``dtype`` (float32 moves half the bytes and makes two times
    the products of float64 in a second; over 2000 steps on the course's data the printed costs are
    the same digits). Everything that is summed over blocks, w itself and all of Z's functions are
    float64.

    Workers take parts of ``PART`` blocks, fewer where that leaves less than 16 parts. How the
    pictures are cut depends on their number alone, and the sums of parts are added in the order of
    the pictures, so that the result is the same, bit for bit, for any number of ``workers``, and
    for pictures in memory and on disk. Those on disk are read by the thread that uses them, block
    by block so that they are still in its cache; the system, which sees the file read from start to
    end, fetches what comes next meanwhile (asking it to, by ``posix_fadvise``, measured slower).
    """

    def __init__(
        self,
        data: Labelled,
        l2: float = 0.0,
        workers: int = 1,
        dtype: type[np.float32] | type[np.float64] = np.float32,
        weights: ClassWeights = EQUAL,
    ) -> None:
        self.m, self.n = measured(data)
        self.l2, self.dtype, self.class_weights = l2, dtype, weights
        self._scale = scale_of(data.pictures)
        self._pictures, self._Y = data.pictures, data.Y
        self._team = Team(workers)
        self._local = threading.local()

    def start(self) -> Point:
        return Point(np.zeros((self.n, 1)), 0.0)

    def evaluate(self, point: Point) -> tuple[float, Point]:
        return self._objective(point, self._sums(self._pictures, self._Y, point), self.m)

    def evaluate_some(self, point: Point, pictures: Values, Y: Floats) -> tuple[float, Point]:
        """Cost and gradient with the mean over these pictures in the place of the mean over all.

        The penalty is the whole problem's, so that both are right on average over the pictures.
        """
        return self._objective(point, self._sums(pictures, Y, point), len(pictures))

    def loss(self, point: Point) -> float:
        """The mean loss at a point: the cost without its penalty."""
        return self._sums(self._pictures, self._Y, point, forward_only=True).loss / self.m

    def centre(self) -> Floats:
        total = np.zeros((self.n, 1))
        for part in self._results(self._pictures, self._total):
            total += part
        total /= self._scale * self.m
        return total

    def weights(self, point: Point) -> Floats:
        return point.coordinates

    def _objective(self, point: Point, sums: Sums, count: int) -> tuple[float, Point]:
        w, dw = point.coordinates, sums.dw
        dw /= self._scale * count
        loss = sums.loss / count
        if self.l2:
            loss += self.l2 / (2 * self.m) * float(np.vdot(w, w))
            dw += self.l2 / self.m * w
        return loss, Point(dw, sums.db / count)

    def _sums(
        self, pictures: Pictures, Y: Floats, point: Point, *, forward_only: bool = False
    ) -> Sums:
        with np.errstate(over="ignore"):  # a w beyond float32 shows as an infinite cost
            scaled: Real = (point.coordinates / self._scale).astype(self.dtype)  # not every pixel
        total = Sums(0.0, 0.0, np.zeros((self.n, 1)))

        def part(rows: slice, read: Callable[[slice], Values]) -> Sums:
            return self._part(rows, read, Y, scaled, point.b, forward_only)

        for sums in self._results(pictures, part):
            total.loss += sums.loss
            total.db += sums.db
            total.dw += sums.dw
        return total

    def _part(
        self,
        rows: slice,
        read: Callable[[slice], Values],
        Y: Floats,
        scaled: Real,
        b: float,
        forward_only: bool,
    ) -> Sums:
        sums = Sums(0.0, 0.0, np.zeros((self.n, 1)))
        buffer, product, _ = self._buffers()
        with np.errstate(over="ignore", invalid="ignore"):  # divergence is found by its cost
            for block in cut(rows, BLOCK):
                pixels, P = read(block), buffer[: block.stop - block.start]
                np.copyto(P, pixels)  # (k, n)
                Z = _times(P, scaled) + b  # (1, k)
                losses, dZ = losses_and_errors(Z, Y[:, block])
                weigh(losses, dZ, Y[:, block], self.class_weights)
                sums.loss += float(losses.sum())
                if forward_only:
                    continue
                sums.db += float(dZ.sum())
                np.matmul(P.T, dZ.T.astype(self.dtype), out=product)  # (n, k) @ (k, 1)
                sums.dw += product
        return sums

    def _total(self, rows: slice, read: Callable[[slice], Values]) -> Floats:
        """The sum of some pictures, (n, 1)."""
        total = np.zeros((self.n, 1))
        buffer, product, _ = self._buffers()
        for block in cut(rows, BLOCK):
            P = buffer[: block.stop - block.start]
            np.copyto(P, read(block))
            np.matmul(P.T, np.ones((len(P), 1), self.dtype), out=product)  # exact: below 2^24
            total += product
        return total

    def _results(
        self, pictures: Pictures, work: Callable[[slice, Callable[[slice], Values]], T]
    ) -> Iterator[T]:
        """work(rows, read) of each part of the pictures, in order; read(rows) gives pixels."""
        m = len(pictures)
        length = BLOCK * max(1, min(PART, m // (16 * BLOCK)))
        here, workers = in_memory(pictures), self._team.workers

        def on_part(rows: slice) -> T:
            raw = None if here else self._buffers()[2]
            return work(rows, lambda block: read_rows(pictures, block, raw))

        parts = cut(slice(0, m), length)
        one = workers == 1 or m <= BLOCK
        return map(on_part, parts) if one else self._team.in_order(on_part, parts)

    def _buffers(self) -> tuple[Real, Real, Values]:
        """This thread's own: a block (BLOCK, n), a product (n, 1), and a block of raw pixels."""
        if not hasattr(self._local, "block"):
            shape = min(BLOCK, self.m), self.n
            self._local.block = np.empty(shape, self.dtype)
            self._local.product = np.empty((self.n, 1), self.dtype)
            self._local.pixels = np.empty(shape, self._pictures.dtype)
        return self._local.block, self._local.product, self._local.pixels


def _times(P: Real, w: Real) -> Floats:
    """(P w)ᵀ, shape (1, k), for P (k, n) and w (n, 1), with sums of ``RUN`` products in float64."""
    k, n = P.shape
    whole = n - n % RUN
    runs = P[:, :whole].reshape(k, -1, RUN).transpose(1, 0, 2)  # (q, k, RUN): a view
    Z: Floats = np.matmul(runs, w[:whole].reshape(-1, RUN, 1)).sum(axis=0, dtype=np.float64)
    if whole < n:
        Z += P[:, whole:] @ w[whole:]
    return Z.T
