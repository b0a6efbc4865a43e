"""L-BFGS on convex functions of one vector, as coroutines that ask for costs and gradients.

J. Nocedal and S. Wright, "Numerical Optimization", 2nd edition, 2006: algorithms 7.4 (two-loop
recursion) and 7.5. A run yields the vectors x (k,) at which it wants (cost, gradient) and is sent
them, so that one caller evaluates a single run and another evaluates many runs in one pass over
the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Evaluated = tuple[float, Vector]
Result = TypeVar("Result")
Run = Generator[Vector, Evaluated, Result]

PAIRS = 10  # remembered at most
SUFFICIENT = 1e-4  # fraction of the linear decrease that a step must reach (Armijo)
FLAT = 0.9  # fraction of the first slope that may be left (strong Wolfe condition)
ROUNDING = 1e-8  # relative; costs are made of float32 products
TRIALS = 20  # evaluations of a line search at most


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
