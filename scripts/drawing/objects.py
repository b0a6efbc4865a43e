"""Plain things, the first part: toys, house and garden (ground at y = 0)."""

from __future__ import annotations

from random import Random

from .brush import Canvas, Colour, Mark, mix, vary
from .coats import INK, WHITE
from .geometry import Frame, Shape, bar, furry, limb, oval, smooth

PAINTS: list[Colour] = [
    (186, 62, 54),
    (62, 96, 150),
    (212, 170, 62),
    (84, 130, 86),
    (220, 214, 204),
    (60, 58, 64),
    (150, 108, 74),
    (146, 92, 140),
    (206, 130, 70),
    (128, 132, 140),
    (222, 190, 150),
]


def pick(rng: Random) -> Colour:
    """Return a paint."""
    return vary(rng.choice(PAINTS), rng)


def rect(left: float, top: float, right: float, bottom: float) -> Shape:
    """Return an upright rectangle."""
    return Shape([[(left, top), (right, top), (right, bottom), (left, bottom)]])


def ball(c: Canvas, f: Frame) -> None:
    """Draw a ball with a band or panels."""
    colour, other = pick(c.rng), pick(c.rng)
    tilt = c.rng.uniform(-0.6, 0.6)
    marks: list[Mark] = [(oval(0, -0.9, 1.1, 0.26, tilt), other)]
    if c.rng.random() < 0.4:
        marks.append((oval(0.1, -0.9, 0.3, 1.1, tilt), other))
    c.fill(f, oval(0, -0.9, 0.9, 0.9), colour, marks, "soft", 0.9)


def yarn(c: Canvas, f: Frame) -> None:
    """Draw a ball of wool."""
    colour = pick(c.rng)
    c.fill(f, oval(0, -0.9, 0.9, 0.9), colour, grain="side", depth=0.9)
    for k in range(5):
        bow = [(-0.8 + k * 0.12, -0.6 - k * 0.1), (0, -1.2 + k * 0.2), (0.8, -0.7 - k * 0.12)]
        c.line(f, bow, mix(colour, INK, 0.3), 0.05)
    c.line(f, [(0.6, -0.2), (1.2, -0.02), (1.9, -0.1)], colour, 0.08)


def mug(c: Canvas, f: Frame) -> None:
    """Draw a mug."""
    colour = pick(c.rng)
    c.fill(
        f,
        limb([(0.7, -1.45), (1.35, -1.2), (1.25, -0.6), (0.7, -0.45)], [0.13, 0.13]),
        colour,
        depth=0.15,
    )
    band: list[Mark] = [(rect(-1, -1.1, 1, -0.75), pick(c.rng))] if c.rng.random() < 0.5 else []
    c.fill(
        f,
        smooth([(-0.8, -1.8), (0.8, -1.8), (0.76, -0.2), (0.5, 0), (-0.5, 0), (-0.76, -0.2)], 3),
        colour,
        band,
        "soft",
        0.5,
    )
    c.flat(f, oval(0, -1.78, 0.76, 0.2), mix(colour, INK, 0.6))


def lamp(c: Canvas, f: Frame) -> None:
    """Draw a table lamp."""
    shade = mix(pick(c.rng), (255, 236, 180), 0.5)
    c.fill(f, limb([(0, -1.6), (0, -0.1)], [0.1, 0.12]), pick(c.rng), depth=0.15)
    c.fill(f, oval(0, -0.1, 0.6, 0.16), (90, 76, 60), depth=0.2)
    c.fill(
        f,
        Shape([[(-0.45, -2.7), (0.45, -2.7), (0.95, -1.4), (-0.95, -1.4)]]),
        shade,
        grain="soft",
        depth=0.4,
    )


def car(c: Canvas, f: Frame) -> None:
    """Draw a car from the side."""
    colour = pick(c.rng)
    c.fill(
        f,
        smooth(
            [
                (-1.8, -0.9),
                (-1.0, -1.0),
                (-0.6, -1.6),
                (0.6, -1.65),
                (1.1, -1.0),
                (1.8, -0.85),
                (1.85, -0.35),
                (-1.85, -0.35),
            ],
            3,
        ),
        colour,
        grain="soft",
    )
    for x in (-0.42, 0.34):
        c.flat(
            f,
            Shape([[(x - 0.34, -1.02), (x - 0.22, -1.46), (x + 0.26, -1.46), (x + 0.36, -1.02)]]),
            (168, 196, 210),
        )
    for x in (-1.05, 1.05):
        c.fill(f, oval(x, -0.32, 0.4, 0.4), (40, 40, 42), depth=0.2)
        c.flat(f, oval(x, -0.32, 0.17, 0.17), (170, 170, 172))
    c.flat(f, oval(-1.75, -0.72, 0.1, 0.12), (250, 240, 190))


def house(c: Canvas, f: Frame) -> None:
    """Draw a house with a pointed roof."""
    c.fill(f, rect(-1.1, -1.6, 1.1, 0), pick(c.rng), grain="soft", depth=0.3)
    c.fill(f, Shape([[(-1.4, -1.5), (0, -2.8), (1.4, -1.5)]]), pick(c.rng), grain="side", depth=0.3)
    for x in (-0.6, 0.6):
        c.flat(f, rect(x - 0.26, -1.25, x + 0.26, -0.75), WHITE)
        c.flat(f, rect(x - 0.2, -1.2, x + 0.2, -0.8), (90, 120, 150))
    c.fill(f, rect(-0.22, -0.8, 0.22, 0), pick(c.rng), depth=0.1)


def tree(c: Canvas, f: Frame) -> None:
    """Draw a tree, round or pointed."""
    c.fill(f, limb([(0, -1.4), (0.03, 0)], [0.16, 0.26]), (104, 76, 54), depth=0.2)
    green = vary(c.rng.choice([(74, 116, 58), (108, 136, 62), (188, 126, 54), (54, 92, 66)]), c.rng)
    if c.rng.random() < 0.4:
        for k in range(3):
            y = -0.7 - k * 0.75
            c.fill(f, Shape([[(-1.1 + k * 0.25, y), (0, y - 1.3), (1.1 - k * 0.25, y)]]), green)
        return
    crown = Shape()
    for _ in range(7):
        crown += oval(c.rng.uniform(-0.6, 0.6), c.rng.uniform(-2.5, -1.5), 0.65, 0.6)
    c.fill(f, furry(crown, c.rng, 0.1), green, grain="soft", depth=0.8)


def pot(c: Canvas, f: Frame) -> None:
    """Draw a plant in a pot."""
    green = vary((86, 128, 66), c.rng, 20)
    for _ in range(9):
        x, y = c.rng.uniform(-1.1, 1.1), c.rng.uniform(-2.8, -1.5)
        c.fill(f, bar((x * 0.2, -0.9), (x, y), 0.42), vary(green, c.rng), depth=0.2)
    if c.rng.random() < 0.5:
        for _ in range(4):
            x, y = c.rng.uniform(-0.9, 0.9), c.rng.uniform(-2.7, -1.7)
            c.fill(f, oval(x, y, 0.24, 0.24), pick(c.rng), depth=0.15)
    c.fill(
        f,
        Shape([[(-0.75, -1.1), (0.75, -1.1), (0.5, 0), (-0.5, 0)]]),
        c.rng.choice([(176, 104, 70), pick(c.rng)]),
        grain="soft",
        depth=0.4,
    )
