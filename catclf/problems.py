"""The objective together with its data, in two forms that give the same iterates.

    J(w, b) = (1/m) Σ [log(1 + e^z) - y z] + (λ/2m)‖w‖²,   z = wᵀx + b,  x = pixels / 255

A problem knows the coordinates in which it is cheap to work; a solver sees only points in those
coordinates, costs and gradients. Descent commutes with the linear map from coordinates to w, so
the form that is chosen changes the time and not the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from catclf.errors import DataError, SettingsError
from catclf.maths import PIXEL_MAX, Floats, Pixels, losses_and_errors

BLOCK = 64  # pictures converted to floating point at a time: 6 MB in float64
GRAM_LIMIT = 8192  # pictures: beyond this K alone takes more than 512 MB
METHODS = ("auto", "gram", "dense")


class Labelled(Protocol):
    """What a problem needs of a data set."""

    @property
    def pictures(self) -> Pixels:
        """uint8 (m, size, size, 3)."""

    @property
    def Y(self) -> Floats:
        """Labels 0.0 or 1.0, shape (1, m)."""


@dataclass
class Point:
    """A place in a problem's own coordinates: ``coordinates`` (k, 1) and the bias ``b``.

    Gradients are points too, so that a step of descent is a weighted sum of two points.
    """

    coordinates: Floats
    b: float

    def moved(self, direction: Point, by: float) -> Point:
        """This point plus ``by`` times ``direction``, as a new point."""
        return Point(self.coordinates + by * direction.coordinates, self.b + by * direction.b)


class Problem(Protocol):
    """An objective that a solver can descend on."""

    m: int  # pictures
    n: int  # features

    def start(self) -> Point:
        """The point w = 0, b = 0, whose cost is ln 2 whatever the pictures."""

    def evaluate(self, point: Point) -> tuple[float, Point]:
        """The cost at the point, and the gradient in the same coordinates."""

    def weights(self, point: Point) -> Floats:
        """w (n, 1) of a point."""


class DenseProblem:
    """Descent on w itself: each evaluation passes once over the pixels.

    The pixels stay uint8; blocks of ``BLOCK`` pictures are converted in one reused buffer and used
    for Z and dw while they are in the cache. Arithmetic is float64.
    """

    def __init__(self, data: Labelled, l2: float = 0.0) -> None:
        self._pictures, self._Y = _rows(data)
        self.m, self.n = self._pictures.shape
        self.l2 = l2
        self._buffer = np.empty((min(BLOCK, self.m), self.n))

    def start(self) -> Point:
        return Point(np.zeros((self.n, 1)), 0.0)

    def evaluate(self, point: Point) -> tuple[float, Point]:
        w = point.coordinates
        scaled = w / PIXEL_MAX  # scaling w instead of every pixel
        dw = np.zeros((self.n, 1))
        loss = db = 0.0
        for rows in _blocks(self.m):
            P = self._buffer[: rows.stop - rows.start]
            P[:] = self._pictures[rows]  # (k, n), one picture a row: a block of Xᵀ
            Z = (P @ scaled).T + point.b  # (1, k)
            losses, dZ = losses_and_errors(Z, self._Y[:, rows])
            loss += float(losses.sum())
            db += float(dZ.sum())
            dw += P.T @ dZ.T
        dw /= PIXEL_MAX * self.m
        dw += self.l2 / self.m * w
        penalty = self.l2 / (2 * self.m) * float(np.vdot(w, w))
        return loss / self.m + penalty, Point(dw, db / self.m)

    def weights(self, point: Point) -> Floats:
        return point.coordinates


class GramProblem:
    """Descent in the span of the pictures, on the sample Gram matrix K = XᵀX (m, m).

    From w = 0 every iterate of descent is a combination w = X a of the pictures, with
    Z = aᵀK + b and ‖w‖² = aᵀK a, and the coordinates of dw are da = dZᵀ/m + (λ/m) a. So n
    disappears from the loop. K is computed from the raw pixels, where it is a matrix of integers
    below 2^53 and exact, and scaled afterwards: it is the same on every machine, for any number of
    threads. (The representer theorem: Schölkopf, Herbrich and Smola, COLT 2001.)
    """

    def __init__(self, data: Labelled, l2: float = 0.0) -> None:
        self._pictures, self._Y = _rows(data)
        self.m, self.n = self._pictures.shape
        self.l2 = l2
        self._K = integer_gram(self._pictures)
        self._K /= PIXEL_MAX**2

    def start(self) -> Point:
        return Point(np.zeros((self.m, 1)), 0.0)

    def evaluate(self, point: Point) -> tuple[float, Point]:
        a, m = point.coordinates, self.m
        Ka = self._K @ a  # (m, m) @ (m, 1) = (m, 1)
        losses, dZ = losses_and_errors(Ka.T + point.b, self._Y)
        loss = float(losses.sum()) / m
        da = dZ.T / m
        if self.l2:
            loss += self.l2 / (2 * m) * float(np.vdot(a, Ka))
            da += self.l2 / m * a
        return loss, Point(da, float(dZ.sum()) / m)

    def weights(self, point: Point) -> Floats:
        w = np.zeros((self.n, 1))
        for rows in _blocks(self.m):
            w += self._pictures[rows].T.astype(np.float64) @ point.coordinates[rows]
        w /= PIXEL_MAX
        return w


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


def build(data: Labelled, l2: float, iterations: int, method: str = "auto") -> Problem:
    """The form that needs the fewest operations for this data and this many iterations.

    The Gram form costs m²n once and 2m² an iteration, the dense form 4mn an iteration; so "auto"
    takes the Gram form while m (n + 2T) < 4 T n and K fits (m <= GRAM_LIMIT).
    """
    if method not in METHODS:
        raise SettingsError(f"method {method!r} is unknown: use one of {', '.join(METHODS)}")
    if method == "auto":
        m, n = _rows(data)[0].shape
        gram = m <= GRAM_LIMIT and m * (n + 2 * iterations) < 4 * iterations * n
        method = "gram" if gram else "dense"
    return GramProblem(data, l2) if method == "gram" else DenseProblem(data, l2)


def _rows(data: Labelled) -> tuple[Pixels, Floats]:
    """The pictures as rows (m, n), a view, and Y (1, m); raises DataError when they do not fit."""
    pictures, Y = data.pictures, data.Y
    m = len(pictures)
    if m == 0:
        raise DataError("there are no pictures to train on")
    if pictures.dtype != np.uint8 or Y.shape != (1, m):
        raise DataError(f"pictures {pictures.dtype} and Y {Y.shape}: uint8 and (1, {m}) are needed")
    return pictures.reshape(m, -1), Y


def _blocks(m: int) -> Iterator[slice]:
    for start in range(0, m, BLOCK):
        yield slice(start, min(start + BLOCK, m))
