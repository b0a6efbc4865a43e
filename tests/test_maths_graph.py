"""The computation graph against hand values, finite differences, and the vectorized forms."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest

from catclf.maths import Floats, graph
from catclf.maths.graph import Node, backward, table
from catclf.maths.logistic import cost_and_gradient, cost_and_gradient_loop
from catclf.training import check


def tiny_problem(n: int, m: int) -> tuple[Floats, Floats, Floats, float]:
    rng = np.random.default_rng(7)
    X, w = rng.random((n, m)), rng.standard_normal((n, 1))
    return X, np.arange(m, dtype=np.float64).reshape(1, m) % 2, w, 0.25


def slope(f: Callable[[float], float], x: float, h: float = 1e-3) -> float:
    return (f(x - 2 * h) - 8 * f(x - h) + 8 * f(x + h) - f(x + 2 * h)) / (12 * h)


def test_the_courses_example_has_the_courses_derivatives() -> None:
    J = check.course_graph()
    values = {n.name: (n.value, n.grad) for n in graph.topological(J) if n.name}
    assert values == {
        "a": (5, 3), "b": (3, 6), "c": (2, 9), "u": (6, 3), "v": (11, 3), "J": (33, 1)
    }  # fmt: skip
    lines = table(J)
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "a input 5 3",
        "b input 3 6",
        "c input 2 9",
        "u b * c 6 3",
        "v a + u 11 3",
        "J 3 * v 33 1",
    ]
    assert lines[0].split()[:3] == ["node", "is", "value"]
    assert len({len(line) for line in lines}) == 1  # right-aligned


def test_the_table_numbers_what_has_no_name() -> None:
    x = Node(1.0, "x")
    root = graph.log(graph.sigmoid(-x) ** 2) - 4
    backward(root)
    rows = [re.split(" {2,}", line.strip())[:2] for line in table(root)[1:]]
    assert rows == [
        ["x", "input"],
        ["t2", "-1 * x"],
        ["t3", "sigmoid(t2)"],
        ["t4", "t3 **2"],
        ["t5", "log(t4)"],
        ["t6", "t5 + -4"],
    ]


@pytest.mark.parametrize("x", [-1.7, -0.4, 0.6, 2.3])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: x + 2,
        lambda x: 2 + x,
        lambda x: x - 2,
        lambda x: 2 - x,
        lambda x: -x,
        lambda x: 3 * x,
        lambda x: x * 3,
        lambda x: x * x * x,
        lambda x: x / 7,
        lambda x: 3 / x,
        lambda x: (x - 5) / (x + 9),
        lambda x: x**3,
        lambda x: x**-2,
        lambda x: x**0 + x,
        lambda x: (x * x) ** 0.5,
    ],
)
def test_arithmetic_has_the_slope_of_finite_differences(f: Callable[..., Node], x: float) -> None:
    node = Node(x)
    root = f(node)
    backward(root)
    number: Callable[[float], float] = f  # type: ignore[assignment]  # the same lines on floats
    assert root.value == pytest.approx(number(x), rel=1e-15)
    assert node.grad == pytest.approx(slope(number, x), rel=1e-9)


@pytest.mark.parametrize("z", [-600.0, -30.0, -0.5, 0.0, 2.0, 40.0, 600.0])
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_the_loss_in_the_graph_is_that_of_z(z: float, y: float) -> None:
    node = Node(z)
    loss = graph.logistic_loss(node, y)
    backward(loss)
    assert loss.value == pytest.approx(np.logaddexp(0, z) - y * z, rel=1e-12)
    a = math.exp(-np.logaddexp(0, -z))
    assert node.grad == pytest.approx(a - y, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("x", [0.3, 1.0, 4.5])
@pytest.mark.parametrize(
    ("f", "number"),
    [
        (graph.log, math.log),
        (graph.sigmoid, lambda x: 1 / (1 + math.exp(-x))),
        (lambda x: graph.sigmoid(-x), lambda x: 1 / (1 + math.exp(x))),
    ],
)
def test_functions_have_the_slope_of_finite_differences(
    f: Callable[[Node], Node], number: Callable[[float], float], x: float
) -> None:
    node = Node(x)
    root = f(node)
    backward(root)
    assert root.value == pytest.approx(number(x), rel=1e-15)
    assert node.grad == pytest.approx(slope(number, x), rel=1e-9)


def test_powers_have_their_slope_at_zero() -> None:
    x = Node(0.0)
    root = x**0 + 5 * x**1 + x**2
    backward(root)
    assert (root.value, x.grad) == (1.0, 5.0)


def test_a_reused_node_accumulates_and_a_second_pass_starts_over() -> None:
    x = Node(3.0)
    y = x * x
    root = y * y + y  # x⁴ + x²
    for _ in range(2):
        backward(root)
        assert x.grad == 4 * 27 + 2 * 3


def test_a_chain_of_20000_additions_is_no_deeper_than_python_allows() -> None:
    x = Node(1.0, "x")
    root = x
    for _ in range(20_000):
        root = root + x
    backward(root)
    assert (root.value, x.grad) == (20_001.0, 20_001.0)
    assert len(table(root)) == 20_002


@pytest.mark.parametrize("l2", [0.0, 2.5])
def test_graph_is_vectorized_is_loop(l2: float) -> None:
    X, Y, w, b = tiny_problem(3, 4)
    n, m = X.shape
    weights, bias = [Node(w[i, 0]) for i in range(n)], Node(b)
    J = Node(0.0)
    for j in range(m):
        z = sum((weights[i] * X[i, j] for i in range(n)), bias)
        a, y = graph.sigmoid(z), Y[0, j]
        J = J - (y * graph.log(a) + (1 - y) * graph.log(1 - a)) / m
    J = J + l2 / (2 * m) * sum((wi**2 for wi in weights), Node(0.0))
    backward(J)
    for form in (cost_and_gradient, cost_and_gradient_loop):
        cost, dw, db = form(X, Y, w, b, l2)
        assert cost == pytest.approx(J.value, rel=1e-12)
        np.testing.assert_allclose(dw[:, 0], [wi.grad for wi in weights], rtol=1e-12)
        assert db == pytest.approx(bias.grad, rel=1e-12)
