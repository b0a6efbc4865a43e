"""The camera: reduces the drawing to 64x64 and adds light, colour cast, blur and noise."""

from __future__ import annotations

from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .brush import SIZE

Pixels = NDArray[np.uint8]

# Pictures are stored in steps of this many grey levels: unseen, and half as large when packed.
STEP = 4
_AXIS = (np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2) / (SIZE / 2)


def shoot(image: Image.Image, rng: Random) -> Pixels:
    """Return the canvas as a 64x64x3 picture, as a plain camera would take it."""
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.6, 1.6)))
    small = image.resize((SIZE, SIZE), Image.Resampling.BOX)
    if rng.random() < 0.4:
        small = _thin_colour(small)
    light = np.asarray(small, dtype=np.float32) / 255.0
    light = light ** np.float32(rng.uniform(1.05, 1.25)) * np.float32(rng.uniform(0.8, 0.98))
    warm = rng.uniform(-0.05, 0.05)
    light = light * np.array([1 + warm, 1 + rng.uniform(-0.02, 0.02), 1 - warm], np.float32)
    light = light * _falloff(rng)[:, :, None]
    noise = np.random.Generator(np.random.PCG64(rng.getrandbits(64)))
    grain = noise.standard_normal((SIZE, SIZE), dtype=np.float32)
    level = rng.choice((0.0, 0.005, 0.01, 0.016))
    light = light + np.float32(level) * grain[:, :, None]
    steps = np.round(np.clip(light, 0, 1) * (255 / STEP)) * STEP
    pixels: Pixels = np.minimum(steps, 255).astype(np.uint8)
    return pixels


def _falloff(rng: Random) -> NDArray[np.float32]:
    """Return the light over the field: darker corners, and light from one side."""
    x, y = _AXIS[None, :], _AXIS[:, None]
    corner = 1 - np.float32(rng.uniform(0, 0.16)) * (x * x + y * y)
    slope = np.float32(rng.uniform(-0.1, 0.1)) * x + np.float32(rng.uniform(-0.07, 0.07)) * y
    falloff: NDArray[np.float32] = (corner + slope).astype(np.float32)
    return falloff


def _thin_colour(image: Image.Image) -> Image.Image:
    """Return the picture with colour at half its sharpness, as a packed photograph has it."""
    y, cb, cr = image.convert("YCbCr").split()
    half = (SIZE // 2, SIZE // 2)
    cb, cr = (
        band.resize(half, Image.Resampling.BOX).resize(image.size, Image.Resampling.BILINEAR)
        for band in (cb, cr)
    )
    return Image.merge("YCbCr", (y, cb, cr)).convert("RGB")
