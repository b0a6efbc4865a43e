"""The pixels themselves, divided by 255: the features that need nothing learned."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.features.base import Rows, require_images
from catclf.maths import PIXEL_MAX, Pixels


class PixelFeatures:
    """x = pixels / 255, n = size * size * 3; with ``flip``, the mean with the mirror image.

    Weights that descent finds with ``flip`` are symmetric themselves, so that they score an image
    and its mirror image alike without it: the model is one of plain pixels.
    """

    kind = "pixels"

    def __init__(self, size: int, flip: bool = False) -> None:
        self._size, self._flip = size, flip
        self.n = size * size * 3

    @property
    def settings(self) -> dict[str, Any]:
        return {"kind": self.kind, "flip": self._flip}

    @property
    def parts(self) -> dict[str, slice]:
        return {"pixels": slice(0, self.n)}

    def name_of(self, number: int) -> str:
        row, column = divmod(number // 3, self._size)
        return f"{('red', 'green', 'blue')[number % 3]}({row},{column})"

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        return {}

    def transform(self, images: Pixels) -> Rows:
        require_images(images, self._size)
        values = images.astype(np.float32)
        if self._flip:
            values += images[:, :, ::-1]
        rows = values.reshape(len(images), self.n)
        rows /= np.float32(PIXEL_MAX * (2 if self._flip else 1))
        return rows
