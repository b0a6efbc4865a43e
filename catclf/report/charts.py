"""The report's charts: cost, ROC, calibration, and the curves of a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from catclf.evaluation.compare import Comparison
from catclf.evaluation.evaluate import Evaluation
from catclf.maths.metrics import Roc, calibration
from catclf.model import Model
from catclf.report.svg import SERIES, Axis, Chart, Points, move_apart, round_up, standalone
from catclf.storage.files import replacing
from catclf.text import counted, printable

POINTS_MAX = 400  # of a line: more than there are pixels


STEPS = {
    "gd": "steps of gradient descent",
    "newton": "steps of Newton's method",
    "lbfgs": "iterations of L-BFGS",
}  # by solver


def cost_curve(costs: Sequence[float], steps: Sequence[int], solver: str = "gd") -> Chart:
    """The cost J against the steps of the solver; the axis starts at zero."""
    first, last = costs[0], costs[-1]
    top = round_up(min(max(costs), 1e300) * 1.05)
    chart = Chart(
        "cost",
        "Cost during training",
        f"The cost falls from {first:.4f} at step {steps[0]} to {last:.4f} at step {steps[-1]}."
        if last < first
        else f"The cost goes from {first:.4f} to {last:.4f} in {counted(steps[-1], 'step')}.",
        Axis(0, max(steps[-1], 1), STEPS.get(solver, "steps"), _thousands, ticks_max=5),
        Axis(0, top, "cost J (nats per image)"),
    )
    points = thinned(list(zip(map(float, steps), costs, strict=True)))
    if math.log(2) < top:
        chart.line([(0, math.log(2)), (chart.x.high, math.log(2))], "ref")
        chart.note(chart.x.high, math.log(2), "ln 2: zero weights", "end", (0, -6), "")
    chart.area(points, "f0")
    chart.line(points, "line s0")
    chart.dot(*points[-1], "f0")
    chart.note(*points[-1], f"{last:.4f}", "end", (0, -11))
    return chart


def save_cost_curve(path: Path, model: Model) -> None:
    """Write ``cost_curve`` as an SVG file of its own. Raises OutputError."""
    chart = cost_curve(model.costs, model.cost_steps, model.training.settings["solver"])
    with replacing(path) as file:
        file.write(standalone(chart).encode("utf-8"))


def roc_curve(result: Evaluation) -> Chart:
    """True against false positive rate, with the threshold in use marked."""
    counts, roc = result.counts, result.roc
    whole = "{:.0f}".format
    chart = Chart(
        "roc",
        "ROC curve",
        f"The area under the curve is {roc.auc:.4f}; 0.5 would be chance. At the threshold "
        f"{result.threshold:g} the model predicts positive for {100 * counts.recall:.1f} % of the "
        f"positives and {100 * (1 - counts.specificity):.1f} % of the negatives.",
        Axis(0, 100, "false positives, % of negatives", whole, ticks_max=5),
        Axis(0, 100, "true positives, % of positives", whole, ticks_max=5),
        height=330,
    )
    points = thinned(roc_points(roc))
    chart.line([(0, 0), (100, 100)], "ref")
    chart.area(points, "f0")
    chart.line(points, "line s0")
    chart.note(97, 4, f"area {roc.auc:.3f}", "end")
    x, y = 100 * (1 - counts.specificity), 100 * counts.recall
    chart.dot(x, y, "f1", 5.5)
    right = x < 55
    label = f"threshold {result.threshold:g}"
    chart.note(x, y, label, "start" if right else "end", (10 if right else -10, 16))
    return chart


def roc_points(roc: Roc) -> list[tuple[float, float]]:
    """Rates in percent at the corners of the curve; points on a straight line are left out."""
    rates = [
        (100 * false / roc.negatives, 100 * true / roc.positives)
        for false, true in zip(roc.false.tolist(), roc.true.tolist(), strict=True)
    ]
    pairs = list(zip(roc.false.tolist(), roc.true.tolist(), strict=True))
    return [
        rate
        for i, rate in enumerate(rates)
        if i in (0, len(rates) - 1) or not _straight(pairs[i - 1], pairs[i], pairs[i + 1])
    ]


def calibration_chart(result: Evaluation) -> Chart:
    """The fraction of positives among images of similar probability, with intervals."""
    positive = printable(result.classes[1])
    chart = Chart(
        "calibration",
        "Calibration",
        f"The fraction of images that are {positive} among those with a predicted probability "
        "within each tenth, with 95 % intervals; on the diagonal the two are equal.",
        Axis(0, 100, f"predicted probability of {positive}, %", "{:.0f}".format, ticks_max=5),
        Axis(0, 100, f"fraction that is {positive}, %", "{:.0f}".format, ticks_max=5),
        height=330,
        top=36,
    )
    chart.line([(0, 0), (100, 100)], "ref")
    bins = calibration(result.A, result.Y)
    for part in bins:
        low, high = part.interval
        chart.bar(100 * part.mean, 100 * low, 100 * high, "s0")
    for part in bins:
        chart.dot(100 * part.mean, 100 * part.observed, "f0")
        middle = 50 * (part.low + part.high)
        chart.note(middle, 100, str(part.total), "middle", (0, -13), "")
    chart.note(0, 100, "images", "end", (-2, -13), "")
    return chart


def comparison_chart(comparison: Comparison) -> Chart:
    """Held-out log loss of each candidate against steps, and the training cost as a thin line."""
    sound = [result for result in comparison.results if result.diverged is None]
    values = [v for r in sound for v in (*r.trained, *r.held_out) if math.isfinite(v)]
    top = round_up(min(max(values, default=1.0), 3.0) * 1.02)
    chart = Chart(
        "compare",
        "Log loss of the candidates",
        "; ".join(
            f"{r.candidate}: held-out {r.held_out[-1]:.4f}, training {r.trained[-1]:.4f}"
            for r in sound
        ),
        Axis(0, max(comparison.steps[-1], 1), "steps of gradient descent", _thousands, ticks_max=4),
        Axis(0, top, "log loss (nats per image)"),
        right=92,
        height=280,
    )
    ends = [chart.at(0, min(r.held_out[-1], top))[1] for r in sound]
    places = move_apart(ends, 14)
    for i, (result, end, place) in enumerate(zip(sound, ends, places, strict=True)):
        css = f"s{i % SERIES}"
        chart.line(list(zip(comparison.steps, result.trained, strict=True)), f"thin {css}")
        chart.line(list(zip(comparison.steps, result.held_out, strict=True)), f"line {css}")
        y = min(result.held_out[-1], top)
        chart.dot(comparison.steps[-1], y, f"f{i % SERIES}", 3.5)
        chart.note(chart.x.high, y, str(result.candidate), "start", (8, 4 + place - end))
    return chart


def thinned(points: Points) -> list[tuple[float, float]]:
    """At most POINTS_MAX of them, evenly, with both ends."""
    if len(points) <= POINTS_MAX:
        return list(points)
    last = len(points) - 1
    return [points[round(i * last / (POINTS_MAX - 1))] for i in range(POINTS_MAX)]


def _straight(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    return (b[0] - a[0]) * (c[1] - b[1]) == (b[1] - a[1]) * (c[0] - b[0])


def _thousands(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u202f") if value >= 10000 else f"{value:g}"
