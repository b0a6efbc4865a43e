"""Descent in the span of the images, on their inner products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.maths import PIXEL_MAX, Floats, Pixels
from catclf.objective.base import EQUAL, ClassWeights, Point, weighted_losses
from catclf.parallel import Team, blas_threads
from catclf.samples import Labelled, cut, measured, read_rows, scale_of

READ = 512  # images read at a time
SLAB = 512  # rows of K that are a worker's unit of work
WEIGHED = 16  # images summed into w at a time: new memory for more takes longer than the sums
WAKE = 2e9  # products from which on K is worth a second BLAS thread: some 400 images


Solve = Callable[[Floats, Floats], Any]  # (R, u) -> a with R a = u, for R (m, m), u (m, 1)


class GramProblem:
    """Descent in the span of the images, on the sample Gram matrix K = XᵀX (m, m).

    From w = 0 every iterate of descent is a combination w = X a of the images, with
    Z = aᵀK + b and ‖w‖² = aᵀK a, and the coordinates of dw are da = dZᵀ/m + (λ/m) a. So n
    disappears from the loop. K is computed from the raw pixels, where it is a matrix of integers
    below 2^53 and exact, and scaled afterwards: it is the same on every machine, for any number of
    threads. (The representer theorem: Schölkopf, Herbrich and Smola, COLT 2001.)

    Pixels on disk are read once for K and once for w. The product K a is cut into slabs of rows,
    by m alone, so that it is the same for any number of ``workers``.
    """

    def __init__(
        self,
        data: Labelled,
        l2: float = 0.0,
        workers: int = 1,
        weights: ClassWeights = EQUAL,
    ) -> None:
        self.m, self.n = measured(data)
        self.l2, self.class_weights = l2, weights
        self._images, self._Y = data.images, data.Y
        self._team = Team(workers)
        self._K = gram(_all_rows(data), self._team)

    @property
    def K(self) -> Floats:
        """XᵀX (m, m)."""
        return self._K

    @property
    def Y(self) -> Floats:
        """The labels (1, m)."""
        return self._Y

    def start(self) -> Point:
        return Point(np.zeros((self.m, 1)), 0.0)

    def evaluate(self, point: Point) -> tuple[float, Point]:
        a, m = point.coordinates, self.m
        Ka = self._product(a)
        losses, dZ = weighted_losses(Ka.T + point.b, self._Y, self.class_weights)
        loss = _sum(losses) / m
        da = dZ.T / m
        if self.l2:
            loss += self.l2 / (2 * m) * float(np.vdot(a, Ka))
            da += self.l2 / m * a
        return loss, Point(da, _sum(dZ) / m)

    def weights(self, point: Point) -> Floats:
        w = np.zeros((self.n, 1))
        for rows in cut(slice(self.m), WEIGHED):
            pixels = read_rows(self._images, rows)
            w += pixels.T.astype(np.float64) @ point.coordinates[rows]
        w /= scale_of(self._images)
        return w

    def _product(self, a: Floats) -> Floats:
        """K a: (m, m) @ (m, 1) = (m, 1)."""
        if self.m <= SLAB:
            return np.asarray(self._K.dot(a))  # as @ does, in 4 µs instead of 4.5
        slabs = cut(slice(self.m), SLAB)
        if self.m <= 2 * SLAB or self._team.workers == 1:
            return np.concatenate([self._K[rows] @ a for rows in slabs])
        return np.concatenate(
            list(self._team.in_order(lambda rows: np.asarray(self._K[rows] @ a), slabs))
        )


class FactorProblem(GramProblem):
    """The span of the images in coordinates with the lengths and angles of w.

    With K = L Lᵀ (Cholesky) and u = Lᵀ a: Z = (L u)ᵀ + b and ‖w‖² = aᵀK a = ‖u‖², as if L were
    the images and u the weights. Equal images make K singular; so 1e-13 of its trace is added
    to its diagonal, 1e-7 where K is made of float32 rows, which changes z by less than the rounding
    of K does. ``solve`` is given the upper triangular matrix Lᵀ, which a faster solver may use.
    """

    def __init__(
        self,
        data: Labelled,
        l2: float = 0.0,
        workers: int = 1,
        weights: ClassWeights = EQUAL,
        solve: Solve = np.linalg.solve,
    ) -> None:
        super().__init__(data, l2, workers, weights)
        self._solve = solve
        rounding = 1e-13 if self._images.dtype == np.uint8 else 1e-7
        self._K[np.diag_indices(self.m)] += rounding * float(np.trace(self._K)) + 1e-300
        with blas_threads(1):  # unlike K, a factor is rounded, by the order of its sums
            self._K = np.asarray(np.linalg.cholesky(self._K), np.float64)  # L, in K's place

    def evaluate(self, point: Point) -> tuple[float, Point]:
        u, m = point.coordinates, self.m
        losses, dZ = weighted_losses(self._product(u).T + point.b, self._Y, self.class_weights)
        loss = _sum(losses) / m
        du = self._K.T @ (dZ.T / m)
        if self.l2:
            loss += self.l2 / (2 * m) * float(np.vdot(u, u))
            du += self.l2 / m * u
        return loss, Point(du, _sum(dZ) / m)

    def centre(self) -> Floats:
        return np.asarray(self._K.sum(axis=0).reshape(-1, 1) / self.m)

    def weights(self, point: Point) -> Floats:
        a = np.asarray(self._solve(self._K.T, point.coordinates), np.float64)
        return super().weights(Point(a, point.b))


def integer_gram(rows: Pixels) -> Floats:
    """The exact matrix of inner products of uint8 rows (m, n), as float64 (m, m).

    Pixels are centred, p = x - 128, so that 1024 products of at most 2^14 sum to at most 2^24 and
    stay exact in float32, which multiplies twice as fast; these parts are added in float64, and
    x·y = p·q + 128 Σp + 128 Σq + 128² n undoes the centring.
    """
    m, n = rows.shape
    width = 1024
    K = np.zeros((m, m))
    sums = np.zeros((m, 1))
    for start in range(0, n, width):
        part = rows[:, start : start + width].astype(np.float32)
        part -= 128.0
        K += part @ part.T
        sums += part.sum(axis=1, dtype=np.float64, keepdims=True)
    sums *= 128.0
    K += sums
    K += sums.T
    K += 128.0**2 * n
    return K


def _sum(values: Floats) -> float:
    """The sum of all entries: with few images, the method's own overhead would be felt."""
    return float(np.add.reduce(values, axis=None))


def gram(rows: NDArray[Any], team: Team) -> Floats:
    """K = XᵀX (m, m) of rows uint8, divided by 255, or of features float32 (m, n)."""
    if rows.dtype == np.uint8:
        m, n = rows.shape
        worth_waking = m * m * n > WAKE
        with blas_threads(team.workers if worth_waking else 1):  # exact, whatever their number
            K = integer_gram(rows)
        K /= PIXEL_MAX**2
        return K
    return float_gram(rows, team)


def float_gram(rows: NDArray[np.float32], team: Team) -> Floats:
    """The inner products of float32 rows (m, n), as float64 (m, m).

    Sums of 512 products are made in float32 and added in float64. Workers take slabs of rows, cut
    by m alone, each on one BLAS thread: the same for any number of them.
    """
    m, n = rows.shape
    K = np.zeros((m, m))

    def add(slab: slice) -> None:
        for start in range(0, n, SLAB):
            columns = slice(start, start + SLAB)
            K[slab] += rows[slab, columns] @ rows[:, columns].T

    with blas_threads(1):
        for _ in team.in_order(add, cut(slice(m), SLAB)):
            pass
    return K


def _all_rows(data: Labelled) -> NDArray[Any]:
    """Rows (m, n) of their type: a view of images in memory, else read block by block."""
    m, n = measured(data)
    if isinstance(data.images, np.ndarray):
        return data.images.reshape(m, n)
    rows = np.empty((m, n), data.images.dtype)
    for block in cut(slice(m), READ):
        rows[block] = read_rows(data.images, block)
    return rows
