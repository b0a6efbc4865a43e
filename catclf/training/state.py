"""The state of a training run between two updates, and how a run ends."""

from __future__ import annotations

from dataclasses import dataclass, field

from catclf.maths import Floats
from catclf.objective import Point, Problem
from catclf.objective.streamed import StreamProblem

# Why a solver ended by itself, where it did not do all iterations of descent.
CONVERGED = "converged"  # the gradient, or the change of the scores, is as good as zero
PATIENCE = "patience"  # the cost on validation images has not fallen for a while
LIMIT = "limit"  # all iterations that were allowed, short of the optimum
LINE_SEARCH = "line search"  # no step lowers the cost: its rounding is reached


@dataclass
class Ending:
    """How a solver ended: stopped by the caller, or by itself for a ``reason``; true if either."""

    interrupted: bool = False
    reason: str = ""

    def __bool__(self) -> bool:
        return self.interrupted or bool(self.reason)


KEPT_LIMIT = 1_000_000  # costs of a curve


def keep(steps: list[int], costs: list[float], step: int, cost: float, *, last: bool) -> None:
    """Append a cost to a curve of up to ``KEPT_LIMIT`` of them, at even distances.

    A full curve loses every other point, and from then on only steps at the new distance are
    appended, and the last one. The curve itself says what the distance is, so that a resumed run
    keeps the steps of one that was never stopped.
    """
    distance = steps[1] - steps[0] if len(steps) > 1 else 1
    if not last and steps and (step - steps[0]) % distance:
        return
    if len(steps) >= KEPT_LIMIT:
        del steps[1::2], costs[1::2]
        keep(steps, costs, step, cost, last=last)
        return
    steps.append(step)
    costs.append(cost)


@dataclass
class Watch:
    """The costs of the held-out images, and the point where they were lowest."""

    costs: list[float] = field(default_factory=list)
    cost_steps: list[int] = field(default_factory=list)
    best: Point | None = None
    best_step: int = 0
    best_cost: float = float("inf")
    waited: int = 0  # looks since the best one

    def look(self, step: int, point: Point, cost: float, *, last: bool = False) -> None:
        """Note a cost; points are never changed in place, so that the best can be kept as it is."""
        keep(self.cost_steps, self.costs, step, cost, last=last)
        self.waited += 1
        if cost < self.best_cost:
            self.best, self.best_step, self.best_cost, self.waited = point, step, cost, 0


@dataclass
class State:
    """The ``point`` after ``step`` updates, and the costs on the way to it.

    ``batch_costs`` is the sum of ``batches`` costs of batches since the last cost that was kept.
    ``vectors`` (1 + 2 p, k + 1) is what L-BFGS goes on from: its vector, p steps, p changes of the
    gradient.
    """

    point: Point
    step: int = 0
    costs: list[float] = field(default_factory=list)
    cost_steps: list[int] = field(default_factory=list)
    batch_costs: float = 0.0
    batches: int = 0
    watch: Watch = field(default_factory=Watch)
    vectors: Floats | None = None

    def keep(self, cost: float, *, last: bool = False) -> None:
        """Append the cost of this step to the curve, unless that is thinned by now."""
        keep(self.cost_steps, self.costs, self.step, cost, last=last)


class HeldOut:
    """The held-out images, whose cost selects a point: a pass over them for each look."""

    def __init__(self, held_out: StreamProblem, problem: Problem, patience: int) -> None:
        self._held_out, self._problem, self._patience = held_out, problem, patience

    def look(self, state: State, *, last: bool = False) -> bool:
        """Note the cost at a state; True when ``patience`` looks have found no lower one.

        The start is passed over. Its weights are zero, and yet it would often have the lowest cost,
        for few images make a model sure of its mistakes long before it stops learning.
        """
        if state.step == 0:
            return False
        self._evaluate(state, last=last)
        return state.watch.waited >= self._patience

    def last_look(self, state: State) -> None:
        """Make sure that some state is the best one."""
        if state.watch.best is None:
            self._evaluate(state, last=True)

    def _evaluate(self, state: State, *, last: bool) -> None:
        w = self._problem.weights(state.point)
        cost = self._held_out.loss(Point(w, state.point.b))
        state.watch.look(state.step, state.point, cost, last=last)
