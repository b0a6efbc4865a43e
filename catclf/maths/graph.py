"""A scalar computation graph with a backward pass, and a derivative check along random directions.

The graph checks the vectorized mathematics independently, and ``explain`` and ``check`` print it;
training does not use it. Derivatives by reverse accumulation (Griewank and Walther,
"Evaluating Derivatives", 2nd edition, 2008, chapter 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from catclf.errors import ShapeError
from catclf.maths import Floats
from catclf.text import aligned


class Node:
    """A number that remembers the operation and the numbers that made it.

    ``value`` is the forward value, ``grad`` the derivative of the root with respect to this node,
    filled by ``backward``. Arithmetic with plain numbers makes constants.
    """

    __slots__ = ("grad", "name", "operation", "parents", "value")

    def __init__(
        self,
        value: float,
        name: str = "",
        operation: str = "",
        parents: tuple[tuple[Node, float], ...] = (),
    ) -> None:
        self.value = float(value)
        self.name = name
        self.operation = operation
        self.parents = parents  # each with the local derivative d(self)/d(parent)
        self.grad = 0.0

    def __repr__(self) -> str:
        return f"Node({self.name or self.operation or 'constant'} = {self.value:g})"

    def named(self, name: str) -> Node:
        """Give this node a name for the table, and return it."""
        self.name = name
        return self

    def __add__(self, other: Node | float) -> Node:
        other = _node(other)
        return Node(self.value + other.value, "", "+", ((self, 1.0), (other, 1.0)))

    def __sub__(self, other: Node | float) -> Node:
        other = _node(other)
        return Node(self.value - other.value, "", "-", ((self, 1.0), (other, -1.0)))

    def __mul__(self, other: Node | float) -> Node:
        other = _node(other)
        parents = ((self, other.value), (other, self.value))
        return Node(self.value * other.value, "", "*", parents)

    def __truediv__(self, other: Node | float) -> Node:
        other = _node(other)
        value = self.value / other.value
        return Node(value, "", "/", ((self, 1.0 / other.value), (other, -value / other.value)))

    def __pow__(self, exponent: float) -> Node:
        slope = exponent * self.value ** (exponent - 1) if exponent else 0.0
        return Node(self.value**exponent, "", f"**{exponent:g}", ((self, slope),))

    def __neg__(self) -> Node:
        return Node(-self.value, "", "neg", ((self, -1.0),))

    def __radd__(self, other: float) -> Node:
        return _node(other) + self

    def __rsub__(self, other: float) -> Node:
        return _node(other) - self

    def __rmul__(self, other: float) -> Node:
        return _node(other) * self

    def __rtruediv__(self, other: float) -> Node:
        return _node(other) / self


def log(x: Node) -> Node:
    """The natural logarithm of x > 0."""
    return Node(math.log(x.value), "", "log", ((x, 1.0 / x.value),))


def sigmoid(x: Node) -> Node:
    """σ(x), with derivative σ(1 - σ); stable for any x."""
    t = math.exp(-abs(x.value))
    value = (1.0 if x.value >= 0 else t) / (1.0 + t)
    return Node(value, "", "sigmoid", ((x, t / (1.0 + t) ** 2),))


def logistic_loss(z: Node, y: float) -> Node:
    """-log a for label y = 1 and -log(1 - a) for y = 0, where a = σ(z).

    1 - a is made as σ(-z), which does not cancel. Where that underflows, beyond |z| of 700, the
    loss is |z| to the last digit.
    """
    chance = sigmoid(z).named("a") if y else sigmoid(-z).named("1 - a")
    if chance.value < 1e-300:
        return -z if y else z + 0.0
    return -log(chance)


def topological(root: Node) -> list[Node]:
    """Every node that root depends on, each after its parents. Not recursive: any depth will do."""
    order: list[Node] = []
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((parent, False) for parent, _ in reversed(node.parents))
    return order


def backward(root: Node) -> None:
    """Fill ``grad`` of every node with d(root)/d(node)."""
    order = topological(root)
    for node in order:
        node.grad = 0.0
    root.grad = 1.0
    for node in reversed(order):
        for parent, slope in node.parents:
            parent.grad += slope * node.grad


def table(root: Node) -> str:
    """Forward values and derivatives as aligned text, one line a node in the order computed.

    Call ``backward`` first. Unnamed constants are left out; unnamed results are numbered.
    """
    order = [node for node in topological(root) if node.name or node.operation]
    labels = {id(node): node.name or f"t{i}" for i, node in enumerate(order, 1)}
    rows = [("node", "is", "value", "d root / d node")]
    for node in order:
        parents = (labels.get(id(p), f"{p.value:g}") for p, _ in node.parents)
        rows.append(
            (labels[id(node)], _formula(node, parents), f"{node.value:z.6g}", f"{node.grad:z.6g}")
        )
    return "\n".join(aligned(rows, "<<>>"))


def _formula(node: Node, parents: Iterable[str]) -> str:
    names = list(parents)
    if not names:
        return "input"
    if len(names) == 2:
        return f"{names[0]} {node.operation} {names[1]}"
    if node.operation.startswith("**"):
        return f"{names[0]} {node.operation}"
    return f"{node.operation}({names[0]})"


def _node(value: Node | float) -> Node:
    return value if isinstance(value, Node) else Node(value)


def directional_error(
    function: Callable[[Floats], float],
    point: Floats,
    gradient: Floats,
    rng: np.random.Generator,
    step: float = 1e-3,
) -> float:
    """Relative difference between gradient·v and the slope of ``function`` along a random unit v.

    The slope is the 5-point stencil (f(-2h) - 8f(-h) + 8f(h) - f(2h)) / 12h, whose error is of
    order h⁴ (Abramowitz and Stegun 25.3.6). One direction tests all coordinates at once. ``point``
    and ``gradient`` have one shape, which is also the shape given to ``function``.
    """
    if point.shape != gradient.shape:
        raise ShapeError(f"point {point.shape} and gradient {gradient.shape} differ in shape")
    v = rng.standard_normal(point.shape)
    v /= np.linalg.norm(v)
    f = [function(point + k * step * v) for k in (-2, -1, 1, 2)]
    slope = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * step)
    expected = float(np.sum(gradient * v))
    return abs(slope - expected) / max(abs(slope), abs(expected), np.finfo(float).tiny)
