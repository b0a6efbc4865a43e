"""Training: settings, full-batch gradient descent, stop rules. Solvers never see a picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from catclf import problems
from catclf.errors import DivergedError, SettingsError
from catclf.maths import Floats
from catclf.problems import Labelled, Problem
from catclf.threads import blas_threads

# At 1000 times the cost of knowing nothing, ln 2, the mean |z| of the wrong answers passes 693 and
# e^-|z| is about to underflow: nothing that descent does from there is worth waiting for.
DIVERGED_COST = 1000 * math.log(2)

OnStep = Callable[[int, float], None]
ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Settings:
    """How to train. The defaults are the course's; a model file remembers all of them."""

    learning_rate: float = 0.005
    iterations: int = 2000
    l2: float = 0.0
    print_every: int = 100  # steps between the costs that are kept
    seed: int = 0  # for random choices; full-batch descent from zero makes none
    method: str = "auto"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise SettingsError(
                f"learning rate {self.learning_rate:g} is not a positive number: try 0.005"
            )
        if not (math.isfinite(self.l2) and self.l2 >= 0):
            raise SettingsError(f"l2 {self.l2:g} is not a number >= 0: try 0 or 1")
        for name, value, least in (
            ("iterations", self.iterations, 0),
            ("print-every", self.print_every, 1),
            ("seed", self.seed, 0),
        ):
            if value < least:
                raise SettingsError(f"{name} {value} is too small: {least} or more is needed")


@dataclass(frozen=True)
class Fit:
    """What training found.

    w (n, 1) and b; ``costs`` at ``cost_steps`` updates, first and last included; ``steps`` updates
    done with ``settings``; ``interrupted`` when it was stopped before all iterations.
    """

    w: Floats
    b: float
    costs: tuple[float, ...]
    cost_steps: tuple[int, ...]
    steps: int
    settings: Settings
    interrupted: bool = False


def train(
    data: Labelled,
    settings: Settings | None = None,
    on_step: OnStep | None = None,
    should_stop: ShouldStop | None = None,
) -> Fit:
    """Train logistic regression on a data set by full-batch gradient descent from zero.

    ``on_step(k, cost)`` is called with the cost after k updates, for k = 0 … iterations.
    ``should_stop()`` is asked before each update; True ends training with what there is.
    Raises DivergedError, DataError and SettingsError.
    """
    settings = settings or Settings()
    problem = problems.build(data, settings.l2, settings.iterations, settings.method)
    with blas_threads(1):
        return descend(problem, settings, on_step, should_stop)


def descend(
    problem: Problem,
    settings: Settings,
    on_step: OnStep | None = None,
    should_stop: ShouldStop | None = None,
) -> Fit:
    """w := w - α dw, b := b - α db on any problem; arguments as in ``train``."""
    point = problem.start()
    costs: list[float] = []
    cost_steps: list[int] = []
    step, interrupted = 0, False
    with np.errstate(over="ignore", invalid="ignore"):  # divergence is found by its cost
        while True:
            cost, gradient = problem.evaluate(point)
            _require_convergence(cost, step, settings)
            interrupted = step < settings.iterations and bool(should_stop and should_stop())
            last = step == settings.iterations or interrupted
            if last or step % settings.print_every == 0:
                costs.append(cost)
                cost_steps.append(step)
            if on_step:
                on_step(step, cost)
            if last:
                break
            point = point.moved(gradient, -settings.learning_rate)
            step += 1
    w = problem.weights(point)
    return Fit(w, point.b, tuple(costs), tuple(cost_steps), step, settings, interrupted)


def _require_convergence(cost: float, step: int, settings: Settings) -> None:
    if cost <= DIVERGED_COST:  # False for NaN, too
        return
    what = f"the cost grew to {cost:.3g}" if math.isfinite(cost) else f"the cost became {cost}"
    cure = f"try --learning-rate {settings.learning_rate / 10:g}"
    if settings.l2 > 0:
        cure += " or a smaller --l2"
    raise DivergedError(
        f"training diverged: {what} at step {step} with learning rate "
        f"{settings.learning_rate:g}: {cure}"
    )
