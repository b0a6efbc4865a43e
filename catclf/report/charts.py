"""Charts as SVG text: cost, ROC, calibration, and the curves of a comparison.

Colours are classes of ``chart.css``, so that a page can show a chart in its own light and dark
schemes; a chart that stands alone carries the same rules. Coordinates have two decimals: equal
data, equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from statistics import fmean

import numpy as np

from catclf.evaluation.compare import Comparison
from catclf.evaluation.evaluate import Evaluation
from catclf.maths.metrics import Roc, calibration
from catclf.model import Model
from catclf.storage.files import replacing
from catclf.text import counted, printable

Points = Sequence[tuple[float, float]]

SERIES = 6  # colours of lines in chart.css
POINTS_MAX = 400  # of a line: more than there are pixels
STEPS = {"gd": "steps of gradient descent", "lbfgs": "iterations of L-BFGS"}  # by solver


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` to ``high``, with ticks at round values; ``label`` names the unit."""

    low: float
    high: float
    label: str
    show: Callable[[float], str] = "{:g}".format
    ticks_max: int = 6

    def ticks(self) -> list[float]:
        """Multiples of 1, 2 or 5 times a power of ten, within the axis."""
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / self.ticks_max))
        step = next(power * k for k in (1, 2, 5, 10, 20) if span / (power * k) <= self.ticks_max)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def round_up(value: float) -> float:
    """The next round value, of one or two digits: the end of an axis from zero."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return float(
        next(power * k for k in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if value <= power * k * 1.0001)
    )


@dataclass
class Chart:
    """A chart being drawn. ``name`` makes the ids unique in a page; the rest is in user units."""

    name: str
    title: str
    description: str
    x: Axis
    y: Axis
    width: int = 360
    height: int = 260
    right: int = 20
    left: int = 50
    top: int = 14
    bottom: int = 44
    _marks: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the data lies."""
        across = (x - self.x.low) / (self.x.high - self.x.low)
        up = (y - self.y.low) / (self.y.high - self.y.low)
        width, height = self.width - self.left - self.right, self.height - self.top - self.bottom
        return self.left + across * width, self.top + (1 - up) * height

    def line(self, points: Points, css: str) -> None:
        """Straight lines through points, as far as they are finite, cut off at the frame's top."""
        seen = [(x, min(y, self.y.high)) for x, y in points if math.isfinite(y)]
        if len(seen) > 1:
            path = " ".join(f"{_n(a)},{_n(b)}" for a, b in (self.at(*point) for point in seen))
            self._marks.append(f'<polyline class="{css}" points="{path}"/>')

    def area(self, points: Points, css: str) -> None:
        """The area between points and the x axis."""
        (first, _), (last, _) = points[0], points[-1]
        whole = [(first, self.y.low), *points, (last, self.y.low)]
        path = " ".join(f"{_n(a)},{_n(b)}" for a, b in (self.at(*point) for point in whole))
        self._marks.append(f'<polygon class="fill {css}" points="{path}"/>')

    def dot(self, x: float, y: float, css: str, radius: float = 4.5) -> None:
        a, b = self.at(x, y)
        self._marks.append(
            f'<circle class="dot {css}" cx="{_n(a)}" cy="{_n(b)}" r="{_n(radius)}"/>'
        )

    def bar(self, x: float, low: float, high: float, css: str) -> None:
        """An upright error bar."""
        (a, bottom), (_, top) = self.at(x, low), self.at(x, high)
        self._marks.append(
            f'<path class="bar {css}" d="M{_n(a)} {_n(bottom)}V{_n(top)}'
            f"M{_n(a - 3)} {_n(bottom)}H{_n(a + 3)}M{_n(a - 3)} {_n(top)}H{_n(a + 3)}"
            '"/>'
        )

    def note(
        self,
        x: float,
        y: float,
        text: str,
        anchor: str = "start",
        shift: tuple[float, float] = (0, 0),
        css: str = "note",
    ) -> None:
        """A text at a point of the data, moved by ``shift`` units."""
        a, b = self.at(x, y)
        self._marks.append(
            f'<text class="{css}" x="{_n(a + shift[0])}" y="{_n(b + shift[1])}" '
            f'text-anchor="{anchor}">{escape(text)}</text>'
        )

    def text(self) -> str:
        """The whole chart."""
        name = self.name
        return (
            f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} '
            f'{self.height}" role="img" aria-labelledby="{name}-t {name}-d">'
            f'<title id="{name}-t">{escape(self.title)}</title>'
            f'<desc id="{name}-d">{escape(self.description)}</desc>'
            f"{self._axes()}{''.join(self._marks)}</svg>"
        )

    def _axes(self) -> str:
        left, right, base = self.left, self.width - self.right, self.height - self.bottom
        parts = []
        for value in self.y.ticks():
            b = self.at(self.x.low, value)[1]
            place = f'x="{left - 7}" y="{_n(b + 4)}" text-anchor="end"'
            parts.append(f'<path class="grid" d="M{left} {_n(b)}H{right}"/>')
            parts.append(f"<text {place}>{escape(self.y.show(value))}</text>")
        for value in self.x.ticks():
            a = _n(self.at(value, self.y.low)[0])
            place = f'x="{a}" y="{base + 18}" text-anchor="middle"'
            parts.append(f'<path class="axis" d="M{a} {base}v4"/>')
            parts.append(f"<text {place}>{escape(self.x.show(value))}</text>")
        parts.append(f'<path class="axis" d="M{left} {base}H{right}"/>')
        middle, upright = _n((left + right) / 2), _n((self.top + base) / 2)
        for place, axis in (
            (f'x="{middle}" y="{self.height - 6}"', self.x),
            (f'transform="translate(13 {upright}) rotate(-90)"', self.y),
        ):
            parts.append(f'<text {place} text-anchor="middle">{escape(axis.label)}</text>')
        return "".join(parts)


def standalone(chart: Chart) -> str:
    """A chart as a file of its own, with its colours for light and dark."""
    rules = f"{_sheet('chart.css')}svg{{background:var(--page)}}"
    opened, rest = chart.text().split(">", 1)
    size = f' width="{2 * chart.width}" height="{2 * chart.height}">'
    return f"{opened}{size}<style>{rules}</style>{rest}\n"


def css() -> str:
    """The style sheet of pages and of the charts in them."""
    return _sheet("chart.css") + _sheet("page.css")


def _sheet(name: str) -> str:
    return (files("catclf") / "report" / name).read_text(encoding="utf-8")


def move_apart(places: Sequence[float], gap: float) -> list[float]:
    """The places moved apart as little as it takes until none are nearer than ``gap``.

    Each group that collides stays centred where it was; the order is kept. Less a gap for each
    place below, places must not fall: pools of those that do have their mean (isotonic regression).
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    pools: list[list[float]] = []
    for k, i in enumerate(order):
        pools.append([places[i] - k * gap])
        while len(pools) > 1 and fmean(pools[-2]) > fmean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    apart = [fmean(pool) for pool in pools for _ in pool]
    moved = list(places)
    for k, i in enumerate(order):
        moved[i] = apart[k] + k * gap
    return moved


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


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
    across, up = np.diff(roc.false.astype(np.float64)), np.diff(roc.true.astype(np.float64))
    corner = np.r_[True, across[:-1] * up[1:] != up[:-1] * across[1:], True]
    false, true = 100 * roc.false[corner] / roc.negatives, 100 * roc.true[corner] / roc.positives
    return list(zip(false.tolist(), true.tolist(), strict=True))


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
    sound = [r for r in comparison.results if r.diverged is None and r.held_out]
    steps = comparison.plan.steps
    values = [v for r in sound for v in (*r.trained, *r.held_out) if math.isfinite(v)]
    top = round_up(min(max(values, default=1.0), 3.0) * 1.02)
    chart = Chart(
        "compare",
        "Log loss of the candidates",
        "; ".join(
            f"{r.candidate}: held-out {r.held_out[-1]:.4f}, training {r.trained[-1]:.4f}"
            for r in sound
        ),
        Axis(0, max(steps[-1], 1), "steps of gradient descent", _thousands, ticks_max=4),
        Axis(0, top, "log loss (nats per image)"),
        right=92,
        height=280,
    )
    ends = [chart.at(0, min(r.held_out[-1], top))[1] for r in sound]
    places = move_apart(ends, 14)
    for i, (result, end, place) in enumerate(zip(sound, ends, places, strict=True)):
        css = f"s{i % SERIES}"
        chart.line(list(zip(steps, result.trained, strict=True)), f"thin {css}")
        chart.line(list(zip(steps, result.held_out, strict=True)), f"line {css}")
        y = min(result.held_out[-1], top)
        chart.dot(steps[-1], y, f"f{i % SERIES}", 3.5)
        chart.note(chart.x.high, y, str(result.candidate), "start", (8, 4 + place - end))
    return chart


def thinned(points: Points) -> list[tuple[float, float]]:
    """At most POINTS_MAX of them, evenly, with both ends."""
    if len(points) <= POINTS_MAX:
        return list(points)
    last = len(points) - 1
    return [points[round(i * last / (POINTS_MAX - 1))] for i in range(POINTS_MAX)]


def _thousands(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u202f") if value >= 10000 else f"{value:g}"
