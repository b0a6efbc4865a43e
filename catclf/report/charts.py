"""Charts as SVG text: cost, ROC, calibration, and the curves of a comparison.

Colours are classes of ``chart.css``, so that a page can show a chart in its own light and dark
schemes; a chart that stands alone carries the same rules. Coordinates have two decimals: equal
data, equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
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
from catclf.storage.location import write_whole
from catclf.text import printable

Point = tuple[float, float]

SERIES = 6  # colours of lines in chart.css
POINTS_MAX = 400  # of a line: more than there are pixels
STEPS = {"gd": "steps of gradient descent", "lbfgs": "iterations of L-BFGS"}  # by solver
ROUND = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


def round_up(value: float, digits: Sequence[float] = ROUND) -> float:
    """The next of these digits times a power of ten, or 1 for what is not above zero."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * digit for digit in digits if value <= power * digit * 1.0001)


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
        step = round_up((self.high - self.low) / self.ticks_max, (1, 2, 5, 10))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


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

    def at(self, x: float, y: float) -> Point:
        """Where a point of the data lies."""
        across = (x - self.x.low) / (self.x.high - self.x.low)
        up = (y - self.y.low) / (self.y.high - self.y.low)
        width, height = self.width - self.left - self.right, self.height - self.top - self.bottom
        return self.left + across * width, self.top + (1 - up) * height

    def line(self, points: Iterable[Point], css: str) -> None:
        """Straight lines through points, as far as they are finite, cut off at the frame's top."""
        seen = [(x, min(y, self.y.high)) for x, y in points if math.isfinite(y)]
        if len(seen) > 1:
            self._marks.append(f'<polyline class="{css}" points="{self._path(seen)}"/>')

    def area(self, points: Sequence[Point], css: str) -> None:
        """The area between points and the x axis."""
        whole = [(points[0][0], self.y.low), *points, (points[-1][0], self.y.low)]
        self._marks.append(f'<polygon class="fill {css}" points="{self._path(whole)}"/>')

    def _path(self, points: Iterable[Point]) -> str:
        return " ".join(f"{_n(a)},{_n(b)}" for a, b in (self.at(*point) for point in points))

    def dot(self, x: float, y: float, css: str, radius: float = 4.5) -> None:
        a, b = map(_n, self.at(x, y))
        self._marks.append(f'<circle class="dot {css}" cx="{a}" cy="{b}" r="{_n(radius)}"/>')

    def bar(self, x: float, low: float, high: float, css: str) -> None:
        """An upright error bar."""
        (a, bottom), (_, top) = self.at(x, low), self.at(x, high)
        ends = "".join(f"M{_n(a - 3)} {_n(end)}H{_n(a + 3)}" for end in (bottom, top))
        path = f"M{_n(a)} {_n(bottom)}V{_n(top)}{ends}"
        self._marks.append(f'<path class="bar {css}" d="{path}"/>')

    def note(
        self, x: float, y: float, text: str, anchor: str, shift: Point = (0, 0), css: str = "note"
    ) -> None:
        """A text at a point of the data, moved by ``shift`` units."""
        a, b = self.at(x, y)
        place = f'x="{_n(a + shift[0])}" y="{_n(b + shift[1])}" text-anchor="{anchor}"'
        self._marks.append(f'<text class="{css}" {place}>{escape(text)}</text>')

    def text(self) -> str:
        """The whole chart."""
        name, box = self.name, f"0 0 {self.width} {self.height}"
        return (
            f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" '
            f'aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{escape(self.title)}</title>'
            f'<desc id="{name}-d">{escape(self.description)}</desc>'
            f"{self._axes()}{''.join(self._marks)}</svg>"
        )

    def _axes(self) -> str:
        left, right, base = self.left, self.width - self.right, self.height - self.bottom
        parts, texts = [], []
        for value in self.y.ticks():
            b = self.at(self.x.low, value)[1]
            parts.append(f'<path class="grid" d="M{left} {_n(b)}H{right}"/>')
            texts.append((f'x="{left - 7}" y="{_n(b + 4)}"', "end", self.y.show(value)))
        for value in self.x.ticks():
            a = _n(self.at(value, self.y.low)[0])
            parts.append(f'<path class="axis" d="M{a} {base}v4"/>')
            texts.append((f'x="{a}" y="{base + 18}"', "middle", self.x.show(value)))
        parts.append(f'<path class="axis" d="M{left} {base}H{right}"/>')
        middle, upright = _n((left + right) / 2), _n((self.top + base) / 2)
        texts.append((f'x="{middle}" y="{self.height - 6}"', "middle", self.x.label))
        turned = f'transform="translate(13 {upright}) rotate(-90)"'
        texts.append((turned, "middle", self.y.label))
        for place, anchor, text in texts:
            parts.append(f'<text {place} text-anchor="{anchor}">{escape(text)}</text>')
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
    last, zero_weights = f"{costs[-1]:.4f}", math.log(2)
    chart = Chart(
        "cost",
        "Cost during training",
        f"The cost goes from {costs[0]:.4f} at step {steps[0]} to {last} at step {steps[-1]}.",
        Axis(0, max(steps[-1], 1), STEPS.get(solver, "steps"), _thousands, ticks_max=5),
        Axis(0, round_up(min(max(costs), 1e300) * 1.05), "cost J (nats per image)"),
    )
    points = thinned(list(zip(map(float, steps), costs, strict=True)))
    if zero_weights < chart.y.high:
        chart.line([(0, zero_weights), (chart.x.high, zero_weights)], "ref")
        chart.note(chart.x.high, zero_weights, "ln 2: zero weights", "end", (0, -6), "")
    chart.area(points, "f0")
    chart.line(points, "line s0")
    chart.dot(*points[-1], "f0")
    chart.note(*points[-1], last, "end", (0, -11))
    return chart


def save_cost_curve(path: Path, model: Model) -> None:
    """Write ``cost_curve`` as an SVG file of its own. Raises OutputError."""
    chart = cost_curve(model.costs, model.cost_steps, model.training.settings["solver"])
    write_whole(path, standalone(chart).encode("utf-8"))


def _percent(label: str) -> Axis:
    return Axis(0, 100, label, "{:.0f}".format, ticks_max=5)


def roc_curve(result: Evaluation) -> Chart:
    """True against false positive rate, with the threshold in use marked."""
    counts, roc, threshold = result.counts, result.roc, f"threshold {result.threshold:g}"
    x, y = 100 * (1 - counts.specificity), 100 * counts.recall
    chart = Chart(
        "roc",
        "ROC curve",
        f"The area under the curve is {roc.auc:.4f}; 0.5 would be chance. At the {threshold} the "
        f"model predicts positive for {y:.1f} % of the positives and {x:.1f} % of the negatives.",
        _percent("false positives, % of negatives"),
        _percent("true positives, % of positives"),
        height=330,
    )
    points = thinned(roc_points(roc))
    chart.line([(0, 0), (100, 100)], "ref")
    chart.area(points, "f0")
    chart.line(points, "line s0")
    chart.note(97, 4, f"area {roc.auc:.3f}", "end")
    chart.dot(x, y, "f1", 5.5)
    anchor, shift = ("start", 10) if x < 55 else ("end", -10)
    chart.note(x, y, threshold, anchor, (shift, 16))
    return chart


def roc_points(roc: Roc) -> list[Point]:
    """Rates in percent at the corners of the curve; points on a straight line are left out."""
    across, up = np.diff(roc.false.astype(np.float64)), np.diff(roc.true.astype(np.float64))
    corner = np.r_[True, across[:-1] * up[1:] != up[:-1] * across[1:], True]
    false, true = (100 * each[corner] / each[-1] for each in (roc.false, roc.true))
    return list(zip(false.tolist(), true.tolist(), strict=True))


def calibration_chart(result: Evaluation) -> Chart:
    """The fraction of positives among images of similar probability, with intervals."""
    positive = printable(result.classes[1])
    chart = Chart(
        "calibration",
        "Calibration",
        f"The fraction of images that are {positive} among those with a predicted probability "
        "within each tenth, with 95 % intervals; on the diagonal the two are equal.",
        _percent(f"predicted probability of {positive}, %"),
        _percent(f"fraction that is {positive}, %"),
        height=330,
        top=36,
    )
    chart.line([(0, 0), (100, 100)], "ref")
    for part in calibration(result.A, result.Y):
        low, high = part.interval
        chart.bar(100 * part.mean, 100 * low, 100 * high, "s0")
        chart.dot(100 * part.mean, 100 * part.observed, "f0")
        chart.note(50 * (part.low + part.high), 100, str(part.total), "middle", (0, -13), "")
    chart.note(0, 100, "images", "end", (-2, -13), "")
    return chart


def comparison_chart(comparison: Comparison) -> Chart:
    """Held-out log loss of each candidate against steps, and the training cost as a thin line."""
    steps = comparison.plan.steps
    sound = [r for r in comparison.results if r.diverged is None and r.held_out]
    values = [v for r in sound for v in (*r.trained, *r.held_out) if math.isfinite(v)]
    top = round_up(min(max(values, default=1.0), 3.0) * 1.02)
    chart = Chart(
        "compare",
        "Log loss of the candidates",
        "; ".join(
            f"{r.candidate}: held-out {r.held_out[-1]:.4f}, training {r.trained[-1]:.4f}"
            for r in sound
        ),
        Axis(0, max(steps[-1], 1), STEPS["gd"], _thousands, ticks_max=4),
        Axis(0, top, "log loss (nats per image)"),
        right=92,
        height=280,
    )
    last = [min(r.held_out[-1], top) for r in sound]
    ends = [chart.at(0, y)[1] for y in last]
    for i, (result, y, end, place) in enumerate(
        zip(sound, last, ends, move_apart(ends, 14), strict=True)
    ):
        series = i % SERIES
        chart.line(zip(steps, result.trained, strict=True), f"thin s{series}")
        chart.line(zip(steps, result.held_out, strict=True), f"line s{series}")
        chart.dot(steps[-1], y, f"f{series}", 3.5)
        chart.note(chart.x.high, y, str(result.candidate), "start", (8, 4 + place - end))
    return chart


def thinned(points: list[Point]) -> list[Point]:
    """At most POINTS_MAX of them, evenly, with both ends."""
    if len(points) <= POINTS_MAX:
        return points
    last = len(points) - 1
    return [points[round(i * last / (POINTS_MAX - 1))] for i in range(POINTS_MAX)]


def _thousands(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u202f") if value >= 10000 else f"{value:g}"
