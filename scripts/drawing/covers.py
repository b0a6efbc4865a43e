"""What stands nearest to the camera and hides a part of the subject."""

from __future__ import annotations

from collections.abc import Callable

from .brush import CANVAS, Canvas, mix, vary
from .coats import INK
from .geometry import Frame, Shape, bar
from .scenes import CLOTHS, GREENS

# One unit is the whole picture.
WHOLE = Frame(0, 0, CANVAS)


def curtain(c: Canvas) -> None:
    """Hang a curtain before one side."""
    colour = vary(c.rng.choice(CLOTHS), c.rng)
    wide = c.rng.uniform(0.1, 0.24)
    frame = Frame(CANVAS if c.rng.random() < 0.5 else 0, 0, CANVAS)
    frame = Frame(frame.x, 0, CANVAS, flip=frame.x > 0)
    c.fill(
        frame,
        Shape([[(-0.1, -0.1), (wide, -0.1), (wide * 0.8, 1.1), (-0.1, 1.1)]]),
        colour,
        grain="fur",
        depth=0.1,
    )
    for k in range(3):
        x = wide * (0.2 + 0.27 * k)
        c.fill(frame, bar((x, -0.1), (x * 0.85, 1.1), 0.025), mix(colour, INK, 0.35), depth=0.02)


def ledge(c: Canvas) -> None:
    """Set a table's edge before the lowest part."""
    wood = vary(c.rng.choice([(150, 108, 70), (116, 84, 60), (186, 150, 108)]), c.rng)
    top = c.rng.uniform(0.82, 0.92)
    board = Shape([[(-0.1, top), (1.1, top), (1.1, 1.1), (-0.1, 1.1)]])
    c.fill(WHOLE, board, wood, grain="side", depth=0.06)


def grass(c: Canvas) -> None:
    """Let blades of grass stand before the feet."""
    green = vary(c.rng.choice(GREENS), c.rng)
    for tone in (0.45, 0.25, 0.05):
        blades = Shape()
        for _ in range(9):
            x, tall = c.rng.uniform(-0.02, 1.02), c.rng.uniform(0.12, 0.3)
            blades += bar((x, 1.12), (x + c.rng.uniform(-0.1, 0.1), 1.0 - tall), 0.045)
        c.fill(WHOLE, blades, mix(green, INK, tone), depth=0.03)


def branch(c: Canvas) -> None:
    """Let a leafy twig hang into a corner."""
    green = vary(c.rng.choice(GREENS), c.rng)
    side = c.rng.random() < 0.5
    frame = Frame(CANVAS if side else 0, 0, CANVAS, flip=side)
    c.line(frame, [(-0.05, 0.02), (0.2, 0.1), (0.42, 0.08)], (92, 70, 50), 0.02)
    for _ in range(9):
        x, y = c.rng.uniform(0.0, 0.42), c.rng.uniform(0.02, 0.14)
        tip = (x + c.rng.uniform(-0.08, 0.1), y + c.rng.uniform(0.06, 0.16))
        c.fill(frame, bar((x, y), tip, 0.07), vary(green, c.rng, 20), depth=0.03)


COVERS: tuple[Callable[[Canvas], None], ...] = (curtain, ledge, grass, branch)
