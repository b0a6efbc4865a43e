"""Gradient descent, on full batches or on mini-batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from catclf.errors import DivergedError
from catclf.objective import Point, Problem
from catclf.objective.minibatches import BatchProblem
from catclf.training.settings import Settings
from catclf.training.state import PATIENCE, Ending, HeldOut, State

# At 1000 times the cost at zero weights, ln 2, the mean |z| of the wrong predictions passes 693 and
# e^-|z| is about to underflow: descent does not come back from there in a useful time.
DIVERGED_COST = 1000 * math.log(2)

OnStep = Callable[[int, float], None]
ShouldStop = Callable[[], bool]


@dataclass
class Descent:
    """w := w - α dw, b := b - α db on a problem, from a state to the end of the iterations.

    With ``batches`` each update follows the gradient of its batch. The cost of a step is then the
    mean of the batches' costs since the last cost that was kept, each before its update; that of
    the last step is the cost of all images. ``save(state)`` is called every ``save_every`` steps
    and when training is stopped; going on from a saved state leads to the same result.
    """

    problem: Problem
    settings: Settings
    batches: BatchProblem | None = None
    held_out: HeldOut | None = None
    save: Callable[[State], None] | None = None
    save_every: int = 0

    def run(
        self, state: State, on_step: OnStep | None = None, should_stop: ShouldStop | None = None
    ) -> Ending:
        """Go on from the state, in place."""
        total, every = self.settings.iterations, self.settings.print_every
        began = state.step
        with np.errstate(over="ignore", invalid="ignore"):  # divergence shows in the cost
            while True:
                self._save_if_due(state, began)
                cost, gradient = self._evaluate(state)
                require_convergence(cost, state.step, self.settings)
                interrupted = state.step < total and bool(should_stop and should_stop())
                if interrupted and self.save:
                    self.save(state)
                last = state.step >= total or interrupted
                kept = last or state.step % every == 0
                watch = self.held_out if kept else None
                enough = watch is not None and watch.look(state, last=last)
                cost = self._reported(state, cost, last or enough)
                if kept:
                    state.keep(cost, last=last or enough)
                if on_step:
                    on_step(state.step, cost)
                if last or enough:
                    early = enough and state.step < total and not interrupted
                    return Ending(interrupted, PATIENCE if early else "")
                state.point = state.point.moved(gradient, -self.settings.rate(state.step))
                state.step += 1

    def _evaluate(self, state: State) -> tuple[float, Point]:
        if self.batches is None:
            return self.problem.evaluate(state.point)
        return self.batches.evaluate(state.point, state.step)

    def _reported(self, state: State, cost: float, last: bool) -> float:
        """The cost to report at a step, from that of its batch."""
        if self.batches is None:
            return cost
        if last:
            cost = self.problem.evaluate(state.point)[0]
            require_convergence(cost, state.step, self.settings)
            return cost
        state.batch_costs += cost
        state.batches += 1
        mean = state.batch_costs / state.batches
        if state.step % self.settings.print_every == 0:
            state.batch_costs, state.batches = 0.0, 0
        return mean

    def _save_if_due(self, state: State, began: int) -> None:
        due = self.save_every and state.step > began and state.step % self.save_every == 0
        if due and self.save:
            self.save(state)


def require_convergence(cost: float, step: int, settings: Settings) -> None:
    """Raise DivergedError for a cost that is not finite or far above that at zero weights."""
    if cost <= DIVERGED_COST:  # False for NaN, too
        return
    what = f"the cost grew to {cost:.3g}" if math.isfinite(cost) else f"the cost became {cost}"
    cure = f"try `learning_rate={settings.learning_rate / 10:g}`"
    if settings.l2 > 0:
        cure += " or a smaller `l2`"
    raise DivergedError(
        f"training diverged: {what} at step {step} with learning rate "
        f"{settings.learning_rate:g}: {cure}"
    )
