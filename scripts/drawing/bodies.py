"""Bodies: an animal's proportions and its parts; one unit is half a cat's head."""

from __future__ import annotations

from dataclasses import dataclass

from .brush import Canvas, Colour, mix
from .coats import INK, WHITE, Coat
from .faces import FACES, Look
from .geometry import Frame, Point, Shape, curve, furry, limb, oval


@dataclass(frozen=True)
class Build:
    """An animal's proportions, beside a cat's."""

    head: float = 1.0
    girth: float = 1.0
    leg: float = 1.0
    thick: float = 1.0
    tail: str = "long"  # long, brush, bushy, puff, stub, bare
    neck: float = 1.0


BUILDS = {
    "cat": Build(),
    "dog": Build(head=1.0, girth=1.12, leg=1.2, thick=1.15, tail="bushy", neck=1.2),
    "rabbit": Build(head=0.92, girth=1.2, leg=0.6, thick=1.1, tail="puff", neck=0.8),
    "bear": Build(head=1.0, girth=1.55, leg=0.9, thick=1.7, tail="stub", neck=0.9),
    "fox": Build(head=0.92, girth=0.95, leg=1.15, thick=0.8, tail="brush"),
    "mouse": Build(head=0.88, girth=1.12, leg=0.42, thick=0.6, tail="bare", neck=0.7),
    "owl": Build(girth=1.0, tail="stub"),
}


@dataclass(frozen=True)
class Animal:
    """One animal: what it is, what it wears, how it holds its head."""

    species: str
    coat: Coat
    look: Look

    @property
    def build(self) -> Build:
        """Its proportions."""
        return BUILDS[self.species]

    @property
    def paw(self) -> Colour:
        """Colour of its paws: foxes wear dark socks."""
        return self.coat.mark if self.species == "fox" else self.coat.paw

    @property
    def leg(self) -> Colour:
        """Colour of its legs."""
        if self.coat.pattern == "panda":
            return self.coat.mark
        return mix(self.coat.base, self.coat.mark, 0.5) if self.species == "fox" else self.coat.limb


def head(c: Canvas, f: Frame, a: Animal, at: Point, angle: float = 0.0, big: float = 1.0) -> None:
    """Draw the animal's head at a place."""
    FACES[a.species](c, f.inner(at, a.build.head * big, angle), a.coat, a.look)


def leg(c: Canvas, f: Frame, a: Animal, path: list[Point], far: bool = False) -> None:
    """Draw one leg from hip to paw."""
    w = 0.30 * a.build.thick
    colour = mix(a.leg, INK, 0.3) if far else a.leg
    shape = limb(path, [w * 1.35, w, w * 0.88])
    c.fill(f, shape, colour, a.coat.limb_marks(curve(path), w), depth=0.3)
    x, y = path[-1]
    paw = oval(x - 0.08, y, w * 1.25, w * 0.8)
    c.fill(f, paw, mix(a.paw, INK, 0.3) if far else a.paw, depth=0.2)


def tail(c: Canvas, f: Frame, a: Animal, path: list[Point]) -> None:
    """Draw the tail its kind of animal has, along a path from its root."""
    kind, coat = a.build.tail, a.coat
    root = path[0]
    if kind in ("puff", "stub"):
        r = 0.42 if kind == "puff" else 0.3
        colour = mix(coat.belly, WHITE, 0.5) if kind == "puff" else coat.base
        c.fill(f, oval(root[0], root[1], r, r), colour, depth=0.2)
        return
    if kind == "bare":
        c.fill(f, limb(path, [0.13, 0.1, 0.05], 10), (206, 150, 142), depth=0.1)
        return
    if kind == "brush":
        c.fill(
            f, furry(limb(path, [0.24, 0.55, 0.66, 0.5, 0.2], 8), c.rng, 0.06), coat.base, depth=0.4
        )
        tip = curve(path)[-9:]
        c.fill(f, limb([tip[0], tip[4], tip[-1]], [0.5, 0.42, 0.16]), coat.belly, depth=0.3)
        return
    if kind == "bushy":
        path = path[: max(3, len(path) - 1)]
        c.fill(f, limb(path, [0.3, 0.3, 0.14]), coat.tail, depth=0.25)
        return
    marks = coat.limb_marks(curve(path), 0.24)
    c.fill(f, limb(path, [0.25, 0.21, 0.2, 0.17], 9), coat.tail, marks, depth=0.2)


def torso(c: Canvas, f: Frame, a: Animal, shape: Shape, upright: bool) -> None:
    """Draw the trunk with the coat's markings."""
    marks = a.coat.torso_marks(shape, c.rng, upright)
    if a.coat.pattern == "panda":
        left, top, right, bottom = shape.box()
        band = oval(left + (right - left) * 0.15, (top + bottom) / 2, (right - left) * 0.2, 9)
        marks = [(oval(0, top, 9, (bottom - top) * 0.35) if upright else band, a.coat.mark)]
    amount = 0.05 if a.species in ("bear", "fox") else 0.025
    c.fill(f, furry(shape, c.rng, amount), a.coat.base, marks, depth=0.8)
