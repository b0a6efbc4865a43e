"""PNG files from pixels, with the standard library alone: for maps, weights and pages.

Written by hand so that equal pixels are equal bytes whatever version of Pillow is installed
(ISO/IEC 15948:2004).
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from catclf.errors import ShapeError
from catclf.maths import Pixels

_COLOUR_TYPES = {3: 2, 4: 6}  # RGB, RGB with alpha
_SUB = 1  # each byte less the one of the pixel to its left: small numbers compress well


def encode(pixels: Pixels) -> bytes:
    """A PNG file of uint8 pixels (height, width, 3), or (height, width, 4) with alpha.

    Raises ShapeError.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOUR_TYPES or pixels.dtype != np.uint8:
        raise ShapeError(f"pixels {pixels.dtype} {pixels.shape}: uint8 (h, w, 3 or 4) is needed")
    height, width, channels = pixels.shape
    rows = np.empty((height, 1 + width * channels), dtype=np.uint8)
    rows[:, 0] = _SUB
    filtered = pixels.copy()
    filtered[:, 1:] -= pixels[:, :-1]  # modulo 256, as the format has it
    rows[:, 1:] = filtered.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", head),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def enlarge(pixels: Pixels, factor: int) -> Pixels:
    """Each pixel of (height, width, c) repeated to a square of ``factor`` by ``factor``."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
