"""L-BFGS: its direction, its memory and its steps; optima are in test_training_optimum."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from catclf.training.objective import Vector
from catclf.training.solvers import (
    FLAT,
    PAIRS,
    SUFFICIENT,
    Evaluated,
    Iterate,
    Memory,
    evaluated,
    line_search,
)

rng = np.random.default_rng(7)


class Logistic:
    """Σ log(1 + e^-yz) / m + λ/2 ‖x‖², in float64, counted."""

    def __init__(self, m: int = 80, k: int = 12, l2: float = 1e-3, scale: float = 1.0) -> None:
        made = np.random.default_rng(m + k)
        self.rows, self.l2, self.calls = made.normal(size=(m, k)) * scale, l2, 0
        self.signs = np.where(made.random(m) < 0.5, -1.0, 1.0)
        self.start = np.zeros(k)

    def here(self) -> Iterate:
        return Iterate(self.start, *self(self.start))

    def __call__(self, x: Vector) -> Evaluated:
        self.calls += 1
        z = self.signs * (self.rows @ x)
        cost = float(np.logaddexp(0.0, -z).mean() + self.l2 / 2 * x @ x)
        errors = -self.signs * expit(-z) / len(z)
        return cost, np.asarray(self.rows.T @ errors + self.l2 * x)


def dense_inverse(memory: Memory, k: int) -> Vector:
    """H by the BFGS update of whole matrices (Nocedal and Wright, equation 6.17)."""
    s, y = memory.steps[-1], memory.changes[-1]
    H = np.eye(k) * (s @ y) / (y @ y)
    for s, y in zip(memory.steps, memory.changes, strict=True):
        rho = 1.0 / (s @ y)
        V = np.eye(k) - rho * np.outer(y, s)
        H = V.T @ H @ V + rho * np.outer(s, s)
    return H


@pytest.mark.parametrize("count", [1, 3, PAIRS, PAIRS + 4])
def test_the_direction_is_that_of_the_dense_update(count: int) -> None:
    memory, k = Memory(), 9
    A = rng.normal(size=(k, k))
    A = A @ A.T + np.eye(k)
    for _ in range(count):
        step = rng.normal(size=k)
        memory.add(step, A @ step)
    assert len(memory.steps) == min(count, PAIRS)
    g = rng.normal(size=k)
    np.testing.assert_allclose(memory.direction(g), -dense_inverse(memory, k) @ g, rtol=1e-9)


def test_a_pair_without_curvature_is_not_remembered() -> None:
    memory = Memory()
    memory.add(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    memory.add(np.array([1.0, 0.0]), np.array([-1.0, 0.0]))
    assert memory.steps == []


def test_long_vectors_are_remembered_in_fewer_pairs() -> None:
    memory, long = Memory(), np.ones(3 * 1024 * 1024)
    for _ in range(5):
        memory.add(long, long)
    assert len(memory.steps) == 4  # 4 · 2 · 24 MB


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("first", [1e-6, 1.0, 1e5])
def test_steps_meet_the_strong_wolfe_conditions(scale: float, first: float) -> None:
    function = Logistic(scale=scale)
    here = function.here()
    d = -here.gradient
    there = evaluated(line_search(here, d, first), function)
    assert there is not None
    t = float((there.x - here.x) @ d / (d @ d))
    slope = float(here.gradient @ d)
    assert there.cost <= here.cost + max(SUFFICIENT * t * slope, 1e-8 * here.cost)
    assert abs(there.gradient @ d) <= FLAT * abs(slope)


def test_a_cost_that_overflows_is_stepped_back_from() -> None:
    def function(x: Vector) -> Evaluated:
        if x[0] > 3.0:
            return np.inf, np.full(1, np.nan)
        return float((x[0] - 1.0) ** 2), 2.0 * (x - 1.0)

    here = Iterate(np.zeros(1), *function(np.zeros(1)))
    there = evaluated(line_search(here, np.ones(1), 1000.0), function)
    assert there is not None
    assert 0.0 < there.x[0] < 2.0
