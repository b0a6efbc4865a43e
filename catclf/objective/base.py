"""What problems and solvers agree on: data, points, and the objective as seen by a solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from catclf.maths import Floats, losses_and_errors

# What an error counts for images of class 0 and of class 1.
ClassWeights = tuple[float, float]
EQUAL = (1.0, 1.0)


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

    m: int  # images
    n: int  # features

    def start(self) -> Point:
        """The point w = 0, b = 0, whose cost is ln 2 whatever the images."""

    def evaluate(self, point: Point) -> tuple[float, Point]:
        """The cost at the point, and the gradient in the same coordinates."""

    def weights(self, point: Point) -> Floats:
        """w (n, 1) of a point."""


class Euclidean(Problem, Protocol):
    """A problem whose coordinates have the lengths and angles of w.

    What is needed of them by solvers that use inner products, such as L-BFGS.
    """

    def centre(self) -> Floats:
        """The mean of the images' features in these coordinates, (k, 1)."""


def class_weights(Y: Floats, kind: str) -> ClassWeights:
    """The weights of a kind, for labels Y (1, m): "none", or "balanced" as m / (2 m_class).

    Their mean over the images is 1; balanced ones give both classes the same sum.
    """
    m, positives = Y.shape[1], float(Y.sum())
    if kind != "balanced" or not 0 < positives < m:
        return EQUAL
    return m / (2.0 * (m - positives)), m / (2.0 * positives)


def sample_weights(weights: ClassWeights, Y: Floats) -> Floats:
    """The weight of each image, for labels Y (1, m)."""
    return np.asarray(np.where(Y > 0.5, weights[1], weights[0]), np.float64)


def weighted_losses(Z: Floats, Y: Floats, weights: ClassWeights) -> tuple[Floats, Floats]:
    """The losses of images and their errors dZ, (1, m), times the weights of their classes."""
    losses, dZ = losses_and_errors(Z, Y)
    if weights != EQUAL:
        v = sample_weights(weights, Y)
        losses *= v
        dZ *= v
    return losses, dZ
