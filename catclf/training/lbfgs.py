"""The regularised optimum in tens of passes: L-BFGS, the one door to SciPy."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.maths import Floats
from catclf.objective import Euclidean, Point
from catclf.training.descent import OnStep, ShouldStop, require_convergence
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

OPTIONS = {
    "ftol": 1e-9,  # smaller parts of the cost are lost in the rounding of float32 products
    "gtol": 1e-6,  # of any coordinate of the gradient, features being in [0, 1]
    "maxcor": 20,  # pairs of steps and gradient changes that are remembered
}


def require_scipy() -> None:
    """Raise SettingsError, with what to install, when SciPy is missing."""
    try:
        import scipy.optimize  # noqa: F401, TID251
    except ImportError as error:
        raise SettingsError(
            "`solver=lbfgs` needs SciPy: install it with: "
            f"{sys.executable} -m pip install 'catclf[lbfgs]'"
        ) from error


def solve_upper(R: Floats, u: Floats) -> Floats:
    """a (m, 1) with R a = u, for an upper triangular matrix R (m, m)."""
    from scipy.linalg import solve_triangular  # noqa: TID251

    return np.asarray(solve_triangular(R, u, lower=False, check_finite=False), np.float64)


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


# By SciPy's status; 2 is a line search that has reached the rounding of the cost.
_REASONS = {0: CONVERGED, 1: LIMIT}


@dataclass
class LBFGS:
    """SciPy's L-BFGS-B without bounds, on a problem whose coordinates are as long as w.

    One iteration looks at all images once, rarely twice. (Byrd, Lu, Nocedal and Zhu, SIAM Journal
    on Scientific Computing 16, 1995.)
    """

    problem: Euclidean
    settings: Settings
    held_out: HeldOut | None = None

    def run(
        self, state: State, on_step: OnStep | None = None, should_stop: ShouldStop | None = None
    ) -> Ending:
        """Go on from the state, in place; every iteration is reported and its cost kept."""
        from scipy.optimize import minimize  # noqa: TID251

        total, function = self.settings.iterations, Centred(self.problem)
        ended = Ending()

        def iterated(intermediate_result: Any) -> None:
            state.step += 1
            state.point = function.point(intermediate_result.x)
            self._note(state, float(intermediate_result.fun), ended, on_step, should_stop)
            if ended:
                raise StopIteration

        cost = self.problem.evaluate(state.point)[0]
        self._note(state, cost, ended, on_step, should_stop)
        if total and not ended:
            result = minimize(
                function,
                function.vector(state.point),
                jac=True,
                method="L-BFGS-B",
                callback=iterated,
                options=OPTIONS | {"maxiter": total, "maxfun": 20 * total},
            )
            if not ended:
                ended = Ending(reason=_REASONS.get(result.status, LINE_SEARCH))
        return ended

    def _note(
        self,
        state: State,
        cost: float,
        ended: Ending,
        on_step: OnStep | None,
        should_stop: ShouldStop | None,
    ) -> None:
        """Report the state after an iteration; ``ended`` is set where it was the last one."""
        require_convergence(cost, state.step, self.settings)
        state.keep(cost)
        if self.held_out is not None and self.held_out.look(state):
            ended.reason = PATIENCE
        if on_step:
            on_step(state.step, cost)
        if state.step < self.settings.iterations and not ended.reason and should_stop:
            ended.interrupted = should_stop()
