"""A scalar computation graph with a backward pass, by which ``check`` proves the vectorized forms.

    a, b, c = Node(5, "a"), Node(3, "b"), Node(2, "c")
    J = 3 * (a + b * c)
    backward(J)  # J.value is 33, and a.grad, b.grad and c.grad are 3, 6 and 9

Derivatives by reverse accumulation (Griewank and Walther, "Evaluating Derivatives", 2nd edition,
2008, chapter 3). Training does not use it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from catclf.text import aligned


@dataclass(eq=False, slots=True)
class Node:
    """A number that remembers the operation and the numbers that made it.

    ``grad`` is the derivative of the root with respect to this node, filled by ``backward``.
    ``parents`` are the numbers that made it, each with its local derivative d(self)/d(parent).
    """

    value: float
    name: str = ""
    operation: str = ""
    parents: tuple[tuple[Node, float], ...] = ()
    grad: float = 0.0

    def named(self, name: str) -> Node:
        """Give this node a name for the table, and return it."""
        self.name = name
        return self

    def __add__(self, other: Node | float) -> Node:
        other = _node(other)
        return Node(self.value + other.value, "", "+", ((self, 1.0), (other, 1.0)))

    def __mul__(self, other: Node | float) -> Node:
        other = _node(other)
        parents = ((self, other.value), (other, self.value))
        return Node(self.value * other.value, "", "*", parents)

    def __pow__(self, exponent: float) -> Node:
        slope = exponent * self.value ** (exponent - 1) if exponent else 0.0
        return Node(self.value**exponent, "", f"**{exponent:g}", ((self, slope),))

    def __radd__(self, other: float) -> Node:
        return _node(other) + self

    def __rmul__(self, other: float) -> Node:
        return _node(other) * self

    def __neg__(self) -> Node:
        return -1 * self

    def __sub__(self, other: Node | float) -> Node:
        return self + -1 * other

    def __rsub__(self, other: float) -> Node:
        return other + -1 * self

    def __truediv__(self, other: Node | float) -> Node:
        return self * other**-1

    def __rtruediv__(self, other: float) -> Node:
        return other * self**-1


def log(x: Node) -> Node:
    """The natural logarithm of x > 0."""
    return Node(math.log(x.value), "", "log", ((x, 1.0 / x.value),))


def sigmoid(x: Node) -> Node:
    """σ(x), with derivative σ(1 - σ); stable for any x."""
    t = math.exp(-abs(x.value))
    value = (1.0 if x.value >= 0 else t) / (1.0 + t)
    return Node(value, "", "sigmoid", ((x, t / (1.0 + t) ** 2),))


def logistic_loss(z: Node, y: float) -> Node:
    """-log a for label y = 1 and -log(1 - a) for y = 0, where a = σ(z); for |z| below 700.

    1 - a is computed as σ(-z), which does not cancel.
    """
    return -log(sigmoid(z) if y else sigmoid(-z))


def topological(root: Node) -> list[Node]:
    """Every node that root depends on, each after its parents. Not recursive: any depth will do."""
    order: dict[Node, None] = {}
    seen, stack = set[Node](), [root]
    while stack:
        node = stack[-1]
        if node in seen:
            order.setdefault(stack.pop())
        else:
            seen.add(node)
            stack.extend(parent for parent, _ in reversed(node.parents) if parent not in seen)
    return list(order)


def backward(root: Node) -> None:
    """Fill ``grad`` of every node with d(root)/d(node)."""
    order = topological(root)
    for node in order:
        node.grad = 0.0
    root.grad = 1.0
    for node in reversed(order):
        for parent, slope in node.parents:
            parent.grad += slope * node.grad


def table(root: Node) -> list[str]:
    """Forward values and derivatives as aligned lines, one a node in the order computed.

    Call ``backward`` first. Constants are left out; results without a name are numbered.
    """
    order = [node for node in topological(root) if node.name or node.operation]
    names = {node: node.name or f"t{i}" for i, node in enumerate(order, 1)}
    rows = [("node", "is", "value", "d root / d node")]
    for node in order:
        left, *right = [names.get(p, f"{p.value:g}") for p, _ in node.parents] or ["input"]
        formula = " ".join(filter(None, (left, node.operation, *right)))
        if node.operation.isalpha():
            formula = f"{node.operation}({left})"
        rows.append((names[node], formula, f"{node.value:z.6g}", f"{node.grad:z.6g}"))
    return aligned(rows, "<<>>")


def _node(value: Node | float) -> Node:
    return value if isinstance(value, Node) else Node(value)
