"""Points, frames and shapes: the geometry that bodies, faces and objects are built from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

Point = tuple[float, float]
Dot = tuple[float, float, float]


@dataclass(frozen=True)
class Frame:
    """An affine frame: local units to canvas pixels (scale, turn, mirror, place)."""

    x: float
    y: float
    scale: float
    angle: float = 0.0
    flip: bool = False

    def point(self, p: Point) -> Point:
        """Return one local point in pixels."""
        return self.points([p])[0]

    def points(self, points: Sequence[Point]) -> list[Point]:
        """Return local points in pixels."""
        c, s = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        m = -1.0 if self.flip else 1.0
        return [(self.x + m * (px * c - py * s), self.y + px * s + py * c) for px, py in points]

    def inner(self, at: Point, scale: float = 1.0, angle: float = 0.0) -> Frame:
        """Return a frame placed at a local point, scaled and turned within this one."""
        x, y = self.point(at)
        return Frame(x, y, self.scale * scale, self.angle + angle, self.flip)


@dataclass
class Shape:
    """A filled area: the union of polygons and discs, in local units."""

    polygons: list[list[Point]] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)

    def __add__(self, other: Shape) -> Shape:
        """Return both areas together."""
        return Shape(self.polygons + other.polygons, self.dots + other.dots)

    def box(self) -> tuple[float, float, float, float]:
        """Return (left, top, right, bottom) in local units."""
        xs = [p[0] for poly in self.polygons for p in poly]
        ys = [p[1] for poly in self.polygons for p in poly]
        for x, y, r in self.dots:
            xs += [x - r, x + r]
            ys += [y - r, y + r]
        return min(xs), min(ys), max(xs), max(ys)


def oval(x: float, y: float, rx: float, ry: float, angle: float = 0.0, n: int = 22) -> Shape:
    """Return an ellipse, turned by an angle."""
    c, s = math.cos(angle), math.sin(angle)
    points = []
    for i in range(n):
        u = math.tau * i / n
        px, py = rx * math.cos(u), ry * math.sin(u)
        points.append((x + px * c - py * s, y + px * s + py * c))
    return Shape([points])


def _spline(p: Sequence[Point], closed: bool, steps: int) -> list[Point]:
    """Return a Catmull-Rom curve through the points."""
    n = len(p)
    out: list[Point] = []
    for i in range(n if closed else n - 1):
        if closed:
            a, b, c, d = p[i - 1], p[i], p[(i + 1) % n], p[(i + 2) % n]
        else:
            a, b, c, d = p[max(i - 1, 0)], p[i], p[i + 1], p[min(i + 2, n - 1)]
        for k in range(steps):
            t = k / steps
            w0 = ((-t + 2) * t - 1) * t / 2
            w1 = ((3 * t - 5) * t * t + 2) / 2
            w2 = ((-3 * t + 4) * t + 1) * t / 2
            w3 = (t - 1) * t * t / 2
            x = w0 * a[0] + w1 * b[0] + w2 * c[0] + w3 * d[0]
            y = w0 * a[1] + w1 * b[1] + w2 * c[1] + w3 * d[1]
            out.append((x, y))
    if not closed:
        out.append(p[-1])
    return out


def smooth(points: Sequence[Point], steps: int = 4) -> Shape:
    """Return a closed soft outline through the points."""
    return Shape([_spline(points, True, steps)])


def mirrored(half: Sequence[Point], steps: int = 4) -> Shape:
    """Return a soft outline from its right half (top to bottom), mirrored at x = 0."""
    left = [(-x, y) for x, y in reversed(half) if x > 1e-6]
    return smooth([*half, *left], steps)


def curve(points: Sequence[Point], steps: int = 6) -> list[Point]:
    """Return an open soft line through the points."""
    return _spline(points, False, steps)


def limb(points: Sequence[Point], widths: Sequence[float], steps: int = 8) -> Shape:
    """Return a soft tube along the points; widths are its radii, spread evenly."""
    path = _spline(points, False, steps)
    dots = []
    last = len(path) - 1
    for i, (x, y) in enumerate(path):
        at = i / last * (len(widths) - 1)
        k = min(int(at), len(widths) - 2)
        dots.append((x, y, widths[k] + (widths[k + 1] - widths[k]) * (at - k)))
    # Quads between the discs keep a thin, long tube from breaking into beads.
    quads = [_quad(a, b) for a, b in pairwise(dots)]
    return Shape(quads, dots)


def _quad(a: Dot, b: Dot) -> list[Point]:
    """Return the four corners that join two discs."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = math.hypot(dx, dy) or 1.0
    nx, ny = -dy / length, dx / length
    return [
        (a[0] + nx * a[2], a[1] + ny * a[2]),
        (b[0] + nx * b[2], b[1] + ny * b[2]),
        (b[0] - nx * b[2], b[1] - ny * b[2]),
        (a[0] - nx * a[2], a[1] - ny * a[2]),
    ]


def furry(shape: Shape, rng: Random, amount: float) -> Shape:
    """Return the shape with its outlines roughened, as fur does."""
    out = []
    for poly in shape.polygons:
        cx = sum(p[0] for p in poly) / len(poly)
        cy = sum(p[1] for p in poly) / len(poly)
        rough = []
        for x, y in poly:
            k = 1.0 + rng.uniform(-0.3, 1.0) * amount
            rough.append((cx + (x - cx) * k, cy + (y - cy) * k))
        out.append(rough)
    return Shape(out, shape.dots)


def rotated(points: Sequence[Point], angle: float) -> list[Point]:
    """Return points turned about the origin."""
    c, s = math.cos(angle), math.sin(angle)
    return [(x * c - y * s, x * s + y * c) for x, y in points]


def bar(a: Point, b: Point, width: float) -> Shape:
    """Return a stripe that is widest in its middle and pointed at both ends."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = math.hypot(dx, dy) or 1.0
    nx, ny = -dy / length * width / 2, dx / length * width / 2
    mx, my = (a[0] + b[0]) / 2, (a[1] + b[1]) / 2
    return Shape([[a, (mx + nx, my + ny), b, (mx - nx, my - ny)]])
