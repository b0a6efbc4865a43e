"""Coats: colours, and the markings of trunk, limbs and head."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

from .brush import Colour, Mark, mix
from .geometry import Point, Shape, bar, oval, smooth

BLACK: Colour = (44, 42, 46)
WHITE: Colour = (236, 232, 226)
PINK: Colour = (222, 160, 152)
INK: Colour = (24, 20, 20)


@dataclass(frozen=True)
class Coat:
    """What an animal wears: base and belly colours, dark points, and a pattern."""

    name: str
    base: Colour
    belly: Colour
    mark: Colour = BLACK
    pattern: str = "plain"  # plain, stripes, patches, spots, bib, points, van, saddle
    second: Colour = BLACK
    eye: Colour = (150, 170, 60)
    nose: Colour = PINK

    @property
    def limb(self) -> Colour:
        """Colour of legs and tail."""
        if self.pattern == "points":
            return self.mark
        return self.base

    @property
    def tail(self) -> Colour:
        """Colour of the tail."""
        return self.mark if self.pattern in ("points", "van") else self.base

    @property
    def paw(self) -> Colour:
        """Colour of the paws."""
        return self.belly if self.pattern in ("bib", "saddle", "patches") else self.limb

    @property
    def ear(self) -> Colour:
        """Colour of the ears."""
        if self.pattern in ("points", "van", "saddle"):
            return self.mark
        return self.second if self.pattern == "patches" else self.base

    def torso_marks(self, shape: Shape, rng: Random, upright: bool) -> list[Mark]:
        """Return the markings of a trunk."""
        box = shape.box()
        if self.pattern == "stripes":
            return [(_bands(box, rng, upright), self.mark)]
        if self.pattern == "patches":
            return [(_blotches(box, rng, 3), self.mark), (_blotches(box, rng, 3), self.second)]
        if self.pattern == "spots":
            return [(_spots(box, rng), self.mark)]
        if self.pattern == "saddle" and not upright:
            return [(_saddle(box), self.mark)]
        if self.pattern == "points":
            w = box[2] - box[0]
            middle = oval(box[2] - w * 0.1, (box[1] + box[3]) / 2, w * 0.2, w * 0.3)
            return [] if upright else [(middle, mix(self.base, self.mark, 0.25))]
        return []

    def limb_marks(self, path: list[Point], width: float) -> list[Mark]:
        """Return rings along a leg or a tail."""
        if self.pattern != "stripes":
            return []
        rings = Shape()
        for a, b in list(pairwise(path))[2::4]:
            dx, dy = b[0] - a[0], b[1] - a[1]
            length = (dx * dx + dy * dy) ** 0.5 or 1.0
            nx, ny = -dy / length * width * 1.6, dx / length * width * 1.6
            rings += bar((a[0] - nx, a[1] - ny), (a[0] + nx, a[1] + ny), width * 0.9)
        return [(rings, self.mark)]

    def head_marks(self, rng: Random) -> list[Mark]:
        """Return the markings of a head of half-width 1."""
        if self.pattern == "stripes":
            return [(_face_stripes(), self.mark)]
        if self.pattern == "points":
            return [(oval(0, 0.2, 0.62, 0.66), self.mark)]
        if self.pattern == "bib":
            blaze = smooth(
                [
                    (0, -0.75),
                    (0.12, -0.1),
                    (0.55, 0.4),
                    (0.5, 1),
                    (-0.5, 1),
                    (-0.55, 0.4),
                    (-0.12, -0.1),
                ]
            )
            return [(blaze, self.belly)]
        if self.pattern == "patches":
            side = rng.choice((-1, 1))
            return [
                (oval(0.55 * side, -0.45, 0.5, 0.6), self.mark),
                (oval(-0.6 * side, -0.5, 0.48, 0.62), self.second),
            ]
        if self.pattern == "van":
            return [
                (oval(0.55, -0.6, 0.45, 0.5), self.mark),
                (oval(-0.55, -0.6, 0.45, 0.5), self.mark),
            ]
        if self.pattern == "spots":
            return [(_spots((-0.9, -0.8, 0.9, -0.1), rng, 0.1), self.mark)]
        if self.pattern == "saddle":
            return [
                (oval(0.6, -0.4, 0.5, 0.55), self.mark),
                (oval(-0.6, -0.4, 0.5, 0.55), self.mark),
            ]
        return []


Box = tuple[float, float, float, float]


def _bands(box: Box, rng: Random, upright: bool) -> Shape:
    """Return tapering stripes: down the flank, or from both sides of a sitting trunk."""
    left, top, right, bottom = box
    w, h = right - left, bottom - top
    out = Shape()
    if upright:
        for i in range(6):
            y = top + h * (i + 0.6) / 6
            for side, edge in ((1, left), (-1, right)):
                out += bar(
                    (edge - side * w * 0.05, y), (edge + side * w * 0.4, y + h * 0.05), h * 0.075
                )
        return out
    n = 8
    for i in range(n):
        x = left + w * (i + 0.5) / n + rng.uniform(-0.02, 0.02) * w
        lean = rng.uniform(-0.04, 0.04) * w
        out += bar((x, top - h * 0.2), (x + lean, top + h * rng.uniform(0.6, 0.85)), w * 0.066)
    return out


def _blotches(box: Box, rng: Random, n: int) -> Shape:
    """Return a few large soft patches."""
    left, top, right, bottom = box
    w, h = right - left, bottom - top
    out = Shape()
    for _ in range(n):
        x, y = rng.uniform(left, right), rng.uniform(top, bottom - h * 0.3)
        r = min(w, h) * rng.uniform(0.18, 0.34)
        out += oval(x, y, r * rng.uniform(0.9, 1.5), r, rng.uniform(0, 3), 12)
    return out


def _spots(box: Box, rng: Random, size: float = 0.07) -> Shape:
    """Return scattered spots."""
    left, top, right, bottom = box
    r = max(right - left, bottom - top) * size
    return Shape(
        dots=[
            (rng.uniform(left, right), rng.uniform(top, bottom), r * rng.uniform(0.5, 1))
            for _ in range(16)
        ]
    )


def _saddle(box: Box) -> Shape:
    """Return a dark back."""
    left, top, right, bottom = box
    w, h = right - left, bottom - top
    return oval((left + right) / 2 + w * 0.08, top + h * 0.16, w * 0.42, h * 0.42)


def _face_stripes() -> Shape:
    """Return the M on a tabby's forehead and the lines on its cheeks."""
    out = Shape()
    for x, low in ((0.0, -0.38), (0.24, -0.42), (-0.24, -0.42), (0.48, -0.5), (-0.48, -0.5)):
        out += bar((x * 1.1, -1.0), (x * 0.8, low), 0.15)
    for side in (-1, 1):
        for y in (0.05, 0.34):
            out += bar((side * 1.1, y - 0.1), (side * 0.55, y + 0.1), 0.13)
    return out
