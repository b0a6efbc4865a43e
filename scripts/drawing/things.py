"""Plain things, the second part, and the table of all: subjects of their own, and props."""

from __future__ import annotations

from collections.abc import Callable

from .brush import Canvas, mix, vary
from .coats import BLACK, INK, WHITE
from .geometry import Frame, Shape, bar, limb, oval, smooth
from .objects import ball, car, house, lamp, mug, pick, pot, rect, tree, yarn


def shoe(c: Canvas, f: Frame) -> None:
    """Draw a shoe."""
    colour = pick(c.rng)
    c.fill(
        f,
        smooth(
            [
                (-0.2, -1.1),
                (0.9, -1.35),
                (1.2, -0.9),
                (1.2, -0.1),
                (-1.5, -0.1),
                (-1.6, -0.45),
                (-0.9, -0.7),
            ],
            3,
        ),
        colour,
        grain="soft",
        depth=0.5,
    )
    c.fill(f, rect(-1.6, -0.2, 1.22, 0.0), mix(colour, WHITE, 0.75), depth=0.1)
    for k in range(4):
        x = -0.75 + k * 0.24
        c.line(f, [(x, -0.72 - k * 0.12), (x + 0.3, -0.58 - k * 0.12)], WHITE, 0.07)


def book(c: Canvas, f: Frame) -> None:
    """Draw a pile of books."""
    y = 0.0
    for _ in range(c.rng.randint(2, 5)):
        h, w, x = c.rng.uniform(0.3, 0.5), c.rng.uniform(0.9, 1.3), c.rng.uniform(-0.15, 0.15)
        colour = pick(c.rng)
        c.fill(f, rect(x - w, y - h, x + w, y), colour, grain="soft", depth=0.15)
        c.flat(f, rect(x + w * 0.8, y - h * 0.82, x + w * 1.01, y - h * 0.2), (236, 228, 208))
        c.flat(f, rect(x - w * 0.7, y - h, x - w * 0.6, y), mix(colour, WHITE, 0.5))
        y -= h


def cushion(c: Canvas, f: Frame) -> None:
    """Draw a cushion with pointed corners, often striped."""
    shape = smooth(
        [
            (-1.3, -2.1),
            (0, -1.85),
            (1.3, -2.1),
            (1.1, -1.0),
            (1.3, 0),
            (0, -0.15),
            (-1.3, 0),
            (-1.1, -1.0),
        ],
        3,
    )
    stripes = Shape()
    if c.rng.random() < 0.6:
        for k in range(5):
            x = -1.0 + k * 0.5
            stripes += rect(x - 0.09, -2.3, x + 0.09, 0.2)
    c.fill(f, shape, pick(c.rng), [(stripes, pick(c.rng))], "soft", 0.7)


def bottle(c: Canvas, f: Frame) -> None:
    """Draw a bottle or a vase."""
    colour = pick(c.rng)
    half = c.rng.uniform(0.4, 0.7)
    c.fill(
        f,
        smooth(
            [
                (-0.18, -2.6),
                (0.18, -2.6),
                (0.2, -1.9),
                (half, -1.4),
                (half, -0.1),
                (-half, -0.1),
                (-half, -1.4),
                (-0.2, -1.9),
            ],
            3,
        ),
        colour,
        [(rect(-1, -1.1, 1, -0.55), mix(colour, WHITE, 0.6))],
        "soft",
        0.5,
    )


def hat(c: Canvas, f: Frame) -> None:
    """Draw a hat with a band."""
    colour = pick(c.rng)
    c.fill(f, oval(0, -0.25, 1.6, 0.36), colour, grain="side", depth=0.3)
    c.fill(
        f,
        smooth([(-0.8, -0.3), (-0.7, -1.4), (0, -1.55), (0.7, -1.4), (0.8, -0.3)], 3),
        colour,
        [(rect(-1, -0.65, 1, -0.3), pick(c.rng))],
        "side",
        0.5,
    )


def box(c: Canvas, f: Frame) -> None:
    """Draw a cardboard box."""
    colour = vary((180, 140, 96), c.rng)
    c.fill(
        f,
        rect(-1.2, -1.5, 1.2, 0),
        colour,
        [(rect(-0.15, -2, 0.15, 1), (206, 178, 130))],
        "soft",
        0.3,
    )
    for s in (-1, 1):
        c.fill(
            f,
            Shape([[(s * 1.2, -1.5), (s * 1.6, -1.95), (s * 0.6, -1.9), (0, -1.5)]]),
            mix(colour, WHITE, 0.18),
            depth=0.15,
        )


def fruit(c: Canvas, f: Frame) -> None:
    """Draw an apple, an orange or a pumpkin."""
    colour = vary(c.rng.choice([(186, 52, 46), (214, 134, 48), (132, 158, 64)]), c.rng)
    wide = c.rng.uniform(0.9, 1.2)
    lobes = oval(-0.35 * wide, -0.85, 0.6 * wide, 0.85) + oval(0.35 * wide, -0.85, 0.6 * wide, 0.85)
    c.fill(f, lobes + oval(0, -0.85, 0.5, 0.85), colour, grain="soft", depth=0.8)
    c.fill(f, limb([(0, -1.55), (0.1, -2.0)], [0.08, 0.06]), (90, 70, 44), depth=0.1)
    c.fill(f, bar((0.1, -1.75), (0.75, -2.0), 0.3), (96, 134, 62), depth=0.1)


def chair(c: Canvas, f: Frame) -> None:
    """Draw a chair."""
    wood = vary((140, 98, 62), c.rng, 24)
    for x in (-0.8, 0.8):
        c.fill(f, limb([(x, -2.8), (x, 0)], [0.1, 0.1]), wood, depth=0.12)
    c.fill(
        f,
        rect(-0.85, -2.7, 0.85, -1.7),
        wood,
        [(rect(k - 0.07, -2.5, k + 0.07, -1.8), mix(wood, INK, 0.5)) for k in (-0.4, 0, 0.4)],
        "side",
        0.2,
    )
    c.fill(f, rect(-1.05, -1.35, 1.05, -1.05), pick(c.rng), grain="soft", depth=0.2)


def teapot(c: Canvas, f: Frame) -> None:
    """Draw a teapot."""
    colour = pick(c.rng)
    c.fill(f, limb([(0.6, -0.6), (1.2, -0.9), (1.5, -1.5)], [0.28, 0.16, 0.1]), colour, depth=0.2)
    c.fill(
        f,
        limb([(-0.7, -1.2), (-1.4, -1.2), (-1.3, -0.5), (-0.7, -0.4)], [0.1, 0.1]),
        colour,
        depth=0.12,
    )
    c.fill(f, oval(0, -0.8, 1.0, 0.8), colour, grain="soft", depth=0.8)
    c.fill(
        f, oval(0, -1.5, 0.5, 0.16) + oval(0, -1.7, 0.14, 0.14), mix(colour, WHITE, 0.3), depth=0.2
    )


def clock(c: Canvas, f: Frame) -> None:
    """Draw an alarm clock with two round bells."""
    colour = pick(c.rng)
    for s in (-1, 1):
        c.fill(f, oval(s * 0.6, -1.85, 0.42, 0.32, s * 0.6), colour, depth=0.2)
        c.fill(f, limb([(s * 0.5, -0.4), (s * 0.75, 0)], [0.1, 0.1]), BLACK, depth=0.1)
    c.fill(f, oval(0, -0.95, 1.0, 0.95), colour, grain="soft", depth=0.5)
    c.fill(f, oval(0, -0.95, 0.76, 0.72), (240, 236, 224), grain="soft", depth=0.2)
    c.line(f, [(0, -0.95), (0.1, -1.5)], INK, 0.09)
    c.line(f, [(0, -0.95), (0.45, -0.8)], INK, 0.09)


def umbrella(c: Canvas, f: Frame) -> None:
    """Draw an open umbrella."""
    colour, other = pick(c.rng), pick(c.rng)
    c.fill(
        f,
        limb([(0, -2.4), (0, -0.2), (0.3, 0), (0.5, -0.25)], [0.06, 0.07]),
        (80, 60, 46),
        depth=0.1,
    )
    c.fill(
        f,
        smooth(
            [
                (-1.6, -1.4),
                (-1.2, -2.2),
                (0, -2.7),
                (1.2, -2.2),
                (1.6, -1.4),
                (0.8, -1.6),
                (0, -1.4),
                (-0.8, -1.6),
            ],
            3,
        ),
        colour,
        [(oval(0, -1.6, 0.5, 1.6), other)],
        "soft",
        0.6,
    )


Thing = Callable[[Canvas, Frame], None]
THINGS: dict[str, Thing] = {
    "ball": ball,
    "yarn": yarn,
    "mug": mug,
    "lamp": lamp,
    "car": car,
    "house": house,
    "tree": tree,
    "pot": pot,
    "shoe": shoe,
    "book": book,
    "cushion": cushion,
    "bottle": bottle,
    "hat": hat,
    "box": box,
    "fruit": fruit,
    "chair": chair,
    "teapot": teapot,
    "clock": clock,
    "umbrella": umbrella,
}
UNSEEN_THINGS = ("teapot", "clock", "umbrella")
# What may stand beside or before an animal.
PROPS = ("ball", "yarn", "mug", "lamp", "pot", "book", "cushion", "bottle", "box", "fruit", "shoe")
