"""Poses: whole animals, standing on the ground at y = 0."""

from __future__ import annotations

import math
from collections.abc import Callable

from .bodies import BUILDS, Animal, Build, head, leg, tail, torso
from .brush import Canvas, mix
from .coats import INK
from .faces import FACES
from .geometry import Frame, Point, Shape, furry, limb, mirrored, oval, smooth


def face(c: Canvas, f: Frame, a: Animal) -> None:
    """Draw a close-up: head over shoulders; the head's middle is (0, -1.2)."""
    g = a.build.girth
    shoulders = smooth(
        [
            (-0.7, -1.0),
            (0.7, -1.0),
            (1.15 * g, 0.2),
            (1.4 * g, 2.4),
            (-1.4 * g, 2.4),
            (-1.15 * g, 0.2),
        ]
    )
    torso(c, f, a, shoulders, True)
    if a.coat.belly != a.coat.base:
        c.fill(f, furry(oval(0, 0.5, 0.55, 1.1), c.rng, 0.08), a.coat.belly, depth=0.4)
    head(c, f, a, (0, -1.2))


def _haunches(c: Canvas, f: Frame, a: Animal) -> None:
    """Draw the hind legs of a sitting animal, folded at its sides."""
    g = a.build.girth
    for s in (-1, 1):
        c.fill(f, oval(s * 0.95 * g, -0.5, 0.48 * g, 0.55), a.coat.limb, depth=0.4)
        c.fill(f, oval(s * 0.95 * g, -0.06, 0.42, 0.2), a.paw, depth=0.2)


def sitting(c: Canvas, f: Frame, a: Animal) -> None:
    """Draw it sitting up, seen from the front."""
    b, r = a.build, c.rng
    g, tall = b.girth, 2.5 + 0.5 * b.leg
    side = r.choice((-1, 1))
    up = r.random() < 0.35
    path: list[Point] = [
        (side * 0.9 * g, -0.3),
        (side * 1.7 * g, -0.35),
        (side * 2.0 * g, -1.2),
        (side * 1.8 * g, -2.3),
    ]
    if not up:
        path = [
            (side * 0.9 * g, -0.35),
            (side * 1.75 * g, -0.25),
            (side * 1.5 * g, 0.08),
            (side * 0.2, 0.1),
        ]
    if up or b.tail != "long":
        tail(c, f, a, path)
    trunk = mirrored(
        [
            (0, -tall * 1.02),
            (0.62 * g, -tall),
            (0.95 * g, -tall * 0.62),
            (1.25 * g, -0.7),
            (1.0 * g, -0.02),
            (0, 0),
        ]
    )
    torso(c, f, a, trunk, True)
    _haunches(c, f, a)
    c.fill(f, furry(oval(0, -tall * 0.66, 0.52 * g, tall * 0.3), r, 0.08), a.coat.belly, depth=0.4)
    for s in (-1, 1):
        leg(c, f, a, [(s * 0.42 * g, -tall * 0.56), (s * 0.42 * g, -0.9), (s * 0.4 * g, -0.08)])
    if not up and b.tail == "long":
        tail(c, f, a, path)
    head(c, f, a, (a.look.yaw * 0.12, -tall - 0.55), r.uniform(-0.1, 0.1), 1.45)


def _neck(c: Canvas, f: Frame, a: Animal, low: Point, high: Point, thick: float) -> None:
    """Draw the neck between trunk and head."""
    c.fill(f, limb([low, high], [thick, 0.57], 5), a.coat.base, depth=0.5)


def walking(c: Canvas, f: Frame, a: Animal) -> None:
    """Draw it walking to the left, head turned to us."""
    b, r = a.build, c.rng
    tall, g = 1.35 * b.leg, b.girth
    back = -tall - 1.25 * g
    swing = r.uniform(0.15, 0.55)
    curl = r.uniform(-0.5, 0.7)
    lift = 1.2 if b.tail in ("long", "bushy") else 0.1
    tail(
        c,
        f,
        a,
        [
            (2.0, back + 0.45),
            (2.6, back + 0.15),
            (2.8, back - 0.8 * lift),
            (2.4 + curl, back - 1.8 * lift),
        ],
    )
    for x, d in ((-1.35, -swing), (1.45, swing)):
        leg(c, f, a, [(x, -tall - 0.4), (x + d * 0.6, -tall * 0.5), (x + d, -0.1)], far=True)
    trunk = smooth(
        [
            (-2.05, back + 0.25),
            (-1.3, back),
            (0, back + 0.14),
            (1.4, back - 0.02),
            (2.15, back + 0.4),
            (2.1, back + 1.15 * g),
            (0.9, -tall + 0.02),
            (-0.8, -tall + 0.16),
            (-2.0, -tall + 0.05),
        ]
    )
    torso(c, f, a, trunk, False)
    for x, d in ((-1.6, swing), (1.65, -swing)):
        leg(c, f, a, [(x, -tall - 0.35), (x + d * 0.5 + 0.08, -tall * 0.5), (x + d, -0.08)])
    high = back - 0.35 * b.neck
    _neck(c, f, a, (-1.6, back + 0.6), (-2.3, high + 0.2), 0.78 * g)
    head(c, f, a, (-2.3, high - 0.2), r.uniform(-0.12, 0.1), 1.55)


def lying(c: Canvas, f: Frame, a: Animal) -> None:
    """Draw it lying on its belly, head up."""
    b, r = a.build, c.rng
    g = b.girth
    tail(c, f, a, [(2.2, -0.4), (3.0, -0.2), (3.5, -0.35), (3.9, -0.8 - r.uniform(0, 0.6))])
    trunk = smooth(
        [
            (-2.0, -1.45 * g),
            (-1.0, -1.6 * g),
            (0.6, -1.5 * g),
            (1.9, -1.55 * g),
            (2.5, -0.8),
            (2.3, 0),
            (0, 0.02),
            (-2.0, 0),
        ]
    )
    torso(c, f, a, trunk, False)
    c.fill(
        f,
        oval(1.65, -0.68, 0.85, 0.68),
        a.coat.limb,
        a.coat.torso_marks(oval(1.65, -0.68, 0.85, 0.68), r, False)[:1],
        depth=0.5,
    )
    for y, x in ((-0.32, -3.1), (-0.12, -2.8)):
        leg(c, f, a, [(-1.5, -0.45), (-2.2, y - 0.1), (x, y)])
    leg(c, f, a, [(1.9, -0.2), (1.3, -0.14), (0.9, -0.1)])
    _neck(c, f, a, (-1.5, -1.0), (-1.8, -1.9 * g), 0.8 * g)
    c.fill(f, oval(-1.75, -1.0, 0.42, 0.62), a.coat.belly, depth=0.4)
    head(c, f, a, (-1.75, -1.85 * g - 0.45 * b.neck), r.uniform(-0.15, 0.12), 1.55)


def asleep(c: Canvas, f: Frame, a: Animal) -> None:
    """Draw it curled up, eyes shut, tail round its body."""
    b, r = a.build, c.rng
    g = 0.85 + 0.15 * b.girth
    back = smooth(
        [
            (-2.0, -0.9),
            (-1.1, -1.9 * g),
            (0.5, -2.15 * g),
            (1.9, -1.6 * g),
            (2.4, -0.6),
            (1.6, 0.02),
            (-1.4, 0.02),
        ]
    )
    torso(c, f, a, back, False)
    c.fill(
        f,
        oval(1.25, -0.72, 0.95, 0.72, 0.2),
        a.coat.limb,
        a.coat.torso_marks(oval(1.25, -0.72, 0.95, 0.72), r, False)[:1],
        depth=0.6,
    )
    path = [(2.1, -0.35), (1.2, 0.05), (0.1, 0.02), (-0.7, -0.1)]
    if b.tail in ("puff", "stub"):
        path = [(2.3, -0.6), (2.4, -0.6), (2.5, -0.6)]
    if b.tail == "bare":
        path = [(2.1, -0.2), (2.9, -0.05), (3.4, -0.5)]
    tail(c, f, a, path)
    leg(c, f, a, [(-0.3, -0.35), (-0.9, -0.15), (-1.5, -0.08)])
    head(c, f, a, (-1.15, -1.0), r.uniform(-0.35, 0.1), 1.35)


def stretching(c: Canvas, f: Frame, a: Animal) -> None:
    """Draw it stretching: chest on the ground, rump in the air."""
    b = a.build
    tall, g = 1.35 * b.leg, b.girth
    rump = -tall - 1.1 * g
    tail(c, f, a, [(1.9, rump + 0.4), (2.5, rump - 0.3), (2.6, rump - 1.2), (2.2, rump - 2.1)])
    leg(c, f, a, [(1.4, -tall - 0.2), (1.7, -tall * 0.5), (1.45, -0.1)], far=True)
    trunk = smooth(
        [
            (-1.9, -1.0 * g),
            (-0.6, -1.25 * g),
            (0.9, rump * 0.85),
            (1.9, rump),
            (2.3, rump + 0.8),
            (1.8, -tall + 0.1),
            (0.4, -0.75),
            (-1.4, -0.1),
        ]
    )
    torso(c, f, a, trunk, False)
    leg(c, f, a, [(1.75, -tall - 0.3), (2.0, -tall * 0.5), (1.8, -0.08)])
    for x, y in ((-3.7, -0.22), (-3.5, -0.06)):
        leg(c, f, a, [(-1.3, -0.5), (-2.4, -0.2), (x, y)])
    head(c, f, a, (-2.0, -1.2 * g - 0.45), c.rng.uniform(-0.1, 0.15), 1.55)


def _wing(c: Canvas, f: Frame, a: Animal, side: int) -> None:
    """Draw a folded wing with its flight feathers."""
    wing = smooth(
        [
            (side * 0.75, -2.9),
            (side * 1.3, -2.2),
            (side * 1.25, -1.0),
            (side * 0.85, 0.1),
            (side * 0.6, -1.2),
        ]
    )
    marks = a.coat.torso_marks(wing, c.rng, True)
    c.fill(f, wing, mix(a.coat.base, INK, 0.18), marks, depth=0.4)


def perched(c: Canvas, f: Frame, a: Animal) -> None:
    """Draw an owl upright: wings folded, speckled breast, claws."""
    trunk = smooth(
        [(-0.8, -3.2), (0.8, -3.2), (1.2, -2.0), (0.9, -0.5), (0, 0.0), (-0.9, -0.5), (-1.2, -2.0)]
    )
    c.fill(f, Shape([[(-0.4, -0.6), (0.4, -0.6), (0.3, 0.5), (-0.3, 0.5)]]), a.coat.mark)
    breast = Shape(
        dots=[
            (x * 0.3 + (row % 2) * 0.15, -2.4 + row * 0.4, 0.09)
            for row in range(6)
            for x in range(-2, 3)
        ]
    )
    c.fill(f, trunk, a.coat.belly, [(breast, a.coat.mark)], depth=0.7)
    for side in (-1, 1):
        _wing(c, f, a, side)
        c.flat(f, oval(side * 0.36, 0.0, 0.3, 0.13), (196, 160, 84))
    FACES["owl"](
        c, f.inner((a.look.yaw * 0.2, -3.5), 1.05, c.rng.uniform(-0.25, 0.25)), a.coat, a.look
    )


def flying(c: Canvas, f: Frame, a: Animal) -> None:
    """Draw an owl in flight, wings spread."""
    rise = c.rng.uniform(-0.8, 0.6)
    for side in (-1, 1):
        tips: list[Point] = [(side * (3.9 - k * 0.55), -1.6 + rise + k * 0.34) for k in range(6)]
        edge = [p for k, t in enumerate(tips) for p in (t, (t[0] - side * 0.2, t[1] - 0.12 * k))]
        wing = Shape(
            [[(side * 0.5, -2.9), (side * 2.2, -3.3 + rise * 0.5), *edge, (side * 0.5, -0.9)]]
        )
        c.fill(
            f, wing, mix(a.coat.base, INK, 0.12), a.coat.torso_marks(wing, c.rng, False), depth=0.5
        )
    c.fill(
        f,
        oval(0, -1.7, 0.85, 1.35),
        a.coat.belly,
        a.coat.torso_marks(oval(0, -1.7, 0.8, 1.3), c.rng, True),
        depth=0.6,
    )
    FACES["owl"](c, f.inner((0, -2.9), 0.9), a.coat, a.look)


Pose = Callable[[Canvas, Frame, Animal], None]
# Each pose with the box it fills, in units: left, top, right, bottom.
POSES: dict[str, tuple[Pose, tuple[float, float, float, float]]] = {
    "face": (face, (-1.25, -2.6, 1.25, 0.3)),
    "sitting": (sitting, (-1.75, -5.65, 1.75, -0.4)),
    "walking": (walking, (-3.95, -5.2, 2.35, 0.1)),
    "lying": (lying, (-3.2, -4.3, 2.3, 0.1)),
    "asleep": (asleep, (-2.5, -2.9, 2.4, 0.2)),
    "stretching": (stretching, (-3.9, -4.5, 2.3, 0.1)),
    "perched": (perched, (-1.5, -4.9, 1.5, 0.4)),
    "flying": (flying, (-3.6, -4.2, 3.6, 0.0)),
}


def pose_box(animal: Animal, pose: str) -> tuple[float, float, float, float]:
    """Return the box a pose fills, grown for ears that stand high."""
    left, top, right, bottom = POSES[pose][1]
    if animal.species == "rabbit" and pose != "asleep" and animal.look.style % 6:
        top -= 1.1
    grow = math.sqrt(max(1.0, BUILDS.get(animal.species, Build()).girth))
    if pose == "face":
        grow = 1.0
    return left * grow, top * grow, right * grow, bottom
