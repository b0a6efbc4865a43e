"""Newton's method on the sample Gram matrix: the regularised optimum in about ten steps.

With w = Xa logistic regression is a problem of m numbers, whatever n. (Rasmussen and Williams,
"Gaussian Processes for Machine Learning", 2006, section 3.4: the same steps, without a bias.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from catclf.maths import Floats, losses_and_errors, sigmoid
from catclf.objective import GramProblem, Point, sample_weights
from catclf.settings import NEWTON_STEPS, Settings
from catclf.training.descent import OnStep, ShouldStop
from catclf.training.state import CONVERGED, LIMIT, PATIENCE, Ending, HeldOut, State

EXACT = 1e-8  # where it stops: the largest change of a score
SMALLEST = 1e-6  # the smallest fraction of a step that is tried


@dataclass
class Newton:
    """A solver: as many steps as are needed, or as ``settings.iterations`` allow."""

    problem: GramProblem
    settings: Settings
    held_out: HeldOut | None = None

    def run(
        self, state: State, on_step: OnStep | None = None, should_stop: ShouldStop | None = None
    ) -> Ending:
        """Go on from the state, in place."""
        problem, total = self.problem, self.settings.iterations
        weights = sample_weights(problem.class_weights, problem.Y)
        if total == 0:
            self._note(state, problem.evaluate(state.point)[0], on_step)
            return Ending()
        for step in steps(problem.K, problem.Y, weights, self.settings.l2):
            state.point = Point(step.a, step.b)
            enough = self._note(state, step.objective / problem.m, on_step)
            if step.converged or enough:
                return Ending(reason=CONVERGED if step.converged else PATIENCE)
            if state.step >= total:
                break
            if should_stop and should_stop():
                return Ending(interrupted=True)
            state.step += 1
        return Ending(reason=LIMIT)

    def _note(self, state: State, cost: float, on_step: OnStep | None) -> bool:
        state.keep(cost)
        if on_step:
            on_step(state.step, cost)
        return self.held_out is not None and self.held_out.look(state)


@dataclass(frozen=True)
class Step:
    """The point after a step: a (m, 1), b, scores z (m, 1), and m J there.

    ``converged`` is True where the scores have stopped to change.
    """

    a: Floats
    b: float
    z: Floats
    objective: float
    converged: bool = False


def optimum(
    K: Floats,
    Y: Floats,
    weights: Floats,
    l2: float,
    start: tuple[Floats, float] | None = None,
    tolerance: float = EXACT,
) -> tuple[Floats, float]:
    """The a (m, 1) and b where ``steps`` end."""
    *_, last = steps(K, Y, weights, l2, start, tolerance)
    return last.a, last.b


def steps(
    K: Floats,
    Y: Floats,
    weights: Floats,
    l2: float,
    start: tuple[Floats, float] | None = None,
    tolerance: float = EXACT,
) -> Iterator[Step]:
    """The start of Newton's method and up to ``NEWTON_STEPS`` steps of it, to the minimum of

        m J = Σ v [log(1 + e^z) - y z] + (λ/2) aᵀKa,   z = Ka + b,  λ = ``l2`` > 0

    for K (m, m), Y and weights v (1, m). It begins at ``start``, or at zero where that is better;
    a step is halved until the objective falls.
    """
    y, v = Y.T, weights.T  # (m, 1)
    here = _at(np.zeros_like(y), 0.0, np.zeros_like(y), y, v, l2)
    if start is not None:
        there = _at(*start, K @ start[0] + start[1], y, v, l2)
        here = min(here, there, key=lambda step: step.objective)
    yield here
    for _ in range(NEWTON_STEPS):
        a, b = _target(K, here.z, y, v, l2)
        z, fraction = K @ a + b, 1.0
        while True:
            tried = _at(
                here.a + fraction * (a - here.a),
                here.b + fraction * (b - here.b),
                here.z + fraction * (z - here.z),
                y,
                v,
                l2,
            )
            worse = tried.objective > here.objective * (1.0 + 1e-12)
            if not worse or fraction < SMALLEST:
                break
            fraction /= 2.0
        if worse:  # the rounding of the objective is all that is left
            tried = here
        converged = float(np.abs(tried.z - here.z).max()) < tolerance
        here = replace(tried, converged=converged)
        yield here
        if converged:
            return


def _target(K: Floats, z: Floats, y: Floats, v: Floats, l2: float) -> tuple[Floats, float]:
    """The point a (m, 1) and b to which a full step from scores z leads.

    With the diagonal D = v σ(z) (1 - σ(z)) it solves (K + λ/D) a + b = z + v (y - σ(z)) / D and
    Σ a = 0, through the symmetric matrix I + S K S, S = √(D/λ), whose eigenvalues are at least 1.
    """
    p = sigmoid(z)
    d = np.maximum(v * p * (1.0 - p), 1e-12)
    s = np.sqrt(d / l2)
    A = K * s
    A *= s.T
    A.flat[:: len(y) + 1] += 1.0
    right = np.hstack([z + v * (y - p) / d, np.ones_like(y)])
    solved = s * np.linalg.solve(A, s * right)  # (m, 2)
    b = float(solved[:, 0].sum() / solved[:, 1].sum())
    return solved[:, :1] - b * solved[:, 1:], b


def _at(a: Floats, b: float, z: Floats, y: Floats, v: Floats, l2: float) -> Step:
    """A point with its objective; aᵀKa comes from z - b = Ka."""
    losses, _ = losses_and_errors(z, y)
    objective = float((v * losses).sum()) + l2 / 2.0 * float(np.vdot(a, z - b))
    return Step(a, b, z, objective)
