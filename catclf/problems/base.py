"""What problems and solvers agree on: data, points, and the objective as seen by a solver."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from catclf.errors import DataError
from catclf.maths import PIXEL_MAX, Floats, losses_and_errors

# What an error counts for pictures of class 0 and of class 1.
ClassWeights = tuple[float, float]
EQUAL = (1.0, 1.0)


class Pictures(Protocol):
    """uint8 (m, size, size, 3), or rows of features float32 (m, n); in memory or read when sliced.

    An array is one of these, and so is anything that gives an array of pictures for a slice of
    their numbers; slices may be asked for by several threads.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> NDArray[Any]: ...


class Labelled(Protocol):
    """What a problem needs of a data set."""

    @property
    def pictures(self) -> Pictures:
        """uint8 (m, size, size, 3), or rows of features float32 (m, n)."""

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


class Euclidean(Problem, Protocol):
    """A problem whose coordinates have the lengths and angles of w.

    What is needed of them by solvers that use inner products, such as L-BFGS.
    """

    def centre(self) -> Floats:
        """The mean of the pictures' features in these coordinates, (k, 1)."""


def measured(data: Labelled) -> tuple[int, int]:
    """m and n of a data set; raises DataError when it is empty or of other types and shapes."""
    pictures, Y = data.pictures, data.Y
    m = len(pictures)
    if m == 0:
        raise DataError("there are no pictures to train on")
    rows = pictures.dtype == np.float32 and len(pictures.shape) == 2
    if not (rows or pictures.dtype == np.uint8) or Y.shape != (1, m):
        raise DataError(f"pictures {pictures.dtype} and Y {Y.shape}: uint8 and (1, {m}) are needed")
    return m, int(np.prod(pictures.shape[1:]))


def scale_of(pictures: Pictures) -> float:
    """What the numbers of pictures are divided by to be features x: 255 for pixels, else 1."""
    return PIXEL_MAX if pictures.dtype == np.uint8 else 1.0


def class_weights(Y: Floats, kind: str) -> ClassWeights:
    """The weights of a kind, for labels Y (1, m): "none", or "balanced" as m / (2 m_class).

    Their mean over the pictures is 1; balanced ones give both classes the same sum.
    """
    m, positives = Y.shape[1], float(Y.sum())
    if kind != "balanced" or not 0 < positives < m:
        return EQUAL
    return m / (2.0 * (m - positives)), m / (2.0 * positives)


def spread(weights: ClassWeights, Y: Floats) -> Floats:
    """The weight of each picture, for labels Y (1, m)."""
    return np.asarray(np.where(Y > 0.5, weights[1], weights[0]), np.float64)


def judged(Z: Floats, Y: Floats, weights: ClassWeights) -> tuple[Floats, Floats]:
    """The losses of pictures and their errors dZ, (1, m), times the weights of their classes."""
    losses, dZ = losses_and_errors(Z, Y)
    if weights != EQUAL:
        v = spread(weights, Y)
        losses *= v
        dZ *= v
    return losses, dZ


def read_rows(pictures: Pictures, rows: slice, buffer: NDArray[Any] | None = None) -> NDArray[Any]:
    """Some pictures as rows (k, n) of their type, without a copy where they are in memory.

    ``buffer`` (k or more, n) is used by pictures on disk that can read into it: new memory for each
    slice takes longer than the copying. Raises DataError when they cannot be read any more.
    """
    count = rows.stop - rows.start
    read_into = getattr(pictures, "read_into", None)
    try:
        if read_into is not None and buffer is not None:
            read_into(rows.start, buffer[:count].reshape(count, *pictures.shape[1:]))
            return buffer[:count]
        found = pictures[rows]
    except (OSError, RuntimeError, ValueError) as error:
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"the pictures can no longer be read ({cause})") from error
    if len(found) != count:
        raise DataError(
            f"the pictures can no longer be read: {len(found)} of {count} came at {rows.start}"
        )
    return found.reshape(count, -1)


def cut(rows: slice, length: int) -> Iterator[slice]:
    """Consecutive slices of up to ``length`` that together are ``rows``."""
    for start in range(rows.start or 0, rows.stop, length):
        yield slice(start, min(start + length, rows.stop))
