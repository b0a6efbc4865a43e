"""Heads, drawn about the origin with a half-width of 1; x = yaw is where they look."""

from __future__ import annotations

from dataclasses import dataclass

from .brush import Canvas, Colour, mix
from .coats import BLACK, INK, PINK, WHITE, Coat
from .geometry import Frame, Point, Shape, bar, furry, limb, mirrored, oval, smooth


@dataclass(frozen=True)
class Look:
    """How a head is held: where it looks, and whether its eyes are shut."""

    yaw: float = 0.0
    shut: bool = False
    style: int = 0  # a free number: ear kind, tongue, and so on
    wide: float = 1.0  # broad or slim cheeks
    eye: float = 1.0  # large or small eyes

    def outline(self, half: list[Point]) -> Shape:
        """Return a head's outline, as broad as this head is."""
        return mirrored([(x * self.wide, y) for x, y in half])


CAT_HEAD = [
    (0, -0.80),
    (0.45, -0.74),
    (0.84, -0.44),
    (1.0, 0.06),
    (0.92, 0.42),
    (0.52, 0.74),
    (0, 0.84),
]
DOG_HEAD = [
    (0, -0.88),
    (0.42, -0.82),
    (0.72, -0.5),
    (0.80, 0.0),
    (0.66, 0.45),
    (0.4, 0.8),
    (0, 0.92),
]
RABBIT_HEAD = [(0, -0.84), (0.38, -0.78), (0.68, -0.4), (0.80, 0.2), (0.62, 0.66), (0, 0.86)]
BEAR_HEAD = [
    (0, -0.82),
    (0.5, -0.76),
    (0.9, -0.36),
    (1.02, 0.15),
    (0.86, 0.58),
    (0.45, 0.84),
    (0, 0.9),
]
FOX_HEAD = [
    (0, -0.70),
    (0.45, -0.66),
    (0.78, -0.3),
    (1.12, 0.3),
    (0.62, 0.58),
    (0.3, 0.9),
    (0, 1.14),
]
MOUSE_HEAD = [(0, -0.68), (0.46, -0.56), (0.70, -0.1), (0.52, 0.42), (0.2, 0.84), (0, 0.92)]


def _eyes(
    c: Canvas, f: Frame, look: Look, at: Point, size: Point, coat: Coat, slit: float = 0.0
) -> None:
    """Draw both eyes; slit is the pupil's half-width as a share, 0 for a dark round eye."""
    rx, ry = size[0] * look.eye, size[1] * look.eye
    for side in (-1, 1):
        x, y = at[0] * side + look.yaw * 0.22, at[1]
        if look.shut:
            lid = [(x - rx, y), (x, y + ry * 0.8), (x + rx, y)]
            dark = sum(coat.base) < 240
            c.line(f, lid, (12, 10, 10) if dark else mix(coat.base, INK, 0.75), 0.09)
            continue
        tilt = -0.28 * side if slit else 0.0
        if slit:
            c.flat(f, oval(x, y, rx * 1.28, ry * 1.25, tilt), (22, 18, 18))
            c.flat(f, oval(x, y, rx, ry, tilt), coat.eye)
            c.flat(f, oval(x, y, rx * slit, ry * 0.95), (8, 8, 10))
        else:
            c.flat(f, oval(x, y, rx, ry), mix(coat.eye, INK, 0.6))
        glint = min(rx, ry) * 0.34
        c.flat(f, Shape(dots=[(x + c.light[0] * rx * 0.35, y - ry * 0.4, glint)]), (250, 250, 250))


def _whiskers(c: Canvas, f: Frame, look: Look, y: float, reach: float, coat: Coat) -> None:
    """Draw three whiskers a side."""
    pale = sum(coat.belly) + sum(coat.base) > 1150
    colour: Colour = (120, 112, 108) if pale else (244, 242, 238)
    for side in (-1, 1):
        for k in (-1, 0, 1):
            x0 = side * 0.3 + look.yaw * 0.3
            end = (side * reach + look.yaw * 0.3, y + k * 0.2 - 0.04)
            mid = (side * reach * 0.62 + look.yaw * 0.3, y + k * 0.1 - 0.06)
            c.line(f, [(x0, y + k * 0.07), mid, end], colour, 0.022)


def _pointed_ear(side: int, tall: float, out: float) -> Shape:
    """Return an upright pointed ear."""
    return Shape(
        [
            [
                (side * 0.98, -0.16),
                (side * (out + 0.06), -0.75),
                (side * out, -0.72 - tall),
                (side * 0.46, -0.98),
                (side * 0.12, -0.70),
            ]
        ]
    )


def _pointed_ears(
    c: Canvas, f: Frame, look: Look, tall: float, out: float, back: Colour, inner: Colour
) -> None:
    """Draw both pointed ears with their lighter insides."""
    for side in (-1, 1):
        lean = out - look.yaw * 0.12 * side
        ear = _pointed_ear(side, tall, lean)
        c.fill(f, ear, back, depth=0.25)
        cx, cy = side * 0.62, -0.62
        inside = [((x - cx) * 0.58 + cx, (y - cy) * 0.66 + cy) for x, y in ear.polygons[0]]
        c.fill(f, Shape([inside]), inner, depth=0.2)


def cat(c: Canvas, f: Frame, coat: Coat, look: Look) -> None:
    """Draw a cat: pointed ears wide apart, round cheeks, slit eyes, small nose, whiskers."""
    inner = mix(PINK, coat.ear, 0.3 if sum(coat.ear) > 300 else 0.55)
    _pointed_ears(c, f, look, 0.62 + 0.04 * (look.style % 4), 0.80, coat.ear, inner)
    head = furry(look.outline(CAT_HEAD), c.rng, 0.03)
    c.fill(f, head, coat.base, coat.head_marks(c.rng), depth=0.6)
    yaw = look.yaw
    pale = mix(coat.belly, coat.mark, 0.8) if coat.pattern == "points" else coat.belly
    puffs = oval(-0.2 + yaw * 0.3, 0.44, 0.28, 0.21) + oval(0.2 + yaw * 0.3, 0.44, 0.28, 0.21)
    c.fill(f, puffs + oval(yaw * 0.28, 0.62, 0.2, 0.15), pale, depth=0.16)
    slit = (0.2, 0.3, 0.5)[look.style % 3]
    _eyes(c, f, look, (0.43, -0.04), (0.235, 0.2), coat, slit)
    nx = yaw * 0.34
    c.flat(f, Shape([[(nx - 0.14, 0.22), (nx + 0.14, 0.22), (nx, 0.37)]]), coat.nose)
    dark = mix(pale, INK, 0.62)
    c.line(
        f,
        [(nx - 0.2, 0.54), (nx - 0.05, 0.52), (nx, 0.38), (nx + 0.05, 0.52), (nx + 0.2, 0.54)],
        dark,
        0.04,
    )
    _whiskers(c, f, look, 0.44, 1.5, coat)


def _floppy_ears(c: Canvas, f: Frame, look: Look, colour: Colour, long: float) -> None:
    """Draw ears that hang beside the cheeks."""
    for side in (-1, 1):
        k = 1.0 - 0.15 * look.yaw * side
        ear = smooth(
            [
                (side * 0.36, -0.86),
                (side * 0.86 * k, -0.82),
                (side * 1.16 * k, -0.3),
                (side * 1.14 * k, 0.2 + long),
                (side * 0.88 * k, 0.34 + long),
                (side * 0.72, -0.12),
            ]
        )
        c.fill(f, ear, colour, depth=0.3)


def _snout(
    c: Canvas, f: Frame, coat: Coat, colour: Colour, tip: Point, r: float, nose: float
) -> None:
    """Draw a muzzle that comes out of the face, with a large dark nose at its end."""
    x, y = tip
    tube = limb([(x * 0.25, 0.0), (x * 0.6, y * 0.7), (x, y)], [r * 1.05, r, r * 0.92], 4)
    c.fill(f, tube, colour, depth=0.3)
    c.flat(f, oval(x * 1.12, y - r * 0.52, nose, nose * 0.72), coat.nose)
    glint = (x * 1.12 + c.light[0] * nose * 0.3, y - r * 0.52 - nose * 0.3, nose * 0.26)
    c.flat(f, Shape(dots=[glint]), mix(coat.nose, WHITE, 0.55))
    dark = mix(colour, INK, 0.65)
    bx = x * 1.08
    c.line(f, [(bx - r * 0.6, y + r * 0.42), (bx, y + r * 0.24), (bx, y - r * 0.1)], dark, 0.05)
    c.line(f, [(bx, y + r * 0.24), (bx + r * 0.6, y + r * 0.42)], dark, 0.05)


def dog(c: Canvas, f: Frame, coat: Coat, look: Look) -> None:
    """Draw a dog: long muzzle, large dark nose, hanging (or small folded) ears."""
    pricked = look.style % 5 == 0
    colour = mix(coat.ear, INK, 0.22)
    if pricked:
        _pointed_ears(c, f, look, 0.42, 0.66, colour, mix(coat.belly, PINK, 0.4))
    head = furry(look.outline(DOG_HEAD), c.rng, 0.03)
    c.fill(f, head, coat.base, coat.head_marks(c.rng), depth=0.55)
    if not pricked:
        _floppy_ears(c, f, look, colour, (0.1, 0.35, 0.55)[look.style % 3])
    if look.style % 3 == 1 and not look.shut:
        tx = look.yaw * 0.85
        c.fill(f, oval(tx + 0.05, 1.05, 0.15, 0.28), (214, 110, 116), depth=0.1)
    _snout(c, f, coat, mix(coat.belly, coat.base, 0.35), (look.yaw * 0.85, 0.56), 0.42, 0.24)
    _eyes(c, f, look, (0.36, -0.2), (0.125, 0.13), coat)
    if sum(coat.base) < 260:
        for side in (-1, 1):
            brow = oval(side * 0.34 + look.yaw * 0.22, -0.44, 0.12, 0.07)
            c.flat(f, brow, mix(coat.base, (176, 112, 60), 0.7))


def rabbit(c: Canvas, f: Frame, coat: Coat, look: Look) -> None:
    """Draw a rabbit: long ears, a narrow face with side eyes, two white teeth."""
    lop = look.style % 6 == 0
    for side in (-1, 1):
        lean = 0.12 + 0.16 * ((look.style + side) % 3)
        if lop:
            path = [(side * 0.4, -0.72), (side * 1.0, -0.6), (side * 1.12, 0.3), (side * 1.02, 1.2)]
        else:
            path = [
                (side * 0.34, -0.55),
                (side * (0.4 + lean / 2), -1.5),
                (side * (0.42 + lean), -2.35),
            ]
        c.fill(f, limb(path, [0.2, 0.29, 0.27, 0.12]), coat.ear, depth=0.2)
        if not lop:
            inner = mix(PINK, coat.ear, 0.25 if sum(coat.ear) > 300 else 0.5)
            c.fill(f, limb(path[1:], [0.12, 0.17, 0.06]), inner, depth=0.12)
    head = furry(look.outline(RABBIT_HEAD), c.rng, 0.03)
    c.fill(f, head, coat.base, coat.head_marks(c.rng), depth=0.5)
    yaw = look.yaw
    puffs = oval(-0.2 + yaw * 0.3, 0.48, 0.25, 0.22) + oval(0.2 + yaw * 0.3, 0.48, 0.25, 0.22)
    c.fill(f, puffs, coat.belly, depth=0.16)
    _eyes(c, f, look, (0.52, -0.14), (0.15, 0.18), coat)
    nx = yaw * 0.32
    c.flat(f, oval(nx, 0.32, 0.11, 0.07), PINK)
    c.line(f, [(nx, 0.36), (nx, 0.54)], mix(coat.belly, INK, 0.5), 0.03)
    c.flat(
        f,
        Shape([[(nx - 0.1, 0.58), (nx + 0.1, 0.58), (nx + 0.09, 0.8), (nx - 0.09, 0.8)]]),
        (246, 244, 236),
    )


def bear(c: Canvas, f: Frame, coat: Coat, look: Look) -> None:
    """Draw a bear: small round ears, broad head, pale heavy muzzle."""
    panda = coat.pattern == "panda"
    for side in (-1, 1):
        ear = oval(side * 0.74 - look.yaw * 0.08, -0.68, 0.34, 0.34)
        c.fill(f, ear, coat.mark if panda else mix(coat.base, INK, 0.12), depth=0.2)
        inner = oval(side * 0.72 - look.yaw * 0.08, -0.62, 0.19, 0.19)
        c.fill(f, inner, mix(coat.base, INK, 0.5), depth=0.12)
    c.fill(f, furry(look.outline(BEAR_HEAD), c.rng, 0.06), coat.base, depth=0.6)
    if panda:
        for side in (-1, 1):
            patch = oval(side * 0.42 + look.yaw * 0.22, -0.06, 0.21, 0.28, side * 0.4)
            c.fill(f, patch, coat.mark, depth=0.15)
    _snout(c, f, coat, coat.belly, (look.yaw * 0.6, 0.44), 0.42, 0.22)
    _eyes(c, f, look, (0.38, -0.14), (0.1, 0.1), coat)


def fox(c: Canvas, f: Frame, coat: Coat, look: Look) -> None:
    """Draw a fox: large dark-backed ears, white cheeks, a snout narrow to its end."""
    _pointed_ears(c, f, look, 0.78, 0.74, mix(coat.base, coat.mark, 0.6), mix(WHITE, PINK, 0.2))
    yaw = look.yaw
    cheeks = smooth(
        [
            (yaw * 0.3, 0.3),
            (0.55, 0.12),
            (1.3, 0.22),
            (0.8, 0.7),
            (0, 1.3),
            (-0.8, 0.7),
            (-1.3, 0.22),
            (-0.55, 0.12),
        ]
    )
    marks = [(cheeks, coat.belly)]
    c.fill(f, furry(look.outline(FOX_HEAD), c.rng, 0.05), coat.base, marks, depth=0.55)
    tip = (yaw * 0.95, 1.0 - abs(yaw) * 0.3)
    snout = limb([(yaw * 0.2, 0.0), (yaw * 0.55, 0.5), tip], [0.36, 0.24, 0.13], 5)
    c.fill(f, snout, mix(coat.base, coat.belly, 0.12), depth=0.2)
    c.flat(f, oval(tip[0] * 1.05, tip[1], 0.15, 0.12), coat.nose)
    _eyes(c, f, look, (0.4, 0.0), (0.15, 0.1), coat, 0.5)


def mouse(c: Canvas, f: Frame, coat: Coat, look: Look) -> None:
    """Draw a mouse: very large round ears, bead eyes, a pointed pink nose."""
    for side in (-1, 1):
        x = side * 0.86 - look.yaw * 0.1
        c.fill(f, oval(x, -0.66, 0.62, 0.64), coat.ear, depth=0.25)
        c.fill(f, oval(x, -0.62, 0.44, 0.46), mix(PINK, coat.ear, 0.25), depth=0.2)
    c.fill(
        f,
        furry(look.outline(MOUSE_HEAD), c.rng, 0.03),
        coat.base,
        coat.head_marks(c.rng),
        depth=0.5,
    )
    tip = (look.yaw * 0.9, 0.86 - abs(look.yaw) * 0.25)
    snout = limb([(look.yaw * 0.2, 0.2), tip], [0.4, 0.16], 5)
    c.fill(f, snout, mix(coat.base, coat.belly, 0.5), depth=0.25)
    _eyes(c, f, look, (0.34, 0.0), (0.14, 0.15), coat)
    c.flat(f, oval(tip[0] * 1.08, tip[1], 0.12, 0.1), (226, 138, 138))
    _whiskers(c, f, look, tip[1] - 0.12, 1.0, coat)


def owl(c: Canvas, f: Frame, coat: Coat, look: Look) -> None:
    """Draw an owl: two facial discs, large round eyes, a beak."""
    yaw = look.yaw
    if look.style % 2:
        for side in (-1, 1):
            c.fill(
                f,
                Shape([[(side * 0.9, -0.45), (side * 0.92, -1.2), (side * 0.3, -0.75)]]),
                coat.base,
                depth=0.2,
            )
    c.fill(
        f, furry(oval(0, 0, 1.02, 0.88), c.rng, 0.04), coat.base, coat.head_marks(c.rng), depth=0.5
    )
    discs = oval(-0.42 + yaw * 0.2, 0.06, 0.5, 0.6) + oval(0.42 + yaw * 0.2, 0.06, 0.5, 0.6)
    c.fill(f, discs, coat.belly, depth=0.25)
    for side in (-1, 1):
        x = side * 0.42 + yaw * 0.24
        if look.shut:
            c.line(f, [(x - 0.24, 0.0), (x, 0.13), (x + 0.24, 0.0)], BLACK, 0.09)
            continue
        c.flat(f, Shape(dots=[(x, 0, 0.34)]), mix(coat.mark, INK, 0.5))
        c.flat(f, Shape(dots=[(x, 0, 0.28)]), coat.eye)
        c.flat(f, Shape(dots=[(x, 0, 0.16)]), (10, 10, 10))
        c.flat(f, Shape(dots=[(x + 0.06 * c.light[0], -0.09, 0.07)]), WHITE)
    beak = bar((yaw * 0.3, 0.08), (yaw * 0.34, 0.56), 0.3)
    c.flat(f, beak, coat.nose)


FACES = {
    "cat": cat,
    "dog": dog,
    "rabbit": rabbit,
    "bear": bear,
    "fox": fox,
    "mouse": mouse,
    "owl": owl,
}
