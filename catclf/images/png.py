"""PNG files from pixels, for maps, weights and pages."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from catclf.errors import ShapeError
from catclf.maths import Floats, Pixels

# Frames of a contact sheet: orange and blue differ for every kind of colour vision.
FRAMES = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233))
_FRAME_WIDTH = 2


def encode(pixels: Pixels) -> bytes:
    """A PNG file of uint8 pixels (height, width, 3), or (height, width, 4) with alpha.

    Raises ShapeError.
    """
    from PIL import Image  # noqa: TID251
    from PIL.PngImagePlugin import PngInfo  # noqa: TID251

    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.dtype != np.uint8:
        raise ShapeError(f"pixels {pixels.dtype} {pixels.shape}: uint8 (h, w, 3 or 4) is needed")
    content = io.BytesIO()
    facts = PngInfo()
    facts.add_text("Software", "catclf")  # by which it may be replaced
    Image.fromarray(pixels).save(content, "PNG", compress_level=9, pnginfo=facts)
    return content.getvalue()


def enlarge(pixels: Pixels, factor: int) -> Pixels:
    """Each pixel of (height, width, c) repeated to a square of ``factor`` by ``factor``."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def contact_sheet(images: Pixels, labels: Sequence[int], columns: int = 12) -> bytes:
    """Images uint8 (k, size, size, 3) side by side as a PNG, a frame colour for each label."""
    size, frame = images.shape[1], _FRAME_WIDTH
    cell = size + 2 * frame
    rows = -(-len(images) // columns)
    sheet = np.full((rows * cell, columns * cell, 3), 255, dtype=np.uint8)
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        top, left = place // columns * cell, place % columns * cell
        sheet[top : top + cell, left : left + cell] = FRAMES[label % len(FRAMES)]
        inner = sheet[top + frame : top + cell - frame, left + frame : left + cell - frame]
        inner[:] = image
    return encode(sheet)


# Signed numbers as colours: orange above zero, blue below

AGAINST, FOR = FRAMES[:2]  # blue and orange: apart for all colour vision
_FULL = 99.0  # percentile of |evidence| that gets the full colour


def colours(values: Floats, full: float, *, alpha: bool = False) -> Pixels:
    """Signed values (h, w) as pixels: orange above zero, blue below, full colour at ±``full``.

    Zero is white, or transparent with ``alpha``, so that the map suits any background.
    """
    strength = np.clip(np.abs(values) / full, 0.0, 1.0) if full > 0 else np.zeros_like(values)
    hue = np.where((values > 0)[..., None], np.array(FOR), np.array(AGAINST))
    if alpha:
        opaque = np.rint(255 * strength)[..., None]
        return np.concatenate([hue, opaque], axis=2).astype(np.uint8)
    mixed = 255.0 - strength[..., None] * (255.0 - hue)
    return np.rint(mixed).astype(np.uint8)


def full_colour(values: Floats) -> float:
    """The |value| that gets the full colour: nearly the largest, so that a few do not hide all."""
    return float(np.percentile(np.abs(values), _FULL))
