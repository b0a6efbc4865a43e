"""The computation graph against hand values and finite differences; the forms are in check."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from catclf.maths import graph
from catclf.maths.graph import Node, backward, table
from catclf.training import check


def slope(f: Callable[[float], float], x: float, h: float = 1e-3) -> float:
    return (f(x - 2 * h) - 8 * f(x - h) + 8 * f(x + h) - f(x + 2 * h)) / (12 * h)


def test_the_courses_example_has_the_courses_derivatives() -> None:
    J = check.course_graph()
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


def plain_sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("x", [-1.7, -0.4, 0.6, 2.3])
@pytest.mark.parametrize(
    ("f", "number"),
    [
        (lambda x: graph.log(x * x), lambda x: math.log(x * x)),
        (graph.sigmoid, plain_sigmoid),
        (lambda x: graph.sigmoid(-x), lambda x: plain_sigmoid(-x)),
    ]
    + [
        (f, f)  # the same lines on floats
        for f in (
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
        )
    ],
)
def test_values_and_slopes_are_those_of_floats_and_finite_differences(
    f: Callable[[Any], Any], number: Callable[[float], float], x: float
) -> None:
    node = Node(x)
    root = f(node)
    backward(root)
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
