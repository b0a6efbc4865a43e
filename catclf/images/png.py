"""PNG files from pixels, for maps, weights and pages."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from catclf.errors import ShapeError
from catclf.maths import Pixels

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
