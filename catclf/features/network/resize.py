"""Bringing an image to the network's side: bicubic interpolation as two products of matrices."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CUBIC = -0.5  # the a of Keys's kernel, as Pillow has it
_SUPPORT = 2.0  # half the kernel's width


@lru_cache(maxsize=4)
def resampling(size: int, side: int) -> NDArray[np.float32]:
    """Weights (side, size) of the pixels of a line for each pixel of a line of another length.

    R. Keys, "Cubic convolution interpolation for digital image processing", 1981. Where the line
    gets shorter the kernel gets wider, so that no pixel is left out. Each row sums to 1.
    """
    scale = size / side
    wide = max(scale, 1.0)
    centers = (np.arange(side) + 0.5) * scale
    x = np.abs(np.arange(size) + 0.5 - centers[:, None]) / wide
    near = ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _CUBIC
    weights = np.where(x < 1, near, np.where(x < _SUPPORT, far, 0.0))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def resize(image: NDArray[Any], side: int) -> NDArray[Any]:
    """An image (size, size, 3) as (side, side, 3), float32 from 0 to 255; the same if it fits.

    To be called with one BLAS thread, for equal sums everywhere.
    """
    size = len(image)
    if size == side:
        return image
    weights = resampling(size, side)
    down = weights @ image.reshape(size, size * 3).astype(np.float32)  # (side, size * 3)
    turned = down.reshape(side, size, 3).transpose(1, 0, 2).reshape(size, side * 3)
    across = (weights @ turned).reshape(side, side, 3)  # columns first
    return np.asarray(np.clip(across.transpose(1, 0, 2), 0, 255))
