"""Proof by computing twice: the gradient in every form, and the course's worked examples.

The forms have nothing in common but the formula: array products, a plain loop over images and
features, a scalar computation graph, the sample Gram matrix that training uses, and slopes of the
cost itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.maths import PIXEL_MAX, Floats, Pixels, graph, logistic
from catclf.maths.graph import Node
from catclf.objective import GramProblem, Point
from catclf.parallel import blas_threads

EXACT = 1e-10  # relative; forms that only round differently agree to about 1e-14
ALLOWED_SLOPES = 1e-6  # relative; a 5-point stencil agrees to about 1e-10
SLOPES = "finite differences"

Gradient = tuple[float, Floats, float]  # J, dw (n, 1), db
Form = Callable[["Place"], Gradient]


@dataclass(frozen=True)
class Place:
    """Where gradients are compared: a batch and a point that lies in the span of its images.

    images uint8 (m, size, size, 3), Y (1, m); w = Xa (n, 1) of a (m, 1), and b; penalty l2.
    """

    images: Pixels
    Y: Floats
    a: Floats
    b: float
    l2: float

    @cached_property
    def X(self) -> Floats:
        """Features float64 (n, m): of a few images only."""
        return logistic.flatten(self.images).astype(np.float64) / PIXEL_MAX

    @cached_property
    def w(self) -> Floats:
        """w = Xa, shape (n, 1)."""
        return np.asarray(self.X @ self.a)


@dataclass(frozen=True)
class Timed:
    """A form's name and the seconds that it took."""

    name: str
    seconds: float


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
    """All forms at one place."""

    images: int
    features: int
    l2: float
    forms: tuple[Timed, ...]
    pairs: tuple[Pair, ...]

    @property
    def agrees(self) -> bool:
        return all(pair.agrees for pair in self.pairs)

    def seconds(self, name: str) -> float:
        """The time of a form by its name."""
        return next(form.seconds for form in self.forms if form.name == name)

    @property
    def speedup(self) -> float:
        """How many times as fast as the loop the vectorized form was in this run."""
        return self.seconds("loop") / self.seconds("vectorized")


def evenly(m: int, count: int) -> NDArray[np.int64]:
    """Up to ``count`` row numbers of ``m``, evenly spaced. Raises SettingsError for fewer than one.

    Even, because data sets are often sorted by class.
    """
    if count < 1:
        raise SettingsError(f"examples {count} is too small: 1 or more is needed")
    return np.unique(np.linspace(0, m - 1, min(count, m)).round().astype(np.int64))


def place(images: Pixels, Y: Floats, l2: float, seed: int) -> Place:
    """A random point for these few images, scaled so that |wᵀx| <= 1 and no sigmoid is flat."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((len(images), 1))
    raw = Place(images, Y, a, 0.0, l2)
    a /= max(float(np.abs(raw.w.T @ raw.X).max()), 1e-9)
    return Place(images, Y, a, float(rng.standard_normal()), l2)


def vectorized(at: Place) -> Gradient:
    """Array products, as in the course."""
    return logistic.cost_and_gradient(at.X, at.Y, at.w, at.b, at.l2)


def loop(at: Place) -> Gradient:
    """A loop over images and features."""
    return logistic.cost_and_gradient_loop(at.X, at.Y, at.w, at.b, at.l2)


def by_graph(at: Place) -> Gradient:
    """A scalar graph of each image's loss, and of the penalty; derivatives add up."""
    X, m = at.X, at.X.shape[1]
    w = [Node(value) for value in at.w[:, 0].tolist()]
    b = Node(at.b)
    J, db, dw = 0.0, 0.0, np.zeros(len(w))
    for j in range(m):
        loss = graph.logistic_loss(_score(w, X[:, j].tolist(), b), float(at.Y[0, j])) / m
        J, db = J + _backward(loss, w, dw), db + b.grad
    if at.l2:
        penalty = Node(0.0)
        for weight in w:
            penalty = penalty + weight**2
        J += _backward(penalty * (at.l2 / (2 * m)), w, dw)
    return J, dw.reshape(-1, 1), db


def by_gram(at: Place) -> Gradient:
    """The sample Gram matrix K = XᵀX: da in the span of the images, then dw = X da."""
    problem = GramProblem(_Batch(at.images, at.Y), at.l2)
    J, gradient = problem.evaluate(Point(at.a, at.b))
    return J, problem.weights(gradient), gradient.b


FORMS: dict[str, Form] = {
    "vectorized": vectorized,
    "loop": loop,
    "graph": by_graph,
    "gram": by_gram,
}


def check_gradient(
    at: Place, directions: int = 5, seed: int = 0, forms: dict[str, Form] | None = None
) -> GradientCheck:
    """Compute J, dw and db in every form at one place, and compare each pair.

    ``directions`` random directions are compared with slopes of the cost. The arithmetic uses one
    BLAS thread, so that the speed-up over the loop is that of one core.
    """
    forms = forms or FORMS
    _ = at.X, at.w  # made before the clocks start
    with blas_threads(1):
        runs = [(name, *_timed(form, at)) for name, form in forms.items()]
        began = perf_counter()
        worst = _worst_slope(at, runs[0][2], directions, seed)
        seconds = perf_counter() - began
    pairs = [
        Pair(name, other, difference(result, other_result), EXACT)
        for i, (name, _, result) in enumerate(runs)
        for other, _, other_result in runs[i + 1 :]
    ]
    pairs.append(Pair(runs[0][0], SLOPES, worst, ALLOWED_SLOPES))
    timed = [Timed(name, took) for name, took, _ in runs]
    n = int(np.prod(at.images.shape[1:]))
    return GradientCheck(len(at.images), n, at.l2, (*timed, Timed(SLOPES, seconds)), tuple(pairs))


def difference(first: Gradient, second: Gradient) -> float:
    """The largest difference of J, dw or db, relative to the largest number of its kind."""
    worst = 0.0
    for one, other in zip(first, second, strict=True):
        a, b = np.asarray(one), np.asarray(other)
        if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
            return float("nan")
        largest = max(np.abs(a).max(), np.abs(b).max(), np.finfo(float).tiny)
        worst = max(worst, float(np.abs(a - b).max() / largest))
    return worst


@dataclass(frozen=True)
class Example:
    """A worked example: what was computed, what it must be, to which absolute difference."""

    name: str
    result: tuple[float, ...]
    expected: tuple[float, ...]
    allowed: float = 5e-9

    @property
    def agrees(self) -> bool:
        pairs = zip(self.result, self.expected, strict=True)
        return all(abs(a - b) <= self.allowed for a, b in pairs)


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
    Z = np.array([[1.0, 2.0, 3.0]])
    A = logistic.sigmoid(Z)
    softmax = logistic.softmax(np.array([[9.0, 2, 5, 0, 0], [7, 5, 0, 0, 0]]))
    Yhat, Y = np.array([[0.9, 0.2, 0.1, 0.4, 0.9]]), np.array([[1.0, 0, 0, 1, 1]])
    images = np.arange(2 * 2 * 2 * 3).reshape(2, 2, 2, 3)
    X = logistic.flatten(images)
    return [
        Example("J = 3(a + bc)", (nodes["J"].value,), (33.0,)),
        Example("dJ/da dJ/db dJ/dc", tuple(nodes[k].grad for k in "abc"), (3.0, 6.0, 9.0)),
        Example("σ(1) σ(2) σ(3)", tuple(A[0]), (0.73105858, 0.88079708, 0.95257413)),
        Example("σ'(1) σ'(2) σ'(3)", _slopes_of_sigmoid(), (0.19661193, 0.10499359, 0.04517666)),
        Example("softmax by rows", (*softmax[:, 0],), (0.980897665, 0.878679856)),
        Example("L1 loss", (logistic.l1_loss(Yhat, Y),), (1.1,)),
        Example("L2 loss", (logistic.l2_loss(Yhat, Y),), (0.43,)),
        Example("flatten keeps images", tuple(map(float, X[:3, 1])), (12.0, 13.0, 14.0)),
    ]


@dataclass(frozen=True)
class _Batch:
    images: Pixels
    Y: Floats


def _slopes_of_sigmoid() -> tuple[float, ...]:
    slopes = []
    for z in (1.0, 2.0, 3.0):
        node = Node(z)
        graph.backward(graph.sigmoid(node))
        slopes.append(node.grad)
    return tuple(slopes)


def _score(w: list[Node], x: list[float], b: Node) -> Node:
    z = b
    for weight, value in zip(w, x, strict=True):
        z = z + weight * value
    return z


def _backward(root: Node, w: list[Node], dw: Floats) -> float:
    """Add d(root)/dw to ``dw`` (n,), and return the root's value."""
    graph.backward(root)
    dw += [weight.grad for weight in w]
    return root.value


def _timed(form: Form, at: Place) -> tuple[float, Gradient]:
    """The shortest of up to 20 runs within a tenth of a second, and the result of the form."""
    shortest, spent, runs = float("inf"), 0.0, 0
    while runs == 0 or (spent < 0.1 and runs < 20):
        began = perf_counter()
        result = form(at)
        once = perf_counter() - began
        shortest, spent, runs = min(shortest, once), spent + once, runs + 1
    return shortest, result


def _worst_slope(at: Place, result: Gradient, directions: int, seed: int) -> float:
    """The largest directional error over (w, b) together; NaN if any is."""
    X, Y, n = at.X, at.Y, len(at.w)
    gradient = np.vstack([result[1], [[result[2]]]])
    point = np.vstack([at.w, [[at.b]]])
    rng = np.random.default_rng(seed + 1)

    def J(p: Floats) -> float:
        Z = np.asarray(p[:n].T @ X + p[n, 0])
        return logistic.cost(Z, Y) + float(at.l2 / (2 * Y.shape[1]) * np.vdot(p[:n], p[:n]))

    errors = [graph.directional_error(J, point, gradient, rng) for _ in range(directions)]
    return float(np.max(errors))
