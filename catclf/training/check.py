"""Proof by computing twice: the gradient in every form, and the course's worked examples.

The forms have nothing in common but the formula: array products, a plain loop over images and
features, a scalar computation graph, the sample Gram matrix that training uses, and slopes of the
cost itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from catclf.maths import PIXEL_MAX, Floats, Pixels, graph, logistic
from catclf.maths.graph import Node
from catclf.maths.threads import blas_threads
from catclf.training.objective import GramObjective, Point

EXACT = 1e-10  # relative; forms that only round differently agree to about 1e-14
ALLOWED_SLOPES = 1e-6  # relative; a 5-point stencil agrees to about 1e-10
SLOPES = "finite differences"
STEP = 1e-3  # of the stencil
TINY = np.finfo(float).tiny

Gradient = tuple[float, Floats, float]  # J, dw (n, 1), db
Form = Callable[["Place"], Gradient]


@dataclass(frozen=True)
class Place:
    """Where gradients are compared: a batch and a point that lies in the span of its images.

    images uint8 (m, size, size, 3), their features X (n, m), of a few images only, and Y (1, m);
    w = Xa (n, 1) of a (m, 1), and b; penalty l2.
    """

    images: Pixels
    X: Floats
    Y: Floats
    a: Floats
    w: Floats
    b: float
    l2: float


@dataclass(frozen=True)
class Pair:
    """Two forms, the largest relative difference of their numbers, and how much is allowed."""

    first: str
    second: str
    difference: float
    allowed: float

    @property
    def agrees(self) -> bool:
        """False for NaN, too."""
        return self.difference <= self.allowed


@dataclass(frozen=True)
class GradientCheck:
    """All forms at one place: the seconds that each took, and how far each pair is apart."""

    images: int
    features: int
    l2: float
    seconds: dict[str, float]
    pairs: tuple[Pair, ...]

    @property
    def agrees(self) -> bool:
        return all(pair.agrees for pair in self.pairs)

    @property
    def speedup(self) -> float:
        """How many times as fast as the loop the vectorized form was in this run."""
        return self.seconds["loop"] / self.seconds["vectorized"]


def evenly(m: int, count: int) -> NDArray[np.int64]:
    """Up to ``count`` row numbers of ``m``, evenly: data sets are often sorted by class."""
    return np.unique(np.linspace(0, m - 1, min(count, m)).round().astype(np.int64))


def place(images: Pixels, Y: Floats, l2: float, seed: int) -> Place:
    """A random point for these few images, scaled so that |wᵀx| <= 1 and no sigmoid is flat."""
    rng = np.random.default_rng(seed)
    X = logistic.flatten(images).astype(np.float64) / PIXEL_MAX
    a = rng.standard_normal((len(images), 1))
    a /= max(float(np.abs((X @ a).T @ X).max()), 1e-9)
    return Place(images, X, Y, a, X @ a, float(rng.standard_normal()), l2)


def vectorized(at: Place) -> Gradient:
    """Array products, as in the course."""
    return logistic.cost_and_gradient(at.X, at.Y, at.w, at.b, at.l2)


def loop(at: Place) -> Gradient:
    """A loop over images and features."""
    return logistic.cost_and_gradient_loop(at.X, at.Y, at.w, at.b, at.l2)


def by_graph(at: Place) -> Gradient:
    """A scalar graph of each image's loss, and of the penalty; derivatives add up."""
    w, b, m = [Node(value) for value in at.w[:, 0].tolist()], Node(at.b), len(at.images)
    J, db, dw = 0.0, 0.0, np.zeros((len(w), 1))
    for x, y in zip(at.X.T.tolist(), at.Y[0].tolist(), strict=True):
        z = sum((weight * value for weight, value in zip(w, x, strict=True)), b)
        loss = graph.logistic_loss(z, y) / m
        graph.backward(loss)
        J, db = J + loss.value, db + b.grad
        dw[:, 0] += [weight.grad for weight in w]
    penalty = sum((weight**2 for weight in w), Node(0.0)) * (at.l2 / (2 * m))
    graph.backward(penalty)
    dw[:, 0] += [weight.grad for weight in w]
    return J + penalty.value, dw, db


def by_gram(at: Place) -> Gradient:
    """The sample Gram matrix K = XᵀX: da in the span of the images, then dw = X da."""
    problem = GramObjective(at, at.l2)
    J, gradient = problem.evaluate(Point(at.a, at.b))
    return J, problem.weights(gradient), gradient.b


FORMS: dict[str, Form] = {
    "vectorized": vectorized,
    "loop": loop,
    "graph": by_graph,
    "gram": by_gram,
}


def check_gradient(
    at: Place, directions: int = 5, seed: int = 0, forms: Mapping[str, Form] | None = None
) -> GradientCheck:
    """Compute J, dw and db in every form at one place, and compare each pair.

    ``directions`` random directions are compared with slopes of the cost. The arithmetic uses one
    BLAS thread, so that the speed-up over the loop is that of one core.
    """
    found, seconds = {}, {}
    with blas_threads(1):
        for name, form in (forms or FORMS).items():
            seconds[name], found[name] = _timed(form, at)
        began, first = perf_counter(), next(iter(found))
        worst = worst_slope(at, found[first], directions, seed)
        seconds[SLOPES] = perf_counter() - began
    pairs = [
        Pair(*names, difference(*(found[name] for name in names)), EXACT)
        for names in combinations(found, 2)
    ]
    pairs.append(Pair(first, SLOPES, worst, ALLOWED_SLOPES))
    return GradientCheck(len(at.images), len(at.w), at.l2, seconds, tuple(pairs))


def difference(first: Gradient, second: Gradient) -> float:
    """The largest difference of J, dw or db, relative to the largest number of its kind.

    NaN where a number is not finite, and where shapes differ.
    """
    worst = []
    for one, other in zip(first, second, strict=True):
        a, b = np.asarray(one), np.asarray(other)
        if a.shape != b.shape:
            return np.nan
        worst.append(np.abs(a - b).max() / max(np.abs(a).max(), np.abs(b).max(), TINY))
    return float(np.max(worst))


def worst_slope(at: Place, result: Gradient, directions: int, seed: int) -> float:
    """The largest relative difference between gradient·v and the slope of J along v; NaN if any is.

    v are random unit vectors of (w, b), each of which tests all coordinates at once. The slope is
    the 5-point stencil (J(-2h) - 8J(-h) + 8J(h) - J(2h)) / 12h, whose error is of order h⁴
    (Abramowitz and Stegun 25.3.6).
    """
    gradient, point = np.vstack([result[1], [[result[2]]]]), np.vstack([at.w, [[at.b]]])
    rng, errors = np.random.default_rng(seed + 1), []

    def J(p: Floats) -> float:
        Z = np.asarray(p[:-1].T @ at.X + p[-1, 0])
        penalty = at.l2 / (2 * len(at.images)) * np.vdot(p[:-1], p[:-1])
        return logistic.cost(Z, at.Y) + float(penalty)

    for _ in range(directions):
        v = rng.standard_normal(point.shape)
        v /= np.linalg.norm(v)
        f = [J(point + k * STEP * v) for k in (-2, -1, 1, 2)]
        slope = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * STEP)
        expected = float(np.sum(gradient * v))
        errors.append(abs(slope - expected) / max(abs(slope), abs(expected), TINY))
    return float(np.max(errors))


def _timed(form: Form, at: Place) -> tuple[float, Gradient]:
    """The shortest of up to 20 runs within a tenth of a second, and the result of the form."""
    times: list[float] = []
    while not times or (sum(times) < 0.1 and len(times) < 20):
        began = perf_counter()
        result = form(at)
        times.append(perf_counter() - began)
    return min(times), result


@dataclass(frozen=True)
class Example:
    """A worked example: what was computed, and what it must be, to eight digits."""

    name: str
    result: tuple[float, ...]
    expected: tuple[float, ...]

    @property
    def agrees(self) -> bool:
        pairs = zip(self.result, self.expected, strict=True)
        return all(abs(a - b) <= 5e-9 for a, b in pairs)


def course_graph() -> Node:
    """J = 3(a + bc) at a = 5, b = 3, c = 2 with the backward pass done."""
    a, b, c = Node(5, "a"), Node(3, "b"), Node(2, "c")
    u = (b * c).named("u")
    v = (a + u).named("v")
    J = (3 * v).named("J")
    graph.backward(J)
    return J


def examples() -> list[Example]:
    """The course's worked examples with the values that it prints."""
    nodes = {node.name: node for node in graph.topological(course_graph())}
    points = [Node(z) for z in (1.0, 2.0, 3.0)]
    for point in points:
        graph.backward(graph.sigmoid(point))
    A = logistic.sigmoid(np.array([1.0, 2.0, 3.0]))
    softmax = logistic.softmax(np.array([[9.0, 2, 5, 0, 0], [7, 5, 0, 0, 0]]))
    Yhat, Y = np.array([[0.9, 0.2, 0.1, 0.4, 0.9]]), np.array([[1.0, 0, 0, 1, 1]])
    X = logistic.flatten(np.arange(2 * 2 * 2 * 3.0).reshape(2, 2, 2, 3))
    slopes = tuple(point.grad for point in points)
    return [
        Example("J = 3(a + bc)", (nodes["J"].value,), (33.0,)),
        Example("dJ/da dJ/db dJ/dc", tuple(nodes[k].grad for k in "abc"), (3.0, 6.0, 9.0)),
        Example("σ(1) σ(2) σ(3)", tuple(A), (0.73105858, 0.88079708, 0.95257413)),
        Example("σ'(1) σ'(2) σ'(3)", slopes, (0.19661193, 0.10499359, 0.04517666)),
        Example("softmax by rows", tuple(softmax[:, 0]), (0.980897665, 0.878679856)),
        Example("L1 loss", (logistic.l1_loss(Yhat, Y),), (1.1,)),
        Example("L2 loss", (logistic.l2_loss(Yhat, Y),), (0.43,)),
        Example("flatten keeps images", tuple(X[:3, 1].tolist()), (12.0, 13.0, 14.0)),
    ]
