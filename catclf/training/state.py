"""All that a run of training has to remember between two updates."""

from __future__ import annotations

from dataclasses import dataclass, field

from catclf.maths import Floats
from catclf.objective import Point, Problem
from catclf.objective.streamed import StreamProblem


@dataclass
class Watch:
    """The costs of the held-out images, and the point where they were lowest."""

    costs: list[float] = field(default_factory=list)
    cost_steps: list[int] = field(default_factory=list)
    best: Point | None = None
    best_step: int = 0
    best_cost: float = float("inf")
    waited: int = 0  # looks since the best one

    def look(self, step: int, point: Point, cost: float) -> None:
        """Note a cost; points are never changed in place, so that the best can be kept as it is."""
        self.costs.append(cost)
        self.cost_steps.append(step)
        self.waited += 1
        if cost < self.best_cost:
            self.best, self.best_step, self.best_cost, self.waited = point, step, cost, 0


@dataclass
class State:
    """Where a run is: ``point`` after ``step`` updates, and what it has seen on its way.

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

    def keep(self, cost: float) -> None:
        """Remember the cost of this step."""
        self.costs.append(cost)
        self.cost_steps.append(self.step)


class HeldOut:
    """The held-out images as a judge of points: a pass over them for each look."""

    def __init__(self, held_out: StreamProblem, problem: Problem, patience: int) -> None:
        self._held_out, self._problem, self._patience = held_out, problem, patience

    def look(self, state: State) -> bool:
        """Look at a state; True when no better one is to be waited for.

        The start is passed over. It knows nothing, and yet would often be the best by its cost, for
        few images make a model sure of its mistakes long before it stops learning.
        """
        if state.step == 0:
            return False
        self._judge(state)
        return state.watch.waited >= self._patience

    def last_look(self, state: State) -> None:
        """Make sure that some state is the best one."""
        if state.watch.best is None:
            self._judge(state)

    def _judge(self, state: State) -> None:
        w = self._problem.weights(state.point)
        state.watch.look(state.step, state.point, self._held_out.loss(Point(w, state.point.b)))
