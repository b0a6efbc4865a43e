"""The pixels themselves, divided by 255: the features that need nothing learned."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.features import Rows, require_pictures
from catclf.maths import PIXEL_MAX, Pixels


class PixelFeatures:
    """x = pixels / 255, n = size * size * 3."""

    kind = "pixels"

    def __init__(self, size: int) -> None:
        self._size = size
        self.n = size * size * 3

    @property
    def settings(self) -> dict[str, Any]:
        return {"kind": self.kind}

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        return {}

    def transform(self, pictures: Pixels) -> Rows:
        require_pictures(pictures, self._size)
        rows = pictures.reshape(len(pictures), self.n).astype(np.float32)
        rows /= np.float32(PIXEL_MAX)
        return rows
