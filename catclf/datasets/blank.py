"""Stored pixels that show nothing: floats cut to 0 and 1, rows never written, constant images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import DataError
from catclf.text import counted

_AT_ONCE = 256
_LOOKED_AT = 256  # images of those that stay on disk


def blank_notes(pixels: Any, shown: str, unwritten: int = 0) -> list[str]:
    """Notes on images that show nothing, of all in memory, and of some on disk.

    Raises DataError where every pixel is 0 or 1, and not all are 0.
    """
    m = len(pixels)
    rows = np.arange(m)
    if not isinstance(pixels, np.ndarray) and m > _LOOKED_AT:
        rows = np.linspace(0, m - 1, _LOOKED_AT).astype(np.int64)
    low, high = _range(pixels, rows)
    constant = rows[low == high]
    if high.max() == 1:
        raise DataError(
            f"{shown} holds pixels of 0 or 1 alone, out of 255, which is all but black: floats of "
            "0 to 1 must be multiplied before they are cast: x = (x * 255).round().astype('uint8')"
        )
    if unwritten:
        return [
            f"{counted(unwritten, 'image')} of {m} were never written and are empty: cut them off"
        ]
    if not len(constant):
        return []
    where = f"the first is image {constant[0]}"
    among = f"{m}" if len(rows) == m else f"the {len(rows)} looked at"
    tone = "black" if (low[low == high] == 0).all() else "of one tone"
    return [
        f"{counted(len(constant), 'image')} of {among} are empty ({tone}): {where}; "
        "were rows never written? Cut them off"
    ]


def one_tone(pixels: Any) -> NDArray[np.int64]:
    """The rows of images all of whose numbers are equal."""
    low, high = _range(pixels, np.arange(len(pixels)))
    return np.flatnonzero(low == high)


def _range(pixels: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest number of each image."""
    low = np.empty(len(rows), dtype=np.uint8)
    high = np.empty(len(rows), dtype=np.uint8)
    if isinstance(pixels, np.ndarray):
        for start in range(0, len(rows), _AT_ONCE):
            block = pixels[start : start + _AT_ONCE].reshape(-1, pixels[0].size)
            low[start : start + len(block)] = block.min(axis=1)
            high[start : start + len(block)] = block.max(axis=1)
        return low, high
    for place, row in enumerate(rows.tolist()):
        image = pixels[row : row + 1]
        low[place], high[place] = image.min(), image.max()
    return low, high
