"""Backgrounds: rooms, meadows, cloths, walls, snow, plain gradients."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from PIL import Image, ImageDraw

from .brush import CANVAS, Colour, mix, vary

# Drawn at half size and enlarged: soft, as what lies behind the focus is.
HALF = CANVAS // 2
CONTRAST = 0.52

WALLS: list[Colour] = [
    (206, 196, 178),
    (176, 190, 196),
    (190, 172, 160),
    (158, 172, 150),
    (120, 128, 142),
    (212, 206, 200),
    (150, 116, 96),
    (96, 104, 112),
    (188, 160, 120),
    (84, 92, 84),
]
CLOTHS: list[Colour] = [
    (150, 60, 56),
    (66, 88, 128),
    (92, 120, 84),
    (196, 176, 140),
    (120, 92, 120),
    (64, 64, 72),
    (176, 130, 84),
    (204, 198, 190),
]
GREENS: list[Colour] = [(92, 128, 62), (116, 142, 74), (74, 108, 58), (140, 146, 82)]


def _ramp(top: Colour, bottom: Colour, sideways: bool = False) -> Image.Image:
    """Return a smooth change from one colour to another."""
    strip = Image.new("RGB", (1, 2))
    strip.putpixel((0, 0), top)
    strip.putpixel((0, 1), bottom)
    if sideways:
        strip = strip.transpose(Image.Transpose.ROTATE_90)
    return strip.resize((HALF, HALF), Image.Resampling.BILINEAR)


def gradient(rng: Random) -> Image.Image:
    """Return a plain backdrop with a soft pool of light."""
    colour = vary(rng.choice(WALLS + CLOTHS), rng)
    image = _ramp(
        mix(colour, (255, 255, 255), rng.uniform(0, 0.4)),
        mix(colour, (0, 0, 0), rng.uniform(0.1, 0.5)),
        rng.random() < 0.4,
    )
    pool = Image.radial_gradient("L").resize((HALF * 2, HALF * 2)).point(lambda v: 255 - v)
    x, y = rng.randrange(HALF), rng.randrange(HALF)
    pool = pool.crop((x, y, x + HALF, y + HALF)).point(lambda v: v // 3)
    image.paste(mix(colour, (255, 255, 255), 0.7), (0, 0), pool)
    return image


def _planks(draw: ImageDraw.ImageDraw, rng: Random, top: int, wood: Colour) -> None:
    """Lay floor boards that run towards the eye."""
    for x in range(-HALF, HALF * 2, rng.randint(9, 14)):
        shade = mix(wood, (0, 0, 0), rng.uniform(0, 0.2))
        far = HALF / 2 + (x - HALF / 2) * 0.6
        draw.polygon([(far, top), (far + 7, top), (x + 14, HALF), (x, HALF)], fill=shade)
        draw.line([(far, top), (x, HALF)], fill=mix(wood, (0, 0, 0), 0.4))


def _window(draw: ImageDraw.ImageDraw, rng: Random, x: int, y: int) -> None:
    """Hang a window or a picture on the wall."""
    w, h = rng.randint(18, 34), rng.randint(18, 34)
    frame = rng.choice([(236, 232, 224), (96, 70, 50), (60, 56, 54)])
    glass = rng.choice([(186, 214, 234), (240, 226, 190), (120, 140, 120), (52, 60, 84)])
    draw.rectangle((x, y, x + w, y + h), fill=frame)
    draw.rectangle((x + 2, y + 2, x + w - 2, y + h - 2), fill=glass)
    if rng.random() < 0.6:
        draw.line((x + w // 2, y, x + w // 2, y + h), fill=frame, width=2)
        draw.line((x, y + h // 2, x + w, y + h // 2), fill=frame, width=2)


def _furniture(draw: ImageDraw.ImageDraw, rng: Random, floor: int) -> None:
    """Stand a sofa, a shelf or a door against the wall."""
    x, kind = rng.randint(-20, 60), rng.randrange(3)
    cloth = vary(rng.choice(CLOTHS), rng)
    if kind == 0:
        draw.rounded_rectangle((x, floor - 30, x + 60, floor + 8), 6, fill=cloth)
        draw.rounded_rectangle(
            (x - 5, floor - 18, x + 6, floor + 10), 4, fill=mix(cloth, (0, 0, 0), 0.2)
        )
        draw.rounded_rectangle(
            (x + 4, floor - 12, x + 58, floor + 9), 4, fill=mix(cloth, (255, 255, 255), 0.12)
        )
    elif kind == 1:
        draw.rectangle((x, 4, x + 30, floor), fill=(104, 74, 50))
        for row in range(3):
            y = 6 + row * (floor - 8) // 3
            draw.rectangle((x + 2, y, x + 28, y + (floor - 8) // 3 - 3), fill=(66, 48, 36))
            for k in range(6):
                book = vary(rng.choice(CLOTHS), rng, 20)
                draw.rectangle(
                    (x + 3 + k * 4, y + rng.randint(2, 6), x + 6 + k * 4, y + (floor - 8) // 3 - 3),
                    fill=book,
                )
    else:
        draw.rectangle((x, 6, x + 26, floor), fill=mix(cloth, (200, 190, 180), 0.6))
        draw.rectangle((x + 4, 12, x + 22, floor // 2), fill=mix(cloth, (170, 160, 150), 0.6))


def room(rng: Random) -> Image.Image:
    """Return a wall, a floor and what stands there."""
    wall = vary(rng.choice(WALLS), rng)
    image = _ramp(mix(wall, (255, 255, 255), 0.15), mix(wall, (0, 0, 0), 0.2), rng.random() < 0.5)
    draw = ImageDraw.Draw(image)
    floor = rng.randint(48, 70)
    if rng.random() < 0.35:
        stripe = mix(wall, (255, 255, 255), 0.18)
        for x in range(rng.randint(0, 6), HALF, 10):
            draw.rectangle((x, 0, x + 3, floor), fill=stripe)
    if rng.random() < 0.6:
        _window(draw, rng, rng.randint(-6, 76), rng.randint(-8, 14))
    wood = vary(rng.choice([(150, 108, 70), (116, 84, 60), (186, 150, 108), (120, 116, 112)]), rng)
    if rng.random() < 0.6:
        draw.rectangle((0, floor, HALF, HALF), fill=wood)
        _planks(draw, rng, floor, wood)
    else:
        rug = vary(rng.choice(CLOTHS), rng)
        image.paste(
            _ramp(mix(rug, (0, 0, 0), 0.25), rug).crop((0, 0, HALF, HALF - floor)), (0, floor)
        )
    draw.rectangle((0, floor - 3, HALF, floor), fill=mix(wall, (255, 255, 255), 0.4))
    if rng.random() < 0.6:
        _furniture(draw, rng, floor)
    return image


def meadow(rng: Random) -> Image.Image:
    """Return sky, far trees and grass with flowers."""
    sky = rng.choice([(140, 182, 222), (196, 208, 216), (232, 190, 150), (176, 200, 226)])
    image = _ramp(vary(sky, rng), mix(sky, (255, 255, 255), 0.5))
    draw = ImageDraw.Draw(image)
    line = rng.randint(26, 60)
    green = vary(rng.choice(GREENS), rng)
    far = mix(green, sky, 0.45)
    for _ in range(9):
        x, r = rng.randint(0, HALF), rng.randint(6, 18)
        draw.ellipse((x - r, line - r, x + r, line + r), fill=vary(far, rng, 8))
    image.paste(
        _ramp(mix(green, (230, 230, 150), 0.25), mix(green, (0, 0, 0), 0.3)).crop(
            (0, 0, HALF, HALF - line)
        ),
        (0, line),
    )
    for _ in range(170):
        x, y = rng.randint(0, HALF), rng.randint(line, HALF + 6)
        tall = 2 + (y - line) * 0.16
        blade = vary(mix(green, (20, 40, 10), rng.uniform(0, 0.5)), rng, 16)
        draw.line((x, y, x + rng.randint(-2, 2), y - tall), fill=blade)
    if rng.random() < 0.5:
        petal = rng.choice([(240, 236, 226), (236, 204, 70), (196, 120, 180), (214, 80, 70)])
        for _ in range(rng.randint(6, 22)):
            x, y = rng.randint(0, HALF), rng.randint(line, HALF)
            draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=petal)
    return image


def cloth(rng: Random) -> Image.Image:
    """Return a blanket: plaid, striped, dotted or plain with folds."""
    base = vary(rng.choice(CLOTHS), rng)
    image = _ramp(mix(base, (255, 255, 255), 0.12), mix(base, (0, 0, 0), 0.2), True)
    over = Image.new("RGB", (HALF, HALF), vary(rng.choice(CLOTHS + WALLS), rng))
    mask = Image.new("L", (HALF, HALF), 0)
    draw = ImageDraw.Draw(mask)
    kind, step = rng.randrange(4), rng.randint(9, 20)
    for x in range(rng.randint(-step, 0), HALF, step):
        if kind < 2:
            draw.rectangle((x, 0, x + step // 3, HALF), fill=110)
        if kind == 1:
            draw.rectangle((0, x, HALF, x + step // 3), fill=150)
        if kind == 2:
            for y in range(0, HALF, step):
                draw.ellipse((x, y, x + step // 2, y + step // 2), fill=130)
    image.paste(over, (0, 0), mask.rotate(rng.uniform(-25, 25)))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(2, 6)):
        x = rng.randint(-20, HALF)
        draw.line((x, 0, x + rng.randint(-10, 40), HALF), fill=mix(base, (0, 0, 0), 0.3), width=2)
    return image


def bricks(rng: Random) -> Image.Image:
    """Return a wall of bricks or tiles over a pavement."""
    base = vary(rng.choice([(150, 92, 72), (176, 168, 156), (110, 108, 108), (196, 190, 180)]), rng)
    image = Image.new("RGB", (HALF, HALF), mix(base, (60, 56, 52), 0.5))
    draw = ImageDraw.Draw(image)
    w, h = rng.randint(14, 22), rng.randint(7, 12)
    for row in range(HALF // h + 1):
        for col in range(-1, HALF // w + 1):
            x = col * w + (row % 2) * w // 2
            draw.rectangle(
                (x + 1, row * h + 1, x + w - 1, row * h + h - 1), fill=vary(base, rng, 12)
            )
    if rng.random() < 0.7:
        line = rng.randint(56, 76)
        stone = vary((136, 132, 126), rng)
        image.paste(
            _ramp(stone, mix(stone, (0, 0, 0), 0.3)).crop((0, 0, HALF, HALF - line)), (0, line)
        )
    return image


def leaves(rng: Random) -> Image.Image:
    """Return a wood: dim leaves and discs of light out of focus."""
    base = vary(rng.choice([(52, 74, 44), (96, 84, 48), (70, 80, 72), (120, 84, 44)]), rng)
    image = _ramp(mix(base, (255, 255, 220), 0.2), mix(base, (0, 0, 0), 0.3))
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        x, y, r = rng.randint(0, HALF), rng.randint(0, HALF), rng.randint(2, 9)
        draw.ellipse((x - r, y - r * 0.7, x + r, y + r * 0.7), fill=vary(base, rng, 22))
    for _ in range(rng.randint(0, 8)):
        x, y, r = rng.randint(0, HALF), rng.randint(0, HALF // 2), rng.randint(3, 8)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=mix(base, (250, 244, 200), 0.4))
    return image


def snow(rng: Random) -> Image.Image:
    """Return snow or sand under a pale sky, with drifts and stones."""
    ground, sky = rng.choice(
        [
            ((226, 230, 238), (170, 186, 206)),
            ((214, 190, 148), (160, 200, 224)),
            ((198, 200, 206), (120, 132, 150)),
        ]
    )
    image = _ramp(vary(sky, rng), mix(sky, (255, 255, 255), 0.4))
    draw = ImageDraw.Draw(image)
    line = rng.randint(30, 62)
    for k in range(4):
        y = line + k * (HALF - line) // 4
        x = rng.randint(-40, 60)
        draw.rectangle((0, y + 6, HALF, HALF), fill=mix(ground, (90, 96, 120), 0.06 * k))
        draw.ellipse((x - 50, y - 3, x + 70, y + 24), fill=mix(ground, (90, 96, 120), 0.05 * k))
    for _ in range(rng.randint(0, 6)):
        x, y, r = rng.randint(0, HALF), rng.randint(line, HALF), rng.randint(2, 5)
        draw.ellipse((x - r, y - r * 0.6, x + r, y + r * 0.6), fill=vary((120, 112, 104), rng))
    return image


SCENES: dict[str, Callable[[Random], Image.Image]] = {
    "gradient": gradient,
    "room": room,
    "meadow": meadow,
    "cloth": cloth,
    "bricks": bricks,
    "leaves": leaves,
    "snow": snow,
}
SHARES = {
    "gradient": 18,
    "room": 28,
    "meadow": 20,
    "cloth": 12,
    "bricks": 8,
    "leaves": 8,
    "snow": 6,
}


def backdrop(rng: Random) -> Image.Image:
    """Return one background of a full canvas's size; no kind of picture prefers any."""
    name = rng.choices(list(SHARES), list(SHARES.values()))[0]
    image = SCENES[name](rng)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # What lies behind is lit more evenly than the subject, so that the subject stands out.
    y, cb, cr = image.convert("YCbCr").split()
    y = y.point([round(118 + (v - 118) * CONTRAST) for v in range(256)])
    image = Image.merge("YCbCr", (y, cb, cr)).convert("RGB")
    return image.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)
