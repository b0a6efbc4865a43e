"""The canvas: fills shapes with furred, shaded colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from random import Random

from PIL import Image, ImageDraw, ImageFilter

from .geometry import Frame, Point, Shape

SIZE = 64
OVER = 3  # drawn three times as large, then reduced
CANVAS = SIZE * OVER

Colour = tuple[int, int, int]
Mark = tuple[Shape, Colour]


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """Return the colour a share t of the way from a to b."""
    return (
        round(a[0] + (b[0] - a[0]) * t),
        round(a[1] + (b[1] - a[1]) * t),
        round(a[2] + (b[2] - a[2]) * t),
    )


def vary(colour: Colour, rng: Random, spread: int = 12) -> Colour:
    """Return the colour a little lighter or darker, warmer or cooler."""
    light, warm = rng.randint(-spread, spread), rng.randint(-spread // 2, spread // 2)
    r, g, b = colour[0] + light + warm, colour[1] + light, colour[2] + light - warm
    return (max(4, min(250, r)), max(4, min(250, g)), max(4, min(250, b)))


@lru_cache(maxsize=512)
def _ramp(colour: Colour) -> tuple[int, ...]:
    """Return a 768-entry table: tone to colour, from shadow over base to highlight."""
    table: list[int] = []
    for c, cool in zip(colour, (-4, 0, 8), strict=True):
        dark, bright = c * 0.36 + cool + 4, c + (255 - c) * 0.30
        rise, gain = (c - dark) / 165, (bright - c) / 90
        table += [int(dark + rise * t) for t in range(165)]
        table += [int(c + gain * t) for t in range(91)]
    return tuple(table)


@lru_cache(maxsize=4)
def _grain(kind: str) -> Image.Image:
    """Return a tile of texture: 'fur' has short strokes, 'soft' has clouds."""
    noise = Random(f"grain {kind}")
    cells = {"fur": (150, 44), "side": (44, 150), "soft": (40, 40), "fine": (200, 200)}[kind]
    raw = Image.frombytes("L", cells, noise.randbytes(cells[0] * cells[1]))
    return raw.resize((512, 512), Image.Resampling.BICUBIC)


class Canvas:
    """A picture being drawn, its light and its random numbers."""

    def __init__(self, image: Image.Image, rng: Random) -> None:
        """Start on a background; light falls from above, a little from one side."""
        self.image = image
        self.rng = rng
        self.draw = ImageDraw.Draw(image)
        self.light = (rng.uniform(-0.8, 0.8), -1.0)
        self.fur = 0.34

    def soften(self, radius: float) -> None:
        """Blur what has been drawn so far."""
        small = self.image.reduce(2).filter(ImageFilter.BoxBlur(radius / 2))
        small = small.filter(ImageFilter.BoxBlur(radius / 2))
        self.image.paste(small.resize(self.image.size, Image.Resampling.BILINEAR))

    def fill(
        self,
        frame: Frame,
        shape: Shape,
        colour: Colour,
        marks: Iterable[Mark] = (),
        grain: str = "fur",
        depth: float = 0.5,
    ) -> None:
        """Fill a shape with textured colour, shaded as a rounded body, marks on top."""
        pads = frame.scale * depth
        box = self._box(frame, shape, int(pads) + 4)
        if box is None:
            return
        mask = self._mask(frame, shape, box)
        tone = self._tone(mask, pads, grain)
        layer = _colourise(tone, colour)
        for area, other in marks:
            layer.paste(_colourise(tone, other), (0, 0), self._mask(frame, area, box))
        self.image.paste(layer, box[:2], mask)

    def _box(self, frame: Frame, shape: Shape, pad: int) -> tuple[int, int, int, int] | None:
        """Return the shape's pixel box, padded, cut near the canvas; None if outside."""
        points = [p for poly in shape.polygons for p in frame.points(poly)]
        for x, y, r in shape.dots:
            px, py = frame.point((x, y))
            radius = r * frame.scale
            points += [(px - radius, py - radius), (px + radius, py + radius)]
        if not points:
            return None
        left = max(int(min(p[0] for p in points)) - pad, -pad)
        top = max(int(min(p[1] for p in points)) - pad, -pad)
        right = min(int(max(p[0] for p in points)) + pad + 1, CANVAS + pad)
        bottom = min(int(max(p[1] for p in points)) + pad + 1, CANVAS + pad)
        return (left, top, right, bottom) if right - left > 2 and bottom - top > 2 else None

    def _mask(self, frame: Frame, shape: Shape, box: tuple[int, int, int, int]) -> Image.Image:
        """Return the shape as a mask over the box."""
        left, top, right, bottom = box
        mask = Image.new("L", (right - left, bottom - top), 0)
        draw = ImageDraw.Draw(mask)
        for poly in shape.polygons:
            draw.polygon([(x - left, y - top) for x, y in frame.points(poly)], fill=255)
        for x, y, r in shape.dots:
            px, py = frame.point((x, y))
            px, py, radius = px - left, py - top, r * frame.scale
            draw.ellipse((px - radius, py - radius, px + radius, py + radius), fill=255)
        return mask

    def _tone(self, mask: Image.Image, depth: float, grain: str) -> Image.Image:
        """Return light and shadow over the mask: bright towards the light, fur in between."""
        w, h = mask.size
        # The blur runs on a quarter of the size: soft anyway, and many times faster.
        small = mask.resize((max(w // 4, 2), max(h // 4, 2)), Image.Resampling.BOX)
        small = small.filter(ImageFilter.BoxBlur(max(depth / 5, 0.6)))
        small = small.filter(ImageFilter.BoxBlur(max(depth / 8, 0.4)))
        sx, sy = w / small.width, h / small.height
        dx, dy = self.light[0] * depth * 0.55 / sx, self.light[1] * depth * 0.55 / sy
        shade = small.transform(
            (w, h),
            Image.Transform.AFFINE,
            (1 / sx, 0, -dx, 0, 1 / sy, -dy),
            Image.Resampling.BILINEAR,
        )
        tile = _grain(grain)
        tx, ty = self.rng.randrange(512 - min(w, 511)), self.rng.randrange(512 - min(h, 511))
        return Image.blend(shade, tile.crop((tx, ty, tx + w, ty + h)), self.fur)

    def flat(self, frame: Frame, shape: Shape, colour: Colour) -> None:
        """Fill a shape with one colour: eyes, noses, small things."""
        for poly in shape.polygons:
            self.draw.polygon(frame.points(poly), fill=colour)
        for x, y, r in shape.dots:
            px, py = frame.point((x, y))
            radius = r * frame.scale
            self.draw.ellipse((px - radius, py - radius, px + radius, py + radius), fill=colour)

    def line(
        self, frame: Frame, points: Sequence[Point], colour: Colour, width: float = 0.05
    ) -> None:
        """Draw a thin line of a width in local units, never thinner than it can be seen."""
        pixels = max(2, round(width * frame.scale))
        self.draw.line(frame.points(points), fill=colour, width=pixels, joint="curve")

    def shadow(self, x: float, y: float, rx: float, ry: float, strength: float = 0.45) -> None:
        """Darken the ground under a thing."""
        small = Image.new("L", (CANVAS // 4, CANVAS // 4), 0)
        box = ((x - rx) / 4, (y - ry) / 4, (x + rx) / 4, (y + ry) / 4)
        ImageDraw.Draw(small).ellipse(box, fill=round(255 * strength))
        small = small.filter(ImageFilter.BoxBlur(max(ry / 8, 1)))
        mask = small.resize((CANVAS, CANVAS), Image.Resampling.BILINEAR)
        self.image.paste((14, 12, 18), (0, 0), mask)


def _colourise(tone: Image.Image, colour: Colour) -> Image.Image:
    """Return the tone image in shades of one colour."""
    return Image.merge("RGB", (tone, tone, tone)).point(list(_ramp(colour)))
