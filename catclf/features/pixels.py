"""The pixels themselves, divided by 255: the features that need nothing learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from catclf.features.base import Features, Rows
from catclf.maths import PIXEL_MAX, Pixels

if TYPE_CHECKING:
    from catclf.features.onnx_graph import Graph


class PixelFeatures(Features):
    """x = pixels / 255, n = size * size * 3; with ``flip``, the mean with the mirror image.

    Weights that descent finds with ``flip`` are symmetric themselves, so that they score an image
    and its mirror image alike without it: the model is one of plain pixels.
    """

    kind, flips, kept = "pixels", False, False

    def __init__(self, size: int, flip: bool = False) -> None:
        super().__init__(size, flip)
        self.n = size * size * 3

    @property
    def groups(self) -> dict[str, slice]:
        return {"pixels": slice(0, self.n)}

    def name_of(self, number: int) -> str:
        row, column = divmod(number // 3, self.size)
        return f"{('red', 'green', 'blue')[number % 3]}({row},{column})"

    def transform(self, images: Pixels) -> Rows:
        self.require_images(images)
        values = images.astype(np.float32)
        if self.flip:
            values += images[:, :, ::-1]
        rows = values.reshape(len(images), self.n)
        rows /= np.float32(PIXEL_MAX * (2 if self.flip else 1))
        return rows

    def to_onnx(self, graph: Graph, images: str) -> str:
        """float64, as the model sums pixels; models of pixels know no ``flip``."""
        pixels = graph.reshape(graph.cast(images, np.float64), 0, -1)
        return graph.add("Div", pixels, PIXEL_MAX)
