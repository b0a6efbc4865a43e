"""Line charts as SVG text: axes with ticks, units and labels, and marks between them.

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

Points = Sequence[tuple[float, float]]

SERIES = 6  # colours of lines in chart.css


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
    """The next of 1, 1.5, 2, 3, 5, 8, 10 times a power of ten: the end of an axis from zero."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return float(next(power * k for k in (1, 1.5, 2, 3, 5, 8, 10) if value <= power * k * 1.0001))


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
    right: int = 14
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
        parts = []
        left, right, base = self.left, self.width - self.right, self.height - self.bottom
        for value in self.y.ticks():
            _, b = self.at(self.x.low, value)
            parts.append(f'<path class="grid" d="M{left} {_n(b)}H{right}"/>')
            parts.append(
                f'<text x="{left - 7}" y="{_n(b + 4)}" text-anchor="end">'
                f"{escape(self.y.show(value))}</text>"
            )
        for value in self.x.ticks():
            a, _ = self.at(value, self.y.low)
            parts.append(f'<path class="axis" d="M{_n(a)} {base}v4"/>')
            parts.append(
                f'<text x="{_n(a)}" y="{base + 18}" text-anchor="middle">'
                f"{escape(self.x.show(value))}</text>"
            )
        parts.append(f'<path class="axis" d="M{left} {base}H{right}"/>')
        middle = (left + right) / 2
        parts.append(
            f'<text x="{_n(middle)}" y="{self.height - 6}" text-anchor="middle">'
            f"{escape(self.x.label)}</text>"
        )
        upright = (self.top + base) / 2
        parts.append(
            f'<text transform="translate(13 {_n(upright)}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y.label)}</text>"
        )
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
    """The places in ascending groups moved apart until none are nearer than ``gap``.

    Each group that collides stays centred where it was; the order is kept.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    groups: list[tuple[float, list[int]]] = []  # centre and members
    for i in order:
        centre, members = places[i], [i]
        while groups:
            before, others = groups[-1]
            if centre - before >= gap * (len(members) + len(others)) / 2:
                break
            groups.pop()
            members = others + members
            centre = sum(places[k] for k in members) / len(members)
        groups.append((centre, members))
    moved = list(places)
    for centre, members in groups:
        for position, i in enumerate(members):
            moved[i] = centre + gap * (position - (len(members) - 1) / 2)
    return moved


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
