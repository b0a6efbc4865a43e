"""The regularised optimum in tens of passes: L-BFGS on a problem whose coordinates measure as w."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catclf.objective import Euclidean, Point
from catclf.training.descent import OnStep, ShouldStop, require_convergence
from catclf.training.quasi_newton import Iterate, Memory, converged, evaluated, iterate
from catclf.training.settings import Settings
from catclf.training.state import (
    CONVERGED,
    LIMIT,
    LINE_SEARCH,
    PATIENCE,
    Ending,
    HeldOut,
    State,
)

TOLERANCE = 1e-9  # of the cost: smaller parts are lost in the rounding of float32 products
FLAT = 1e-6  # length of the gradient where it ends


class Centred:
    """A problem as a function of one vector, with the images' mean taken from the features.

    z = wᵀ(x - μ) + c with c = b + wᵀμ is the same model with the same penalty, for the bias is
    free; but its gradient's parts for w and c are no longer nearly parallel, for pixels are never
    negative, and fewer iterations are needed.
    """

    def __init__(self, problem: Euclidean) -> None:
        self._problem = problem
        self._mu = problem.centre()

    def vector(self, point: Point) -> NDArray[np.float64]:
        """The vector (w, c) of a point."""
        c = point.b + float(np.vdot(self._mu, point.coordinates))
        return np.append(point.coordinates[:, 0], c)

    def point(self, vector: NDArray[np.float64]) -> Point:
        """The point of a vector."""
        w = vector[:-1].reshape(-1, 1).copy()
        return Point(w, float(vector[-1]) - float(np.vdot(self._mu, w)))

    def __call__(self, vector: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        cost, gradient = self._problem.evaluate(self.point(vector))
        dw = gradient.coordinates - gradient.b * self._mu
        return cost, np.append(dw[:, 0], gradient.b)


@dataclass
class LBFGS:
    """L-BFGS (see ``quasi_newton``) from a state to the optimum, or to the last iteration.

    One iteration looks at all images once, rarely twice. ``save(state)`` is called every
    ``save_every`` iterations and when training is stopped; going on from a state that was saved
    leads to the same result, for it holds the vector and the pairs of the iterations before.
    """

    problem: Euclidean
    settings: Settings
    held_out: HeldOut | None = None
    save: Callable[[State], None] | None = None
    save_every: int = 0

    def run(
        self, state: State, on_step: OnStep | None = None, should_stop: ShouldStop | None = None
    ) -> Ending:
        """Go on from the state, in place; every iteration is reported and its cost kept."""
        total, function = self.settings.iterations, Centred(self.problem)
        x, memory = _begun(state, function)
        here = Iterate(x, *function(x))
        require_convergence(here.cost, state.step, self.settings)
        enough = False
        if state.vectors is None:
            enough = self._note(state, here.cost, on_step)
        elif on_step:
            on_step(state.step, here.cost)
        while not enough and state.step < total:
            if should_stop and should_stop():
                self._save(state, here, memory)
                return Ending(interrupted=True)
            result = evaluated(iterate(here, memory), function)
            if result is None:
                return Ending(reason=LINE_SEARCH)
            last = converged(here, result, TOLERANCE) or _flat(result)
            here = result
            state.step += 1
            state.point = function.point(here.x)
            require_convergence(here.cost, state.step, self.settings)
            enough = self._note(state, here.cost, on_step)
            if last:
                return Ending(reason=CONVERGED)
            if self.save_every and state.step % self.save_every == 0:
                self._save(state, here, memory)
        return Ending(reason=PATIENCE if enough else LIMIT if total else "")

    def _note(self, state: State, cost: float, on_step: OnStep | None) -> bool:
        """Report the state after an iteration; True where validation costs have not fallen."""
        state.keep(cost)
        enough = self.held_out is not None and self.held_out.look(state)
        if on_step:
            on_step(state.step, cost)
        return enough

    def _save(self, state: State, here: Iterate, memory: Memory) -> None:
        if self.save is not None:
            state.vectors = np.stack([here.x, *memory.steps, *memory.changes])
            self.save(state)


def _begun(state: State, function: Centred) -> tuple[NDArray[np.float64], Memory]:
    """The vector and the pairs that a state goes on from."""
    if state.vectors is None:
        return function.vector(state.point), Memory()
    memory, half = Memory(), len(state.vectors) // 2
    for step, change in zip(state.vectors[1 : half + 1], state.vectors[half + 1 :], strict=True):
        memory.add(step, change)
    return state.vectors[0], memory


def _flat(here: Iterate) -> bool:
    return float(np.linalg.norm(here.gradient)) <= FLAT
