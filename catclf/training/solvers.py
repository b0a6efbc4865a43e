"""The solvers: gradient descent, and L-BFGS with Newton's method where that ends short.

Solvers never see an image. Where they end, and how far that can be from the optimum, is known.

L-BFGS works on convex functions of one vector, by coroutines that ask for costs and gradients (J.
Nocedal and S. Wright, "Numerical Optimization", 2nd edition, 2006: algorithms 7.4, the two-loop
recursion, and 7.5). A run yields the vectors x (k,) at which it wants (cost, gradient) and is sent
them, so that one caller evaluates a single run and another evaluates many runs in one pass over the
data.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

import numpy as np

from catclf.errors import DivergedError
from catclf.maths import Floats
from catclf.settings import Settings
from catclf.training.batches import Batches
from catclf.training.objective import Centred, Objective, Point, Span, StreamObjective, Vector

# At 1000 times the cost at zero weights, ln 2, the mean |z| of the wrong predictions passes 693 and
# e^-|z| is about to underflow: descent does not come back from there in a useful time.
DIVERGED_COST = 1000 * math.log(2)
NEAR = 1e-6  # of the cost: the distance from the optimum at which L-BFGS is done
TOLERANCE = 1e-9  # of the cost: smaller decreases are lost in the rounding of float32 products
NEWTON_AFTER = 200  # iterations of L-BFGS after which Newton's method finishes, where it can
NEWTON_STEPS = 50  # at most; about ten are needed
STALLED = 20  # iterations in turn, without a decrease above TOLERANCE, in float64
TRIAL = 100  # steps of descent in which a rate that nobody gave must lower the cost
RAISED = 1e-7  # of the cost: a smaller rise may be the rounding of float32 products
KEPT_LIMIT = 1_000_000  # costs of a curve

PAIRS = 10  # of steps and gradient changes, remembered by L-BFGS at most
SUFFICIENT = 1e-4  # fraction of the linear decrease that a step must reach (Armijo)
FLAT = 0.9  # fraction of the first slope that may be left (strong Wolfe condition)
ROUNDING = 1e-8  # relative; costs are made of float32 products
TRIALS = 20  # evaluations of a line search at most

OnStep = Callable[[int, float], None]
ShouldStop = Callable[[], bool]
Evaluated = tuple[float, Vector]
Result = TypeVar("Result")
Run = Generator[Vector, Evaluated, Result]


class StopReason(StrEnum):
    """Why a solver ended."""

    STEPS = "steps"  # descent has done all of its steps
    OPTIMUM = "optimum"  # the cost is within NEAR of the least, by a certificate
    FLAT = "flat"  # without a penalty: the cost, or its gradient, as good as stands still
    SEPARABLE = "separable"  # without a penalty, and all images told apart: there is no optimum
    LIMIT = "limit"  # all iterations that were allowed, short of the optimum
    ROUNDING = "rounding"  # no step lowers the cost: its rounding is reached
    PATIENCE = "patience"  # the cost on validation images has not fallen for a while
    INTERRUPTED = "interrupted"  # by the caller


@dataclass
class Curve:
    """Costs of up to ``KEPT_LIMIT`` steps, at even distances.

    A full curve loses every other point, and from then on only steps at the new distance are
    kept, and the last one. The curve itself says what the distance is, so that a resumed run keeps
    the steps of one that was never stopped.
    """

    steps: list[int] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    def keep(self, step: int, cost: float, *, last: bool = False) -> None:
        """Append a cost, unless its step is between those that are kept."""
        steps = self.steps
        if len(steps) >= KEPT_LIMIT:
            del steps[1::2], self.costs[1::2]
        distance = steps[1] - steps[0] if len(steps) > 1 else 1
        if last or not steps or (step - steps[0]) % distance == 0:
            steps.append(step)
            self.costs.append(cost)


@dataclass
class Watch(Curve):
    """The costs of the validation images, and the point where they were lowest."""

    best: Point | None = None
    best_step: int = 0
    best_cost: float = math.inf
    waited: int = 0  # costs since the best one

    def note(self, step: int, point: Point, cost: float, *, last: bool = False) -> None:
        """Note a cost; points are never changed in place, so that the best can be kept as it is."""
        self.keep(step, cost, last=last)
        self.waited += 1
        if cost < self.best_cost:
            self.best, self.best_step, self.best_cost, self.waited = point, step, cost, 0


@dataclass
class State:
    """The ``point`` after ``step`` updates, and the ``curve`` of costs on the way to it.

    ``batch_costs`` is the sum of ``batches`` costs of batches since the last cost that was kept.
    ``raised`` counts the full-batch steps that raised the cost, which was ``last_cost`` before;
    ``rate`` is the learning rate where it is not that of the settings, else 0. ``vectors``
    (1 + 2 p, k) is what L-BFGS goes on from: its vector, p steps, p changes of the gradient; its
    ``phase`` says with float32 (0) or float64 products (1), or that Newton's method is next (2).
    """

    point: Point
    step: int = 0
    curve: Curve = field(default_factory=Curve)
    batch_costs: float = 0.0
    batches: int = 0
    watch: Watch = field(default_factory=Watch)
    raised: int = 0
    last_cost: float = sys.float_info.max
    rate: float = 0.0
    vectors: Floats | None = None
    phase: int = 0


class EarlyStopping:
    """The validation images, whose cost selects a point: a pass over them for each look."""

    def __init__(self, held_out: StreamObjective, objective: Objective, patience: int) -> None:
        self._held_out, self._objective, self._patience = held_out, objective, patience

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
        w = self._objective.weights(state.point)
        cost = self._held_out.loss(Point(w, state.point.b))
        state.watch.note(state.step, state.point, cost, last=last)


def distance(objective: Objective, point: Point) -> float | None:
    """An upper bound of (J - J*) / J at a point, J* the least cost; None without a penalty.

    The cost is strongly convex in w, so that with b* the best b for these w

        J(w, b) - J* <= [J(w, b) - J(w, b*)] + m ‖∇w J(w, b*)‖² / (2 λ)

    (Nesterov, "Introductory Lectures on Convex Optimization", 2004, theorem 2.1.10, of J minimised
    over b). b* is found by Newton's method in one dimension; all of it is float64.
    """
    if not objective.l2:
        return None
    here = best = objective.exact(point)
    b = point.b
    for _ in range(30):
        if best.db**2 <= 1e-16 * best.bend * best.cost:
            break
        b -= min(max(best.db / max(best.bend, 1e-300), -2.0), 2.0)
        best = objective.exact(Point(point.coordinates, b))
    gap = max(here.cost - best.cost, 0.0) + objective.m * best.square / (2.0 * objective.l2)
    return gap / here.cost


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


@dataclass
class Solver:
    """What solvers share: an objective, the settings, and what looks on.

    ``save(state)`` is called every ``save_every`` steps and when training is stopped; going on from
    a state that was saved leads to the same result.
    """

    objective: Objective
    settings: Settings
    stopping: EarlyStopping | None = None
    save: Callable[[State], None] | None = None
    save_every: int = 0


@dataclass
class Descent(Solver):
    """w := w - α dw, b := b - α db on an objective, from a state to the end of the iterations.

    With ``batches`` each update follows the gradient of its batch. The cost of a step is then the
    mean of the batches' costs since the last cost that was kept, each before its update; that of
    the last step is the cost of all images. With ``safe_rate`` a rate after whose first ``TRIAL``
    steps the cost is no lower than at the start is given up for that one, from the start.
    """

    batches: Batches | None = None
    safe_rate: Callable[[], float] | None = None

    @np.errstate(over="ignore", invalid="ignore")  # divergence shows in the cost
    def run(
        self, state: State, on_step: OnStep | None = None, should_stop: ShouldStop | None = None
    ) -> StopReason:
        """Go on from the state, in place."""
        total, every, began = self.settings.iterations, self.settings.print_every, state.step
        while True:
            due = self.save_every and state.step > began and state.step % self.save_every == 0
            if due and self.save:
                self.save(state)
            cost, gradient = self._evaluate(state)
            if self.safe_rate and self._failed(state, cost):
                fresh = State(self.objective.start(), rate=self.safe_rate())
                state.__dict__.update(fresh.__dict__)
                continue
            require_convergence(cost, state.step, self.settings)
            stopped = state.step < total and bool(should_stop and should_stop())
            if stopped and self.save:
                self.save(state)
            if self.batches is None and not stopped:
                state.raised += cost > state.last_cost * (1.0 + RAISED)
                state.last_cost = cost
            last = state.step >= total or stopped
            kept = last or state.step % every == 0
            enough = bool(kept and self.stopping and self.stopping.look(state, last=last))
            cost = self._reported(state, cost, last or enough)
            if kept:
                state.curve.keep(state.step, cost, last=last or enough)
            if on_step:
                on_step(state.step, cost)
            if stopped:
                return StopReason.INTERRUPTED
            if last or enough:
                return StopReason.STEPS if state.step >= total else StopReason.PATIENCE
            state.point = state.point.moved(gradient, -self._rate(state))
            state.step += 1

    def _rate(self, state: State) -> float:
        if not state.rate:
            return self.settings.rate(state.step)
        return replace(self.settings, learning_rate=state.rate).rate(state.step)

    def _failed(self, state: State, cost: float) -> bool:
        """Whether a rate that is on trial is seen not to descend."""
        if state.rate or state.step > TRIAL or self.settings.iterations < TRIAL:
            return False
        return not cost <= (state.curve.costs[0] if state.step == TRIAL else DIVERGED_COST)

    def _evaluate(self, state: State) -> tuple[float, Point]:
        if self.batches is None or not isinstance(self.objective, StreamObjective):
            return self.objective.evaluate(state.point)
        return self.objective.evaluate_some(state.point, *self.batches.batch(state.step))

    def _reported(self, state: State, cost: float, last: bool) -> float:
        """The cost to report at a step, from that of its batch."""
        if self.batches is None:
            return cost
        if last:
            cost = self.objective.evaluate(state.point)[0]
            require_convergence(cost, state.step, self.settings)
            return cost
        state.batch_costs += cost
        state.batches += 1
        mean = state.batch_costs / state.batches
        if state.step % self.settings.print_every == 0:
            state.batch_costs, state.batches = 0.0, 0
        return mean


@dataclass
class LBFGS(Solver):
    """L-BFGS from a state to the optimum, or to the last iteration.

    One iteration looks at all images once, rarely twice. With a penalty it ends where ``distance``
    is below ``NEAR``. Float32 products may not get there: then it goes on in float64, and after
    ``NEWTON_AFTER`` iterations, or where no step lowers the cost, Newton's method finishes where
    the smaller side of the problem allows.
    """

    @np.errstate(over="ignore", invalid="ignore")  # divergence shows in the cost
    def run(
        self, state: State, on_step: OnStep | None = None, should_stop: ShouldStop | None = None
    ) -> StopReason:
        """Go on from the state, in place; every iteration is reported and its cost kept."""
        self._on_step, self._near = on_step, 0.25 * NEAR
        objective, total, enough, stalled = self.objective, self.settings.iterations, False, 0
        function = objective.vectors(exact=state.phase > 0)
        here, memory = self._begun(state, function)
        if state.vectors is None:
            enough = self._note(state, here.cost)
        elif on_step:
            on_step(state.step, here.cost)
        while not enough and state.step < total and state.phase < 2:
            if should_stop and should_stop():
                self._save(state, here, memory)
                return StopReason.INTERRUPTED
            result = evaluated(iterate(here, memory), function)
            stalled = stalled + 1 if result is None or converged(here, result, TOLERANCE) else 0
            if result is not None:
                here = result
                state.point, state.step = function.point(here.x), state.step + 1
                enough = self._note(state, here.cost)
            square = function.dot(here.gradient, here.gradient)
            if not objective.l2 and (stalled or square <= NEAR**2):
                return StopReason.ROUNDING if result is None else StopReason.FLAT
            if self._at_optimum(state, here.cost, square):
                return StopReason.OPTIMUM
            slow = objective.solves_small and state.step >= NEWTON_AFTER
            if stalled and not (state.phase or objective.is_exact):
                state.phase, stalled, function = 1, 0, objective.vectors(exact=True)
                here = Iterate(here.x, *function(here.x))
            elif objective.l2 and (slow or result is None or stalled >= STALLED):
                state.phase = 2
                self._save(state, here, memory)
            elif self.save_every and state.step % self.save_every == 0:
                self._save(state, here, memory)
        if state.phase == 2 and not enough:
            return self._newton(state, should_stop)
        if enough:
            return StopReason.PATIENCE
        return StopReason.LIMIT if total else StopReason.STEPS

    def _at_optimum(self, state: State, cost: float, square: float) -> bool:
        """Whether the point has its certificate, which is asked for where the gradient is small."""
        l2, m = self.objective.l2, self.objective.m
        if not l2 or m * square > 2.0 * l2 * self._near * cost:
            return False
        bound = distance(self.objective, state.point)
        self._near /= 4.0
        return bound is not None and bound <= NEAR

    def _newton(self, state: State, should_stop: ShouldStop | None) -> StopReason:
        """Newton's method in float64 from the state: a step is halved until the cost falls."""
        objective = self.objective
        cost = objective.exact(state.point).cost
        for _ in range(NEWTON_STEPS if objective.solves_small else 0):
            if should_stop and should_stop():
                return StopReason.INTERRUPTED
            if state.step >= self.settings.iterations:
                return StopReason.LIMIT
            target, part = objective.newton_target(state.point), 1.0
            direction = target.moved(state.point, -1.0)
            while True:
                point = state.point.moved(direction, part)
                tried = objective.exact(point).cost
                if tried < cost or part < 1e-6:
                    break
                part /= 2.0
            if not tried < cost:
                break
            state.point, state.step, cost = point, state.step + 1, tried
            enough = self._note(state, cost)
            bound = distance(objective, point)
            if bound is not None and bound <= NEAR:
                return StopReason.OPTIMUM
            if enough:
                return StopReason.PATIENCE
        return StopReason.ROUNDING

    def _begun(self, state: State, function: Centred | Span) -> tuple[Iterate, Memory]:
        """The vector and the pairs that a state goes on from."""
        memory = Memory(dot=function.dot)
        x: Vector = function.vector(state.point)
        if state.vectors is not None:
            x, *pairs = state.vectors
            half = len(pairs) // 2
            for step, change in zip(pairs[:half], pairs[half:], strict=True):
                memory.add(step, change)
        return Iterate(x, *function(x)), memory

    def _note(self, state: State, cost: float) -> bool:
        """Report the state after an iteration; True where validation costs have not fallen."""
        require_convergence(cost, state.step, self.settings)
        state.curve.keep(state.step, cost)
        enough = self.stopping is not None and self.stopping.look(state)
        if self._on_step:
            self._on_step(state.step, cost)
        return enough

    def _save(self, state: State, here: Iterate, memory: Memory) -> None:
        if self.save is not None:
            state.vectors = np.stack([here.x, *memory.steps, *memory.changes])
            self.save(deepcopy(state))


# L-BFGS on a function of one vector


def inner(x: Vector, y: Vector) -> float:
    """The usual inner product."""
    return float(x @ y)


@dataclass(frozen=True)
class Iterate:
    """A vector x (k,) with the cost and the gradient (k,) there."""

    x: Vector
    cost: float
    gradient: Vector


@dataclass
class Memory:
    """The last pairs of steps s and gradient changes y, oldest first; ``dot`` measures them."""

    steps: list[Vector] = field(default_factory=list)
    changes: list[Vector] = field(default_factory=list)
    bytes: int = 192 * 1024 * 1024  # fewer pairs of vectors so long that ``PAIRS`` take more
    dot: Callable[[Vector, Vector], float] = inner

    def add(self, step: Vector, change: Vector) -> None:
        """Remember a pair, unless its curvature sᵀy is lost in rounding."""
        squares = self.dot(step, step) * self.dot(change, change)
        if not self.dot(step, change) > 1e-10 * math.sqrt(max(squares, 0.0)):
            return
        self.steps.append(step)
        self.changes.append(change)
        limit = min(PAIRS, max(3, self.bytes // (16 * len(step))))
        del self.steps[:-limit], self.changes[:-limit]

    def direction(self, gradient: Vector) -> Vector:
        """-H g, with H the inverse Hessian that the pairs imply; -g without pairs."""
        d = -gradient
        if not self.steps:
            return d
        pairs, dot = list(zip(self.steps, self.changes, strict=True)), self.dot
        inverses = [1.0 / dot(s, y) for s, y in pairs]
        alphas = []
        for (s, y), rho in zip(reversed(pairs), reversed(inverses), strict=True):
            alphas.append(rho * dot(s, d))
            d -= alphas[-1] * y
        s, y = pairs[-1]
        d *= dot(s, y) / dot(y, y)
        for (s, y), rho, alpha in zip(pairs, inverses, reversed(alphas), strict=True):
            d += (alpha - rho * dot(y, d)) * s
        return d


def iterate(here: Iterate, memory: Memory) -> Run[Iterate | None]:
    """One iteration from ``here``; None where rounding hides any lower cost.

    The pair of the iteration is added to ``memory``.
    """
    d = memory.direction(here.gradient)
    if not memory.dot(d, here.gradient) < 0.0:
        memory.steps.clear()
        memory.changes.clear()
        d = -here.gradient
    square = memory.dot(d, d)
    if not square > 0.0:  # no gradient, but for what an inner product does not see
        return None
    first = 1.0 if memory.steps else 1.0 / math.sqrt(square)
    result = yield from line_search(here, d, first, memory.dot)
    if result is not None:
        memory.add(result.x - here.x, result.gradient - here.gradient)
    return result


def line_search(
    here: Iterate, d: Vector, first: float, dot: Callable[[Vector, Vector], float] = inner
) -> Run[Iterate | None]:
    """A point here.x + t d that meets the strong Wolfe conditions, with t = ``first`` tried first.

    The slope gᵀd of a convex function grows with t, so its zero lies between a t where it is
    negative and one where it is positive, by secants. Where the decrease is below the rounding of
    the cost, the slope alone decides (W. Hager and H. Zhang, SIAM Journal on Optimization 16,
    2005). None when there is no such point in ``TRIALS`` evaluations.
    """
    before = dot(here.gradient, d)
    low, low_slope = 0.0, before
    high, high_slope = math.inf, math.nan
    t = first
    for _ in range(TRIALS):
        x = here.x + t * d
        cost, gradient = yield x
        slope = dot(gradient, d) if math.isfinite(cost) else math.nan
        lower = cost <= here.cost + max(SUFFICIENT * t * before, ROUNDING * abs(here.cost))
        if lower and abs(slope) <= -FLAT * before:
            return Iterate(x, cost, gradient)
        if slope < 0.0:
            low, low_slope = t, slope
        else:  # a slope that is not finite, too
            high, high_slope = t, slope
        t = _between(low, low_slope, high, high_slope, before)
        if not low < t < high:
            return None
    return None


def _between(low: float, low_slope: float, high: float, high_slope: float, before: float) -> float:
    """Where to look next for a slope of 0: between two t, or beyond ``low`` if high is infinite."""
    if math.isinf(high):
        bend = (low_slope - before) / low  # the mean growth of the slope so far
        return low + min(max(-low_slope / bend, low), 9.0 * low) if bend > 0.0 else 10.0 * low
    width = high - low
    if not math.isfinite(high_slope):
        return low + 0.1 * width
    if high_slope == low_slope:  # both are 0 to rounding
        return low + 0.5 * width
    t = low - low_slope * width / (high_slope - low_slope)
    return min(max(t, low + 0.1 * width), high - 0.1 * width)


def minimize(here: Iterate, memory: Memory, tolerance: float, limit: int) -> Run[Iterate]:
    """At most ``limit`` iterations, until the cost falls by less than ``tolerance`` of itself."""
    for _ in range(limit):
        result = yield from iterate(here, memory)
        if result is None:
            break
        last = converged(here, result, tolerance)
        here = result
        if last:
            break
    return here


def converged(before: Iterate, after: Iterate, tolerance: float) -> bool:
    """Whether an iteration changed the cost by no more than ``tolerance`` of it."""
    return before.cost - after.cost <= tolerance * abs(after.cost)


def evaluated(run: Run[Result], function: Callable[[Vector], Evaluated]) -> Result:
    """What a run returns when ``function`` answers it."""
    try:
        x = next(run)
        while True:
            x = run.send(function(x))
    except StopIteration as end:
        result: Result = end.value
        return result
